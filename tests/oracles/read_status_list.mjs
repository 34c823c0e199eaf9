// Reads a status list with @sd-jwt/jwt-status-list, after jose has verified its signature:
// read_status_list.mjs JWKS_FILE LIST_FILE LICENSES_FILE. Prints for each license, one a line,
// whether it is revoked, and how many bits of the list are set.

import { readFile } from "node:fs/promises";
import { getListFromStatusListJWT, getStatusListFromJWT } from "@sd-jwt/jwt-status-list";
import { createLocalJWKSet, jwtVerify } from "jose";

const files = process.argv.slice(2, 5).map((path) => readFile(path, "utf8"));
const [jwks, token, licenses] = await Promise.all(files);
const keys = createLocalJWKSet(JSON.parse(jwks));
const { payload } = await jwtVerify(token, keys, {
  algorithms: ["EdDSA"],
  typ: "statuslist+jwt",
  requiredClaims: ["sub", "iat", "exp", "ttl"],
});
const list = getListFromStatusListJWT(token);
for (const license of licenses.trim().split("\n")) {
  const { idx, uri } = getStatusListFromJWT(license);
  if (uri !== payload.sub) throw new Error(`another list: ${payload.sub}`);
  console.log(list.getStatus(idx) === 1 ? "revoked" : "valid");
}
const places = list.statusList.length;
let revoked = 0;
for (let idx = 0; idx < places; idx += 1) revoked += list.getStatus(idx);
console.log(`${places} places, ${revoked} revoked`);
