/** Where an app keeps its license and the memory. */

/** The texts to keep: `license.json` holds the license, and `memory.json` the memory. */
export type StoredName = "license.json" | "memory.json";

export interface Store {
  /** Returns the stored text; null if there is none. */
  read(name: StoredName): Promise<string | null>;
  /** Replaces the stored text. */
  write(name: StoredName, text: string): Promise<void>;
}

/** Keeps the texts in the browser's `localStorage`. */
export class BrowserStore implements Store {
  /** `prefix` keeps the apps of one origin apart. */
  constructor(private readonly prefix: string) {}

  async read(name: StoredName): Promise<string | null> {
    return localStorage.getItem(`${this.prefix}/${name}`);
  }

  async write(name: StoredName, text: string): Promise<void> {
    localStorage.setItem(`${this.prefix}/${name}`, text);
  }
}
