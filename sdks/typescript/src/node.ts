/** For Node only. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import type { Store, StoredName } from "./store.js";

/** Keeps the texts as files in a folder of the user, readable only for the user. */
export class FileStore implements Store {
  constructor(private readonly folder: string) {}

  async read(name: StoredName): Promise<string | null> {
    try {
      return await readFile(join(this.folder, name), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  async write(name: StoredName, text: string): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const path = join(this.folder, name);
    // Renamed, so that a crash leaves the former text or the new one, never half of it.
    const temporary = `${path}.${randomUUID()}`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}
