"""What the user reads."""

import unittest
from typing import Optional, Tuple

from licentia import Code, State, Verdict, message

CHANGES_AT = 1_797_218_715
DATE = "2026-12-14"


def sentence(
    state: State, code: Code = "license_expired", warn: bool = True
) -> Optional[str]:
    return message(Verdict(True, state, code, warn=warn, changes_at=CHANGES_AT))


class Messages(unittest.TestCase):
    def test_an_active_license_says_nothing_until_it_warns(self) -> None:
        self.assertIsNone(sentence("active", warn=False))
        self.assertIn(DATE, sentence("active") or "")

    def test_grace_says_until_when_it_works(self) -> None:
        self.assertIn(f"works until {DATE}", sentence("grace") or "")

    def test_what_remains_is_said_with_what_to_do(self) -> None:
        states: Tuple[Tuple[State, str], ...]
        states = (("overdue", "Everything keeps working"), ("limited", "are off"))
        codes: Tuple[Tuple[Code, str], ...]
        codes = (("license_expired", "renew"), ("token_expired", "connect"))
        for state, remains in states:
            for code, remedy in codes:
                text = sentence(state, code) or ""
                self.assertIn(remains, text)
                self.assertIn(remedy, text)

    def test_an_invalid_license_says_why(self) -> None:
        parts: Tuple[Tuple[Code, str], ...] = (
            ("license_expired", "renew"),
            ("token_expired", "connect"),
            ("unknown_key", "connect"),
            ("key_not_valid", "connect"),
            ("stale_status", "connect"),
            ("revoked", "revoked"),
            ("key_revoked", "revoked"),
            ("wrong_device", "another device"),
            ("not_yet_valid", "clock"),
            ("clock_rolled_back", "clock"),
            ("unsupported_version", "update the app"),
            ("wrong_audience", "another product"),
            ("wrong_issuer", "another product"),
            ("malformed", "no valid license"),
            ("bad_signature", "no valid license"),
        )
        for code, part in parts:
            self.assertIn(part, message(Verdict(False, None, code)) or "")
        uncovered = Verdict(False, None, "update_not_covered", updates_until=CHANGES_AT)
        self.assertIn(f"versions until {DATE}", message(uncovered) or "")


if __name__ == "__main__":
    unittest.main()
