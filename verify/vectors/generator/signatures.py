"""Signatures: altered tokens, and the edges of Ed25519."""

import hashlib

from . import ed25519
from .base import DAY, KEY, KEY2, MALLORY, NOW, Book, claims, license_, unread
from .ed25519 import L
from .jose import Key, dumps, encode, jwks

TOKEN = license_()
HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")
HEADER_TEXT = dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid})
CLAIMS_TEXT = dumps(claims())
RFC8032_KEYS = {
    "test 1": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "test 2": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "test SHA(abc)": "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
}
MESSAGE = f"{HEADER}.{CLAIMS}".encode()
SIGNED = KEY.sign(MESSAGE)
R, S = SIGNED[:32], int.from_bytes(SIGNED[32:], "little")


def books():
    return [altered(), edges(), points()]


def flipped(data, bit):
    """Returns the bytes with one bit changed."""
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def with_signature(signature):
    """Returns the usual license with these bytes as its signature."""
    return f"{HEADER}.{CLAIMS}.{encode(signature)}"


def altered():
    book = Book("signature")

    def bad(name, why, text, code="bad_signature"):
        book.case(name, why, license=text, expect=unread(code))

    for bit in [*range(0, 512, 37), 255, 256, 504, 511]:
        bad(f"bit {bit} of the signature", "The signature does not hold.",
            with_signature(flipped(SIGNED, bit)))
    size = len(CLAIMS_TEXT.encode()) * 8
    for bit in [*range(0, size, size // 16), size - 1]:
        bad(f"bit {bit} of the claims", "The signature is checked before the claims are read.",
            f"{HEADER}.{encode(flipped(CLAIMS_TEXT.encode(), bit))}.{SIGNATURE}")
    for name, before, after, code in [
            ("kid", KEY.kid, "!" + KEY.kid[1:], "unknown_key"),
            ("typ", "license+jwt", "license+jws", "wrong_type"),
            ("alg", "EdDSA", "EdDSB", "unsupported_algorithm"),
            ("typ's case", "license+jwt", "License+jwt", "bad_signature"),
            ("alg's name", "EdDSA", "Ed25519", "bad_signature"),
            ("a brace", "{", "[", "malformed"), ("a name", '"kid"', '"kie"', "malformed")]:
        text = HEADER_TEXT.replace(before, after, 1)
        bad(f"another {name} in the header", "The first rule that fails determines the code.",
            f"{encode(text)}.{CLAIMS}.{SIGNATURE}", code)
    bad("a space in the header", "Every byte is signed.",
        f"{encode(HEADER_TEXT + ' ')}.{CLAIMS}.{SIGNATURE}")
    for name, changed in [
            ("plan", claims(plan="enterprise")), ("exp", claims(exp=NOW + 3650 * DAY)),
            ("limit", claims(limits={"seats": 500, "projects": 100})),
            ("order", dict(reversed(list(claims().items()))))]:
        bad(f"another {name} in the claims", "The claims were altered.",
            f"{HEADER}.{encode(dumps(changed))}.{SIGNATURE}")
    other = license_({"jti": "lic_other"})
    bad("the signature of another license", "It is for other bytes.",
        f"{HEADER}.{CLAIMS}.{other.split('.')[2]}")
    bad("the claims of another license", "The signature is for other bytes.",
        f"{HEADER}.{other.split('.')[1]}.{SIGNATURE}")
    for size in [0, 1, 32, 63]:
        bad(f"{size} bytes of the signature", "A signature has 64 bytes.",
            with_signature(SIGNED[:size]))
    for name, signature in [("65 bytes", SIGNED + b"\0"), ("a byte in front", b"\0" + SIGNED),
                            ("96 bytes", SIGNED + R), ("twice", SIGNED * 2),
                            ("without its first byte", SIGNED[1:]),
                            ("in hexadecimal", SIGNED.hex().encode()),
                            ("in base64url twice", SIGNATURE.encode()),
                            ("S before R", SIGNED[32:] + R), ("bytes in reverse", SIGNED[::-1]),
                            ("R and S each in reverse", R[::-1] + SIGNED[32:][::-1]),
                            ("DER", b"\x30\x44\x02\x20" + R + b"\x02\x20" + SIGNED[32:])]:
        bad(f"the signature: {name}", "A signature is R and S, 64 bytes.",
            with_signature(signature))
    for name, message in [
            ("the claims part only", CLAIMS.encode()), ("the header part only", HEADER.encode()),
            ("the decoded texts", f"{HEADER_TEXT}.{CLAIMS_TEXT}".encode()),
            ("the claims' text", CLAIMS_TEXT.encode()), ("no period", f"{HEADER}{CLAIMS}".encode()),
            ("a period at the end", MESSAGE + b"."), ("a line break at the end", MESSAGE + b"\n"),
            ("the SHA-256 of the message", hashlib.sha256(MESSAGE).digest()),
            ("the SHA-512 of the message", hashlib.sha512(MESSAGE).digest()),
            ("the parts in reverse", f"{CLAIMS}.{HEADER}".encode()), ("nothing", b"")]:
        bad(f"signed: {name}", "What is signed is header, period, claims, as they are encoded.",
            with_signature(KEY.sign(message)))
    bad("signed by another key", "It is not the key that kid names.",
        with_signature(MALLORY.sign(MESSAGE)))
    for length in [4, 40, 80]:
        bad(f"cut off after {length} characters of the header", "There are not three parts.",
            TOKEN[:length], "malformed")
    for length in [4, 80, 84]:
        bad(f"cut off after {length} characters of the signature", "It has fewer than 64 bytes.",
            f"{HEADER}.{CLAIMS}.{SIGNATURE[:length]}")
    bad("cut off within the claims", "There are not three parts.",
        f"{HEADER}.{CLAIMS[:100]}", "malformed")
    bad("four characters of the claims cut out", "The signature is for other bytes.",
        f"{HEADER}.{CLAIMS[:100]}{CLAIMS[104:]}.{SIGNATURE}")
    book.case("a line break cut out", "A wrapped text is joined before the signature is checked.",
              license=f"{HEADER}.\n{CLAIMS}\n.{SIGNATURE}")
    return book


def edges():
    book = Book("ed25519")

    def bad(name, why, signature):
        book.case(name, why, license=with_signature(signature), expect=unread("bad_signature"))

    def scalar(value):
        return value.to_bytes(32, "little")

    book.case("made by hand", "RFC 8032 step by step gives a signature that holds.",
              license=with_signature(ed25519.sign(KEY.seed, MESSAGE)))
    book.case("another nonce", "A verifier cannot know the nonce.",
              license=with_signature(ed25519.sign(KEY.seed, MESSAGE, attempt=7)))
    for name, seed in RFC8032_KEYS.items():
        key = Key("", bytes.fromhex(seed))
        book.case(f"the key of RFC 8032, {name}", "A known key signs a license.",
                  trust={"jwks": jwks(key)}, license=license_(key=key))
    for times in [1, 2, 3, 7, 8, 14]:
        bad(f"S + {times} L", "S must be below L: otherwise one license has several forms.",
            R + scalar(S + times * L))
    for name, value in [("0", 0), ("1", 1), ("L", L), ("L - 1", L - 1), ("L + 1", L + 1),
                        ("2 L", 2 * L), ("2^252", 2**252), ("2^253 - 1", 2**253 - 1),
                        ("2^255 - 19", 2**255 - 19), ("2^256 - 1", 2**256 - 1), ("L - S", L - S)]:
        bad(f"S = {name}", "The equation does not hold.", R + scalar(value))
    for bit in (252, 253, 254, 255):
        bad(f"bit {bit} of S", "S must be below L.", R + scalar(S | 1 << bit))
    for name, r in [("0", bytes(32)), ("1, the identity", scalar(1)), ("p", scalar(ed25519.P)),
                    ("p - 1", scalar(ed25519.P - 1)), ("p + 1", scalar(ed25519.P + 1)),
                    ("2^255 - 1", scalar(2**255 - 1)), ("2^256 - 1", b"\xff" * 32),
                    ("the base point", ed25519.encode(ed25519.BASE)),
                    ("the public key", KEY.public),
                    ("its negative", flipped(R, 255)), ("a y that is not on the curve",
                                                        scalar(2))]:
        bad(f"R = {name}", "The equation does not hold.", r + scalar(S))
        bad(f"R = {name} and S = 0", "The equation does not hold.", r + bytes(32))
    for bit in (0, 7, 8, 127, 128, 254, 255):
        bad(f"bit {bit} of R changed, and S computed for it",
            "The point that the equation gives is not the one that R encodes.",
            ed25519.sign(KEY.seed, MESSAGE, flip_in_r=bit))
    for name, attempt, at in [("the zero in front of R", 81, 0), ("the zero at R's end", 107, 31),
                              ("the zero in front of S", 28, 32), ("the zero at S's end", 11, 63),
                              ("the byte that ends R and begins S", 18, 31)]:
        signature = ed25519.sign(KEY.seed, MESSAGE, attempt=attempt)
        assert signature[at] == (signature[32] if at == 31 and attempt == 18 else 0)
        book.case(f"with {name}", "Every byte belongs to the signature, also this one.",
                  license=with_signature(signature))
        bad(f"without {name}", "A signature has 64 bytes.",
            signature[:at] + signature[at + 1:])
    domain = b"SigEd25519 no Ed25519 collisions"
    digest = hashlib.sha512(MESSAGE).digest()
    bad("Ed25519ph", "It is another algorithm.",
        ed25519.sign(KEY.seed, digest, domain=domain + b"\1\0"))
    bad("Ed25519ctx", "It is another algorithm.",
        ed25519.sign(KEY.seed, MESSAGE, domain=domain + b"\0\3foo"))
    bad("another public key in the hash", "A is hashed too.",
        ed25519.sign(KEY.seed, MESSAGE, public=KEY2.public))
    return book


def points():
    """Points of small order, and points with a part of small order."""
    book = Book("ed25519-points")
    torsion = ed25519.torsion()
    orders = [(0, 1), (4, 2), (2, 4), (6, 4), (1, 8), (3, 8), (5, 8), (7, 8)]
    encodings = [(f"order {order}", ed25519.encode(torsion[index])) for index, order in orders]
    scalar, _ = ed25519.secret_scalar(KEY.seed)
    for index, (name, r) in enumerate(encodings + ed25519.non_canonical_small_order()):
        k = ed25519.challenge(r, KEY.public, MESSAGE)
        s = k * scalar % L
        book.case(f"R of small order, encoding {index}: {name}",
                  "R of small order is refused, even where the equation holds.",
                  license=with_signature(r + s.to_bytes(32, "little")),
                  expect=unread("bad_signature"))
    for index in range(1, 8):
        signature = ed25519.sign(KEY.seed, MESSAGE, add_to_r=torsion[index])
        book.case(f"R with a part of small order, point {index}",
                  "The equation holds only with the cofactor, which is not used.",
                  license=with_signature(signature), expect=unread("bad_signature"))
    for index in (1, 2, 4):
        mixed = mixed_key(torsion[index])
        jwk = KEY.jwk(x=encode(mixed), kid="mixed")
        header = {"alg": "EdDSA", "typ": "license+jwt", "kid": "mixed"}
        message = f"{encode(dumps(header))}.{CLAIMS}".encode()
        order = {1: 8, 2: 4, 4: 2}[index]
        for holds in (True, False):
            signature = mixed_signature(message, mixed, order, holds)
            why = ("The key is no point of small order, and the equation holds without cofactor."
                   if holds else "The equation holds only with the cofactor, which is not used.")
            book.case(f"a key with a part of order {order}, {'k' if holds else 'no k'} that fits",
                      why, trust={"jwks": jwks(jwk)},
                      license=f"{message.decode()}.{encode(signature)}",
                      **({} if holds else {"expect": unread("bad_signature")}))
    for name, public in [("the identity", ed25519.encode(torsion[0])), ("zero", bytes(32)),
                         ("order 8", ed25519.encode(torsion[1]))]:
        jwk = KEY.jwk(x=encode(public), kid="weak")
        header = dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": "weak"})
        for form, signature in [("R the identity, S = 0", ed25519.encode(torsion[0]) + bytes(32)),
                                ("R the key, S = 0", public + bytes(32))]:
            book.case(f"forged for the key {name}: {form}",
                      "It needs no private key, so the key counts as absent.",
                      trust={"jwks": jwks(jwk, KEY)}, expect=unread("unknown_key"),
                      license=f"{encode(header)}.{CLAIMS}.{encode(signature)}")
    return book


def mixed_key(part):
    """Returns the bytes of the public key of KEY plus a point of small order."""
    scalar, _ = ed25519.secret_scalar(KEY.seed)
    return ed25519.encode(ed25519.add(ed25519.multiply(scalar, ed25519.BASE), part))


def mixed_signature(message, mixed, order, holds):
    """Returns a signature whose k is, or is not, a multiple of the order of the key's part."""
    for attempt in range(1000):
        signature = ed25519.sign(KEY.seed, message, public=mixed, attempt=attempt)
        k = ed25519.challenge(signature[:32], mixed, message)
        if (k % order == 0) == holds:
            return signature
    raise AssertionError("no such k")
