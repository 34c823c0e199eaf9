"""The runner of vectors, and the product's own vectors (`verify/vectors`, or $LICENTIA_VECTORS)."""

import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any, Dict, Tuple

from licentia.vectors import Difference, run_folder, run_lines

from .support import KEY, NOW, PRODUCT, license

REPOSITORY = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("LICENTIA_VECTORS") or REPOSITORY / "verify" / "vectors")


def case(**members: Any) -> Any:
    trust = {"jwks": {"keys": [KEY.jwk()]}}
    good = {"name": "a case", "why": "a test", "trust": trust, "audience": PRODUCT, "now": NOW}
    return {**good, "license": license(), "expect": {"valid": True}, **members}


class Runner(unittest.TestCase):
    def run_cases(self, *cases: Any) -> int:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "some.json").write_text(json.dumps(cases), encoding="utf-8")
            return run_folder(Path(folder))

    def test_it_counts_the_cases(self) -> None:
        steps = [{}, {"license": "x", "expect": {}}]
        self.assertEqual(self.run_cases(case(), case(steps=steps)), 2)

    def test_it_stops_at_the_first_difference(self) -> None:
        differences: Tuple[Dict[str, Any], ...] = (
            {"valid": False},
            {"valid": 1},
            {"features": ["export", "editor"]},
            {"memory": {}},
        )
        for expect in differences:
            with self.assertRaisesRegex(Difference, "some.json: a case: "):
                self.run_cases(case(), case(expect=expect))

    def test_steps_inherit_members_and_the_memory(self) -> None:
        back = {"now": NOW - 7200, "expect": {"code": "clock_rolled_back"}}
        lost = {**back, "memory": None, "expect": {"code": "not_yet_valid"}}
        steps = [{"now": NOW + 7200}, {**back, "now": NOW}, lost]
        self.assertEqual(self.run_cases(case(steps=steps)), 1)
        with self.assertRaisesRegex(Difference, "step 2"):
            self.run_cases(case(steps=[{}, {"expect": {"valid": False}}]))

    def test_an_empty_folder_is_a_failure(self) -> None:
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(Difference):
            run_folder(Path(folder))

    def test_a_line_that_is_no_case_does_not_end_the_run(self) -> None:
        lines = [b"x", b"{}", json.dumps(case()).encode(), json.dumps(case(trust={})).encode()]
        lines += [b"[" * 100_000, b"\xff", json.dumps(case(steps=[{}])).encode()]
        output = io.StringIO()
        run_lines(io.BytesIO(b"\n".join(lines)), output)
        results = [json.loads(line) for line in output.getvalue().splitlines()]
        self.assertEqual([("error" in result) for result in results], [1, 1, 0, 1, 1, 1, 0])
        self.assertEqual(len(results[2]), 13)
        self.assertTrue(results[6]["steps"][0]["valid"])


class Vectors(unittest.TestCase):
    @unittest.skipUnless(any(FOLDER.glob("*.json")), f"{FOLDER} has no vectors")
    def test_every_vector_has_the_expected_verdict(self) -> None:
        self.assertGreater(run_folder(FOLDER), 0)


if __name__ == "__main__":
    unittest.main()
