"""Measures verifications per second, next to a signature check alone: python -m tests.bench."""

from __future__ import annotations

import time
from typing import Callable

from licentia import Verifier

from .support import KEY, NOW, PRODUCT, ROOT, bundle, license

SECONDS = 2


def measure(name: str, operation: Callable[[], object]) -> None:
    operation()
    end = time.perf_counter() + SECONDS
    count = 0
    while time.perf_counter() < end:
        operation()
        count += 1
    print(f"{name}: {count // SECONDS} per second")


def main() -> None:
    message = bytes(600)
    signature, public = KEY.private.sign(message), KEY.private.public_key()
    pinned = Verifier(PRODUCT, jwks={"keys": [KEY.jwk()]})
    rooted = Verifier(PRODUCT, root=ROOT.jwk())
    text, keys = license(), bundle()
    measure("signature alone", lambda: public.verify(signature, message))
    measure("license", lambda: pinned.verify(text, now=NOW))
    measure("license and bundle", lambda: rooted.verify(text, keys=keys, now=NOW))


if __name__ == "__main__":
    main()
