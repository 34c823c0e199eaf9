import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";

import { Client, Verifier, message } from "licentia";
import { FileStore } from "licentia/node";
import { DAY, NOW, bundle, license, list, newKey } from "./signing.mjs";
import { problem, startServer } from "./server.mjs";

const [root, key, successor] = [newKey(), newKey(), newKey()];
const server = await startServer();
const folder = await mkdtemp(join(tmpdir(), "licentia-"));
after(() => Promise.all([server.stop(), rm(folder, { recursive: true })]));

const REFRESH = "/api/licenses/refresh";
const BUNDLE = "/.well-known/license-keys";
const LIST = "/.well-known/license-status/1";
const status = { status_list: { idx: 9, uri: `${server.url}${LIST}` } };
const bundled = (...keys) => bundle(root, keys, { seq: keys.length });

let now = NOW;
let store;
let client;

beforeEach(async (context) => {
  now = NOW;
  server.responses.clear();
  server.requests.length = 0;
  store = new FileStore(join(folder, context.name.replaceAll(" ", "-")));
  client = newClient();
});

const newClient = (changed = {}) => new Client({
  verifier: new Verifier({ trust: { root: root.jwk }, audience: "acme-app" }),
  server: `${server.url}/`, store, clock: () => now, ...changed,
});
const install = () => client.install(JSON.stringify({ license: license(key), keys: bundled(key) }));
const outcome = async () => (await client.refresh()).outcome;

test("a license is stored, refreshed, and used by the next start of the app", async () => {
  assert.equal((await client.verify()).code, "malformed");
  assert.equal(await outcome(), "unknown");
  assert.equal((await install()).state, "active");

  now += 40 * DAY;
  assert.equal((await client.verify()).code, "license_expired");
  const times = { iat: now - 60, nbf: now - 60, exp: now + 14 * DAY, license_expires: null };
  const token = license(successor, { ...times, seq: 2 });
  server.responses.set(REFRESH, { body: { token, plan: "x", keys: bundled(key, successor) } });
  const result = await client.refresh();
  assert.deepEqual([result.outcome, result.verdict.state], ["renewed", "active"]);
  assert.equal(server.requests[0].headers.authorization, `Bearer ${license(key)}`);
  assert.equal((await newClient().verify()).changes_at, now + 14 * DAY);
  assert.deepEqual((await readdir(store.folder)).sort(), ["license.json", "memory.json"]);
  assert.equal((await stat(join(store.folder, "license.json"))).mode & 0o777, 0o600);
});

test("each response of the server has its outcome, and none loses the license", async () => {
  await install();
  const page = { status: 403, body: "<html>Log in to the hotel's network</html>" };
  const cases = [
    [problem(403, "license_expired"), "ended"],
    [problem(403, "revoked"), "revoked"],
    [problem(401, "invalid_license"), "unknown"],
    [problem(429, "rate_limited", { "retry-after": "120" }), "busy", 120],
    [problem(503, "busy", { "retry-after": "999999999" }), "busy", DAY],
    [problem(503, "busy", { "retry-after": "Mon, 01 Jan 2001 00:00:00 GMT" }), "busy", 0],
    [problem(503, "busy", { "retry-after": "soon" }), "busy", null],
    [problem(500, "internal"), "busy", null],
    [page, "offline"],
    [{ ...page, status: 200 }, "offline"],
    [{ status: 200, body: "null" }, "offline"],
    [{ status: 200, body: "x".repeat(300_000) }, "offline"],
    [{ status: 200, body: { token: license(newKey()) } }, "failed", null, "unknown_key"],
    [{ status: 200, body: { token: "" } }, "offline"],
    [problem(400, "invalid_request"), "failed"],
    [problem(409, "idempotency_running"), "busy"],
    [problem(403, "reset_required"), "unknown"],
  ];
  for (const [response, expected, retryAfter = null, code] of cases) {
    server.responses.set(REFRESH, response);
    const result = await client.refresh();
    assert.deepEqual([result.outcome, result.retryAfter], [expected, retryAfter]);
    assert.equal(result.verdict.state, "active", expected);
    if (code !== undefined) assert.equal(result.code, code);
  }
  client = newClient({ server: "http://127.0.0.1:1" });
  assert.equal(await outcome(), "offline");
  assert.equal((await client.verify()).state, "active");
});

test("the bundle is fetched for a key that is unknown", async () => {
  server.responses.set(BUNDLE, { body: bundled(key) });
  assert.equal((await client.install(`\n "${license(key)}" `)).state, "active");
  assert.equal((await newClient().verify()).state, "active");
});

test("the status list of a pasted license is fetched", async () => {
  const sub = `${server.url}${LIST}`;
  await install();
  const named = license(key, { status, jti: "lic_2", seq: 2 });
  server.responses.set(LIST, { body: list(key, [9], { sub }) });
  assert.equal((await client.install(named)).code, "revoked");
  assert.equal((await client.verify()).license_id, "lic_1", "one that works is kept");
  store = new FileStore(join(folder, "another-device"));
  client = newClient();
  assert.equal((await client.install({ license: named, keys: bundled(key) })).code, "revoked");
  server.responses.clear();
  assert.equal((await newClient().verify()).code, "revoked");
});

test("the latest of the lists that are given, stored and fetched counts", async () => {
  const sub = `${server.url}${LIST}`;
  for (const latest of ["given", "in the file", "fetched"]) {
    store = new FileStore(join(folder, `latest-${latest}`));
    client = newClient();
    const listOf = (source) => source === latest
      ? list(key, [9], { sub, iat: NOW - 1 })
      : list(key, [], { sub, iat: NOW - 60 });
    server.responses.set(LIST, { body: listOf("fetched") });
    const file = {
      license: license(key, { status }), keys: bundled(key), status: listOf("in the file"),
    };
    const given = { license: JSON.stringify(file), status: listOf("given") };
    assert.equal((await client.install(given)).code, "revoked", latest);
  }
});

test("a forged license ends with the bundle that revokes its stolen key", async () => {
  await install();
  server.responses.set(REFRESH, problem(401, "invalid_license"));
  const body = bundle(root, [successor], { seq: 2, revoked: [key.jwk.kid] });
  server.responses.set(BUNDLE, { body });
  assert.equal((await client.refresh()).verdict.code, "key_revoked");
  assert.equal((await newClient().verify()).code, "key_revoked");
  assert.equal((await client.install(license(successor))).state, "active");
});

test("the status list is fetched, and what it revokes stays revoked offline", async () => {
  const sub = `${server.url}${LIST}`;
  await client.install(JSON.stringify({ license: license(key, { status }), keys: bundled(key) }));
  assert.equal((await client.verify()).state, "active");
  server.responses.set(REFRESH, problem(403, "revoked"));
  server.responses.set(LIST, { body: list(key, [9], { sub }) });
  const { outcome, verdict } = await client.refresh();
  assert.deepEqual([outcome, verdict.code], ["revoked", "revoked"]);
  assert.equal((await newClient().verify()).code, "revoked");
  assert.match(message(verdict), /was revoked/);
  // Another license of the customer replaces it.
  const replacement = { status: { status_list: { idx: 10, uri: sub } }, jti: "lic_2", seq: 2 };
  assert.equal((await client.install(license(key, replacement))).state, "active");
});

test("a verdict does not wait for a refresh that gets no response", async () => {
  await install();
  let respond;
  const response = new Promise((resolve) => {
    respond = resolve;
  });
  client = newClient({ fetch: () => response });
  const refresh = client.refresh();
  assert.equal((await client.verify()).state, "active");
  respond(new Response("{}", { status: 503 }));
  assert.equal((await refresh).outcome, "busy");
});

test("the license is never sent elsewhere, and a list that has moved is found", async () => {
  for (const server of ["http://licenses.acme.example", "ftp://x", "x", ""]) {
    assert.throws(() => newClient({ server }), TypeError, server);
  }
  await client.install(JSON.stringify({ license: license(key, { status }), keys: bundled(key) }));
  server.requests.length = 0;
  const moved = (location) => ({ status: 307, headers: { location }, body: "" });
  server.responses.set(REFRESH, moved("/elsewhere"));
  assert.equal(await outcome(), "offline");
  assert.equal(server.requests.length, 1);
  server.responses.set(REFRESH, problem(403, "revoked"));
  server.responses.set(LIST, moved("/elsewhere"));
  server.responses.set("/elsewhere", { body: list(key, [9], { sub: `${server.url}${LIST}` }) });
  assert.equal((await client.refresh()).verdict.code, "revoked");
});

test("a file that is no license is not touched", async () => {
  await store.write("license.json", "hello\nworld");
  assert.equal((await client.verify()).code, "malformed");
  assert.equal(await outcome(), "unknown");
  assert.equal(await store.read("license.json"), "hello\nworld");
});

test("a wrong license does not replace the stored one", async () => {
  await install();
  for (const text of ["", "x", license(newKey()), license(key, { aud: "other" })]) {
    assert.equal((await client.install(text)).valid, false);
    assert.equal((await client.verify()).license_id, "lic_1");
  }
});

test("operations at the same time do not lose what the others stored", async () => {
  const licenses = [1, 2, 3].map((id) => license(key, { sub: `cust_${id}`, seq: id }));
  await install();
  await Promise.all([client.refresh(), ...licenses.map((text) => client.install(text))]);
  assert.equal((await client.verify()).state, "active");
  const { seq } = JSON.parse(await store.read("memory.json"));
  assert.deepEqual(Object.entries(seq).sort(), [["cust_1", 1], ["cust_2", 2], ["cust_3", 3]]);
});

test("a status list and a bundle from a USB stick need no license beside them", async () => {
  await client.install(JSON.stringify({ license: license(key, { status }), keys: bundled(key) }));
  const revoking = list(key, [9], { sub: `${server.url}${LIST}` });
  assert.equal((await client.install({ status: revoking })).code, "revoked");
  assert.equal((await newClient().verify()).code, "revoked");
  const other = license(successor, { seq: 2 });
  const keys = bundled(key, successor);
  assert.equal((await client.install({ license: other, keys })).state, "active");
  assert.equal((await newClient().verify()).state, "active");
});

test("the background refreshes at once, and when the server asks to", async (context) => {
  await install();
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const states = [];
  const refreshes = () => server.requests.filter(({ url }) => url === REFRESH).length;
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  server.responses.set(REFRESH, problem(503, "busy", { "retry-after": "600" }));
  const stop = client.start((verdict) => states.push(verdict.plan));
  while (refreshes() < 1) await turn();
  const token = license(key, { seq: 2, plan: "upgraded" });
  server.responses.set(REFRESH, { body: { token } });
  let seconds = 0;
  for (; states.length < 2; seconds++) {
    context.mock.timers.tick(1_000);
    await turn();
  }
  assert.ok(seconds >= 600, `refreshed after ${seconds} seconds`);
  assert.deepEqual(states, ["professional", "upgraded"]);
  stop();
  context.mock.timers.tick(20 * DAY * 1000);
  await turn();
  assert.equal(refreshes(), 2);
});

test("the background tries again soon while the clock seems wrong", async (context) => {
  await install();
  // The clock was a year ahead, and is right again. The server has signed nothing later.
  now += 365 * DAY;
  await client.verify();
  now = NOW;
  server.responses.set(REFRESH, { body: { token: license(key) } });
  assert.deepEqual(
    [await client.refresh()].map(({ outcome, verdict }) => [outcome, verdict.code]),
    [["renewed", "clock_rolled_back"]],
  );
  server.requests.length = 0;
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const codes = [];
  const refreshes = () => server.requests.filter(({ url }) => url === REFRESH).length;
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const stop = client.start((verdict) => codes.push(verdict.code));
  while (refreshes() < 1) await turn();
  const later = license(key, { iat: NOW - 59, nbf: NOW - 59 });
  server.responses.set(REFRESH, { body: { token: later } });
  let seconds = 0;
  for (; codes.length < 2; seconds++) {
    context.mock.timers.tick(1_000);
    await turn();
  }
  stop();
  assert.ok(seconds >= 60, `refreshed after ${seconds} seconds`);
  assert.deepEqual(codes, ["clock_rolled_back", null]);
});

/** Starts the background, with the timers in the hands of the test. */
function startStepwise(context, onChange, options) {
  let timer;
  let isSet;
  const nextTimer = () => new Promise((resolve) => {
    isSet = resolve;
  });
  const system = setTimeout;
  context.mock.method(globalThis, "setTimeout", (callback, milliseconds, ...rest) => {
    // The other timers are those of `fetch`.
    if (callback.name !== "run") return system(callback, milliseconds, ...rest);
    timer = callback;
    isSet(milliseconds / 1000);
    return 0;
  });
  const first = nextTimer();
  const stop = client.start(onChange, options);
  /** Lets the timer fire. Returns the seconds until the next one. */
  const wake = () => {
    const next = nextTimer();
    void timer();
    return next;
  };
  const refreshes = () => server.requests.filter(({ url }) => url === REFRESH).length;
  return { first, wake, stop, refreshes };
}

test("an app that throws in its callback delays no refresh", async (context) => {
  await install();
  const errors = [];
  const { first, stop, refreshes } = startStepwise(context, () => {
    throw new Error("of the app");
  }, { onError: (error) => errors.push(error.message) });
  await first;
  stop();
  assert.equal(refreshes(), 1);
  assert.ok(errors.length > 0 && errors.every((message) => message === "of the app"), errors);
});

test("what happens while the device sleeps is noticed within an hour", async (context) => {
  await install();
  const { changes_at: end } = await client.verify();
  const codes = [];
  server.responses.set(REFRESH, { body: { token: license(key, { seq: 2 }) } });
  const background = startStepwise(context, ({ code }) => codes.push(code));
  assert.equal(await background.first, 3_600);
  // The timer stands still while the device sleeps, and the clock does not.
  now = end;
  assert.ok(await background.wake() <= 3_600);
  assert.equal(background.refreshes(), 2);
  // The clock is set back.
  now = NOW;
  assert.ok(await background.wake() <= 3_600);
  assert.deepEqual(codes, [null, "token_expired", "clock_rolled_back"]);
  background.stop();
});

test("the background verifies each hour, and refreshes when it is time", async (context) => {
  await install();
  server.responses.set(REFRESH, { body: { token: license(key, { seq: 2 }) } });
  const background = startStepwise(context, () => {}, { every: 8_000 });
  let seconds = await background.first;
  while (background.refreshes() < 2) {
    const wait = await background.wake();
    if (background.refreshes() < 2) seconds += wait;
  }
  assert.ok(seconds >= 8_000 && seconds <= 8_801, `refreshed after ${seconds} seconds`);
  now = NOW + 14 * DAY - 60;
  assert.equal(await background.wake(), 60, "it wakes when the verdict changes");
  background.stop();
});

test("the background refreshes when the verdict changes", async (context) => {
  const sub = `${server.url}${LIST}`;
  const verifier = new Verifier({
    trust: { root: root.jwk }, audience: "acme-app", maxStatusAge: 60,
  });
  client = newClient({ verifier });
  const token = license(key, { status });
  server.responses.set(LIST, { body: list(key, [], { sub }) });
  server.responses.set(REFRESH, { body: { token } });
  await client.install({ license: token, keys: bundled(key) });
  const codes = [];
  const background = startStepwise(context, ({ code }) => codes.push(code));
  assert.equal(await background.first, 61, "it wakes when the list is too old");
  now += 61;
  server.responses.set(LIST, { body: list(key, [], { sub, iat: now }) });
  await background.wake();
  assert.deepEqual(codes, [null, "stale_status", null]);
  background.stop();
});

test("the background refreshes hourly while the license is not active", async (context) => {
  const sub = `${server.url}${LIST}`;
  const verifier = new Verifier({
    trust: { root: root.jwk }, audience: "acme-app", maxStatusAge: 60,
  });
  const ended = { license_expires: NOW - 1, grace_until: null };
  const cases = [
    ["grace", { ...ended, grace_until: NOW + DAY }, NOW],
    ["overdue", { ...ended, on_end: { mode: "warn" } }, NOW],
    ["limited", { ...ended, on_end: { mode: "limited" } }, NOW],
    ["license_expired", ended, NOW],
    ["stale_status", {}, NOW - 61],
  ];
  for (const [expected, changed, iat] of cases) {
    for (const every of [DAY, 600]) {
      now = NOW;
      store = new FileStore(join(folder, `hourly-${expected}-${every}`));
      client = newClient({ verifier });
      const token = license(key, { status, ...changed });
      server.responses.set(LIST, { body: list(key, [], { sub, iat }) });
      server.responses.set(REFRESH, { body: { token } });
      const verdict = await client.install({ license: token, keys: bundled(key) });
      assert.equal(verdict.state ?? verdict.code, expected);
      const before = server.requests.filter(({ url }) => url === REFRESH).length;
      const background = startStepwise(context, () => {}, { every });
      let seconds = await background.first;
      while (background.refreshes() < before + 2) {
        const wait = await background.wake();
        if (background.refreshes() < before + 2) seconds += wait;
      }
      const least = Math.min(every, 3_600);
      assert.ok(seconds >= least && seconds <= least * 1.1 + 1, `${expected}: ${seconds}`);
      background.stop();
      context.mock.restoreAll();
    }
  }
});

test("a server that is down is asked less often each time", async (context) => {
  await install();
  server.responses.set(REFRESH, problem(503, "busy", { "retry-after": "5" }));
  const background = startStepwise(context, () => {});
  let wait = await background.first;
  for (const least of [60, 120, 240, 480]) {
    assert.ok(wait >= least && wait <= least * 1.1, `${wait} instead of ${least}`);
    wait = await background.wake();
  }
  background.stop();
});
