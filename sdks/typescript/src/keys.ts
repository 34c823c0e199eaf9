/** The trusted keys: a JWKS or a root that the app contains, and bundles that the root signed. */

import { asArray, asId, asNumber, asObject, asTexts, asTime, orNull } from "./claims.js";
import { importKey } from "./ed25519.js";
import { type Json, type Members, isObject, parseObject } from "./json.js";
import { BUNDLE, Jws, Rejection, isAlgorithm, orNullIfRejected } from "./jws.js";
import { encodeBase64url, encodeUtf8, isLongerThan } from "./text.js";

/** The keys that an app contains: a key set, or one root key. Each as JSON text or an object. */
export type Trust = { jwks: string | object } | { root: string | object };

/** A public key, and the time in which it may sign, in seconds since 1970. */
export interface Key {
  kid: string;
  /** The 32 bytes, base64url. */
  x: string;
  verifier: CryptoKey;
  nbf: number;
  exp: number | null;
}

/** The keys that may sign licenses and status lists. */
export interface KeySet {
  keys: Key[];
  revoked: string[];
}

export interface Bundle extends KeySet {
  text: string;
  iat: number;
  exp: number | null;
  seq: number;
}

export type ParsedTrust = { jwks: KeySet; root: null } | { jwks: null; root: Key };

/** Returns the trusted keys; throws a TypeError if they cannot be used. */
export async function parseTrust(trust: Trust): Promise<ParsedTrust> {
  if ("root" in trust) return { jwks: null, root: await parseRoot(asMembers(trust.root)) };
  return { jwks: await parseJwks(asMembers(trust.jwks)), root: null };
}

function asMembers(json: string | object): Members {
  const text = typeof json === "string" ? json : JSON.stringify(json ?? null);
  const members = isLongerThan(text, BUNDLE.maxBytes) ? null : parseObject(text);
  if (members === null) throw new TypeError("the trusted keys are not a JSON object");
  return members;
}

async function parseRoot(jwk: Members): Promise<Key> {
  if (jwk.has("d")) throw new TypeError("the root has a private part (\"d\")");
  const { x, verifier } = await publicKey(jwk) ?? {};
  if (x === undefined || verifier === undefined) {
    throw new TypeError("the root is not a usable Ed25519 key");
  }
  const kid = jwk.has("kid") ? jwk.get("kid") : await thumbprint(x);
  if (!isKid(kid)) throw new TypeError("the kid of the root is not a text");
  return { kid, x, verifier, nbf: 0, exp: null };
}

async function parseJwks(jwks: Members): Promise<KeySet> {
  const entries = jwks.get("keys");
  if (!Array.isArray(entries)) throw new TypeError("the JWKS has no array \"keys\"");
  const keys: Key[] = [];
  for (const jwk of entries.filter(isObject)) {
    if (isEd25519(jwk) && jwk.has("d")) throw new TypeError("the JWKS has a private key (\"d\")");
    const key = await publicKey(jwk);
    const kid = jwk.get("kid");
    if (key !== null && isKid(kid)) keys.push({ kid, ...key, nbf: 0, exp: null });
  }
  if (keys.length === 0) throw new TypeError("the JWKS has no usable Ed25519 key");
  if (repeatsKid(keys)) throw new TypeError("the JWKS has two keys with the same kid");
  return { keys, revoked: [] };
}

function repeatsKid(keys: Key[]): boolean {
  return new Set(keys.map(({ kid }) => kid)).size < keys.length;
}

function isKid(value: Json | undefined): value is string {
  return typeof value === "string" && value !== "";
}

function isEd25519(jwk: Members): boolean {
  return jwk.get("kty") === "OKP" && jwk.get("crv") === "Ed25519";
}

/** Returns the key of a JWK; null for a key of another type or use, and for an unusable one. */
async function publicKey(jwk: Members): Promise<{ x: string; verifier: CryptoKey } | null> {
  const x = jwk.get("x");
  const isUsable = isEd25519(jwk)
    && (!jwk.has("use") || jwk.get("use") === "sig")
    && (!jwk.has("alg") || isAlgorithm(jwk.get("alg")));
  const verifier = isUsable && typeof x === "string" ? await importKey(x) : null;
  return verifier && { x: x as string, verifier };
}

/** Returns the RFC 7638 thumbprint of an Ed25519 key. */
async function thumbprint(x: string): Promise<string> {
  const members = `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`;
  const hash = await crypto.subtle.digest("SHA-256", encodeUtf8(members));
  return encodeBase64url(new Uint8Array(hash));
}

/** Returns the bundle; null if it is not signed by the root, or over. */
export async function openBundle(text: string, root: Key, now: number): Promise<Bundle | null> {
  return orNullIfRejected(async () => {
    const jws = Jws.parse(text, BUNDLE);
    if (jws.kid !== root.kid) return null;
    const claims = await jws.open(root.verifier);
    asId(claims.get("iss"));
    const entries = asArray(claims.get("keys")).map((entry) => bundledKey(entry, root));
    const keys = (await Promise.all(entries)).filter((key) => key !== null);
    const bundle: Bundle = {
      text,
      iat: asTime(claims.get("iat")),
      exp: orNull(claims.get("exp"), asTime),
      seq: asNumber(claims.get("seq")),
      keys,
      revoked: asTexts(claims.get("revoked")),
    };
    return repeatsKid(keys) || now >= (bundle.exp ?? Infinity) ? null : bundle;
  });
}

/** Returns the key in one entry of a bundle; null if it cannot be used, or is the root itself. */
async function bundledKey(entry: Json, root: Key): Promise<Key | null> {
  return orNullIfRejected(async () => {
    const jwk = asObject(entry);
    const [kid, nbf] = [asId(jwk.get("kid")), asTime(jwk.get("nbf"))];
    const exp = orNull(jwk.get("exp"), asTime);
    const key = jwk.has("d") ? null : await publicKey(jwk);
    return key === null || key.x === root.x ? null : { kid, ...key, nbf, exp };
  });
}

/** Returns the claims that a key of the set has signed, and the key. */
export async function openWith(jws: Jws, set: KeySet): Promise<{ claims: Members; key: Key }> {
  if (set.revoked.includes(jws.kid)) throw new Rejection("key_revoked");
  const key = set.keys.find(({ kid }) => kid === jws.kid);
  if (key === undefined) throw new Rejection("unknown_key");
  return { claims: await jws.open(key.verifier), key };
}

/** Clocks of devices may be this far behind, in seconds. The server sets `iat` as far back. */
export const LEEWAY = 60;

/** Returns whether a document of this `iat` was signed in the time of the key. */
export function isInTime(key: Key, iat: number): boolean {
  return iat + LEEWAY >= key.nbf && (key.exp === null || iat < key.exp);
}
