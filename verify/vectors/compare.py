#!/usr/bin/env python3
"""Sends the same cases through several verifiers and compares their verdicts line by line.

    python3 compare.py CASES NAME=COMMAND [NAME=COMMAND ...]

CASES is a folder of vectors or a file of JSON lines (`mutate.py` writes one). COMMAND is the
`verdict` command of a verifier, run by the shell. Where a case states its verdict, that is compared
too. Prints each difference, at most 50, and exits with 1 if there is any.

    python3 mutate.py 100000 > /tmp/cases.jsonl
    python3 compare.py /tmp/cases.jsonl "rust=licentia-verify verdict" \
        "python=python3 -m licentia verdict"
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

SHOWN = 50


def lines_of(source):
    """Yields (where, line) for a folder of vectors or a file of JSON lines."""
    path = pathlib.Path(source)
    if path.is_dir():
        for file in sorted(path.glob("*.json")):
            for case in json.loads(file.read_text()):
                yield f"{file.stem}: {case['name']}", json.dumps(case)
    else:
        with path.open() as file:
            for number, line in enumerate(file, 1):
                yield f"line {number}", line.rstrip("\n")


def expected(line):
    """Returns what a case states, or None."""
    case = json.loads(line)
    if all("expect" in step for step in case.get("steps", [{}])):
        return {"steps": [step["expect"] for step in case["steps"]]}
    return case.get("expect")


def normal(verdict):
    """Returns a verdict with its memory parsed."""
    if "steps" in verdict:
        return {"steps": [normal(step) for step in verdict["steps"]]}
    memory = verdict.get("memory")
    return {**verdict, "memory": json.loads(memory) if isinstance(memory, str) else memory}


def differences(wanted, got):
    """Yields (member, wanted, got) for each member of `wanted` that differs."""
    if "steps" in wanted:
        steps = got.get("steps", [])
        if len(steps) != len(wanted["steps"]):
            yield "steps", len(wanted["steps"]), len(steps)
        for index, (step, got_step) in enumerate(zip(wanted["steps"], steps), 1):
            for member, a, b in differences(step, got_step):
                yield f"step {index} {member}", a, b
        return
    if "error" in got and "error" not in wanted:
        yield "error", None, got["error"]
        return
    for member, value in wanted.items():
        if not same(value, got.get(member, "(absent)")):
            yield member, value, got.get(member, "(absent)")


def same(a, b):
    """Returns whether two values of JSON are equal, where 1, 1.0 and true are not."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def run(command, cases):
    """Starts a command that reads the file of cases."""
    return subprocess.Popen(command, shell=True, stdin=cases.open(), stdout=subprocess.PIPE,
                            text=True, encoding="utf-8")


def main():
    """Compares, and prints what differs."""
    source, *commands = sys.argv[1:]
    names = [command.split("=", 1)[0] for command in commands]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for _, line in lines_of(source):
            file.write(line + "\n")
        file.flush()
        runs = [run(command.split("=", 1)[1], pathlib.Path(file.name)) for command in commands]
        count, different = compare(source, names, runs)
        failed = [name for name, process in zip(names, runs) if process.wait() != 0]
    print(f"{count} cases through {len(names)} verifiers, {different} with a difference")
    if failed:
        print("exit code not 0:", ", ".join(failed))
    sys.exit(1 if different or failed or not count else 0)


def compare(source, names, runs):
    """Returns the numbers of cases and of cases that differ."""
    count = different = 0
    outputs = [process.stdout for process in runs]
    for (where, line), *texts in itertools.zip_longest(lines_of(source), *outputs,
                                                       fillvalue=("(no case)", "{}")):
        count += 1
        found = list(check(line, names, texts))
        different += bool(found)
        for problem in found if different <= SHOWN else []:
            print(f"{where}: {problem}")
    return count, different


def check(line, names, texts):
    """Yields what differs in the verdicts about one case."""
    verdicts = {}
    for name, text in zip(names, texts):
        try:
            verdicts[name] = normal(json.loads(text))
        except (TypeError, ValueError, AttributeError):
            yield f"{name} printed {text!r:.200}"
    wanted = expected(line)
    if wanted is not None:
        for name, verdict in verdicts.items():
            for member, a, b in differences(wanted, verdict):
                yield f"{name}: {member}: expected {a!r}, got {b!r}"
        return
    first, *others = verdicts.items()
    for name, verdict in others:
        both_fail = "error" in first[1] and "error" in verdict
        for member, a, b in () if both_fail else differences(first[1], verdict):
            yield f"{member}: {first[0]} {a!r}, {name} {b!r}"


if __name__ == "__main__":
    main()
