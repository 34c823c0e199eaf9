// Runs the vectors and the README's code in Chromium. `CHROMIUM` names another executable.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { after, test } from "node:test";
import { chromium } from "playwright-core";

import { bundle, license, newKey } from "./signing.mjs";
import { startServer } from "./server.mjs";
import { loadCases } from "./vectors.mjs";

const server = await startServer();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
after(async () => {
  await browser.close();
  await server.stop();
});

const dist = new URL("../dist/", import.meta.url);
const serve = (path, type, body) =>
  server.responses.set(path, { headers: { "content-type": type }, body });
for (const name of (await readdir(dist)).filter((name) => name.endsWith(".js"))) {
  serve(`/dist/${name}`, "text/javascript", await readFile(new URL(name, dist), "utf8"));
}
const importMap = JSON.stringify({ imports: { licentia: "/dist/index.js" } });
serve("/", "text/html", `<title>Test</title><script type="importmap">${importMap}</script>`);
serve("/favicon.ico", "image/x-icon", "");

/** Opens a page in which nothing but the given code runs. */
async function openPage() {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(server.url);
  return { page, errors };
}

test("each vector has the same verdict in Chromium", { timeout: 600_000 }, async () => {
  const cases = await loadCases();
  serve("/cases.json", "application/json", JSON.stringify(cases));
  const { page, errors } = await openPage();
  const differences = await page.evaluate(async () => {
    const { checkCase } = await import("/dist/cases.js");
    const cases = await (await fetch("/cases.json")).json();
    const differences = [];
    for (const given of cases) {
      const difference = await checkCase(given).catch(String);
      if (difference !== null) differences.push(`${given.name}: ${difference}`);
    }
    return differences;
  });
  assert.ok(cases.length >= 200, `${cases.length} vectors`);
  assert.deepEqual([differences, errors], [[], []]);
});

test("the README's code for browsers stores a license", async () => {
  const [root, key] = [newKey(), newKey()];
  const now = Math.floor(Date.now() / 1000);
  const end = now + 9_999;
  const token = license(key, { iat: now, nbf: now, exp: end, license_expires: end });
  serve("/root.jwk", "application/json", JSON.stringify(root.jwk));
  serve("/license.json", "application/json",
    JSON.stringify({ license: token, keys: bundle(root, [key]) }));
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [, code] = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map((block) => block[1])
    .filter((block) => block.includes("BrowserStore") || block.includes("FileStore"));
  const { page, errors } = await openPage();
  await page.addScriptTag({ type: "module", content: code });
  await page.waitForFunction(() => document.title === "Acme App");
  const stored = await page.evaluate(() => localStorage.getItem("acme-app/license.json"));
  assert.equal(JSON.parse(stored).license, token);
  assert.deepEqual(errors, []);
});

test("the browser's cache does not keep a former bundle", async () => {
  const [root, key, successor] = [newKey(), newKey(), newKey()];
  const now = Math.floor(Date.now() / 1000);
  const times = { iat: now - 60, nbf: now - 60, exp: now + 9_999, license_expires: null };
  const publish = (...keys) => server.responses.set("/.well-known/license-keys", {
    headers: { "content-type": "application/jwt", "cache-control": "public, max-age=3600" },
    body: bundle(root, keys, { seq: keys.length }),
  });
  const { page, errors } = await openPage();
  const install = (token) => page.evaluate(async ([jwk, token]) => {
    const { BrowserStore, Client, Verifier } = await import("/dist/index.js");
    const verifier = new Verifier({ trust: { root: jwk }, audience: "acme-app" });
    const store = new BrowserStore("cached");
    const client = new Client({ verifier, server: location.origin, store });
    return (await client.install(token)).state;
  }, [root.jwk, token]);
  publish(key);
  assert.equal(await install(license(key, times)), "active");
  publish(key, successor);
  assert.equal(await install(license(successor, { ...times, jti: "lic_2", seq: 2 })), "active");
  assert.deepEqual(errors, []);
});
