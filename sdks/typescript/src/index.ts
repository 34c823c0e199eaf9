export type { Limits } from "./claims.js";
export {
  Client, type ClientOptions, type Installation, type Outcome, type Refresh, type StartOptions,
} from "./client.js";
export type { State } from "./judge.js";
export type { Code } from "./jws.js";
export type { Trust } from "./keys.js";
export { message } from "./message.js";
export { BrowserStore, type Store, type StoredName } from "./store.js";
export {
  allows, type Answer, type Evidence, limit, type Verdict, Verifier, type VerifierOptions,
} from "./verifier.js";
