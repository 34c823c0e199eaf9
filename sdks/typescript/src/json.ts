/**
 * Parses JSON strictly. `JSON.parse` is not enough for signed documents: it keeps the last of
 * repeated members, accepts lone surrogates, has no limit of depth, and makes 1 of `1.0`.
 */

/** A number that is not a plain whole number from 0 to 2^53 − 1, for example `1.0` or `-0`. */
export const OTHER_NUMBER: unique symbol = Symbol("another number");

export interface Members extends ReadonlyMap<string, Json> {}

export type Json = null | boolean | string | number | typeof OTHER_NUMBER | Json[] | Members;

/** How deeply arrays and objects may be nested. */
const MAX_DEPTH = 64;

/** Returns the members of the JSON object; null if the text is anything else. */
export function parseObject(text: string | null): Members | null {
  if (text === null) return null;
  try {
    const value = new Parser(text).document();
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

export function isObject(value: Json | undefined): value is Members {
  return value instanceof Map;
}

const BLANKS = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX_ESCAPE = /\\u([0-9a-fA-F]{4})/y;
const SIMPLE_ESCAPES = new Map([
  ['"', '"'], ["\\", "\\"], ["/", "/"], ["b", "\b"], ["f", "\f"], ["n", "\n"], ["r", "\r"],
  ["t", "\t"],
]);

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    const value = this.#value(1);
    if (this.#at < this.#text.length) throw this.#error();
    return value;
  }

  /** Returns the value here, and skips the blanks around it. */
  #value(depth: number): Json {
    this.#match(BLANKS);
    const value = this.#bareValue(depth);
    this.#match(BLANKS);
    return value;
  }

  #bareValue(depth: number): Json {
    switch (this.#text.charAt(this.#at)) {
      case "{": return this.#object(depth);
      case "[": return this.#array(depth);
      case '"': return this.#string();
      case "t": return this.#literal("true", true);
      case "f": return this.#literal("false", false);
      case "n": return this.#literal("null", null);
      default: return this.#number();
    }
  }

  #object(depth: number): Members {
    const members = new Map<string, Json>();
    this.#items("}", depth, () => {
      this.#match(BLANKS);
      const name = this.#string();
      this.#match(BLANKS);
      this.#expect(":");
      if (members.has(name)) throw this.#error();
      members.set(name, this.#value(depth + 1));
    });
    return members;
  }

  #array(depth: number): Json[] {
    const items: Json[] = [];
    this.#items("]", depth, () => items.push(this.#value(depth + 1)));
    return items;
  }

  /** Reads what stands between brackets, separated by commas. */
  #items(end: string, depth: number, readItem: () => void): void {
    if (depth > MAX_DEPTH) throw this.#error();
    this.#at += 1;
    this.#match(BLANKS);
    if (!this.#skip(end)) {
      do readItem(); while (this.#skip(","));
      this.#expect(end);
    }
  }

  #string(): string {
    this.#expect('"');
    let value = "";
    let start = this.#at;
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit === 0x22) break;
      // NaN, at the end of the text, is not at least 0x20 either.
      if (!(unit >= 0x20)) throw this.#error();
      if (unit === 0x5c) {
        value += this.#text.slice(start, this.#at) + this.#escape();
        start = this.#at;
      } else {
        this.#at += 1;
      }
    }
    value += this.#text.slice(start, this.#at);
    this.#at += 1;
    if (/\p{Surrogate}/u.test(value)) throw this.#error();
    return value;
  }

  #escape(): string {
    const hex = this.#match(HEX_ESCAPE)?.[1];
    if (hex !== undefined) return String.fromCharCode(parseInt(hex, 16));
    const character = SIMPLE_ESCAPES.get(this.#text.charAt(this.#at + 1));
    if (character === undefined) throw this.#error();
    this.#at += 2;
    return character;
  }

  #number(): number | typeof OTHER_NUMBER {
    const text = this.#match(NUMBER)?.[0];
    if (text === undefined) throw this.#error();
    const isWhole = /^[0-9]+$/.test(text) && Number.isSafeInteger(Number(text));
    return isWhole ? Number(text) : OTHER_NUMBER;
  }

  #literal<Value>(name: string, value: Value): Value {
    if (!this.#text.startsWith(name, this.#at)) throw this.#error();
    this.#at += name.length;
    return value;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    this.#at += match?.[0].length ?? 0;
    return match;
  }

  #skip(character: string): boolean {
    const isHere = this.#text.charAt(this.#at) === character;
    if (isHere) this.#at += 1;
    return isHere;
  }

  #expect(character: string): void {
    if (!this.#skip(character)) throw this.#error();
  }

  #error(): SyntaxError {
    return new SyntaxError(`not strict JSON at ${this.#at}`);
  }
}
