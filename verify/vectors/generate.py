#!/usr/bin/env python3
"""Writes the test vectors: one file of JSON for each subject, next to this program.

    pip install -r requirements.txt
    python3 generate.py            writes the files
    python3 generate.py --check    fails if a file differs from what would be written

It is independent of every verifier and contains none: each case states its verdict. The keys are
derived from fixed texts, so every run writes the same bytes.
"""

import importlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ["examples", "reading", "jsontext", "header", "keys", "signatures", "claims", "numbers",
           "time", "ends", "bundles", "lists", "memories", "clocks", "files", "order", "confusion",
           "sizes"]


def books():
    """Returns the files by subject."""
    result = {}
    for name in MODULES:
        for book in importlib.import_module(f"generator.{name}").books():
            if book.subject in result:
                raise SystemExit(f"two files of {book.subject}")
            result[book.subject] = book
    return result


def check_names(book):
    """Fails when two cases of a file have the same name."""
    names = [case["name"] for case in book.cases]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise SystemExit(f"{book.subject}: repeated names {sorted(repeated)}")


def check_page():
    """Fails when the license in the page differs from the one that is generated."""
    token = importlib.import_module("generator.base").license_()
    page = (HERE / "../../docs/license-format.md").read_text(encoding="utf-8")
    if token not in page.replace("\n", ""):
        raise SystemExit("docs/license-format.md has another license in its example")


def main():
    """Writes or checks every file."""
    check = sys.argv[1:] == ["--check"]
    check_page()
    wanted = {}
    for subject, book in books().items():
        check_names(book)
        wanted[HERE / f"{subject}.json"] = book.text()
        json.loads(book.text())
    stale = [path for path in HERE.glob("*.json") if path not in wanted]
    if check:
        changed = [path for path, text in wanted.items()
                   if not path.exists() or path.read_text() != text]
        if changed or stale:
            raise SystemExit(f"out of date: {[path.name for path in changed + stale]}")
    else:
        for path in stale:
            path.unlink()
        for path, text in wanted.items():
            path.write_text(text)
    cases = [case for text in wanted.values() for case in json.loads(text)]
    verdicts = sum(len(case.get("steps", [case])) for case in cases)
    print(f"{len(wanted)} files, {len(cases)} cases, {verdicts} verdicts, "
          f"{sum(map(len, wanted.values())) // 1024} KiB")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
