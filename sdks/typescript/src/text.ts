/** Reads text: removes what mails and clipboards add to a license, and decodes base64url. */

export type Bytes = Uint8Array<ArrayBuffer>;

const BLANKS = " \t\r\n\uFEFF\u00A0\u200B";
const QUOTES = "\"'`“”„‘’«»";

/**
 * Returns the text without surrounding blanks, without one or two pairs of quotes, and without
 * line breaks. Blanks next to a line break are removed with it; all others stay.
 */
export function clean(text: string): string {
  let cleaned = trim(text);
  for (let pair = 0; pair < 2 && isQuoted(cleaned); pair += 1) {
    cleaned = trim(cleaned.slice(1, -1));
  }
  // Not one regular expression: blanks before a line break would make it quadratic.
  return cleaned.split(/[\r\n]+/).map(trim).join("");
}

function isQuoted(text: string): boolean {
  return text.length >= 2 && QUOTES.includes(text.charAt(0)) && QUOTES.includes(text.slice(-1));
}

function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && BLANKS.includes(text.charAt(start))) start += 1;
  while (end > start && BLANKS.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** Returns whether the text has more than `max` bytes in UTF-8. */
export function isLongerThan(text: string, max: number): boolean {
  return text.length > max || encodeUtf8(text).length > max;
}

export function encodeUtf8(text: string): Bytes {
  return new TextEncoder().encode(text);
}

/** Returns the text, with its byte order mark if it has one; null if the bytes are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const DIGITS = new Int8Array(128).fill(-1);
for (let digit = 0; digit < 64; digit += 1) DIGITS[ALPHABET.charCodeAt(digit)] = digit;

/** Returns the bytes; null for padding, another alphabet, or bits that are not used. */
export function decodeBase64url(text: string): Bytes | null {
  const bytes = new Uint8Array(Math.floor((text.length * 6) / 8));
  let length = 0;
  let buffer = 0;
  let bits = 0;
  for (let at = 0; at < text.length; at += 1) {
    const digit = DIGITS[text.charCodeAt(at)] ?? -1;
    if (digit < 0) return null;
    buffer = ((buffer << 6) | digit) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[length] = buffer >> bits;
      length += 1;
    }
  }
  const unused = buffer & ((1 << bits) - 1);
  return bits < 6 && unused === 0 ? bytes : null;
}

export function encodeBase64url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
