import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { Verifier, allows, limit, message } from "licentia";
import { DAY, LIST_URI, NOW, bundle, license, list, newKey } from "./signing.mjs";

const [root, key, other] = [newKey(), newKey(), newKey()];
const audience = "acme-app";
const pinned = (options = {}) =>
  new Verifier({ trust: { jwks: { keys: [key.jwk] } }, audience, ...options });
const rooted = (options = {}) => new Verifier({ trust: { root: root.jwk }, audience, ...options });
const codeOf = async (verifier, evidence) =>
  (await verifier.verify({ now: NOW, ...evidence })).verdict.code;
const status = { status_list: { idx: 9, uri: LIST_URI } };

test("a license is active, and everything in it is in the verdict", async () => {
  const answer = await pinned().verify({ license: license(key), now: NOW });
  assert.deepEqual(answer.verdict, {
    valid: true, state: "active", code: null, features: ["editor", "export"], limits: { seats: 5 },
    plan: "professional", trial: false, customer_id: "cust_1", license_id: "lic_1",
    updates_until: null, warn: false, changes_at: NOW + 14 * DAY,
  });
  assert.deepEqual(JSON.parse(answer.memory), {
    v: 1, time: NOW, signed: NOW - 60, keys_seq: 0, seq: { cust_1: 1 }, lists: {},
  });
});

test("features and limits are asked for by name", async () => {
  const { verdict } = await pinned().verify({ license: license(key), now: NOW });
  assert.deepEqual(["export", "admin"].map((name) => allows(verdict, name)), [true, false]);
  const limits = ["seats", "projects", "constructor"].map((name) => limit(verdict, name));
  assert.deepEqual(limits, [5, undefined, undefined]);
});

test("a successor key is trusted with its bundle, and a revoked key never again", async () => {
  const [token, both] = [license(key), bundle(root, [key, other])];
  assert.equal(await codeOf(rooted(), { license: token }), "unknown_key");
  assert.equal(await codeOf(rooted(), { license: token, keys: both }), null);
  const file = JSON.stringify({ license: token, keys: both });
  const revoking = bundle(root, [other], { seq: 2, revoked: [key.jwk.kid] });
  const answer = await rooted().verify({ license: file, keys: revoking, now: NOW });
  assert.equal(answer.verdict.code, "key_revoked");
  assert.deepEqual(JSON.parse(answer.licenseFile), { license: token, keys: revoking });
  // The old bundle no longer counts.
  assert.equal(await codeOf(rooted(), { license: file, memory: answer.memory }), "unknown_key");
  assert.equal(await codeOf(rooted(), { license: license(root), keys: both }), "unknown_key");
});

test("a list on a USB stick revokes, and the device remembers it", async () => {
  const token = license(key, { status });
  const first = await pinned().verify({ license: token, status: list(key, [9]), now: NOW });
  assert.equal(first.verdict.code, "revoked");
  assert.equal(await codeOf(pinned(), { license: token, memory: first.memory }), "revoked");
  const older = list(key, [], { iat: NOW - 1 });
  assert.equal(
    await codeOf(pinned(), { license: token, status: older, memory: first.memory }), "revoked");
  const restored = list(key, [8, 10], { iat: NOW + 1 });
  assert.equal(
    await codeOf(pinned(), { license: token, status: restored, memory: first.memory }), null);
});

test("a list that is damaged, foreign or too large counts as not given", async () => {
  const verifier = pinned({ maxStatusAge: DAY });
  const token = license(key, { status });
  const changed = (lst) => list(key, [], {
    status_list: { bits: 1, lst: Buffer.from(lst).toString("base64url") },
  });
  assert.equal(await codeOf(verifier, { license: token, status: list(key, []) }), null);
  const whole = deflateSync(Buffer.alloc(2 ** 17));
  assert.equal(await codeOf(verifier, { license: token, status: changed(whole) }), null);
  const lists = {
    none: undefined,
    old: list(key, [], { iat: NOW - DAY - 1 }),
    foreign: list(key, [], { sub: `${LIST_URI}0` }),
    "by the wrong key": list(other, []),
    "too short": changed(deflateSync(Buffer.from([0]))),
    "one byte too large": changed(deflateSync(Buffer.alloc(2 ** 17 + 1))),
    "a bomb": changed(deflateSync(Buffer.alloc(100_000_000))),
    truncated: changed(whole.subarray(0, -1)),
    "followed by a byte": changed(Buffer.concat([whole, Buffer.from([0])])),
    "followed by its own checksum": changed(Buffer.concat([whole, whole.subarray(-4)])),
    "with a wrong checksum": changed(Buffer.concat([whole.subarray(0, -1), Buffer.from([7])])),
    "not compressed": changed(Buffer.alloc(128)),
  };
  for (const [name, text] of Object.entries(lists)) {
    assert.equal(await codeOf(verifier, { license: token, status: text }), "stale_status", name);
  }
});

test("a clock that was ahead is healed by the next license", async () => {
  const ahead = await pinned().verify({ license: license(key), now: NOW + 3_000 * DAY });
  assert.equal(ahead.verdict.code, "license_expired");
  const { memory } = ahead;
  const back = await pinned().verify({ license: license(key), now: NOW, memory });
  assert.equal(back.verdict.code, "clock_rolled_back");
  const newer = license(key, { iat: NOW + 1, nbf: NOW + 1 });
  const healed = await pinned().verify({ license: newer, now: NOW + 10, memory });
  assert.equal(healed.verdict.code, null);
  assert.equal(JSON.parse(healed.memory).time, NOW + 10);
});

test("a sweep of the clock has one verdict after another, as changes_at says", async () => {
  const on_end = { mode: "limited", features: ["viewer"] };
  const token = license(key, {
    on_end, warn_days: 3, exp: NOW + 40 * DAY, license_expires: NOW + 30 * DAY,
    grace_until: NOW + 35 * DAY,
  });
  const seen = [];
  for (let now = NOW - DAY; now !== null;) {
    const { verdict } = await pinned().verify({ license: token, now });
    const { state, code, features, warn } = verdict;
    seen.push([(now - NOW) / DAY, state, code, features.join(), warn]);
    now = verdict.changes_at;
  }
  assert.deepEqual(seen, [
    [-1, null, "not_yet_valid", "", false],
    [-120 / DAY, "active", null, "editor,export", false],
    [30, "grace", "license_expired", "editor,export", true],
    [35, "limited", "license_expired", "viewer", true],
  ]);
  const soon = await pinned().verify({ license: token, now: NOW + 27 * DAY });
  assert.deepEqual([soon.verdict.state, soon.verdict.warn], ["active", true]);
});

test("nothing in a license, bundle, list or memory throws", async () => {
  const long = "x".repeat(10 ** 6);
  const texts = [undefined, null, "", "{", "...", "{}", 7, {}, "\ud800", "a.b.c", long];
  for (const text of texts) {
    for (const name of ["license", "keys", "status", "memory"]) {
      const evidence = { license: license(key, { status }), keys: bundle(root, [key]), now: NOW };
      const { verdict, memory } = await rooted().verify({ ...evidence, [name]: text });
      assert.equal(typeof verdict.valid, "boolean");
      assert.equal(JSON.parse(memory).v, 1);
      assert.notEqual(message(verdict), "");
    }
  }
});

test("misuse by the developer throws", async () => {
  assert.throws(() => new Verifier({ audience }), TypeError);
  assert.throws(() => new Verifier({ trust: { root: root.jwk }, audience: "" }), TypeError);
  const weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  const trusts = [
    {}, { jwks: "" }, { jwks: { keys: [] } }, { jwks: { keys: [{ ...key.jwk, d: weak }] } },
    { jwks: { keys: [key.jwk, key.jwk] } }, { jwks: { keys: [{ ...key.jwk, x: weak }] } },
    { root: { ...root.jwk, x: weak } }, { root: { ...root.jwk, d: weak } }, { root: "[]" },
  ];
  for (const trust of trusts) {
    const verdict = new Verifier({ trust, audience }).verify({ license: license(key), now: NOW });
    await assert.rejects(verdict, TypeError, JSON.stringify(trust));
  }
});
