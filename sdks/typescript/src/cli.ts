#!/usr/bin/env node
/** Commands for tests of verifiers: `licentia vectors FOLDER` and `licentia verdict`. */

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import { type Case, checkCase, runCase, runSteps } from "./cases.js";

const USAGE = `Usage: licentia vectors FOLDER   runs the cases in each *.json of the folder
       licentia verdict          reads cases as JSON lines, and prints verdicts as JSON lines
`;

/** Runs every case of a folder, and stops at the first difference. Returns the exit code. */
async function vectors(folder: string): Promise<number> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".json")).sort();
  let count = 0;
  for (const file of files) {
    const content = JSON.parse(await readFile(join(folder, file), "utf8")) as
      Case[] | { cases: Case[] };
    for (const given of Array.isArray(content) ? content : content.cases) {
      const difference = await checkCase(given).catch((error: unknown) => String(error));
      if (difference !== null) {
        console.error(`${file}: ${given.name}: ${difference}`);
        return 1;
      }
      count += 1;
    }
  }
  console.log(`${count} cases passed`);
  return count > 0 ? 0 : 1;
}

/** How many verdicts are computed at once: enough to keep the threads of WebCrypto busy. */
const MAX_RUNNING = 16;

/** Prints one line for each line of standard input, in order. Returns the exit code. */
async function verdict(): Promise<number> {
  const running: Promise<object>[] = [];
  const printFirst = async () => {
    process.stdout.write(`${JSON.stringify(await running.shift())}\n`);
  };
  for await (const line of linesOf(process.stdin)) {
    running.push(verdictOf(line).catch((error: unknown) => ({ error: String(error) })));
    if (running.length >= MAX_RUNNING) await printFirst();
  }
  while (running.length > 0) await printFirst();
  return 0;
}

/** Returns the lines that are not empty. `node:readline` would split at U+2028, too. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of input) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter((line) => line.trim() !== "");
  }
  if (rest.trim() !== "") yield rest;
}

async function verdictOf(line: string): Promise<object> {
  const given = JSON.parse(line) as Case;
  return given.steps ? { steps: await runSteps(given) } : runCase(given);
}

const [command, folder] = process.argv.slice(2);
if (command === "vectors" && folder !== undefined) {
  process.exitCode = await vectors(folder);
} else if (command === "verdict") {
  process.exitCode = await verdict();
} else {
  process.stderr.write(USAGE);
  process.exitCode = 2;
}
