/** The rules for a license that a trusted key signed for this app. Pure functions of time. */

import type { Claims, Limits } from "./claims.js";
import type { Code } from "./jws.js";
import { LEEWAY } from "./keys.js";

/**
 * How much of the license is in effect: all of it; all of it while a payment is late; all of it
 * although it is over (`on_end` mode `warn`); or the remainder that `on_end` grants.
 */
export type State = "active" | "grace" | "overdue" | "limited";

/** A valid license has a state, and an invalid one null. The code is null only when active. */
export interface Outcome {
  state: State | null;
  code: Code | null;
}

export interface Facts {
  claims: Claims;
  isClockRolledBack: boolean;
  isRevoked: boolean;
  /** The time from which on the status list is too old; null if its age does not matter. */
  staleFrom: number | null;
  device: string | null;
  build: number | null;
}

/** Returns the outcome at `now`: the first rule that fails determines the code. */
export function judge(facts: Facts, now: number): Outcome {
  const { claims, build } = facts;
  if (now < beginning(claims)) return invalid("not_yet_valid");
  if (facts.isClockRolledBack) return invalid("clock_rolled_back");
  if (facts.isRevoked) return invalid("revoked");
  if (now >= (facts.staleFrom ?? Infinity)) return invalid("stale_status");
  if (claims.device !== null && claims.device !== facts.device) return invalid("wrong_device");
  if (build !== null && build > (claims.updatesUntil ?? Infinity)) {
    return invalid("update_not_covered");
  }
  if (now >= end(claims)) return over(claims, "license_expired");
  if (now >= claims.exp) return over(claims, "token_expired");
  if (now >= (claims.licenseExpires ?? Infinity)) {
    return { state: "grace", code: "license_expired" };
  }
  return { state: "active", code: null };
}

function invalid(code: Code): Outcome {
  return { state: null, code };
}

function over(claims: Claims, code: Code): Outcome {
  const state = { stop: null, limited: "limited", warn: "overdue" } as const;
  return { state: state[claims.onEnd.mode], code };
}

/** Returns the time from which on the license is accepted. */
function beginning(claims: Claims): number {
  return Math.max(claims.nbf, claims.iat) - LEEWAY;
}

/** Returns the end of the license, including the grace period. */
function end(claims: Claims): number {
  return Math.max(claims.licenseExpires ?? Infinity, claims.graceUntil ?? 0);
}

/**
 * Returns when the outcome changes next if nothing new is fetched.
 *
 * @param clockFloor the earliest time at which the clock does not count as rolled back
 * @param bundleEnd the end of the bundle, after which the license's key is unknown
 */
export function nextChange(
  facts: Facts, { state, code }: Outcome, clockFloor: number, bundleEnd: number | null, now: number,
): number | null {
  const { claims, staleFrom } = facts;
  if (code === "not_yet_valid") return beginning(claims);
  if (code === "clock_rolled_back") {
    const then = judge({ ...facts, isClockRolledBack: false }, clockFloor);
    return then.state !== null && clockFloor < (bundleEnd ?? Infinity) ? clockFloor : null;
  }
  if (state !== "active" && state !== "grace") return null;
  const ends = [claims.licenseExpires, end(claims), claims.exp, bundleEnd, staleFrom];
  const first = Math.min(...ends.map((time) => (time !== null && time > now ? time : Infinity)));
  return Number.isFinite(first) ? first : null;
}

/** Returns the features and limits that are in effect. */
export function inEffect(
  { features, limits, onEnd }: Claims, { state }: Outcome,
): { features: readonly string[]; limits: Limits } {
  if (state === null) return { features: [], limits: {} };
  return state === "limited" && onEnd.mode === "limited" ? onEnd : { features, limits };
}

/** Returns whether the user should be told of an end that has come, or soon comes. */
export function needsWarning(
  { warnDays }: Claims, { state }: Outcome, changesAt: number | null, now: number,
): boolean {
  if (state !== "active") return state !== null;
  return warnDays !== null && changesAt !== null && now >= changesAt - warnDays * 86_400;
}
