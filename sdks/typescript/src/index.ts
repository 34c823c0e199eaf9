export { type Action, type Advice, advise } from "./advice.js";
export type { Limits } from "./claims.js";
export {
  type BackgroundOptions, type ClientOptions, LicenseClient, type RefreshOutcome,
  type RefreshResult,
} from "./client.js";
export type { State } from "./judge.js";
export type { Code } from "./jws.js";
export type { Trust } from "./keys.js";
export { BrowserStore, type Store, type StoredName } from "./store.js";
export {
  type Answer, type Evidence, type Verdict, Verifier, type VerifierOptions,
} from "./verifier.js";
