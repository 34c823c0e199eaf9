"""The memory: clocks that go back, lists and bundles that come late."""

import json
import random
import unittest
from typing import Any, Dict, Optional

from licentia.memory import Memory

from .support import (
    DAY,
    KEY,
    LIST,
    NEXT_KEY,
    NOW,
    bundle,
    license,
    pinned,
    reference,
    rooted,
    status_list,
)

EMPTY = {"v": 1, "time": 0, "signed": 0, "keys_seq": 0, "seq": {}, "lists": {}}


def memory_after(text: str, now: int = NOW, **arguments: Any) -> Dict[str, Any]:
    checked = rooted().verify(text, now=now, **arguments)
    document: Dict[str, Any] = json.loads(checked.memory)
    return document


class Contents(unittest.TestCase):
    def test_everything_that_verified_is_remembered(self) -> None:
        text = license(status=reference(), seq=3)
        status = status_list([7], iat=NOW - 10)
        remembered = memory_after(text, keys=bundle(seq=9), status=status)
        lists = {LIST: {"iat": NOW - 10, "revoked": [7]}}
        seq = {"cust_1": 3}
        expected = {**EMPTY, "time": NOW, "signed": NOW - 10, "keys_seq": 9, "seq": seq}
        self.assertEqual(remembered, {**expected, "lists": lists})

    def test_what_did_not_verify_is_not(self) -> None:
        self.assertEqual(memory_after("x"), EMPTY)
        self.assertEqual(memory_after(license(NEXT_KEY)), EMPTY)
        with_keys = {**EMPTY, "signed": NOW - DAY, "keys_seq": 1}
        for text in ("x", license(NEXT_KEY), license(aud="other"), license(ver=2)):
            self.assertEqual(memory_after(text, keys=bundle()), with_keys)

    def test_invalid_licenses_that_verified_are_remembered(self) -> None:
        for changes in ({"nbf": NOW + DAY}, {"cnf": {"jkt": "x"}}, {"exp": NOW}):
            remembered = memory_after(license(**changes), keys=bundle())
            self.assertEqual((remembered["time"], remembered["signed"]), (NOW, NOW - 60))

    def test_unreadable_memory_is_lost_and_no_error(self) -> None:
        good = memory_after(license(), keys=bundle())
        for text in (
            "",
            "[]",
            "x" * 300_000,
            json.dumps({**good, "v": 2}),
            json.dumps({**good, "time": -1}),
            json.dumps({**good, "time": 1.5}),
            json.dumps({**good, "seq": []}),
            json.dumps({**good, "lists": {"u": {"iat": 1}}}),
            json.dumps({**good, "lists": {"u": {"iat": 1, "revoked": ["7"]}}}),
            json.dumps({name: value for name, value in good.items() if name != "signed"}),
            '{"v":1,"v":1}',
            '"' + json.dumps(good) + '"',
        ):
            self.assertEqual(Memory.read(text), Memory(), text)
        self.assertEqual(Memory.read(b"\xff"), Memory())
        self.assertEqual(json.loads(Memory.read(json.dumps({**good, "x": 1})).text()), good)


class Clocks(unittest.TestCase):
    def code(self, now: int, memory: Optional[str], **changes: Any) -> Optional[str]:
        return pinned().verify(license(**changes), memory=memory, now=now).verdict.code

    def test_a_clock_may_go_back_an_hour(self) -> None:
        memory = pinned().verify(license(), now=NOW + DAY).memory
        self.assertIsNone(self.code(NOW + DAY - 3600, memory))
        verdict = pinned().verify(license(), memory=memory, now=NOW + DAY - 3601)
        self.assertEqual(verdict.verdict.code, "clock_rolled_back")
        self.assertEqual(verdict.verdict.changes_at, NOW + DAY - 3600)
        self.assertEqual(json.loads(verdict.memory)["time"], NOW + DAY)

    def test_a_license_that_is_over_when_the_clock_is_right_does_not_change(self) -> None:
        memory = pinned().verify(license(), now=NOW + DAY).memory
        verdict = pinned().verify(license(exp=NOW + 60), memory=memory, now=NOW).verdict
        self.assertEqual((verdict.code, verdict.changes_at), ("clock_rolled_back", None))

    def test_a_newer_license_heals_a_clock_that_was_ahead(self) -> None:
        ahead = pinned().verify(license(), now=NOW + 400 * DAY).memory
        self.assertEqual(self.code(NOW + 60, ahead), "clock_rolled_back")
        healed = pinned().verify(license(iat=NOW), memory=ahead, now=NOW + 60)
        self.assertTrue(healed.verdict.valid)
        self.assertEqual(json.loads(healed.memory)["time"], NOW + 60)
        # One that is a day away from the clock, or as old as the last one, proves nothing.
        self.assertEqual(self.code(NOW + DAY + 1, ahead, iat=NOW), "clock_rolled_back")
        self.assertEqual(self.code(NOW + 60, ahead, iat=NOW - 60), "clock_rolled_back")

    def test_a_list_of_the_same_download_does_not_prevent_healing(self) -> None:
        ahead = pinned().verify(license(), now=NOW + 400 * DAY).memory
        text = license(iat=NOW, status=reference())
        fresh = pinned().verify(text, status=status_list(iat=NOW + 60), memory=ahead, now=NOW + 60)
        self.assertTrue(fresh.verdict.valid)

    def test_over_a_sweep_of_clocks_only_the_signed_time_decides(self) -> None:
        """Random clocks: a rolled back clock is noticed exactly when the rule says so."""
        source = random.Random(15)
        memory: Optional[str] = None
        latest = signed = 0
        for _ in range(300):
            iat = source.choice([NOW - 60, NOW - 60, NOW + source.randrange(0, 3 * DAY)])
            now = source.choice([iat + 60, NOW + source.randrange(-4000, 4 * DAY)])
            checked = pinned().verify(license(iat=iat), memory=memory, now=now)
            rolled_back = now < max(latest, signed) - 3600
            if rolled_back and iat > signed and abs(iat - now) <= DAY:
                latest, rolled_back = now, now < signed - 3600
            latest, signed = max(latest, now), max(signed, iat)
            if now >= iat - 60:
                expected = "clock_rolled_back" if rolled_back else None
                self.assertEqual(checked.verdict.code, expected)
            memory = checked.memory
            document = json.loads(memory)
            self.assertEqual((document["time"], document["signed"]), (latest, signed))


class Revocations(unittest.TestCase):
    def test_a_revocation_is_remembered_without_the_list(self) -> None:
        text = license(status=reference())
        memory = pinned().verify(text, status=status_list([7]), now=NOW).memory
        self.assertEqual(pinned().verify(text, memory=memory, now=NOW).verdict.code, "revoked")
        older = status_list(iat=NOW - 61)
        verdict = pinned().verify(text, status=older, memory=memory, now=NOW).verdict
        self.assertEqual(verdict.code, "revoked")

    def test_a_newer_list_decides_about_every_remembered_index(self) -> None:
        memory = json.dumps(
            {**EMPTY, "lists": {LIST: {"iat": NOW - 90, "revoked": [7, 9, 11, 9000]}}}
        )
        text = license(status=reference())
        checked = pinned().verify(text, status=status_list([9]), memory=memory, now=NOW)
        self.assertTrue(checked.verdict.valid)
        revoked = json.loads(checked.memory)["lists"][LIST]["revoked"]
        self.assertEqual(revoked, [9, 9000])

    def test_memory_does_not_make_a_missing_list_fresh(self) -> None:
        text = license(status=reference())
        memory = pinned().verify(text, status=status_list(), now=NOW).memory
        strict = pinned(max_status_age=DAY)
        self.assertEqual(strict.verify(text, memory=memory, now=NOW).verdict.code, "stale_status")


class Hostile(unittest.TestCase):
    def test_no_mutation_raises_or_turns_into_a_license(self) -> None:
        source = random.Random(15)
        keys, status = bundle(), status_list([3])
        text = license(status=reference())
        memory = rooted().verify(text, keys=keys, status=status, now=NOW).memory
        inputs = {"license": text, "keys": keys, "status": status, "memory": memory}
        for _ in range(1000):
            name = source.choice(list(inputs))
            value = inputs[name]
            at, end = source.randrange(len(value)), source.randrange(len(value))
            value = source.choice(
                (
                    value[:at] + chr(source.randrange(0x11000)) + value[at + 1 :],
                    value[:at],
                    value[:at] + value[end:],
                    value + value[at:end],
                    '{"license":' + json.dumps(value[at:]) + "}",
                )
            )
            given = {**inputs, name: value}
            checked = rooted().verify(given.pop("license"), now=NOW, **given)
            if name == "license" and checked.verdict.valid:
                self.assertEqual(checked.verdict.license_id, "lic_1")
            json.loads(checked.memory)


if __name__ == "__main__":
    unittest.main()
