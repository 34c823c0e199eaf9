// Signs licenses, bundles and status lists for the tests, with `node:crypto`.

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { deflateSync } from "node:zlib";

export const NOW = 1_796_000_000;
export const DAY = 86_400;
export const LIST_URI = "https://licenses.acme.example/.well-known/license-status/1";

const encode = (value) => Buffer.from(value).toString("base64url");

/** Returns a new key: its public JWK, and `sign(typ, claims)`. */
export function newKey() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const { x } = publicKey.export({ format: "jwk" });
  const thumbprint = createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`);
  const kid = thumbprint.digest("base64url");
  const jwk = { kty: "OKP", crv: "Ed25519", alg: "EdDSA", use: "sig", kid, x };
  return {
    jwk,
    sign: (typ, claims) => {
      const header = encode(JSON.stringify({ alg: "EdDSA", typ, kid }));
      const payload = encode(typeof claims === "string" ? claims : JSON.stringify(claims));
      const signature = sign(null, Buffer.from(`${header}.${payload}`), privateKey);
      return `${header}.${payload}.${encode(signature)}`;
    },
  };
}

export const claims = (changed = {}) => ({
  iss: "https://licenses.acme.example", sub: "cust_1", aud: "acme-app", jti: "lic_1",
  iat: NOW - 60, nbf: NOW - 60, exp: NOW + 14 * DAY, plan: "professional", trial: false,
  features: ["editor", "export"], limits: { seats: 5 }, license_expires: NOW + 30 * DAY,
  grace_until: null, seq: 1, ver: 1, ...changed,
});

export const license = (key, changed) => key.sign("license+jwt", claims(changed));

export const bundle = (root, keys, changed = {}) =>
  root.sign("license-keys+jwt", {
    iss: "https://licenses.acme.example", iat: NOW - DAY, exp: null, seq: 1, revoked: [],
    keys: keys.map((key) => ({ ...key.jwk, nbf: NOW - 100 * DAY, exp: null })), ...changed,
  });

/** Returns a status list of 1,024 licenses in which these are revoked. */
export const list = (key, revoked, changed = {}) => {
  const bits = Buffer.alloc(128);
  for (const idx of revoked) bits[idx >> 3] |= 1 << (idx & 7);
  const lst = encode(deflateSync(bits));
  return key.sign("statuslist+jwt", {
    sub: LIST_URI, iat: NOW, exp: NOW + DAY, ttl: 3_600, status_list: { bits: 1, lst }, ...changed,
  });
};
