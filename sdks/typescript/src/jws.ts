/** Reads signed documents: licenses, bundles and lists are JWS in compact form (RFC 7515). */

import { verify } from "./ed25519.js";
import { type Members, parseObject } from "./json.js";
import {
  type Bytes, clean, decodeBase64url, decodeUtf8, encodeUtf8, isLongerThan,
} from "./text.js";

/** The reasons why a license is not, or not fully, in effect. */
export type Code =
  | "too_large" | "malformed" | "wrong_type" | "critical_header" | "unsupported_algorithm"
  | "key_revoked" | "unknown_key" | "bad_signature" | "unsupported_version" | "invalid_claims"
  | "key_not_valid" | "wrong_audience" | "wrong_issuer" | "not_yet_valid" | "clock_rolled_back"
  | "revoked" | "stale_status" | "wrong_device" | "update_not_covered" | "license_expired"
  | "token_expired";

/** Thrown and caught within this package: the first rule that a document breaks. */
export class Rejection {
  constructor(readonly code: Code) {}
}

/** Returns null when the reading of a document ends with a {@link Rejection}. */
export async function orNullIfRejected<Value>(
  read: () => Promise<Value | null>,
): Promise<Value | null> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Rejection) return null;
    throw error;
  }
}

/** The kinds of documents: their `typ`, and the largest size in bytes. */
export const LICENSE = { type: "license+jwt", maxBytes: 8 * 1024 };
export const BUNDLE = { type: "license-keys+jwt", maxBytes: 64 * 1024 };
export const LIST = { type: "statuslist+jwt", maxBytes: 256 * 1024 };

/** A document whose signature is not verified yet. */
export class Jws {
  private constructor(
    /** The thumbprint of the key that the document names. */
    readonly kid: string,
    private readonly signed: Bytes,
    private readonly claims: Bytes,
    private readonly signature: Bytes,
  ) {}

  /** Returns the document; throws a {@link Rejection} if it is not of this kind. */
  static parse(text: string, kind: { type: string; maxBytes: number }): Jws {
    const token = clean(text);
    if (isLongerThan(token, kind.maxBytes)) throw new Rejection("too_large");
    const parts = token.split(".");
    const [header, claims, signature] = parts.map(decodeBase64url);
    if (parts.length !== 3 || !header || !claims || !signature) throw new Rejection("malformed");
    const members = parseObject(decodeUtf8(header));
    if (members === null) throw new Rejection("malformed");
    if (typeOf(members) !== kind.type) throw new Rejection("wrong_type");
    if (members.has("crit")) throw new Rejection("critical_header");
    if (!isAlgorithm(members.get("alg"))) throw new Rejection("unsupported_algorithm");
    const kid = members.get("kid");
    if (typeof kid !== "string") throw new Rejection("malformed");
    return new Jws(kid, encodeUtf8(token.slice(0, token.lastIndexOf("."))), claims, signature);
  }

  /** Returns the claims; throws a {@link Rejection} if the signature is not by this key. */
  async open(key: CryptoKey): Promise<Members> {
    if (!await verify(key, this.signature, this.signed)) throw new Rejection("bad_signature");
    const claims = parseObject(decodeUtf8(this.claims));
    if (claims === null) throw new Rejection("malformed");
    return claims;
  }
}

/** Returns whether this is a name of Ed25519: that of RFC 8037 or that of RFC 9864. */
export function isAlgorithm(name: unknown): boolean {
  return name === "EdDSA" || name === "Ed25519";
}

/** Returns `typ` in lower case. */
function typeOf(header: Members): string | null {
  const type = header.get("typ");
  if (typeof type !== "string") return null;
  // Only ASCII: `toLowerCase` makes a k of the Kelvin sign.
  return type.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
