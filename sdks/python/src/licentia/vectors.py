"""Runs test cases: a folder of vectors, or cases as JSON lines on standard input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Optional, TextIO

from .verifier import Verifier

Case = Dict[str, Any]


class Difference(Exception):
    """A verdict differs from the expected one."""


def run_folder(folder: Path) -> int:
    """Runs every file of a folder. Returns the number of cases; raises `Difference`."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise Difference(f"{folder} has no *.json")
    return sum(run_file(file) for file in files)


def run_file(file: Path) -> int:
    """Runs the cases of a file. Returns their number; raises `Difference`."""
    document = json.loads(file.read_text(encoding="utf-8"))
    cases: List[Case] = document["cases"] if isinstance(document, dict) else document
    for case in cases:
        result = evaluate(case)
        expected, results = [case], [result]
        if "steps" in case:
            expected, results = case["steps"], result["steps"]
        for number, (step, verdict) in enumerate(zip(expected, results), start=1):
            place = f"{file.name}: {case['name']}" + (f", step {number}" if "steps" in case else "")
            _compare(place, step.get("expect", {}), verdict)
    return len(cases)


def evaluate(case: Case) -> Dict[str, Any]:
    """Returns the members of the verdict and `memory`, or the same for each of its `steps`."""
    if "steps" not in case:
        return _evaluate_one(case)
    memory: Optional[str] = case.get("memory")
    results: List[Dict[str, Any]] = []
    for step in case["steps"]:
        results.append(_evaluate_one({**case, "memory": memory, **step}))
        memory = results[-1]["memory"]
    return {"steps": results}


def run_lines(lines: BinaryIO, output: TextIO) -> None:
    """Reads a case from each line and prints its verdict as a line."""
    for line in lines:
        if not line.strip():
            continue
        try:
            result = evaluate(json.loads(line))
        except Exception as error:  # a line that is not a case must not end the run
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=output, flush=True)


def _evaluate_one(case: Case) -> Dict[str, Any]:
    trust = case["trust"]
    verifier = Verifier(
        case["audience"],
        root=trust.get("root"),
        jwks=trust.get("jwks"),
        issuer=case.get("issuer"),
        build=case.get("build"),
        device=case.get("device"),
        max_status_age=case.get("max_status_age"),
    )
    checked = verifier.verify(
        case["license"],
        keys=case.get("keys"),
        status=case.get("status"),
        memory=case.get("memory"),
        now=case["now"],
    )
    return {**checked.verdict.as_dict(), "memory": checked.memory}


def _compare(place: str, expected: Dict[str, Any], verdict: Dict[str, Any]) -> None:
    for member, value in expected.items():
        found = verdict[member]
        if member == "memory":
            found = json.loads(found)
        # JSON texts are compared, because True == 1 in Python.
        if json.dumps(found, sort_keys=True) != json.dumps(value, sort_keys=True):
            raise Difference(f"{place}: {member}: expected {value!r}, got {found!r}")
