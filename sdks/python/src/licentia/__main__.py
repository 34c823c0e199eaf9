"""`python -m licentia verdict` and `python -m licentia vectors FOLDER`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .vectors import Difference, run_folder, run_lines


def main() -> int:
    """Runs a command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="licentia", description="Tests this verifier.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verdict", help="read cases as JSON lines, print verdicts as JSON lines")
    vectors = commands.add_parser("vectors", help="run every vector file of a folder")
    vectors.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "verdict":
        run_lines(sys.stdin.buffer, sys.stdout)
        return 0
    try:
        count = run_folder(arguments.folder)
    except Difference as difference:
        print(difference, file=sys.stderr)
        return 1
    print(f"{count} cases passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
