/** What an app remembers between two verdicts, so that nobody can set the clock or a list back. */

import { asArray, asNumber, asObject, asTime } from "./claims.js";
import type { Claims } from "./claims.js";
import { parseObject } from "./json.js";
import { Rejection } from "./jws.js";
import type { Bundle } from "./keys.js";
import type { StatusList } from "./status.js";
import { isLongerThan } from "./text.js";

const VERSION = 1;
/** Larger texts are not read: 256 KiB. */
const MAX_BYTES = 256 * 1024;
/** The clock may be set back this far, in seconds. */
const MAX_ROLLBACK = 3_600;
const DAY = 86_400;

interface RememberedList {
  iat: number;
  /** The indexes of this customer's licenses that are revoked, in ascending order. */
  revoked: number[];
}

export class Memory {
  /** The latest time of the device at a verdict. */
  time = 0;
  /** The latest `iat` in anything that verified. */
  signed = 0;
  /** The `seq` of the latest bundle. */
  keysSeq = 0;
  /** The latest `seq` of each customer's licenses. */
  readonly #seq = new Map<string, number>();
  readonly #lists = new Map<string, RememberedList>();

  /** Returns the memory of this text; an empty one if there is none or it cannot be read. */
  static parse(text: string | null | undefined): Memory {
    const memory = new Memory();
    if (typeof text !== "string" || isLongerThan(text, MAX_BYTES)) return memory;
    const members = parseObject(text);
    if (members === null) return memory;
    try {
      if (members.get("v") !== VERSION) return memory;
      memory.time = asTime(members.get("time"));
      memory.signed = asTime(members.get("signed"));
      memory.keysSeq = asNumber(members.get("keys_seq"));
      for (const [sub, seq] of asObject(members.get("seq"))) memory.#seq.set(sub, asNumber(seq));
      for (const [uri, value] of asObject(members.get("lists"))) {
        const list = asObject(value);
        const revoked = asArray(list.get("revoked")).map(asNumber);
        memory.#lists.set(uri, { iat: asTime(list.get("iat")), revoked: ascending(revoked) });
      }
      return memory;
    } catch (error) {
      if (error instanceof Rejection) return new Memory();
      throw error;
    }
  }

  /** Returns the text to store. */
  toText(): string {
    return JSON.stringify({
      v: VERSION,
      time: this.time,
      signed: this.signed,
      keys_seq: this.keysSeq,
      seq: Object.fromEntries(this.#seq),
      lists: Object.fromEntries(this.#lists),
    });
  }

  /** Returns what is known about a list; undefined if no such list has been read. */
  list(uri: string): Readonly<RememberedList> | undefined {
    return this.#lists.get(uri);
  }

  /** Returns the earliest time at which the clock of the device does not count as rolled back. */
  get clockFloor(): number {
    return Math.max(this.time, this.signed) - MAX_ROLLBACK;
  }

  /** Returns whether the clock was set back, and this license does not heal that. */
  isClockRolledBack(license: Claims, now: number): boolean {
    return now < this.clockFloor && !this.#isHealedBy(license, now);
  }

  /** A newer license, signed within a day of the device's clock, heals a clock that was ahead. */
  #isHealedBy(license: Claims, now: number): boolean {
    return license.iat > this.signed && Math.abs(license.iat - now) <= DAY;
  }

  isRevoked({ idx, uri }: { idx: number; uri: string }): boolean {
    return this.#lists.get(uri)?.revoked.includes(idx) ?? false;
  }

  rememberBundle(bundle: Bundle): void {
    this.#rememberSigned(bundle.iat);
    this.keysSeq = Math.max(this.keysSeq, bundle.seq);
  }

  /** `before` is the memory before this verdict. */
  rememberLicense(license: Claims, before: Memory, now: number): void {
    const heals = now < before.clockFloor && before.#isHealedBy(license, now);
    this.time = heals ? now : Math.max(this.time, now);
    this.#rememberSigned(license.iat);
    this.#seq.set(license.sub, Math.max(this.#seq.get(license.sub) ?? 0, license.seq));
  }

  rememberList(list: StatusList, { idx, uri }: { idx: number; uri: string }): void {
    this.#rememberSigned(list.iat);
    const known = [...this.#lists.get(uri)?.revoked ?? [], idx];
    const revoked = known.filter((known) => !list.has(known) || list.isRevoked(known));
    this.#lists.set(uri, { iat: list.iat, revoked: ascending(revoked) });
  }

  #rememberSigned(iat: number): void {
    this.signed = Math.max(this.signed, iat);
  }
}

function ascending(indexes: number[]): number[] {
  return [...new Set(indexes)].sort((one, other) => one - other);
}
