/** The text of a license: a token, or a `license.json` that contains one. */

import { parseObject } from "./json.js";
import { BUNDLE, LICENSE, LIST, Rejection } from "./jws.js";
import { clean, isLongerThan } from "./text.js";

const MAX_BYTES = LICENSE.maxBytes + BUNDLE.maxBytes + LIST.maxBytes;

export interface LicenseFile {
  license: string | Rejection;
  keys: string | null;
  status: string | null;
}

/** Returns what the text contains. A token counts as a file without bundle and list. */
export function readFile(given: string | null | undefined): LicenseFile {
  const nothing = { license: new Rejection("malformed"), keys: null, status: null };
  if (typeof given !== "string") return nothing;
  const text = clean(given);
  // Not cleaned here: a token loses at most two pairs of quotes.
  if (!text.startsWith("{")) return { ...nothing, license: given };
  if (isLongerThan(text, MAX_BYTES)) return { ...nothing, license: new Rejection("too_large") };
  const members = parseObject(text);
  const member = (name: string) => {
    const value = members?.get(name);
    return typeof value === "string" ? value : null;
  };
  return {
    license: member("license") ?? nothing.license,
    keys: member("keys"),
    status: member("status"),
  };
}

/** Returns the text of a `license.json`; null if there is no license. */
export function writeFile({ license, keys, status }: LicenseFile): string | null {
  if (typeof license !== "string") return null;
  // Members that are undefined are left out.
  return JSON.stringify({ license, keys: keys ?? undefined, status: status ?? undefined });
}
