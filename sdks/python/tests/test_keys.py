"""Key bundles: rotation under apps that pin only the root."""

import unittest
from typing import Optional

from .support import DAY, KEY, NEXT_KEY, NOW, ROOT, SigningKey, bundle, license, rooted, status_list
from .support import reference


def code(text: str, keys: Optional[str], memory: Optional[str] = None) -> Optional[str]:
    return rooted().verify(text, keys=keys, memory=memory, now=NOW).verdict.code


class Bundles(unittest.TestCase):
    def test_an_old_app_accepts_the_third_successor_key(self) -> None:
        keys = [SigningKey(name) for name in ("first", "second", "third", "fourth")]
        entries = [key.jwk(nbf=NOW - 9 * DAY, exp=None) for key in keys]
        self.assertIsNone(code(license(keys[3]), bundle(entries, seq=4)))
        self.assertEqual(code(license(keys[3]), None), "unknown_key")

    def test_a_stolen_key_is_revoked_even_if_it_is_no_longer_listed(self) -> None:
        keys = bundle([NEXT_KEY.jwk(nbf=0, exp=None)], seq=2, revoked=[KEY.kid])
        self.assertEqual(code(license(), keys), "key_revoked")
        self.assertIsNone(code(license(NEXT_KEY), keys))

    def test_a_key_counts_for_what_was_signed_during_its_time(self) -> None:
        iat = NOW - 60
        for nbf, exp, expected in (
            (iat + 60, iat + 1, None),
            (iat + 61, None, "key_not_valid"),
            (0, iat, "key_not_valid"),
            (0, None, None),
        ):
            keys = bundle([KEY.jwk(nbf=nbf, exp=exp)])
            self.assertEqual(code(license(), keys), expected)

    def test_a_bundle_that_does_not_count_leaves_every_key_unknown(self) -> None:
        entry = KEY.jwk(nbf=0, exp=None)
        for keys in (
            "",
            "x" * 70_000,
            bundle(by=KEY),
            bundle(exp=NOW),
            bundle(exp=1.5),  # type: ignore[arg-type]
            bundle(seq=-1),
            bundle([entry, entry]),
            bundle(revoked=[7]),  # type: ignore[list-item]
            bundle([KEY.jwk(nbf=0)]),
            bundle([KEY.jwk(nbf="x", exp=None)]),
            bundle([KEY.jwk(nbf=0, exp=None, d="x")]),
            bundle([KEY.jwk(nbf=0, exp=None, x="AQ" + "A" * 41)]),
            ROOT.sign("license+jwt", {"iss": "x", "iat": 1, "seq": 1, "keys": [], "revoked": []}),
        ):
            self.assertEqual(code(license(), keys), "unknown_key")

    def test_a_bundle_older_than_remembered_does_not_count(self) -> None:
        memory = rooted().verify(license(), keys=bundle(seq=5), now=NOW).memory
        self.assertEqual(code(license(), bundle(seq=4), memory), "unknown_key")
        self.assertIsNone(code(license(), bundle(seq=5), memory))

    def test_the_root_signs_bundles_only(self) -> None:
        keys = bundle([KEY.jwk(nbf=0, exp=None), ROOT.jwk(nbf=0, exp=None)])
        self.assertEqual(code(license(ROOT), keys), "unknown_key")
        text = license(status=reference())
        for by, expected in ((ROOT, None), (KEY, "revoked")):
            verdict = rooted().verify(text, keys=keys, status=status_list([7], by=by), now=NOW)
            self.assertEqual(verdict.verdict.code, expected)

    def test_a_status_list_needs_a_key_of_its_time(self) -> None:
        entries = [KEY.jwk(nbf=0, exp=None), NEXT_KEY.jwk(nbf=0, exp=NOW - DAY)]
        text = license(status=reference())
        for iat, expected in ((NOW - DAY - 1, "revoked"), (NOW - DAY, None)):
            status = status_list([7], by=NEXT_KEY, iat=iat)
            verdict = rooted().verify(text, keys=bundle(entries), status=status, now=NOW)
            self.assertEqual(verdict.verdict.code, expected)


if __name__ == "__main__":
    unittest.main()
