"""Strict Ed25519 (RFC 8032): what OpenSSL leaves out of the verification is checked here.

OpenSSL accepts public keys and points R of small order, with which one signature fits many
messages. It also accepts keys whose encoding is not canonical or which are not on the curve.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_P = 2**255 - 19  # the field
_L = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
_D = -121665 * pow(121666, _P - 2, _P) % _P  # the curve is -x² + y² = 1 + D x² y²

# The y coordinates of the eight points whose order divides 8. The two long ones have order 8.
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y = frozenset((0, 1, _P - 1, _Y8, _P - _Y8))


@lru_cache(maxsize=1024)
def is_usable_key(key: bytes) -> bool:
    """Returns whether a public key has 32 bytes, is canonical, on the curve, not of small order."""
    if len(key) != 32:
        return False
    y = _y(key)
    if y >= _P or y in _SMALL_ORDER_Y:
        return False
    x_squared = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    return pow(x_squared, (_P - 1) // 2, _P) == 1


def is_signature_valid(key: bytes, signature: bytes, message: bytes) -> bool:
    """Returns whether a usable key signed the message: canonical S, and R not of small order."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= _L:
        return False
    # OpenSSL compares the bytes of R, so it accepts only the canonical encoding.
    if _y(signature[:32]) in _SMALL_ORDER_Y:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _y(point: bytes) -> int:
    return int.from_bytes(point, "little") & (2**255 - 1)
