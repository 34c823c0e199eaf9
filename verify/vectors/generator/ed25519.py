"""Arithmetic on the curve of Ed25519 (RFC 8032), for signatures that no library makes.

It signs; it does not verify. It is slow and not constant-time: for the test keys only.
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1)


def add(a, b):
    """Returns the sum of two points."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P
    return (x, y)


def multiply(scalar, point):
    """Returns the multiple of a point."""
    result = IDENTITY
    while scalar > 0:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def recover_x(y, sign):
    """Returns x for a y on the curve, or None."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * SQRT_M1 % P
    if (x * x - square) % P != 0:
        return None
    return P - x if x & 1 != sign else x


BASE = (recover_x(4 * pow(5, P - 2, P) % P, 0), 4 * pow(5, P - 2, P) % P)


def encode(point):
    """Returns the 32 bytes of a point."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def encode_raw(y, sign):
    """Returns the 32 bytes of a y, which may exceed the field, and a sign bit."""
    return (y | sign << 255).to_bytes(32, "little")


def torsion():
    """Returns the eight points of small order. The point at index i is i times the generator."""
    y = 2
    while True:
        x = recover_x(y, 0)
        if x is not None:
            point = multiply(L, (x, y))
            if multiply(4, point) != IDENTITY:
                return [multiply(i, point) for i in range(8)]
        y += 1


def non_canonical_small_order():
    """Returns the encodings of small-order points that are not canonical: y is not reduced, or
    x = 0 has a sign bit."""
    return [
        ("order 1, x = 0 with sign bit", encode_raw(1, 1)),
        ("order 1, y = p + 1", encode_raw(P + 1, 0)),
        ("order 1, y = p + 1, sign bit", encode_raw(P + 1, 1)),
        ("order 2, x = 0 with sign bit", encode_raw(P - 1, 1)),
        ("order 4, y = p", encode_raw(P, 0)),
        ("order 4, y = p, sign bit", encode_raw(P, 1)),
    ]


def secret_scalar(seed):
    """Returns the secret scalar and the prefix of a private key."""
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little")
    return scalar & ((1 << 254) - 8) | 1 << 254, digest[32:]


def challenge(r, public, message):
    """Returns k, the hash of R, A and the message, modulo L."""
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L


def sign(seed, message, *, public=None, add_to_r=None, flip_in_r=None, attempt=0, domain=b""):
    """Returns a signature whose equation holds up to small-order points.

    `public` is another encoding or point for A; `add_to_r` is a point that is added to R;
    `flip_in_r` is a bit of R's encoding that is changed before S is computed.
    `attempt` makes the nonce, and so k, another one. `domain` is a prefix of the hashes.
    """
    scalar, prefix = secret_scalar(seed)
    public = public or encode(multiply(scalar, BASE))
    digest = hashlib.sha512(domain + prefix + attempt.to_bytes(4, "little") + message).digest()
    nonce = int.from_bytes(digest, "little") % L
    point = multiply(nonce, BASE)
    r = encode(add(point, add_to_r) if add_to_r else point)
    if flip_in_r is not None:
        r = (int.from_bytes(r, "little") ^ 1 << flip_in_r).to_bytes(32, "little")
    k = int.from_bytes(hashlib.sha512(domain + r + public + message).digest(), "little") % L
    return r + ((nonce + k * scalar) % L).to_bytes(32, "little")
