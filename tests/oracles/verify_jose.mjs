// Verifies a license with jose alone: verify_jose.mjs JWKS_FILE LICENSE_FILE.

import { readFile } from "node:fs/promises";
import { SignJWT, createLocalJWKSet, generateKeyPair, jwtVerify } from "jose";

const [jwks, token] = await Promise.all(process.argv.slice(2, 4).map((path) => readFile(path, "utf8")));
const keys = createLocalJWKSet(JSON.parse(jwks));

const claims = async (token, audience = "acme-app") =>
  (await jwtVerify(token, keys, {
    audience,
    algorithms: ["EdDSA", "Ed25519"],
    typ: "license+jwt",
    requiredClaims: ["iss", "sub", "iat", "nbf", "exp", "jti"],
  })).payload;

console.log("valid:", (await claims(token)).plan);
const [head, body, signature] = token.split(".");
const forged = signature.slice(0, 10) + (signature[10] === "A" ? "B" : "A") + signature.slice(11);
for (const attempt of [() => claims(`${head}.${body}.${forged}`), () => claims(token, "other-app")]) {
  try {
    await attempt();
  } catch (error) {
    console.log("refused:", error.code);
    continue;
  }
  throw new Error("accepted what must be refused");
}

// jose knows only `exp`: a license that is over has to be noticed by hand.
const { publicKey, privateKey } = await generateKeyPair("EdDSA");
const now = Math.floor(Date.now() / 1000);
const ended = { license_expires: now - 1, grace_until: null, exp: now + 3600 };
const over = { ...await claims(token), ...ended };
const signed = await new SignJWT(over).setProtectedHeader({ alg: "EdDSA", typ: "license+jwt" })
  .sign(privateKey);
await jwtVerify(signed, publicKey, { audience: "acme-app", typ: "license+jwt" });
console.log("accepted, although it is over");
