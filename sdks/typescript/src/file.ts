/**
 * The texts that an app stores: `license.json`, or a token, and `memory.json`.
 *
 * `memory.json` has the memory, and with it the bundle and the list that the memory refers to. They
 * are replaced together. So neither a crash nor another process can leave a memory that refuses the
 * only bundle that there is.
 */

import { parseObject } from "./json.js";
import { BUNDLE, LICENSE, LIST, Rejection } from "./jws.js";
import { clean, isLongerThan } from "./text.js";

const MAX_BYTES = LICENSE.maxBytes + BUNDLE.maxBytes + LIST.maxBytes;

/** What travels with a license: a key bundle and a status list. */
export interface Companions {
  keys?: string | null | undefined;
  status?: string | null | undefined;
}

export interface LicenseFile {
  license: string | Rejection;
  keys: string | null;
  status: string | null;
}

export interface MemoryFile {
  memory: string | null;
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

/** Returns the memory, and the bundle and the list that it refers to. */
export function readMemoryFile(text: string | null): MemoryFile {
  const { keys, status, ...memory } = asRecord(text);
  return {
    memory: text === null ? null : JSON.stringify(memory),
    keys: typeof keys === "string" ? keys : null,
    status: typeof status === "string" ? status : null,
  };
}

export function writeMemoryFile({ memory, keys, status }: MemoryFile): string {
  return JSON.stringify({
    ...asRecord(memory), keys: keys ?? undefined, status: status ?? undefined,
  });
}

/** Returns the members of a JSON object; none if it cannot be read. */
export function asRecord(text: string | null): Record<string, unknown> {
  try {
    return Object(JSON.parse(text ?? "")) as Record<string, unknown>;
  } catch {
    return {};
  }
}
