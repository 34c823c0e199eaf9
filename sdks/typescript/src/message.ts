/** A sentence for the user about each verdict. */

import type { Code } from "./jws.js";
import type { Verdict } from "./verifier.js";

const CONNECT = "Please connect to the internet once, so that your license can be refreshed.";
const REVOKED =
  "This license was revoked. Please log in to get your current one, or contact us.";
const CLOCK = "The clock of this device is wrong. Please set it and try again.";
const PRODUCT = "This license is for another product.";
const NOT_A_LICENSE = "There is no valid license. Please enter all of it.";

const INVALID: Readonly<Partial<Record<Code, string>>> = {
  license_expired: "Your license has ended. Please renew it to continue.",
  token_expired: CONNECT,
  stale_status: CONNECT,
  unknown_key: CONNECT,
  key_not_valid: CONNECT,
  revoked: REVOKED,
  key_revoked: REVOKED,
  wrong_device: "This license belongs to another device.",
  not_yet_valid: CLOCK,
  clock_rolled_back: CLOCK,
  unsupported_version: "This license needs a newer version of the app. Please update the app.",
  wrong_audience: PRODUCT,
  wrong_issuer: PRODUCT,
};

/** Returns what to show the user, in English; null while there is nothing to say. */
export function message(verdict: Verdict): string | null {
  const { state, code, warn, changes_at: changesAt, updates_until: updatesUntil } = verdict;
  if (state === "active") {
    return warn
      ? `Please connect to the internet or renew your license by ${day(changesAt)}.`
      : null;
  }
  if (state === "grace") {
    return `Your license has ended. It still works until ${day(changesAt)}. Please renew it.`;
  }
  if (state !== null) {
    const remains = state === "overdue" ? "Everything keeps working" : "Some features are off";
    return code === "token_expired"
      ? `${CONNECT} ${remains} until then.`
      : `Your license has ended. ${remains}. Please renew it.`;
  }
  if (code === "update_not_covered") {
    return `Your license covers versions until ${day(updatesUntil)}. ` +
      "Use an earlier one or buy the updates.";
  }
  return INVALID[code ?? "malformed"] ?? NOT_A_LICENSE;
}

function day(seconds: number | null): string {
  return new Date((seconds ?? 0) * 1000).toISOString().slice(0, 10);
}
