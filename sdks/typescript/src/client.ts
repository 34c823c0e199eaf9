/** Stores the license of an app, refreshes it online, and returns the verdict about it. */

import { readFile } from "./file.js";
import { BUNDLE, LIST } from "./jws.js";
import { readAtMost } from "./status.js";
import type { Store } from "./store.js";
import { clean, decodeUtf8 } from "./text.js";
import type { Answer, Evidence, Verdict, Verifier } from "./verifier.js";

export interface ClientOptions {
  verifier: Verifier;
  /** The address of the vendor's licensing server, for example `https://licenses.acme.example`. */
  server: string;
  store: Store;
  /** By default the global `fetch`. */
  fetch?: typeof fetch;
  /** Returns seconds since 1970; by default the system's clock. */
  now?: () => number;
}

/**
 * The result of a refresh:
 * - `renewed`: the server returned a license, and it is stored.
 * - `ended`: the customer's license is over. A purchase starts a new one.
 * - `revoked`: the license was revoked. The customer logs in for another one, or asks the vendor.
 * - `unknown`: the server does not know the license, for example because the account was deleted.
 * - `busy`: the server asks to try again after `retryAfter` seconds.
 * - `offline`: the server could not be reached.
 * - `rejected`: the server returned a license that does not verify here. The former one is kept.
 * - `no_license`: none is stored.
 */
export type RefreshOutcome =
  | "renewed" | "ended" | "revoked" | "unknown" | "busy" | "offline" | "rejected" | "no_license";

export interface RefreshResult {
  outcome: RefreshOutcome;
  /** The verdict about the stored license, after the refresh. */
  verdict: Verdict;
  /** In how many seconds to try again; null if the server does not say. */
  retryAfter: number | null;
}

export interface BackgroundOptions {
  /** Called after each refresh. */
  onResult?: (result: RefreshResult) => void;
  /** Called when a text cannot be stored. The refresh is tried again. */
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
/** The longest wait: timers of JavaScript fire at once when it is over 2^31 milliseconds. */
const MAX_WAIT = 20 * DAY;

interface Response {
  status: number;
  text: string;
  retryAfter: number | null;
}

interface ServerAnswer {
  outcome: RefreshOutcome;
  /** The text of a `license.json`, when renewed. */
  license?: string;
  retryAfter?: number | null;
}

export class LicenseClient {
  readonly #options: ClientOptions;
  /** Ends when the former changes of the store are done: two at once would lose one of them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Returns the verdict about the stored license, offline. */
  async verdict(): Promise<Verdict> {
    return (await this.#store({})).verdict;
  }

  /**
   * Returns the verdict about a license that the user has entered: a token, or a `license.json`.
   * Stores it if it is valid, or genuine and there is no valid one.
   */
  async install(license: string): Promise<Verdict> {
    const stored = await this.#load();
    return (await this.#store(await this.#complete({ ...besides(stored), license }))).verdict;
  }

  /** Asks the server for the newest license, bundle and status list, and stores them. */
  async refresh(): Promise<RefreshResult> {
    const stored = await this.#load();
    const { outcome, license, retryAfter = null } = await this.#askServer(stored);
    if (license !== undefined) {
      const complete = await this.#complete({ ...besides(stored), license });
      const { verdict, isStored } = await this.#store(complete);
      if (isStored) return { outcome, verdict, retryAfter };
    }
    const isReachable = outcome !== "offline" && outcome !== "no_license";
    // A forged license is never renewed: only the bundle tells that its key was stolen.
    const { keys, status } = isReachable ? await this.#complete(stored, true) : stored;
    const { verdict } = await this.#store({ keys, status });
    return { outcome: license === undefined ? outcome : "rejected", verdict, retryAfter };
  }

  /**
   * Refreshes now, then daily and when the verdict would change. After a failure, it tries again
   * after a minute, or later. Returns a function that stops it.
   */
  start({ onResult, onError, every = DAY }: BackgroundOptions = {}): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isStopped = false;
    let backoff = MIN_BACKOFF;
    const run = async () => {
      let wait = MAX_BACKOFF;
      try {
        const result = await this.refresh();
        const hasFailed = result.outcome === "busy" || result.outcome === "offline";
        wait = hasFailed ? Math.max(backoff, result.retryAfter ?? 0) : every;
        backoff = hasFailed ? Math.min(backoff * 2, MAX_BACKOFF) : MIN_BACKOFF;
        // A little later, at random, because many apps start in the same minute.
        wait *= 1 + Math.random() / 10;
        const { changes_at: changesAt } = result.verdict;
        if (changesAt !== null) wait = Math.min(wait, changesAt - this.#now());
        if (!isStopped) onResult?.(result);
      } catch (error) {
        onError?.(error);
      }
      if (isStopped) return;
      timer = setTimeout(run, Math.min(Math.max(wait, 1), MAX_WAIT) * 1000);
      // The timer does not keep a process of Node alive.
      if (typeof timer === "object") timer.unref();
    };
    void run();
    return () => {
      isStopped = true;
      clearTimeout(timer);
    };
  }

  async #load(): Promise<Evidence> {
    const { store } = this.#options;
    const [license, memory] = [await store.read("license.json"), await store.read("memory.json")];
    return { license, memory };
  }

  #verify(evidence: Evidence): Promise<Answer> {
    return this.#options.verifier.verdict({ ...evidence, now: this.#now() });
  }

  /** Fetches the newest status list, and the bundle if it is needed or the key is unknown. */
  async #complete(given: Evidence, needsBundle = false): Promise<Evidence> {
    let evidence = given;
    let answer = await this.#verify(evidence);
    // The file of an answer has the former bundle and list. The verifier takes the later ones.
    if (needsBundle || answer.verdict.code === "unknown_key") {
      const url = `${this.#server}/.well-known/license-keys`;
      const bundle = await this.#request(url, BUNDLE.maxBytes);
      if (bundle?.status === 200) {
        evidence = { ...evidence, license: answer.licenseFile, keys: bundle.text };
        answer = await this.#verify(evidence);
      }
    }
    if (answer.statusUri === null) return evidence;
    const list = await this.#request(answer.statusUri, LIST.maxBytes);
    return list?.status === 200
      ? { ...evidence, license: answer.licenseFile, status: list.text }
      : evidence;
  }

  /**
   * Verifies a license, or the stored one with another bundle and list. Stores the memory, and the
   * license if it is valid, or genuine and there is no valid one.
   */
  #store(given: Partial<Evidence>): Promise<{ verdict: Verdict; isStored: boolean }> {
    const operation = async () => {
      const stored = await this.#load();
      const license = given.license ?? stored.license;
      const { verdict, licenseFile, memory } =
        await this.#verify({ ...given, license, memory: stored.memory });
      const isGenuine = verdict.license_id !== null;
      const isWorthIt = given.license === undefined
        ? isGenuine || verdict.code === "key_revoked"
        : verdict.valid || isGenuine && !(await this.#verify(stored)).verdict.valid;
      const isStored = isWorthIt && licenseFile !== null;
      const { store } = this.#options;
      if (memory !== stored.memory) await store.write("memory.json", memory);
      if (isStored && licenseFile !== stored.license) {
        await store.write("license.json", licenseFile);
      }
      return { verdict, isStored };
    };
    const result = this.#last.then(operation);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #askServer({ license }: Evidence): Promise<ServerAnswer> {
    const stored = readFile(license).license;
    const token = typeof stored === "string" ? clean(stored) : "";
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return { outcome: "no_license" };
    const url = `${this.#server}/api/licenses/refresh`;
    const response = await this.#request(url, MAX_RESPONSE_BYTES, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, accept: "application/json" },
    });
    return response === null ? { outcome: "offline" } : readAnswer(response);
  }

  /** Returns the response; null if there is none, or it is too large. */
  async #request(url: string, maxBytes: number, init: RequestInit = {}): Promise<Response | null> {
    const request = this.#options.fetch ?? fetch;
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
      const response = await request(url, { ...init, signal });
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
    return this.#options.now?.() ?? Math.floor(Date.now() / 1000);
  }
}

/** Returns the bundle, list and memory of what is stored, for a verdict about another license. */
function besides({ license, memory }: Evidence): Omit<Evidence, "license"> {
  const { keys, status } = readFile(license);
  return { keys, status, memory };
}

function readAnswer({ status, text, retryAfter }: Response): ServerAnswer {
  if (status === 429 || status >= 500) return { outcome: "busy", retryAfter };
  const { token, keys, code } = asRecord(text);
  if (status === 200 && typeof token === "string") {
    return { outcome: "renewed", license: JSON.stringify({ license: token, keys }) };
  }
  // Without a code, it is the page of a proxy or of a hotel's network.
  if (typeof code !== "string") return { outcome: "offline" };
  if (status === 408 || status === 409) return { outcome: "busy", retryAfter };
  if (code === "revoked" || code === "key_revoked") return { outcome: "revoked" };
  return { outcome: status === 403 ? "ended" : "unknown" };
}

function asRecord(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** Returns the seconds that `Retry-After` asks to wait, at most a day. It may also be a date. */
function retryAfterOf(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 0), DAY) : null;
}
