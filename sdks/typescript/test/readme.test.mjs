// Builds the package, installs it in an empty folder, and runs the README's code there.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { DAY, LIST_URI, bundle, license, list, newKey } from "./signing.mjs";
import { startServer } from "./server.mjs";

const run = promisify(execFile);
const sources = dirname(dirname(fileURLToPath(import.meta.url)));
const readme = await readFile(join(sources, "README.md"), "utf8");
const [inNode, inBrowser, withoutNetwork, withoutClient] = codeBlocks(readme);
const folder = await mkdtemp(join(tmpdir(), "licentia-"));
const server = await startServer();
after(() => Promise.all([server.stop(), rm(folder, { recursive: true })]));

function codeBlocks(text) {
  return [...text.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
}

before(async () => {
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: sources });
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  const [archive] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  const install = ["install", "--offline", "--no-audit", "--no-fund", `./${archive}`];
  await run("npm", install, { cwd: folder });

  const [root, key, successor] = [newKey(), newKey(), newKey()];
  const now = Math.floor(Date.now() / 1000);
  const times = {
    iat: now - 60, nbf: now - 60, exp: now + 14 * DAY, license_expires: now + 30 * DAY,
  };
  const current = (seq) => license(key, { ...times, seq });
  const keys = bundle(root, [key]);
  await writeFile(join(folder, "root.jwk"), JSON.stringify(root.jwk));
  await writeFile(join(folder, "jwks.json"), JSON.stringify({ keys: [key.jwk] }));
  await writeFile(join(folder, "license.json"), JSON.stringify({ license: current(1), keys }));
  server.responses.set("/api/licenses/refresh", { body: { token: current(2), keys } });

  // What is carried to another machine. The list is by a key that only the carried bundle has.
  const usb = join(folder, "usb");
  await mkdir(usb);
  const status = { status_list: { idx: 9, uri: LIST_URI } };
  const file = { license: license(key, { ...times, status }), keys };
  const lists = [`${LIST_URI}0`, LIST_URI].map((sub) => list(successor, [9], { sub, iat: now }));
  const carried = {
    "license.json": JSON.stringify(file),
    "license-keys.jwt": bundle(root, [key, successor], { seq: 2, iat: now }),
    "license-status-1.jwt": lists[0],
    "license-status-2.jwt": lists[1],
  };
  for (const [name, text] of Object.entries(carried)) await writeFile(join(usb, name), text);
});

async function runBlock(name, code) {
  await writeFile(join(folder, name), code.replace("https://licenses.acme.example", server.url));
  const { stdout, stderr } = await run(process.execPath, [name], { cwd: folder });
  assert.equal(stderr, "");
  return stdout;
}

test("the package has the compiled modules and the licenses, and no dependencies", async () => {
  const installed = join(folder, "node_modules", "licentia");
  assert.deepEqual((await readdir(installed)).sort(), [
    "LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist", "package.json",
  ]);
  const manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual(await readdir(join(folder, "node_modules", ".bin")), ["licentia"]);
});

test("the README's commands install the folder, and its build removes leftovers", async () => {
  const [, shell] = readme.match(/^```sh\n(.*?)^```/ms);
  const copy = join(folder, "sdks", "typescript");
  await mkdir(join(copy, "dist"), { recursive: true });
  for (const name of ["package.json", "package-lock.json", "tsconfig.json", "src"]) {
    await cp(join(sources, name), join(copy, name), { recursive: true });
  }
  // Instead of `npm ci`, which needs a registry.
  await symlink(join(sources, "node_modules"), join(copy, "node_modules"));
  await writeFile(join(copy, "dist", "leftover.js"), "");
  const app = await mkdtemp(join(folder, "app-"));
  await writeFile(join(app, "package.json"), '{"type":"module"}');
  const commands = shell.replaceAll("/path/to/sdks/typescript", copy)
    .replace("npm ci && ", "")
    .replace("npm install", "npm install --offline --no-audit --no-fund");
  await run("sh", ["-ec", commands], { cwd: app });
  const modules = (await readdir(join(copy, "src"))).map((name) => name.replace(/ts$/, "js"));
  const built = (await readdir(join(copy, "dist"))).filter((name) => name.endsWith(".js"));
  assert.deepEqual(built.sort(), modules.sort());
  const script = 'import("licentia/node").then(({ FileStore }) => console.log(FileStore.name))';
  const { stdout } = await run(process.execPath, ["-e", script], { cwd: app });
  assert.equal(stdout, "FileStore\n");
});

test("the code for Node verifies, stores and refreshes a license", async () => {
  const output = await runBlock("app.mjs", inNode);
  assert.equal(output, "Export for 5 seats.\nThe license is active.\n");
  const stored = await readdir(join(folder, "acme-data"));
  assert.deepEqual(stored.sort(), ["license.json", "memory.json"]);
  assert.equal(await runBlock("app.mjs", inNode), output);
});

test("the code without a network takes in the bundle, the license and all lists", async () => {
  const before = inNode.slice(0, inNode.indexOf("// At each start")).replace("acme-data", "other");
  const code = withoutNetwork.replace("/media/usb", "usb").replace("readFile, ", "");
  const output = await runBlock(
    "usb.mjs", `${before}${code}console.log((await client.verify()).code);`,
  );
  assert.equal(output, "revoked\n");
});

test("the code without the client prints a verdict", async () => {
  assert.match(await runBlock("verify.mjs", withoutClient), /^true \d{10} \d+\n$/);
});

test("the README's code has no type errors, in the strictest mode", async () => {
  const checked = join(folder, "checked");
  await mkdir(checked);
  const withClient = `import type { Client } from "licentia";
    declare const client: Client;
    ${withoutNetwork}`;
  for (const [name, code] of Object.entries({ inNode, inBrowser, withClient, withoutClient })) {
    await writeFile(join(checked, `${name}.mts`), code);
  }
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--types",
    "node", "--typeRoots", join(sources, "node_modules", "@types"), "--lib", "es2022,dom"];
  const compiler = join(sources, "node_modules", "typescript", "bin", "tsc");
  const files = (await readdir(checked)).map((name) => join(checked, name));
  await run(process.execPath, [compiler, ...options, ...files], { cwd: folder })
    .catch(({ stdout }) => assert.fail(stdout));
});

test("the command runs vectors, and prints verdicts and errors as JSON lines", async () => {
  const vectors = join(folder, "vectors");
  const command = join(folder, "node_modules", ".bin", "licentia");
  await mkdir(vectors);
  const key = newKey();
  const trust = { jwks: { keys: [key.jwk] } };
  const shared = { trust, audience: "acme-app", license: license(key) };
  const step = (now, code) => ({ now, expect: { code } });
  const steps = [step(3e9, "license_expired"), step(2e9, "clock_rolled_back")];
  const cases = [
    { name: "one", ...shared, now: 0, expect: { code: "not_yet_valid", limits: {} } },
    { name: "two", ...shared, steps },
  ];
  await writeFile(join(vectors, "a.json"), JSON.stringify(cases));
  assert.equal((await run(command, ["vectors", vectors])).stdout, "2 cases passed\n");
  cases[1].steps[1].expect.code = "revoked";
  await writeFile(join(vectors, "b.json"), JSON.stringify({ cases }));
  const failed = await run(command, ["vectors", vectors]).catch((error) => error);
  assert.equal(failed.code, 1);
  assert.equal(failed.stderr,
    'b.json: two: step 2: code: expected "revoked", got "clock_rolled_back"\n');

  const named = { ...cases[0], name: "\u2028" };
  const lines = ["7", "", "{", JSON.stringify(named), JSON.stringify(cases[1])];
  const running = run(command, ["verdict"]);
  running.child.stdin.end(lines.join("\n"));
  const answers = (await running).stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(answers.map((answer) => Object.keys(answer).length), [1, 1, 13, 1]);
  assert.deepEqual([answers[2].code, answers[3].steps.length], ["not_yet_valid", 2]);
});
