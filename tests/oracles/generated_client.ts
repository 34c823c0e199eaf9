// Uses the types that openapi-typescript generated as api.ts: generated_client.js URL.

import { createLocalJWKSet, jwtVerify } from "jose";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

const baseUrl = process.argv[2];
const visitor = createClient<paths>({ baseUrl });

// Returns the body of a response, or ends with the problem that the server reports.
function body<T>(response: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (response.data === undefined) throw new Error(JSON.stringify(response.error));
  return response.data;
}

const account = { email: "grace@example.com", password: "SecurePass123" };
const signUp = { ...account, name: "Grace Hopper" };
const made = body(await visitor.POST("/api/customers/signup", { body: signUp }));
if (!("customer" in made)) throw new Error("the sign-up waits for a confirmation");
console.log("signed up:", made.customer.name);
const taken = (await visitor.POST("/api/customers/signup", { body: signUp })).error;
console.log("refused:", taken?.status, taken?.code);

const session = body(await visitor.POST("/api/customers/login", { body: account }));
const headers = { Authorization: `Bearer ${session.access_token}` };
const customer = createClient<paths>({ baseUrl, headers });
const license = body(await customer.GET("/api/licenses/current"));
const { licenses } = body(await customer.GET("/api/licenses", { params: { query: { limit: 1 } } }));
if (licenses[0].token !== license.token) throw new Error("another license is listed");

const keys = createLocalJWKSet(body(await visitor.GET("/.well-known/jwks.json")));
const options = { audience: "acme-app", algorithms: ["EdDSA"], typ: "license+jwt" };
const { payload } = await jwtVerify(license.token, keys, options);
if (payload.jti !== license.license_id) throw new Error("the license has another id");
console.log("verified:", payload.plan);

const token = license.token;
const verdict = body(await visitor.POST("/api/licenses/verify", { body: { token } }));
if (!verdict.valid) throw new Error(JSON.stringify(verdict));
const missing = (await visitor.GET("/api/licenses/current")).error;
console.log("refused:", missing?.status, missing?.code);
