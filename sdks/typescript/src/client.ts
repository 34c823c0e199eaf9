/** Stores the license of an app, refreshes it online, and returns the verdict about it. */

import { type Companions, asRecord, readFile, readMemoryFile, writeMemoryFile } from "./file.js";
import { BUNDLE, LIST } from "./jws.js";
import { readAtMost } from "./status.js";
import type { Store } from "./store.js";
import { clean, decodeUtf8 } from "./text.js";
import type { Answer, Verdict, Verifier } from "./verifier.js";

export interface ClientOptions {
  verifier: Verifier;
  /** The address of the vendor's licensing server, for example `https://licenses.acme.example`. */
  server: string;
  store: Store;
  /** By default the global `fetch`. */
  fetch?: typeof fetch;
  /** Returns seconds since 1970; by default the system's clock. */
  clock?: () => number;
}

/**
 * The outcome of a refresh:
 * - `renewed`: a fresh license is stored, or the one is kept that was installed meanwhile.
 * - `ended`: nothing is paid for any more. After a new purchase, the next refresh succeeds.
 * - `revoked`: this license, or its key, was revoked. The user logs in, or contacts the vendor.
 * - `unknown`: there is no license, or the server cannot refresh it. The user logs in to get one.
 * - `busy`: the server asks to try again after `retryAfter` seconds.
 * - `offline`: no response of the server: no connection, or a login page of the network.
 * - `failed`: the server refused the request, or its license does not verify: `code` says why.
 */
export type Outcome =
  | "renewed" | "ended" | "revoked" | "unknown" | "busy" | "offline" | "failed";

export interface Refresh {
  outcome: Outcome;
  /** The verdict about the stored license, after the refresh. */
  verdict: Verdict;
  /** The code of the server's problem, or of the verdict about the license that it sent. */
  code: string | null;
  /** In how many seconds to try again; null if the server does not say. */
  retryAfter: number | null;
}

/** The texts that the user pasted, opened or carried here: one of them at least. */
export interface Installation {
  /** A license, or the text of a `license.json`. */
  license?: string;
  /** A key bundle. */
  keys?: string;
  /** A status list. */
  status?: string;
}

export interface StartOptions {
  /** Called when a text cannot be stored, and then tried again; and when `onChange` throws. */
  onError?: (error: unknown) => void;
  /** The seconds between two refreshes; by default a day. */
  every?: number;
}

const TIMEOUT_MILLISECONDS = 15_000;
/** The largest response to a refresh: a license and a bundle, and some members more. */
const MAX_RESPONSE_BYTES = 256 * 1024;
const DAY = 86_400;
/** The first and the longest wait after a failed refresh, in seconds. It doubles each time. */
const [MIN_BACKOFF, MAX_BACKOFF] = [60, 3_600];
/**
 * The longest time without a verdict, in seconds. Timers stand still while a laptop sleeps, and do
 * not see that the clock was set.
 */
const HOUR = 3_600;

interface Response {
  status: number;
  text: string;
  retryAfter: number | null;
}

interface ServerAnswer {
  outcome: Outcome;
  /** The license token, when renewed. */
  license?: string;
  keys?: string;
  code?: string;
  retryAfter?: number | null;
}

/** What the store contains. */
interface Stored {
  /** The text of `license.json`. */
  license: string | null;
  /** The text of `memory.json`, and what it contains. */
  memoryFile: string | null;
  memory: string | null;
  keys: string | null;
  status: string | null;
}

/** A license, if there is one, with the bundles and lists that came with it or were fetched. */
interface Offer {
  license?: string | undefined;
  companions: Companions[];
}

/**
 * Keeps a license in a store.
 *
 * Only signed documents decide. What the server says about a license leads to fetching the key
 * bundle or the status list that proves it; an answer alone neither extends nor ends a license.
 */
export class Client {
  readonly #options: ClientOptions;
  /** Ends when the former changes of the store are done. */
  #last: Promise<unknown> = Promise.resolve();

  /** Throws a `TypeError` if the server's address is not https, or http on this machine. */
  constructor(options: ClientOptions) {
    const { protocol, hostname } = new URL(options.server);
    const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
    // The license is sent there, and is a credential.
    if (protocol !== "https:" && !(protocol === "http:" && isLocal)) {
      throw new TypeError(`${options.server} is not an https address`);
    }
    this.#options = options;
  }

  /** Returns the verdict about the stored license, without the network. */
  async verify(): Promise<Verdict> {
    return this.#inTurn(async () => {
      const stored = await this.#load();
      const answer = await this.#examine(stored, { companions: [] });
      await this.#storeMemory(stored, answer);
      return answer.verdict;
    });
  }

  /**
   * Stores what the user pasted, opened or carried here, and returns the verdict about it. A text
   * is a license or a `license.json`. A license that does not work never replaces one that does.
   * With a new license, the status list is fetched, and the bundle if it is needed.
   */
  async install(given: string | Installation): Promise<Verdict> {
    const { license, keys, status } = typeof given === "string" ? { license: given } : given;
    const offer = { license, companions: [{ keys, status }] };
    if (license !== undefined) await this.#complete(offer);
    return (await this.#install(offer)).verdict;
  }

  /** Asks the server for the newest license, bundle and status list, and stores them. */
  async refresh(): Promise<Refresh> {
    const sent = tokenOf(await this.#load());
    const answer = await this.#askServer(sent);
    const { outcome, license, keys, code = null, retryAfter = null } = answer;
    let refused: string | null = null;
    if (license !== undefined) {
      const offer = { license, companions: [{ keys }] };
      await this.#complete(offer);
      const { verdict, isStored } = await this.#install(offer, sent);
      if (isStored) return { outcome, verdict, code, retryAfter };
      refused = verdict.code;
    }
    const proof: Offer = { companions: [] };
    const isReachable = answer.code !== undefined || license !== undefined;
    // A forged license is never renewed: only the bundle tells that its key was stolen.
    if (isReachable) await this.#complete(proof, true);
    const { verdict } = await this.#install(proof);
    return license === undefined
      ? { outcome, verdict, code, retryAfter }
      : { outcome: "failed", verdict, code: refused, retryAfter };
  }

  /**
   * Refreshes now, then daily and when the verdict changes. While the license is not active, it
   * refreshes every hour. After a failure, and while the clock seems wrong, it tries again after a
   * minute, or later. Verifies at least once an hour. Calls `onChange` with the first verdict, and
   * with each one that differs. Returns a function that stops it.
   */
  start(
    onChange: (verdict: Verdict) => void, { onError, every = DAY }: StartOptions = {},
  ): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isStopped = false;
    let backoff = MIN_BACKOFF;
    let last = "";
    /** The seconds until the next refresh, by the timers. */
    let untilRefresh = 0;
    /** Returns whether the verdict differs from the last one. */
    const report = (verdict: Verdict): boolean => {
      const text = JSON.stringify(verdict);
      if (isStopped || text === last) return false;
      last = text;
      try {
        onChange(verdict);
      } catch (error) { // A fault of the app must not delay a refresh.
        onError?.(error);
      }
      return true;
    };
    const refresh = async (): Promise<Verdict> => {
      const { outcome, verdict, retryAfter } = await this.refresh();
      // A clock that seems wrong may have been corrected. The next license confirms it.
      const isClockWrong = ["clock_rolled_back", "not_yet_valid"].includes(verdict.code ?? "");
      const shouldRetry = outcome === "busy" || outcome === "offline" || isClockWrong;
      // A payment may arrive at any time, and brings a license that is active again.
      const usual = verdict.state === "active" ? every : Math.min(every, HOUR);
      const wait = shouldRetry ? Math.max(backoff, retryAfter ?? 0) : usual;
      backoff = shouldRetry ? Math.min(backoff * 2, MAX_BACKOFF) : MIN_BACKOFF;
      // A little later, at random, because many apps start in the same minute.
      untilRefresh = wait * (1 + Math.random() / 10);
      report(verdict);
      return verdict;
    };
    const run = async () => {
      let wait = HOUR;
      try {
        let verdict = await this.verify();
        if (report(verdict)) untilRefresh = 0;
        if (untilRefresh <= 0) verdict = await refresh();
        wait = Math.min(wait, untilRefresh, (verdict.changes_at ?? Infinity) - this.#now());
      } catch (error) {
        onError?.(error);
      }
      if (isStopped) return;
      wait = Math.max(wait, 1);
      untilRefresh -= wait;
      timer = setTimeout(run, wait * 1000);
      // The timer does not keep a process of Node alive.
      if (typeof timer === "object") timer.unref();
    };
    void run();
    return () => {
      isStopped = true;
      clearTimeout(timer);
    };
  }

  async #load(): Promise<Stored> {
    const { store } = this.#options;
    // The license first would be older than the memory, if another process stores both in between.
    const memoryFile = await store.read("memory.json");
    const license = await store.read("license.json");
    return { license, memoryFile, ...readMemoryFile(memoryFile) };
  }

  /**
   * Verifies a license: by default the one that is offered, or else the stored one. All bundles and
   * lists that are offered or stored take part.
   */
  #examine(
    stored: Stored, offer: Offer, license = offer.license ?? stored.license,
  ): Promise<Answer> {
    const files = [stored.license, offer.license].map(readFile);
    const evidence = { license, memory: stored.memory, now: this.#now() };
    return this.#options.verifier.verify(evidence, ...offer.companions, stored, ...files);
  }

  /** Adds the newest status list, and the bundle if it is needed or the key is unknown. */
  async #complete(offer: Offer, needsBundle = false): Promise<void> {
    let answer = await this.#examine(await this.#load(), offer);
    if (needsBundle || answer.verdict.code === "unknown_key") {
      const url = `${this.#server}/.well-known/license-keys`;
      offer.companions.push({ keys: await this.#fetch(url, BUNDLE.maxBytes) });
      answer = await this.#examine(await this.#load(), offer);
    }
    if (answer.statusUri === null) return;
    offer.companions.push({ status: await this.#fetch(answer.statusUri, LIST.maxBytes) });
  }

  /**
   * Stores the license that is offered if it is valid, or genuine and there is no valid one; and
   * the bundle and the list that count. An answer of the server replaces only the license that was
   * sent. If another one was installed meanwhile, that one is kept.
   */
  #install(given: Offer, sent?: string): Promise<{ verdict: Verdict; isStored: boolean }> {
    return this.#inTurn(async () => {
      const stored = await this.#load();
      const isCurrent = sent === undefined || sent === tokenOf(stored);
      const offer = isCurrent ? given : { companions: given.companions };
      const offered = await this.#examine(stored, offer);
      let kept = offered;
      let isStored = offer.license === undefined || offered.verdict.valid;
      if (!isStored) {
        // The memory of the first answer counts the bundle and the list of the offered license,
        // although it is not kept.
        const beside = { ...stored, memory: offered.memory };
        const current = await this.#examine(beside, offer, stored.license);
        isStored = isGenuine(offered) && !current.verdict.valid;
        if (!isStored) kept = current;
      }
      const { licenseFile } = kept;
      const isWorthIt = isGenuine(kept) || kept.verdict.code === "key_revoked";
      if (isWorthIt && licenseFile !== null && licenseFile !== stored.license) {
        await this.#options.store.write("license.json", licenseFile);
      }
      await this.#storeMemory(stored, kept);
      return { verdict: offered.verdict, isStored };
    });
  }

  /** Stores the memory. A bundle and a list are kept until others count. */
  async #storeMemory(stored: Stored, { memory, keys, status }: Answer): Promise<void> {
    const text = writeMemoryFile({
      memory, keys: keys ?? stored.keys, status: status ?? stored.status,
    });
    if (text !== stored.memoryFile) await this.#options.store.write("memory.json", text);
  }

  /** Runs an operation after the former ones: two at once would lose a change. */
  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#last.then(operation);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #askServer(token: string): Promise<ServerAnswer> {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return { outcome: "unknown" };
    const url = `${this.#server}/api/licenses/refresh`;
    const response = await this.#request(url, MAX_RESPONSE_BYTES, {
      method: "POST",
      redirect: "error",
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
    });
    return response === null ? { outcome: "offline" } : readAnswer(response);
  }

  /** Returns a public document; null if it cannot be fetched. */
  async #fetch(url: string, maxBytes: number): Promise<string | null> {
    const response = await this.#request(url, maxBytes);
    return response?.status === 200 ? response.text : null;
  }

  /** Returns the response; null if there is none, or it is too large. */
  async #request(url: string, maxBytes: number, init: RequestInit = {}): Promise<Response | null> {
    const request = this.#options.fetch ?? fetch;
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
      // A browser's cache could keep a bundle or list without the newest revocation.
      const response = await request(url, { cache: "no-cache", ...init, signal });
      const bytes = response.body ? await readAtMost(response.body, maxBytes) : new Uint8Array();
      const text = bytes && decodeUtf8(bytes);
      const { status } = response;
      return text === null ? null : { status, text, retryAfter: retryAfterOf(response.headers) };
    } catch {
      return null;
    }
  }

  get #server(): string {
    return this.#options.server.replace(/\/+$/, "");
  }

  #now(): number {
    return this.#options.clock?.() ?? Math.floor(Date.now() / 1000);
  }
}

/** Returns the stored license token; empty if there is none. */
function tokenOf({ license }: Stored): string {
  const token = readFile(license).license;
  return typeof token === "string" ? clean(token) : "";
}

function isGenuine({ verdict }: Answer): boolean {
  return verdict.license_id !== null;
}

function readAnswer({ status, text, retryAfter }: Response): ServerAnswer {
  const { token, keys, code } = asRecord(text);
  if (status === 200 && typeof token === "string" && token !== "") {
    return { outcome: "renewed", license: token, ...(typeof keys === "string" && { keys }) };
  }
  if (status === 429 || status >= 500) return { outcome: "busy", retryAfter };
  // Without a code, it is the page of a proxy or of a hotel's network.
  if (typeof code !== "string") return { outcome: "offline" };
  return { outcome: outcomeOf(status, code), code, retryAfter };
}

function outcomeOf(status: number, code: string): Outcome {
  if (code === "revoked" || code === "key_revoked") return "revoked";
  if (code === "license_expired") return "ended";
  if (status === 408 || status === 409) return "busy";
  return status === 401 || status === 403 ? "unknown" : "failed";
}

/** Returns the seconds that `Retry-After` asks to wait, at most a day. It may also be a date. */
function retryAfterOf(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 0), DAY) : null;
}
