// Measures verifications per second, next to a bare signature check: `npm run bench`.

import { generateKeyPairSync, sign } from "node:crypto";

import { Verifier } from "licentia";
import { LIST_URI, NOW, bundle, license, list, newKey } from "./signing.mjs";

const SECONDS = 2;

async function measure(name, operation) {
  await operation();
  const end = performance.now() + SECONDS * 1000;
  let count = 0;
  for (; performance.now() < end; count += 1) await operation();
  console.log(`${name}: ${Math.round(count / SECONDS)} per second`);
}

const [root, key] = [newKey(), newKey()];
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const message = Buffer.alloc(600);
const signature = sign(null, message, privateKey);
const spki = publicKey.export({ type: "spki", format: "der" });
const bare = await crypto.subtle.importKey("spki", spki, "Ed25519", false, ["verify"]);
const audience = "acme-app";
const pinned = new Verifier({ trust: { jwks: { keys: [key.jwk] } }, audience });
const rooted = new Verifier({ trust: { root: root.jwk }, audience });
const token = license(key, { status: { status_list: { idx: 9, uri: LIST_URI } } });
const keys = bundle(root, [key]);
const status = list(key, [1]);

await measure("signature alone", () => crypto.subtle.verify("Ed25519", bare, signature, message));
await measure("license", () => pinned.verify({ license: token, now: NOW }));
await measure("license and bundle", () => rooted.verify({ license: token, keys, now: NOW }));
await measure("license, bundle and list",
  () => rooted.verify({ license: token, keys, status, now: NOW }));
