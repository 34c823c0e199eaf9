// The project's vectors, which every verifier runs. `VECTORS` names another folder.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const folder = process.env.VECTORS
  ?? fileURLToPath(new URL("../../../verify/vectors", import.meta.url));

/** Returns all cases, each with the name of its file. */
export async function loadCases() {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  const cases = await Promise.all(files.map(async (file) => {
    const content = JSON.parse(await readFile(join(folder, file), "utf8"));
    const cases = content.cases ?? content;
    return cases.map((given) => ({ ...given, name: `${file}: ${given.name}` }));
  }));
  return cases.flat();
}
