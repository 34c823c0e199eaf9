"""The folder of a client: `license.json`, and `memory.json`.

`memory.json` has the memory, and with it the key bundle and the status list that the memory refers
to. They are replaced together. So neither a crash nor another process can leave a memory that
refuses the only bundle that there is.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

from .memory import MAX_MEMORY_BYTES
from .reading import MAX_LICENSE_FILE_BYTES
from .verifier import Examination, LicenseText

LICENSE = "license.json"
MEMORY = "memory.json"
MAX_FILE_BYTES = MAX_LICENSE_FILE_BYTES + MAX_MEMORY_BYTES


@dataclass(frozen=True)
class Stored:
    """What a folder contains."""

    license: Optional[bytes]
    """The content of `license.json`."""

    memory: Optional[str] = None
    keys: Optional[str] = None
    status: Optional[str] = None

    def token(self) -> str:
        """Returns the license token; empty if there is none."""
        return LicenseText.read(self.license).license


class Folder:
    """Reads and replaces the two files. Each of them is always whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Stored:
        # The license first would be older than the memory, if another process stores both in
        # between.
        members = _object(self._read(MEMORY))
        keys, status = (members.pop(name, None) for name in ("keys", "status"))
        return Stored(
            self._read(LICENSE),
            json.dumps(members, separators=(",", ":")) if members else None,
            keys if isinstance(keys, str) else None,
            status if isinstance(status, str) else None,
        )

    def save_license(self, stored: Stored, examination: Examination) -> None:
        content = examination.license_file().encode()
        if content != stored.license:
            self._write(LICENSE, content)

    def save_memory(self, stored: Stored, examination: Examination) -> None:
        """Stores the memory. A bundle and a list are kept until others count."""
        keys = examination.bundle.text if examination.bundle else stored.keys
        status = examination.status_list.text if examination.status_list else stored.status
        memory = examination.memory.text()
        if (memory, keys, status) == (stored.memory, stored.keys, stored.status):
            return
        members = json.loads(memory)
        if keys is not None:
            members["keys"] = keys
        if status is not None:
            members["status"] = status
        self._write(MEMORY, json.dumps(members, separators=(",", ":")).encode())

    def _read(self, name: str) -> Optional[bytes]:
        """Returns the content of a file; `None` if it cannot be read."""
        try:
            with (self._path / name).open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except OSError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        """Replaces a file. After a crash it has either the old or the new content."""
        self._path.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path, prefix=f".{name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path / name)
        except BaseException:
            os.unlink(temporary)
            raise


def _object(text: Optional[bytes]) -> Dict[str, object]:
    """Returns the members of a JSON object; none if it cannot be read."""
    try:
        document = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
