#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets, from the vectors.

    python3 seeds.py FOLDER

writes FOLDER/texts and FOLDER/signed, whose formats are in `fuzz_targets/`.
"""

import base64
import hashlib
import json
import pathlib
import sys

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors"
# libFuzzer takes the longest input for its limit, and long inputs are slow.
LONGEST = 8_192


def main():
    """Writes one input of each kind for each case and step."""
    folder = pathlib.Path(sys.argv[1])
    for case in cases():
        names = ("license", "keys", "status", "memory")
        texts = [(case.get(name) or "").encode() for name in names]
        write(folder / "texts", texts)
        license_, keys, status = (claims(text) for text in texts[:3])
        write(folder / "signed", [license_, keys, status, texts[3]])
        if b'"lst"' in status:
            write(folder / "signed", [license_, keys, b"", texts[3], zlib_stream(status)])


def cases():
    """Yields each case, and each step of a sequence."""
    for path in sorted(VECTORS.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            for step in case.get("steps", [{}]):
                yield {**case, **step}


def claims(text):
    """Returns the bytes of a document's claims; empty if it has none."""
    parts = text.split(b".")
    return decoded(parts[1]) if len(parts) == 3 else b""


def zlib_stream(status):
    """Returns the bytes of `lst`; empty if there are none."""
    try:
        return decoded(json.loads(status)["status_list"]["lst"].encode())
    except (ValueError, KeyError, TypeError, AttributeError):
        return b""


def decoded(part):
    """Returns the bytes of a base64url text; empty if it is none."""
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        return b""


def write(folder, parts):
    """Writes an input, named for its content as libFuzzer does."""
    data = b"\0".join(parts)
    if len(data) <= LONGEST:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
