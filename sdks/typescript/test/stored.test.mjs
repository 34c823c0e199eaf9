// What is stored fits together, whatever happens between two writes.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Client, Verifier } from "licentia";
import { FileStore } from "licentia/node";
import { DAY, NOW, bundle, license, list, newKey } from "./signing.mjs";
import { problem, startServer } from "./server.mjs";

const run = promisify(execFile);
const [root, key, successor] = [newKey(), newKey(), newKey()];
const server = await startServer();
const folder = await mkdtemp(join(tmpdir(), "licentia-"));
after(() => Promise.all([server.stop(), rm(folder, { recursive: true })]));

const REFRESH = "/api/licenses/refresh";
const LIST = "/.well-known/license-status/1";
const sub = `${server.url}${LIST}`;
const status = { status_list: { idx: 9, uri: sub } };
const token = license(key, { status });
const renewed = license(successor, { status, plan: "enterprise", seq: 2 });
const keys = bundle(root, [key]);
const newerKeys = bundle(root, [key, successor], { seq: 2 });

let store;

/** Returns a client of another start of the app. */
const restarted = ({ maxStatusAge, ...changed } = {}) => new Client({
  verifier: new Verifier({ trust: { root: root.jwk }, audience: "acme-app", maxStatusAge }),
  server: server.url, store, clock: () => NOW, ...changed,
});

let starts = 0;
beforeEach(() => {
  server.responses.clear();
  store = new FileStore(join(folder, `${starts += 1}`));
  server.responses.set(REFRESH, { body: { token: renewed, keys: newerKeys } });
});

const install = () => restarted().install(JSON.stringify({ license: token, keys }));
const stored = async () => JSON.parse(await store.read("license.json"));

test("an app verifies while the list of a refresh is under way", async () => {
  await install();
  const states = [];
  server.responses.set(LIST, async () => {
    states.push((await restarted().verify()).state);
    return { body: list(key, [], { sub }) };
  });
  assert.equal((await restarted().refresh()).outcome, "renewed");
  await restarted().install(token);
  assert.deepEqual(states, ["active", "active"]);
});

test("a text that cannot be stored leaves no file behind", async () => {
  const full = join(folder, "full");
  // A folder of this name cannot be replaced by a file.
  await mkdir(join(full, "license.json"), { recursive: true });
  await assert.rejects(new FileStore(full).write("license.json", token));
  assert.deepEqual(await readdir(full), ["license.json"]);
});

test("an app that is killed while it stores works offline", async () => {
  for (const written of [0, 1, 2]) {
    store = new FileStore(join(folder, `killed-${written}`));
    await install();
    server.responses.set(LIST, { body: list(key, [], { sub }) });
    let left = written;
    const dying = {
      read: (name) => store.read(name),
      write: (name, text) => left-- > 0
        ? store.write(name, text)
        : Promise.reject(new Error("killed")),
    };
    await restarted({ store: dying }).refresh().catch(() => undefined);
    assert.equal((await restarted().verify()).state, "active", `${written} texts are stored`);
    const { code } = await restarted({ maxStatusAge: DAY }).verify();
    assert.equal(code, written === 0 ? "stale_status" : null, `${written} texts are stored`);
  }
});

test("processes on one folder never lose the bundle", async () => {
  await install();
  let seq = 2;
  server.responses.set(REFRESH, () => {
    seq += 1;
    const body = { token: license(key, { status, seq }), keys: bundle(root, [key], { seq }) };
    return { body };
  });
  const script = `
    import { Client, Verifier } from "licentia";
    import { FileStore } from "licentia/node";
    const [root, server, folder] = process.argv.slice(1);
    const client = new Client({
      verifier: new Verifier({ trust: { root }, audience: "acme-app" }),
      server, store: new FileStore(folder), clock: () => ${NOW},
    });
    for (let i = 0; i < 40; i++) await client.refresh();
  `;
  const options = ["--input-type=module", "-e", script, "--"];
  const texts = [JSON.stringify(root.jwk), server.url, store.folder];
  const cwd = dirname(dirname(fileURLToPath(import.meta.url)));
  let running = 2;
  const writers = [1, 2].map(() => run(process.execPath, [...options, ...texts], { cwd })
    .finally(() => {
      running -= 1;
    }));
  const codes = new Set();
  const reader = restarted();
  while (running > 0) codes.add((await reader.verify()).code);
  await Promise.all(writers);
  assert.deepEqual([...codes], [null]);
  assert.equal((await restarted().verify()).state, "active");
});

test("the newest bundle counts whether it comes before the license or after it", async () => {
  const file = JSON.stringify({ license: token, keys });
  for (const keysComeFirst of [true, false]) {
    store = new FileStore(join(folder, `order-${keysComeFirst}`));
    if (keysComeFirst) {
      assert.equal((await restarted().install({ keys: newerKeys })).code, "malformed");
      assert.equal((await restarted().install(file)).state, "active");
    } else {
      assert.equal((await restarted().install(file)).state, "active");
      assert.equal((await restarted().install({ keys: newerKeys })).state, "active");
    }
    assert.equal((await restarted().verify()).state, "active");
    assert.equal((await restarted().install(renewed)).state, "active");
  }
});

test("a bundle without a license is given once", async () => {
  await restarted().install({ keys: newerKeys });
  assert.equal((await restarted().install({ keys: newerKeys })).code, "malformed");
  assert.equal((await restarted().install(renewed)).state, "active");
});

test("a license that is installed during a refresh is kept", async () => {
  await install();
  const paid = license(key, { status, plan: "paid", jti: "lic_2", seq: 2 });
  server.responses.set(REFRESH, async () => {
    await restarted().install(paid);
    return { body: { token: renewed, keys: newerKeys } };
  });
  const { outcome, verdict } = await restarted().refresh();
  assert.deepEqual([outcome, verdict.plan], ["renewed", "paid"]);
  const file = await stored();
  assert.deepEqual([file.license, file.keys], [paid, newerKeys]);
});

test("a license that is deleted during a refresh stays away", async () => {
  await install();
  const path = join(store.folder, "license.json");
  server.responses.set(REFRESH, async () => {
    await rm(path);
    return { body: { token: renewed, keys: newerKeys } };
  });
  assert.equal((await restarted().refresh()).verdict.code, "malformed");
  assert.equal(await store.read("license.json"), null);
});

test("a license that has ended gets the newest list too", async () => {
  let now = NOW;
  const options = { maxStatusAge: 60, clock: () => now };
  const on_end = { mode: "warn" };
  const ended = license(key, { status, license_expires: NOW - 1, grace_until: null, on_end });
  server.responses.set(LIST, { body: list(key, [], { sub }) });
  const verdict = await restarted(options).install({ license: ended, keys });
  assert.equal(verdict.state, "overdue");
  now += 3_600;
  assert.equal((await restarted(options).verify()).code, "stale_status");
  server.responses.set(LIST, { body: list(key, [], { sub, iat: now }) });
  server.responses.set(REFRESH, problem(403, "license_expired"));
  const result = await restarted(options).refresh();
  assert.deepEqual([result.outcome, result.verdict.state], ["ended", "overdue"]);
});
