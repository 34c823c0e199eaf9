"""The verdict about a license: the order of the rules, the states, and when they change."""

import json
import unittest
from typing import Any, Dict, List, Optional, Tuple

from licentia import TrustError, Verdict, Verifier

from .support import (
    DAY,
    KEY,
    LIST,
    NEXT_KEY,
    NOW,
    PRODUCT,
    ROOT,
    Json,
    bundle,
    claims,
    license,
    pinned,
    reference,
    rooted,
    status_list,
)


def code(text: str, now: int = NOW, **options: Any) -> Optional[str]:
    return pinned(**options).verify(text, now=now).verdict.code


def summary(verdict: Verdict) -> Tuple[Optional[str], Optional[str], Optional[int]]:
    return verdict.state, verdict.code, verdict.changes_at


class Documents(unittest.TestCase):
    def test_a_good_license_has_all_members(self) -> None:
        verdict = pinned().verify(license(), now=NOW).verdict
        expected = {
            "valid": True,
            "state": "active",
            "code": None,
            "features": ["editor", "export"],
            "limits": {"seats": 5},
            "plan": "professional",
            "trial": False,
            "customer_id": "cust_1",
            "license_id": "lic_1",
            "updates_until": None,
            "warn": False,
            "changes_at": NOW + 14 * DAY,
        }
        self.assertEqual(verdict.as_dict(), expected)
        self.assertTrue(verdict.allows("export"))
        self.assertFalse(verdict.allows("sso"))
        self.assertEqual((verdict.limit("seats"), verdict.limit("users")), (5, None))

    def test_headers_are_checked_in_their_order(self) -> None:
        def signed(typ: str = "license+jwt", **header: object) -> str:
            return KEY.sign(typ, claims(), **header)

        for text, expected in (
            (signed("license-keys+jwt", crit=[], alg="none", kid=7), "wrong_type"),
            (signed("application/license+jwt"), "wrong_type"),
            (signed("\u017ficense+jwt"), "wrong_type"),
            (KEY.sign(None, claims()), "wrong_type"),  # type: ignore[arg-type]
            (signed(crit=[], alg="none", kid=7), "critical_header"),
            (signed(alg="none", kid=7), "unsupported_algorithm"),
            (signed(alg="HS256"), "unsupported_algorithm"),
            (signed(alg=["EdDSA"]), "unsupported_algorithm"),
            (signed(alg={"EdDSA": 1}), "unsupported_algorithm"),
            (signed(kid=7), "malformed"),
            (signed(kid=None), "malformed"),
            (signed(kid=""), "unknown_key"),
            (signed(kid=NEXT_KEY.kid), "unknown_key"),
            (NEXT_KEY.sign("license+jwt", claims(), kid=KEY.kid), "bad_signature"),
            (signed("LICENSE+jwt", alg="Ed25519", jwk=NEXT_KEY.jwk(), jku="https://x"), None),
        ):
            self.assertEqual(code(text), expected)

    def test_what_is_not_a_license_is_malformed(self) -> None:
        header, payload, signature = license().split(".")
        for text in (
            "",
            "..",
            f"{header}.{payload}",
            f"{header}.{payload}.{signature}.",
            f"{header}.{payload}.{signature}=",
            f"{header}.{payload}=.{signature}",
            f"{header[:-1]}.{payload}.{signature}",
            "e30.e30.e31",
            KEY.sign("license+jwt", "[]"),
            KEY.sign("license+jwt", '{"ver":1,"ver":1}'),
        ):
            self.assertEqual(code(text), "malformed", text)
        self.assertEqual(pinned().verify(None, now=NOW).verdict.code, "malformed")
        self.assertEqual(code(f"{header}.{payload}."), "bad_signature")
        self.assertEqual(code("e30.e30.e30"), "wrong_type")

    def test_each_claim_has_its_type(self) -> None:
        wrong: Dict[str, List[Any]] = {
            "iss": ["", 1, ...],
            "sub": ["", None, ...],
            "aud": [[PRODUCT], None, ...],
            "iat": [None, "1", 1.5, -1, True, 253_402_300_800, ...],
            "nbf": [None, ...],
            "exp": [None, 253_402_300_800, ...],
            "jti": ["", ...],
            "plan": [None, ...],
            "trial": [0, "false", None, ...],
            "features": [None, "editor", ["editor", 1], {}, ...],
            "limits": [None, [], {"seats": "5"}, {"seats": -1}, {"seats": 2**53}, ...],
            "license_expires": ["never", ...],
            "grace_until": [-1, ...],
            "seq": [None, 1.5, ...],
            "ver": [0, None, "1", 2**53, ...],
            "updates_until": [None, "x"],
            "warn_days": [None, -1],
            "on_end": [None, {}, "warn", {"mode": "pause"}, {"mode": "stop", "features": None}],
            "status": [None, {}, {"status_list": {"idx": 1}}, {"status_list": {"uri": "u"}}],
            "cnf": [None, {}, {"jkt": ""}, {"jwk": {}}],
        }
        for name, values in wrong.items():
            for value in values:
                text = license(**{name: value})
                self.assertEqual(code(text), "invalid_claims", f"{name}: {value!r}")
        self.assertEqual(code(license(license_expires=None)), "invalid_claims")
        self.assertEqual(code(license(ver=2, iss=7)), "unsupported_version")
        for number in ("1.0", "1E3", "-0"):
            text = json.dumps(claims(seq="SEQ")).replace('"SEQ"', number)
            self.assertEqual(code(KEY.sign("license+jwt", text)), "invalid_claims")

    def test_the_rules_about_the_vendor_and_the_device_have_an_order(self) -> None:
        self.assertEqual(code(license(aud="other", iss="other"), issuer="x"), "wrong_audience")
        self.assertEqual(code(license(aud="")), "wrong_audience")
        self.assertEqual(code(license(nbf=NOW + 61), issuer="x"), "wrong_issuer")
        bound = license(cnf={"jkt": "device"}, updates_until=NOW - 1, exp=NOW)
        self.assertEqual(code(bound, build=NOW), "wrong_device")
        self.assertEqual(code(bound, build=NOW, device=""), "wrong_device")
        self.assertEqual(code(bound, build=NOW, device="other"), "wrong_device")
        self.assertEqual(code(bound, build=NOW, device="device"), "update_not_covered")
        self.assertEqual(code(bound, build=NOW - 1, device="device"), "token_expired")

    def test_an_invalid_license_grants_nothing_but_says_whose_it_is(self) -> None:
        verdict = pinned().verify(license(aud="other"), now=NOW).verdict
        self.assertEqual((verdict.features, verdict.limits, verdict.warn), ((), {}, False))
        self.assertEqual((verdict.license_id, verdict.plan), ("lic_1", "professional"))
        forged = pinned().verify(license(NEXT_KEY), now=NOW).verdict
        self.assertEqual((forged.license_id, forged.plan, forged.trial), (None, None, None))


class Time(unittest.TestCase):
    def test_every_end_is_exclusive(self) -> None:
        text = license(exp=NOW + 60 * DAY)
        end, over = NOW + 30 * DAY, NOW + 37 * DAY
        for now, expected in (
            (NOW - 121, (None, "not_yet_valid", NOW - 120)),
            (NOW - 120, ("active", None, end)),
            (end - 1, ("active", None, end)),
            (end, ("grace", "license_expired", over)),
            (over - 1, ("grace", "license_expired", over)),
            (over, (None, "license_expired", None)),
        ):
            self.assertEqual(summary(pinned().verify(text, now=now).verdict), expected)

    def test_a_token_runs_out_before_its_license(self) -> None:
        exp = NOW + 14 * DAY
        self.assertEqual(code(license(), exp - 1), None)
        self.assertEqual(code(license(), exp), "token_expired")

    def test_a_license_without_end_lives_as_long_as_its_token(self) -> None:
        text = license(license_expires=None, grace_until=None)
        verdict = pinned().verify(text, now=NOW).verdict
        self.assertEqual(summary(verdict), ("active", None, NOW + 14 * DAY))

    def test_what_remains_at_the_end_is_what_was_promised(self) -> None:
        limited = {"mode": "limited", "features": ["view"], "limits": {"seats": 1}}
        exp, over = NOW + 14 * DAY, NOW + 37 * DAY
        for on_end, state, features in (
            ({"mode": "stop"}, None, ()),
            ({"mode": "limited"}, "limited", ()),
            (limited, "limited", ("view",)),
            ({"mode": "warn"}, "overdue", ("editor", "export")),
        ):
            for now, expected in ((exp, "token_expired"), (over, "license_expired")):
                verdict = pinned().verify(license(on_end=on_end), now=now).verdict
                self.assertEqual(summary(verdict), (state, expected, None))
                self.assertEqual(verdict.features, features)
                self.assertEqual(verdict.warn, verdict.valid)

    def test_a_promise_never_overrides_a_refusal(self) -> None:
        promised = license(
            on_end={"mode": "warn"}, status=reference(), cnf={"jkt": "d"}, updates_until=NOW
        )
        over = NOW + 90 * DAY
        revoked = pinned(device="d").verify(promised, status=status_list([7]), now=over)
        self.assertEqual(revoked.verdict.code, "revoked")
        self.assertEqual(code(promised, over), "wrong_device")
        self.assertEqual(code(promised, over, device="d", build=over), "update_not_covered")

    def test_a_warning_comes_days_before_the_change(self) -> None:
        change = NOW + 14 * DAY
        for warn_days, now, warn in (
            (3, change - 3 * DAY - 1, False),
            (3, change - 3 * DAY, True),
            (2**53 - 1, NOW, True),
            (0, change - 1, False),
            (..., change - 1, False),
        ):
            verdict = pinned().verify(license(warn_days=warn_days), now=now).verdict
            self.assertEqual((verdict.state, verdict.warn), ("active", warn))

    def test_changes_at_knows_the_ends_of_the_bundle_and_of_the_status_list(self) -> None:
        verdict = rooted().verify(license(), keys=bundle(exp=NOW + DAY), now=NOW).verdict
        self.assertEqual(summary(verdict), ("active", None, NOW + DAY))
        later = rooted().verify(license(), keys=bundle(exp=NOW + DAY), now=NOW + DAY).verdict
        self.assertEqual(summary(later), (None, "unknown_key", None))

        strict = pinned(max_status_age=3600)
        text, current = license(status=reference()), status_list(iat=NOW)
        verdict = strict.verify(text, status=current, now=NOW).verdict
        self.assertEqual(summary(verdict), ("active", None, NOW + 3601))
        self.assertTrue(strict.verify(text, status=current, now=NOW + 3600).verdict.valid)
        stale = strict.verify(text, status=current, now=NOW + 3601).verdict
        self.assertEqual(summary(stale), (None, "stale_status", None))
        self.assertEqual(strict.verify(text, now=NOW).verdict.code, "stale_status")
        self.assertTrue(strict.verify(license(), now=NOW).verdict.valid)


class LicenseFiles(unittest.TestCase):
    def test_a_license_file_is_accepted_like_a_license(self) -> None:
        members = {"license": license(status=reference()), "keys": bundle(), "x": 1}
        members["status"] = status_list([7])
        for indent in (None, 2):
            verdict = rooted().verify(json.dumps(members, indent=indent), now=NOW).verdict
            self.assertEqual(verdict.code, "revoked")

    def test_of_two_bundles_and_lists_the_newer_one_counts(self) -> None:
        old, new = bundle(seq=1), bundle(seq=2, revoked=[KEY.kid])
        for inside, outside in ((old, new), (new, old)):
            text = json.dumps({"license": license(), "keys": inside})
            verdict = rooted().verify(text, keys=outside, now=NOW).verdict
            self.assertEqual(verdict.code, "key_revoked")
        old, new = status_list(iat=NOW - 100), status_list([7], iat=NOW - 50)
        for inside, outside in ((old, new), (new, old)):
            text = json.dumps({"license": license(status=reference()), "status": inside})
            verdict = pinned().verify(text, status=outside, now=NOW).verdict
            self.assertEqual(verdict.code, "revoked")

    def test_a_bad_file_is_malformed_and_bad_companions_are_ignored(self) -> None:
        token = license()
        for text in (
            "{}",
            '{"license":null}',
            json.dumps({"license": json.dumps({"license": token})}),
            f'{{"license":"{token}","license":"{token}"}}',
            f'{{"license":"{token}"',
        ):
            self.assertEqual(code(text), "malformed", text)
        self.assertEqual(code(json.dumps({"license": "x" * 8193})), "too_large")
        for companion in (None, 7, "x", "x" * 70_000):
            text = json.dumps({"license": token, "keys": companion, "status": companion})
            self.assertIsNone(code(text))


class Misuse(unittest.TestCase):
    def test_unusable_trust_is_refused_with_the_reason(self) -> None:
        neutral = {"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41, "kid": "k"}
        misuses: Tuple[Json, ...] = (
            {},
            {"jwks": {"keys": [KEY.jwk()]}, "root": ROOT.jwk()},
            {"jwks": "not json"},
            {"jwks": {}},
            {"jwks": {"keys": []}},
            {"jwks": {"keys": [KEY.jwk(), KEY.jwk()]}},
            {"jwks": {"keys": [KEY.jwk(d="secret")]}},
            {"jwks": {"keys": [neutral, KEY.jwk(use="enc"), KEY.jwk(alg="RS256"), 7]}},
            {"root": neutral},
            {"root": ROOT.jwk(d="secret")},
            {"root": ROOT.jwk(kid=7)},
            {"root": ROOT.jwk(kid="")},
            {"jwks": {"keys": [KEY.jwk(kid="")]}},
            {"jwks": {"keys": [KEY.jwk()], "x": "x" * 65536}},
            {"root": {}},
        )
        for options in misuses:
            with self.assertRaises(TrustError, msg=str(options)):
                Verifier(PRODUCT, **options)
        with self.assertRaises(TrustError):
            Verifier("", root=ROOT.jwk())

    def test_a_key_set_is_accepted_as_text_too(self) -> None:
        jwks = json.dumps({"keys": [{"kty": "RSA", "d": "x"}, KEY.jwk(use="sig", alg="EdDSA")]})
        self.assertTrue(Verifier(PRODUCT, jwks=jwks).verify(license(), now=NOW).verdict.valid)


class Lists(unittest.TestCase):
    def verdict(self, status: str, **options: Any) -> Optional[str]:
        text = license(status=reference())
        return pinned(**options).verify(text, status=status, now=NOW).verdict.code

    def test_the_bit_of_the_license_decides(self) -> None:
        self.assertEqual(self.verdict(status_list([7])), "revoked")
        self.assertEqual(self.verdict(status_list([6, 8, 15])), None)
        self.assertEqual(self.verdict(status_list([7], iat=NOW - 90 * DAY)), "revoked")

    def test_a_list_that_fails_counts_as_not_given(self) -> None:
        import zlib

        from licentia.reading import to_base64url

        def packed(data: bytes, bits: object = 1) -> str:
            content = {"bits": bits, "lst": to_base64url(data)}
            return status_list(status_list=content)

        ones = zlib.compress(b"\xff" * 1024)
        self.assertEqual(self.verdict(packed(ones)), "revoked")
        self.assertEqual(self.verdict(packed(zlib.compress(b"\xff" * 2**17))), "revoked")
        for bad in (
            "x",
            license(),
            packed(zlib.compress(b"\xff" * (2**17 + 1))),
            packed(zlib.compress(b"\xff" * 2**26)),
            packed(ones + b"\0"),
            packed(ones[:-1]),
            packed(ones[:-1] + bytes([ones[-1] ^ 1])),
            packed(b"\xff" * 1024),
            packed(ones, 2),
            packed(ones, True),
            packed(ones, 1.0),
            status_list([7], uri=LIST + "/"),
            status_list([7], by=NEXT_KEY),
            status_list([7], by=ROOT),
            status_list([7], exp="x"),
            status_list([7], ttl=-1),
            status_list(size=0),
            status_list([7]) + "A",
        ):
            self.assertEqual(self.verdict(bad), None)
            self.assertEqual(self.verdict(bad, max_status_age=DAY), "stale_status")
        beyond = pinned(max_status_age=DAY).verify(
            license(status=reference(8192)), status=status_list(), now=NOW
        )
        self.assertEqual(beyond.verdict.code, "stale_status")


if __name__ == "__main__":
    unittest.main()
