// The life of an app in the field: from the trial to a clock that was set back.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Client, Verifier } from "licentia";
import { FileStore } from "licentia/node";
import { DAY, LIST_URI, NOW, bundle, license, list, newKey } from "./signing.mjs";
import { problem, startServer } from "./server.mjs";

test("an app survives a trial, an upgrade, 40 days offline, and a rotated key", async () => {
  const [root, key, successor] = [newKey(), newKey(), newKey()];
  const server = await startServer();
  const folder = await mkdtemp(join(tmpdir(), "licentia-"));
  let now = NOW;
  // Each call is another start of the app, which was built once, with nothing but the root.
  const app = (url = server.url) => new Client({
    verifier: new Verifier({ trust: { root: root.jwk }, audience: "acme-app" }),
    server: url, store: new FileStore(folder), clock: () => now,
  });
  const offline = () => app("http://127.0.0.1:1");
  const issue = (by, changed) => license(by, {
    iat: now - 60, nbf: now - 60, exp: now + 14 * DAY, license_expires: now + 30 * DAY,
    on_end: { mode: "limited", features: ["viewer"] }, warn_days: 3, ...changed,
  });
  const serve = (token, keys) =>
    server.responses.set("/api/licenses/refresh", { body: { token, keys } });
  const show = async (client) => {
    const verdict = await client.verify();
    return [verdict.plan, verdict.state ?? verdict.code, verdict.warn];
  };

  const trial = issue(key, { plan: "trial", trial: true, license_expires: now + 14 * DAY });
  const firstKeys = bundle(root, [key]);
  await app().install(JSON.stringify({ license: trial, keys: firstKeys }));
  assert.deepEqual(await show(app()), ["trial", "active", false]);
  now += 12 * DAY;
  assert.deepEqual(await show(offline()), ["trial", "active", true]);
  now += 2 * DAY;
  assert.deepEqual(await show(offline()), ["trial", "limited", true]);
  server.responses.set("/api/licenses/refresh", problem(403, "license_expired"));
  assert.equal((await app().refresh()).outcome, "ended");

  // The customer buys. The app notices at the next refresh.
  serve(issue(key, { seq: 2 }), firstKeys);
  assert.equal((await app().refresh()).outcome, "renewed");
  assert.deepEqual(await show(app()), ["professional", "active", false]);

  // 40 days offline, on a journey. Meanwhile, the vendor has replaced the key.
  now += 40 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "limited", true]);
  assert.equal((await offline().refresh()).outcome, "offline");
  const status = { status_list: { idx: 9, uri: LIST_URI } };
  const keys = bundle(root, [key, successor], { iat: now - DAY, seq: 2 });
  serve(issue(successor, { seq: 3, status }), keys);
  assert.equal((await app().refresh()).outcome, "renewed");
  assert.deepEqual(await show(offline()), ["professional", "active", false]);

  // A clock that is set back stops the app until it is right again.
  now += 10 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "active", false]);
  now -= 9 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "clock_rolled_back", false]);
  now += 9 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "active", false]);

  // A clock that was ahead by mistake, and is right again, is healed by a refresh.
  now += 300 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "limited", true]);
  now -= 300 * DAY;
  assert.deepEqual(await show(offline()), ["professional", "clock_rolled_back", false]);
  serve(issue(successor, { seq: 4, status }), keys);
  assert.equal((await app().refresh()).outcome, "renewed");
  assert.deepEqual(await show(offline()), ["professional", "active", false]);

  // The vendor revokes the license. A colleague carries the list on a USB stick.
  const revoking = list(successor, [9], { iat: now });
  assert.equal((await offline().install({ status: revoking })).code, "revoked");
  assert.deepEqual(await show(offline()), ["professional", "revoked", false]);

  await server.stop();
  await rm(folder, { recursive: true });
});
