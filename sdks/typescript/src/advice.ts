/** What an app shows and offers for each verdict. */

import type { Code } from "./jws.js";
import type { Verdict } from "./verifier.js";

/** What the user, or the app, can do about the verdict. */
export type Action =
  | "none"
  /** The app goes online and refreshes the license. */
  | "refresh"
  /** The user pays, or buys a license. */
  | "buy"
  /** The user enters a license, or opens a `license.json`. */
  | "enter_license"
  /** The user sets the clock of the device, or the app refreshes the license. */
  | "set_clock"
  /** The user installs another version of the app. */
  | "change_version"
  /** The user asks the vendor. */
  | "ask_vendor";

export interface Advice {
  /** `ok`: show nothing. `reminder`: everything works. `reduced`: a part works. `stop`: nothing. */
  level: "ok" | "reminder" | "reduced" | "stop";
  action: Action;
  /** One or two English sentences for the user. */
  message: string;
}

/** Returns what to show for this verdict. */
export function advise(verdict: Verdict): Advice {
  const { state, code, warn } = verdict;
  if (state === "active" && !warn) {
    return { level: "ok", action: "none", message: "Your license is active." };
  }
  if (state === "active") return { level: "reminder", ...ENDS_SOON };
  if (state === "grace") return { level: "reminder", ...PAYMENT_LATE };
  const { action, message } = ADVICE[code ?? "malformed"];
  if (state === "overdue") return { level: "reminder", action, message };
  return { level: state === "limited" ? "reduced" : "stop", action, message };
}

type Text = Pick<Advice, "action" | "message">;

const ENDS_SOON: Text = {
  action: "refresh",
  message: "Your license ends soon. Please go online, or renew it.",
};
const PAYMENT_LATE: Text = {
  action: "buy",
  message: "Your last payment is missing. Please pay, so that the app keeps working.",
};
const NOT_A_LICENSE: Text = {
  action: "enter_license",
  message: "There is no valid license. Please enter all of it.",
};
const OTHER_PRODUCT: Text = {
  action: "enter_license",
  message: "This license is for another product. Please enter the license of this app.",
};
const KEY_UNKNOWN: Text = {
  action: "refresh",
  message: "The license cannot be checked on this device yet. Please go online once.",
};
const KEY_STOLEN: Text = {
  action: "ask_vendor",
  message: "This license was replaced. Please ask us for the new one.",
};
const CLOCK_WRONG: Text = {
  action: "set_clock",
  message: "The clock of this device is wrong. Please set it, or go online.",
};

const ADVICE: Readonly<Record<Code, Text>> = {
  too_large: NOT_A_LICENSE,
  malformed: NOT_A_LICENSE,
  wrong_type: NOT_A_LICENSE,
  critical_header: NOT_A_LICENSE,
  unsupported_algorithm: NOT_A_LICENSE,
  bad_signature: NOT_A_LICENSE,
  invalid_claims: NOT_A_LICENSE,
  wrong_audience: OTHER_PRODUCT,
  wrong_issuer: OTHER_PRODUCT,
  unknown_key: KEY_UNKNOWN,
  key_not_valid: KEY_STOLEN,
  key_revoked: KEY_STOLEN,
  not_yet_valid: CLOCK_WRONG,
  clock_rolled_back: CLOCK_WRONG,
  unsupported_version: {
    action: "change_version",
    message: "This license needs a newer version of the app. Please update it.",
  },
  update_not_covered: {
    action: "change_version",
    message: "Your license covers older versions. Please use one of them, or buy the updates.",
  },
  revoked: {
    action: "ask_vendor",
    message: "This license was revoked. Please ask us.",
  },
  stale_status: {
    action: "refresh",
    message: "The license must be checked online. Please go online once.",
  },
  wrong_device: {
    action: "ask_vendor",
    message: "This license belongs to another device. Please ask us for one for this device.",
  },
  license_expired: {
    action: "buy",
    message: "Your license has ended. Please renew it.",
  },
  token_expired: {
    action: "refresh",
    message: "The license must be renewed online. Please go online once.",
  },
};
