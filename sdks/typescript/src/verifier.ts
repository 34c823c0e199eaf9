/** Verifies a license together with the bundle, the status list and the memory. */

import { type Claims, type Limits, MAX_TIME, readClaims } from "./claims.js";
import { type Companions, readFile, writeFile } from "./file.js";
import { type Outcome, type State, inEffect, judge, needsWarning, nextChange } from "./judge.js";
import { type Code, Jws, LICENSE, Rejection } from "./jws.js";
import {
  type Bundle, type Key, type KeySet, type ParsedTrust, type Trust, isInTime, openBundle, openWith,
  parseTrust,
} from "./keys.js";
import { Memory } from "./memory.js";
import { type StatusList, openList } from "./status.js";

/** The same in every language. Times are seconds since 1970. */
export interface Verdict {
  valid: boolean;
  /** Null when invalid. */
  state: State | null;
  /** The reason; null when the state is `active`. */
  code: Code | null;
  /** The features in effect now; none when invalid. */
  features: readonly string[];
  /** The limits in effect now; none when invalid. */
  limits: Limits;
  /** Null while signature and claims do not hold; so are the next four. */
  plan: string | null;
  trial: boolean | null;
  customer_id: string | null;
  license_id: string | null;
  updates_until: number | null;
  /** Whether to tell the user about an end that has come, or soon comes. */
  warn: boolean;
  /** When the verdict changes next if nothing new is fetched. */
  changes_at: number | null;
}

/** Returns whether a feature may be used now. */
export function allows(verdict: Verdict, feature: string): boolean {
  return verdict.features.includes(feature);
}

/** Returns the limit with this name; undefined if there is none. */
export function limit(verdict: Verdict, name: string): number | undefined {
  return Object.hasOwn(verdict.limits, name) ? verdict.limits[name] : undefined;
}

/** The app and its device. */
export interface VerifierOptions {
  /** The vendor's root key, or a JWKS. */
  trust: Trust;
  /** The product: the required `aud` of the license. */
  audience: string;
  /** The required `iss`, if the keys of several vendors are trusted. */
  issuer?: string | undefined;
  /** When this build of the app was made, in seconds since 1970 (for `updates_until`). */
  build?: number | undefined;
  /** The RFC 7638 thumbprint of the device's key (for `cnf`). */
  device?: string | undefined;
  /**
   * How old a status list may be, in seconds; a negative age counts as 0. Without it, a list may be
   * old or missing.
   */
  maxStatusAge?: number | undefined;
}

/** Everything that is verified. `keys` and `status` are needed only if they came separately. */
export interface Evidence {
  /** The license token, or the text of `license.json`. */
  license: string | null | undefined;
  /** The key bundle. */
  keys?: string | null | undefined;
  /** The status list. */
  status?: string | null | undefined;
  /** The memory that was stored after the last verdict. */
  memory?: string | null | undefined;
  /** Seconds since 1970; by default the time of the system's clock. */
  now?: number | undefined;
}

export interface Answer {
  verdict: Verdict;
  /** The memory to store, and to pass to the next verdict. */
  memory: string;
  /** The `license.json` to store: the license with the best bundle and list; null without one. */
  licenseFile: string | null;
  /** The key bundle that counts; null if none does. */
  keys: string | null;
  /** The status list that counts; null if none does. */
  status: string | null;
  /** The address of the status list; null if the license names none, or did not verify. */
  statusUri: string | null;
}

/** Verifies licenses offline. It does no I/O, and never throws for what it verifies. */
export class Verifier {
  readonly #options: VerifierOptions;
  #trust: Promise<ParsedTrust> | null = null;

  /** Throws a TypeError if a required option is missing. */
  constructor(options: VerifierOptions) {
    const { trust, audience, build, maxStatusAge } = options;
    if (typeof trust !== "object" || trust === null) throw new TypeError("trust is missing");
    if (typeof audience !== "string" || audience === "") throw new TypeError("audience is missing");
    for (const number of [build, maxStatusAge]) {
      if (!Number.isFinite(number ?? 0)) throw new TypeError("build or maxStatusAge is no number");
    }
    this.#options = options;
  }

  /**
   * Returns the verdict, and what to store. Of the bundles and lists in the evidence and in
   * `others`, the best ones count. Throws a TypeError if no trusted key is usable.
   */
  async verify(evidence: Evidence, ...others: Companions[]): Promise<Answer> {
    this.#trust ??= parseTrust(this.#options.trust);
    const trust = await this.#trust;
    const now = secondsSince1970(evidence.now);
    const before = Memory.parse(evidence.memory);
    const memory = Memory.parse(evidence.memory);
    const file = readFile(evidence.license);
    const given = [evidence, file, ...others];

    const bundle = await bestBundle(given.map(({ keys }) => keys), trust, before, now);
    if (bundle !== null) memory.rememberBundle(bundle);
    const keys = trust.jwks ?? bundle ?? NO_KEYS;

    let claims: Claims | null = null;
    let list: StatusList | null = null;
    let statusUri: string | null = null;
    let outcome: Outcome;
    let changesAt: number | null = null;
    try {
      const license = await openLicense(file.license, keys);
      claims = license.claims;
      this.#check(claims, license.key);
      statusUri = claims.status?.uri ?? null;
      memory.rememberLicense(claims, before, now);
      list = await bestList(given.map(({ status }) => status), claims, keys, before);
      if (list !== null && claims.status !== null) memory.rememberList(list, claims.status);

      const staleFrom = this.#staleFrom(claims, list);
      const facts = {
        claims,
        isClockRolledBack: before.isClockRolledBack(claims, now),
        isRevoked: claims.status !== null && memory.isRevoked(claims.status),
        staleFrom,
        device: this.#options.device || null,
        build: this.#options.build ?? null,
      };
      outcome = judge(facts, now);
      changesAt = nextChange(facts, outcome, before.clockFloor, bundle?.exp ?? null, now);
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      outcome = { state: null, code: error.code };
    }
    return {
      verdict: toVerdict(claims, outcome, changesAt, now),
      memory: memory.toText(),
      licenseFile: writeFile({
        license: file.license,
        keys: bundle?.text ?? file.keys,
        status: list?.text ?? file.status,
      }),
      keys: bundle?.text ?? null,
      status: list?.text ?? null,
      statusUri,
    };
  }

  /** Throws a {@link Rejection} if the license was signed out of time, or is for another app. */
  #check(claims: Claims, key: Key): void {
    const { audience, issuer } = this.#options;
    if (!isInTime(key, claims.iat)) throw new Rejection("key_not_valid");
    if (claims.aud !== audience) throw new Rejection("wrong_audience");
    if (claims.iss !== (issuer ?? claims.iss)) throw new Rejection("wrong_issuer");
  }

  /** Returns the time from which on the list is too old, or 0 if it is missing. */
  #staleFrom(claims: Claims, list: StatusList | null): number | null {
    const { maxStatusAge } = this.#options;
    if (maxStatusAge === undefined || claims.status === null) return null;
    return list === null ? 0 : list.iat + Math.max(0, maxStatusAge) + 1;
  }
}

const NO_KEYS: KeySet = { keys: [], revoked: [] };

function secondsSince1970(now: number | undefined): number {
  const seconds = Math.floor(now ?? Date.now() / 1000);
  if (!Number.isFinite(seconds)) throw new TypeError("now is not a number of seconds");
  // A memory with a later time could not be read again.
  return Math.min(Math.max(0, seconds), MAX_TIME);
}

async function openLicense(
  token: string | Rejection, keys: KeySet,
): Promise<{ claims: Claims; key: Key }> {
  if (token instanceof Rejection) throw token;
  const { claims, key } = await openWith(Jws.parse(token, LICENSE), keys);
  return { claims: readClaims(claims), key };
}

/** Returns the usable bundle with the highest `seq`; the first of several. */
async function bestBundle(
  texts: unknown[], { root }: ParsedTrust, before: Memory, now: number,
): Promise<Bundle | null> {
  if (root === null) return null;
  let best: Bundle | null = null;
  for (const text of texts.filter((text) => typeof text === "string")) {
    const bundle: Bundle | null = await openBundle(text, root, now);
    if (bundle !== null && bundle.seq >= (best === null ? before.keysSeq : best.seq + 1)) {
      best = bundle;
    }
  }
  return best;
}

/** Returns the usable list with the latest `iat`; the first of several. */
async function bestList(
  texts: unknown[], { status }: Claims, keys: KeySet, before: Memory,
): Promise<StatusList | null> {
  if (status === null) return null;
  let best: StatusList | null = null;
  for (const text of texts.filter((text) => typeof text === "string")) {
    const list: StatusList | null = await openList(text, keys, status);
    const earliest: number = best === null ? before.list(status.uri)?.iat ?? 0 : best.iat + 1;
    if (list !== null && list.iat >= earliest) best = list;
  }
  return best;
}

function toVerdict(
  claims: Claims | null, outcome: Outcome, changesAt: number | null, now: number,
): Verdict {
  const { state, code } = outcome;
  const { features, limits } = claims ? inEffect(claims, outcome) : { features: [], limits: {} };
  return {
    valid: state !== null,
    state,
    code,
    features,
    limits,
    plan: claims?.plan ?? null,
    trial: claims?.trial ?? null,
    customer_id: claims?.sub ?? null,
    license_id: claims?.jti ?? null,
    updates_until: claims?.updatesUntil ?? null,
    warn: claims !== null && needsWarning(claims, outcome, changesAt, now),
    changes_at: changesAt,
  };
}
