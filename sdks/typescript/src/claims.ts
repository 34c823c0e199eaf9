/** The claims of a license, and how claims are read. */

import { type Json, type Members, isObject } from "./json.js";
import { Rejection } from "./jws.js";

/** The limits of a plan by name, for example `{ seats: 5 }`. */
export type Limits = Readonly<Record<string, number | undefined>>;

/** What remains when the license is over, or its token has run out. */
export type OnEnd =
  | { mode: "stop" }
  | { mode: "limited"; features: readonly string[]; limits: Limits }
  | { mode: "warn" };

/** Times are seconds since 1970. */
export interface Claims {
  iss: string;
  sub: string;
  aud: string;
  iat: number;
  nbf: number;
  exp: number;
  jti: string;
  plan: string;
  trial: boolean;
  features: readonly string[];
  limits: Limits;
  licenseExpires: number | null;
  graceUntil: number | null;
  seq: number;
  updatesUntil: number | null;
  onEnd: OnEnd;
  warnDays: number | null;
  status: { idx: number; uri: string } | null;
  /** The thumbprint of the only device that may use the license. */
  device: string | null;
}

/** The version of the claims that this package understands. */
const VERSION = 1;

/** Returns the claims of a license; throws a {@link Rejection} if one is missing or wrong. */
export function readClaims(members: Members): Claims {
  const version = asNumber(members.get("ver"));
  if (version > VERSION) throw new Rejection("unsupported_version");
  if (version !== VERSION) throw invalid();
  const claims: Claims = {
    iss: asId(members.get("iss")),
    sub: asId(members.get("sub")),
    aud: asText(members.get("aud")),
    iat: asTime(members.get("iat")),
    nbf: asTime(members.get("nbf")),
    exp: asTime(members.get("exp")),
    jti: asId(members.get("jti")),
    plan: asText(members.get("plan")),
    trial: asFlag(members.get("trial")),
    features: asTexts(members.get("features")),
    limits: asLimits(members.get("limits")),
    licenseExpires: orNull(members.get("license_expires"), asTime),
    graceUntil: orNull(members.get("grace_until"), asTime),
    seq: asNumber(members.get("seq")),
    updatesUntil: ifPresent(members.get("updates_until"), asTime) ?? null,
    onEnd: ifPresent(members.get("on_end"), asOnEnd) ?? { mode: "stop" },
    warnDays: ifPresent(members.get("warn_days"), asNumber) ?? null,
    status: ifPresent(members.get("status"), asStatus) ?? null,
    device: ifPresent(members.get("cnf"), asDevice) ?? null,
  };
  if (claims.licenseExpires === null && claims.graceUntil !== null) throw invalid();
  return claims;
}

function asOnEnd(value: Json): OnEnd {
  const members = asObject(value);
  const mode = members.get("mode");
  const features = ifPresent(members.get("features"), asTexts) ?? [];
  const limits = ifPresent(members.get("limits"), asLimits) ?? {};
  if (mode === "limited") return { mode, features, limits };
  if (mode === "stop" || mode === "warn") return { mode };
  throw invalid();
}

function asStatus(value: Json): { idx: number; uri: string } {
  const reference = asObject(asObject(value).get("status_list"));
  return { idx: asNumber(reference.get("idx")), uri: asId(reference.get("uri")) };
}

function asDevice(value: Json): string {
  return asId(asObject(value).get("jkt"));
}

// Each function below returns the value as its type, and throws `invalid_claims` if it has another.

export function asNumber(value: Json | undefined): number {
  if (typeof value !== "number") throw invalid();
  return value;
}

/** 9999-12-31T23:59:59Z */
export const MAX_TIME = 253_402_300_799;

export function asTime(value: Json | undefined): number {
  const time = asNumber(value);
  if (time > MAX_TIME) throw invalid();
  return time;
}

export function asText(value: Json | undefined): string {
  if (typeof value !== "string") throw invalid();
  return value;
}

export function asId(value: Json | undefined): string {
  const text = asText(value);
  if (text === "") throw invalid();
  return text;
}

export function asObject(value: Json | undefined): Members {
  if (!isObject(value)) throw invalid();
  return value;
}

export function asArray(value: Json | undefined): Json[] {
  if (!Array.isArray(value)) throw invalid();
  return value;
}

export function asTexts(value: Json | undefined): string[] {
  return asArray(value).map(asText);
}

function asFlag(value: Json | undefined): boolean {
  if (typeof value !== "boolean") throw invalid();
  return value;
}

function asLimits(value: Json | undefined): Limits {
  return Object.fromEntries([...asObject(value)].map(([name, limit]) => [name, asNumber(limit)]));
}

export function orNull<Value>(value: Json | undefined, as: (value: Json) => Value): Value | null {
  if (value === undefined) throw invalid();
  return value === null ? null : as(value);
}

/** Returns undefined for a claim that is absent. `null` is not absent. */
export function ifPresent<Value>(value: Json | undefined, as: (value: Json) => Value) {
  return value === undefined ? undefined : as(value);
}

function invalid(): Rejection {
  return new Rejection("invalid_claims");
}
