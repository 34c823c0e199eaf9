"""Signatures follow RFC 8032 to the letter."""

import unittest
from typing import Optional, Tuple

from licentia.ed25519 import _D, _L, _P, is_signature_valid, is_usable_key

from .support import KEY

Point = Tuple[int, int]


def add(a: Point, b: Point) -> Point:
    product = _D * a[0] * b[0] * a[1] * b[1] % _P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, _P - 2, _P) % _P
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, _P - 2, _P) % _P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def decode(encoded: bytes) -> Optional[Point]:
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x_squared = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(x_squared, (_P + 3) // 8, _P)
    if (x * x - x_squared) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if (x * x - x_squared) % _P:
        return None
    return (_P - x if x % 2 != sign else x), y


def encode(point: Point, offset: int = 0) -> bytes:
    return (point[1] + offset | (point[0] & 1) << 255).to_bytes(32, "little")


def small_order_points() -> "list[Point]":
    """Returns the eight points of small order, from any point that is not in the main group."""
    y = 2
    while True:
        point = decode(y.to_bytes(32, "little"))
        y += 1
        if point is None:
            continue
        generator = multiply(_L, point)
        points = [multiply(factor, generator) for factor in range(8)]
        if len(set(points)) == 8:
            return points


class Keys(unittest.TestCase):
    def test_a_key_is_usable(self) -> None:
        self.assertTrue(is_usable_key(KEY.public))

    def test_points_of_small_order_are_not(self) -> None:
        for point in small_order_points():
            encodings = [encode(point), bytes([*encode(point)[:31], encode(point)[31] ^ 0x80])]
            if point[1] < 19:
                encodings.append(encode(point, _P))
            for encoded in encodings:
                self.assertFalse(is_usable_key(encoded), encoded.hex())

    def test_every_encoding_that_is_not_canonical_is_refused(self) -> None:
        for y in range(_P, 2**255):
            for sign in (0, 2**255):
                self.assertFalse(is_usable_key((y | sign).to_bytes(32, "little")))

    def test_what_is_not_on_the_curve_or_has_another_length_is_refused(self) -> None:
        off_curve = next(
            y.to_bytes(32, "little")
            for y in range(2, 100)
            if decode(y.to_bytes(32, "little")) is None
        )
        for encoded in (off_curve, b"", KEY.public[:31], KEY.public + b"\0"):
            self.assertFalse(is_usable_key(encoded))


class Signatures(unittest.TestCase):
    def test_the_example_of_rfc_8032_is_valid(self) -> None:
        key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        signature = bytes.fromhex(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39"
            "701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        )
        self.assertTrue(is_signature_valid(key, signature, b""))
        self.assertFalse(is_signature_valid(key, signature, b"x"))

    def test_s_must_be_canonical(self) -> None:
        signature = KEY.private.sign(b"text")
        s = int.from_bytes(signature[32:], "little")
        for multiple in range(1, 15):
            forged = signature[:32] + (s + multiple * _L).to_bytes(32, "little")
            self.assertFalse(is_signature_valid(KEY.public, forged, b"text"))

    def test_r_must_not_be_of_small_order(self) -> None:
        # OpenSSL accepts this: with S = k * a, R is the neutral element.
        for point in small_order_points():
            forged = encode(point) + bytes(32)
            self.assertFalse(is_signature_valid(KEY.public, forged, b"text"))

    def test_a_crafted_signature_with_neutral_r_is_refused(self) -> None:
        import hashlib

        seed = KEY.private.private_bytes_raw()
        digest = bytearray(hashlib.sha512(seed).digest()[:32])
        digest[0] &= 248
        digest[31] = digest[31] & 127 | 64
        r = encode((0, 1))
        k = int.from_bytes(hashlib.sha512(r + KEY.public + b"text").digest(), "little") % _L
        s = k * int.from_bytes(digest, "little") % _L
        forged = r + s.to_bytes(32, "little")
        KEY.private.public_key().verify(forged, b"text")  # OpenSSL accepts it
        self.assertFalse(is_signature_valid(KEY.public, forged, b"text"))

    def test_other_lengths_are_refused(self) -> None:
        signature = KEY.private.sign(b"text")
        for forged in (b"", signature[:63], signature + b"\0"):
            self.assertFalse(is_signature_valid(KEY.public, forged, b"text"))


if __name__ == "__main__":
    unittest.main()
