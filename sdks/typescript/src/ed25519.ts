/**
 * Verifies Ed25519 signatures strictly (RFC 8032). WebCrypto checks the equation of the signature.
 * Its implementations differ in what else they accept, so the encodings are checked here.
 */

import { type Bytes, decodeBase64url } from "./text.js";

/** The prime of the field. */
const P = 2n ** 255n - 19n;
/** The order of the base point. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** The constant of the curve −x² + y² = 1 + d·x²·y². */
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/** The imported keys by `x`: to check a point costs as much as to verify a signature. */
const imported = new Map<string, Promise<CryptoKey | null>>();
const MAX_IMPORTED = 1024;

/**
 * Returns the key with these 32 bytes (base64url); null for a wrong length, a value that is not
 * canonical, and a point that is not on the curve or has a small order.
 */
export function importKey(x: string): Promise<CryptoKey | null> {
  let key = imported.get(x);
  if (key === undefined) {
    if (imported.size >= MAX_IMPORTED) imported.clear();
    key = importStrictly(x);
    imported.set(x, key);
  }
  return key;
}

async function importStrictly(x: string): Promise<CryptoKey | null> {
  const bytes = decodeBase64url(x);
  if (bytes === null || !isUsablePoint(bytes)) return null;
  return crypto.subtle.importKey("raw", bytes, "Ed25519", false, ["verify"]);
}

/** Returns whether the signature is that of the message. */
export async function verify(key: CryptoKey, signature: Bytes, message: Bytes): Promise<boolean> {
  if (signature.length !== 64) return false;
  const r = yOf(signature.subarray(0, 32));
  const s = littleEndian(signature.subarray(32));
  if (r >= P || hasSmallOrder(r) || s >= L) return false;
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

/** Returns whether these bytes encode a point whose order is not small. */
export function isUsablePoint(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const y = yOf(bytes);
  if (y >= P || hasSmallOrder(y)) return false;
  // x² = (y² − 1) / (d·y² + 1) has a root when the product of both is a square (Euler).
  const square = (y * y) % P;
  return power((square - 1n) * (D * square + 1n), (P - 1n) / 2n) === 1n;
}

/**
 * Returns whether a point with this y has the order 1 or 2 (y = ±1), 4 (y = 0), or 8 (its double
 * has y = 0, so x² = −y², and the equation of the curve becomes d·y⁴ + 2y² − 1 = 0).
 */
function hasSmallOrder(y: bigint): boolean {
  const square = (y * y) % P;
  return (square * (square - 1n) * (D * square * square + 2n * square - 1n)) % P === 0n;
}

/** Returns the y of an encoded point. The highest bit is the sign of x. */
function yOf(bytes: Uint8Array): bigint {
  return littleEndian(bytes) & (2n ** 255n - 1n);
}

function littleEndian(bytes: Uint8Array): bigint {
  let hex = "0x";
  for (let at = bytes.length - 1; at >= 0; at -= 1) hex += bytes[at]!.toString(16).padStart(2, "0");
  return BigInt(hex);
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = (result * result) % P;
    if (bit === "1") result = (result * (base % P)) % P;
  }
  return result;
}
