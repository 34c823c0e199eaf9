import assert from "node:assert/strict";
import { test } from "node:test";

import { isUsablePoint } from "../dist/ed25519.js";
import { OTHER_NUMBER, parseObject } from "../dist/json.js";
import { clean, decodeBase64url, encodeBase64url } from "../dist/text.js";

test("text loses what mails and clipboards add, and nothing else", () => {
  assert.equal(clean("\uFEFF \t„“a.b.c”“\u00A0\r\n\u200B"), "a.b.c");
  assert.equal(clean("'\" a.b \r\n \u00A0\n .c\" '"), "a.b.c");
  assert.equal(clean("a. b.c"), "a. b.c");
  assert.equal(clean("```a```"), "`a`");
  assert.equal(clean('"'), '"');
});

test("a megabyte of blanks before a line break takes linear time", () => {
  const started = performance.now();
  assert.equal(clean(`a${" ".repeat(1_000_000)}b${" \n".repeat(500_000)}c`).length, 1_000_003);
  assert.ok(performance.now() - started < 5_000);
});

test("base64url is strict", () => {
  for (let length = 0; length < 70; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) % 256);
    const text = Buffer.from(bytes).toString("base64url");
    assert.equal(encodeBase64url(bytes), text);
    assert.deepEqual(decodeBase64url(text), bytes);
  }
  for (const text of ["A", "AAAAA", "AA==", "AB", "AAB", "A+AA", "A/AA", "A AA", "AA\n", "AAÄA"]) {
    assert.equal(decodeBase64url(text), null, text);
  }
});

test("numbers are whole digits up to 2^53 - 1, and others are told apart", () => {
  const numberOf = (text) => parseObject(`{"n":${text}}`)?.get("n");
  assert.equal(numberOf("0"), 0);
  assert.equal(numberOf("9007199254740991"), Number.MAX_SAFE_INTEGER);
  for (const text of ["1.0", "1E3", "-0", "-1", "1e400", "9007199254740992", "9".repeat(5000)]) {
    assert.equal(numberOf(text), OTHER_NUMBER, text);
  }
  for (const text of ["01", "+1", "1.", ".5", "NaN", "Infinity", "1e", "0x1"]) {
    assert.equal(numberOf(text), undefined, text);
  }
});

test("JSON that another parser could read differently is refused", () => {
  const refused = [
    "", "null", "[]", '"a"', "{", "{}x", "{}{}", "\uFEFF{}", '{"a":1,"a":1}', '{"a":1,"\\u0061":2}',
    '{"a":1,}', '{"a":[1,]}', '{"a" 1}', "{a:1}", "{'a':1}", '{"a":"\\ud800"}', '{"\\udc00":1}',
    '{"a":"\\ud800x\\udc00"}', '{"a":"\t"}', '{"a":"\\x"}', '{"a":"\\u00g0"}', '{"a":tru}',
    '{"a":1 2}', '{"a":"b', "{//\n}", '{"a":{"b":1,"b":1}}', "\u00A0{}",
  ];
  for (const text of refused) assert.equal(parseObject(text), null, text);
  const accepted = ' {"a" : [ ] , "b":"\\ud83d\\ude00\\n\\/\\u00e9",'
    + ' "__proto__":{"x":null},"c":true}\r\n';
  assert.deepEqual([...parseObject(accepted)], [
    ["a", []], ["b", "😀\n/é"], ["__proto__", new Map([["x", null]])], ["c", true],
  ]);
});

test("64 levels are accepted, and no more", () => {
  const nested = (levels) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
  assert.notEqual(parseObject(nested(64)), null);
  assert.equal(parseObject(nested(65)), null);
  assert.equal(parseObject(`{"a":${"[".repeat(1_000_000)}`), null);
});

test("points of small order, off the curve, or not canonical are no keys", () => {
  const hex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
  const unusable = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    // y = p, p + 1, p + 3 (which is on the curve), 2^255 - 1
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    // y = 2 is not on the curve.
    "0200000000000000000000000000000000000000000000000000000000000000",
    "03", "",
  ];
  for (const text of unusable) assert.equal(isUsablePoint(hex(text)), false, text);
  // y = 3, and the public key of RFC 8032, test 1.
  const three = "0300000000000000000000000000000000000000000000000000000000000000";
  const rfc = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
  for (const text of [three, rfc]) assert.equal(isUsablePoint(hex(text)), true, text);
});
