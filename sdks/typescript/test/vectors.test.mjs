import assert from "node:assert/strict";
import { test } from "node:test";

import { checkCase } from "../dist/cases.js";
import { loadCases } from "./vectors.mjs";

test("each vector has the verdict that it expects", async () => {
  const cases = await loadCases();
  assert.ok(cases.length >= 200, `${cases.length} vectors`);
  const differences = [];
  for (const given of cases) {
    const difference = await checkCase(given).catch(String);
    if (difference !== null) differences.push(`${given.name}: ${difference}`);
  }
  assert.deepEqual(differences, []);
});
