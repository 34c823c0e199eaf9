"""Texts are read tolerantly; base64url, JSON and numbers strictly."""

import unittest

from licentia.reading import (
    MAX_NUMBER,
    NotWhole,
    Unreadable,
    base64url,
    clean_text,
    json_object,
    whole,
)

from .support import license, pinned, NOW


class Texts(unittest.TestCase):
    def test_blanks_and_quotes_around_a_license_are_removed(self) -> None:
        token = license()
        for text in (
            f"  \t\r\n{token}\n",
            f"\ufeff\u00a0\u200b{token}\u200b",
            f'"{token}"',
            f"„{token}“",
            f"«“ {token} ”»",
            f"`{token}`",
            token[:40] + " \r\n\t" + token[40:90] + "\n" + token[90:],
        ):
            self.assertTrue(pinned().verify(text, now=NOW).verdict.valid, text)
            self.assertTrue(pinned().verify(text.encode(), now=NOW).verdict.valid, text)

    def test_other_blanks_and_a_third_pair_of_quotes_are_malformed(self) -> None:
        token = license()
        for text in (
            token[:40] + " " + token[40:],
            token + "\u2028",
            "\x0b" + token,
            f"'''{token}'''",
            f'"{token}',
        ):
            self.assertEqual(pinned().verify(text, now=NOW).verdict.code, "malformed", text)

    def test_a_single_quote_is_no_pair(self) -> None:
        self.assertEqual(clean_text('"'), '"')
        self.assertEqual(clean_text('""'), "")

    def test_long_runs_of_blanks_take_linear_time(self) -> None:
        self.assertEqual(clean_text("a" + " " * 3_000_000 + "b" + "\n" * 1_000_000)[:1], "a")

    def test_sizes_are_measured_in_bytes_after_stripping(self) -> None:
        verdict = pinned().verify(" " * 10_000 + "a" * 8192, now=NOW).verdict
        self.assertEqual(verdict.code, "malformed")
        for text in ("a" * 8193, "é" * 4097, "{" + "x" * 328 * 1024):
            self.assertEqual(pinned().verify(text, now=NOW).verdict.code, "too_large")

    def test_bytes_that_are_not_utf_8_are_malformed(self) -> None:
        for text in (b"\xff\xfe", license().encode() + b"\xff", b'{"license":"\xff"}'):
            self.assertEqual(pinned().verify(text, now=NOW).verdict.code, "malformed")


class Base64Url(unittest.TestCase):
    def test_strict_text_is_decoded(self) -> None:
        self.assertEqual(base64url("-_8"), b"\xfb\xff")
        self.assertEqual(base64url(""), b"")

    def test_padding_other_alphabets_and_unused_bits_are_refused(self) -> None:
        for text in ("-_8=", "+/8", "-_9", "A", "AAAAA", "AA\n", "AA AA", "ＡＡ", "AAA\x00"):
            with self.assertRaises(Unreadable, msg=text):
                base64url(text)


class Json(unittest.TestCase):
    def test_what_is_not_strict_is_refused(self) -> None:
        for text in (
            '{"a":1,"a":1}',
            '{"b":[{"a":1,"\\u0061":2}]}',
            '{"a":NaN}',
            '{"a":-Infinity}',
            '{"a":"\\ud800"}',
            '{"\\udc00":1}',
            '{"a":"\t"}',
            '{"a":01}',
            '{"a":+1}',
            '{"a":.5}',
            '{"a":١}',
            '{"a":1٢}',
            '{"a":1}x',
            '\ufeff{"a":1}',
            "[]",
            '"a"',
            "",
            "{'a':1}",
            '{"a":1,}',
            "\u00a0{}",
        ):
            with self.assertRaises(Unreadable, msg=text):
                json_object(text)
        for data in (b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', '{"a":1}'.encode("utf-16")):
            with self.assertRaises(Unreadable, msg=repr(data)):
                json_object(data)

    def test_surrogate_pairs_are_characters(self) -> None:
        self.assertEqual(json_object('{"a":"\\ud83d\\ude00"}'), {"a": "😀"})

    def test_64_levels_are_accepted_and_65_are_not(self) -> None:
        json_object('{"a":' + "[" * 63 + "]" * 63 + "}")
        for depth in (64, 500, 100_000):
            with self.assertRaises(Unreadable):
                json_object('{"a":' + "[" * depth + "]" * depth + "}")

    def test_only_plain_whole_numbers_are_numbers(self) -> None:
        for text in ("0", "1", str(MAX_NUMBER)):
            self.assertEqual(whole(json_object(f'{{"a":{text}}}')["a"]), int(text))
        for text in ("-0", "-1", "1.0", "1E3", "1e400", str(MAX_NUMBER + 1), "9" * 100_000):
            value = json_object(f'{{"a":{text}}}')["a"]
            self.assertIsInstance(value, NotWhole, text)
            self.assertIsNone(whole(value))
        for text in ("true", "null", '"1"', "[1]"):
            self.assertIsNone(whole(json_object(f'{{"a":{text}}}')["a"]))


if __name__ == "__main__":
    unittest.main()
