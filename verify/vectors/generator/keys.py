"""The keys of a JWKS: which are usable, and which one is used."""

from . import ed25519
from .base import KEY, KEY2, KEY3, MALLORY, ROOT, Book, bundle, license_, memory, unread
from .jose import DROP, encode, jwks

OTHER = KEY2.jwk()
"""Another usable key, because a JWKS without any is an error of the developer."""


def books():
    return [choice(), usable()]


def choice():
    book = Book("keys")
    book.case("one of three keys", "kid selects the key.", trust={"jwks": jwks(KEY2, KEY, KEY3)})
    book.case("the last of three keys", "kid selects the key.", license=license_(key=KEY3),
              trust={"jwks": jwks(KEY2, KEY, KEY3)})
    book.case("another key's kid", "Only the key of that name is tried, and it did not sign.",
              trust={"jwks": jwks(KEY, KEY2)}, expect=unread("bad_signature"),
              license=license_(key=KEY, header={"kid": KEY2.kid}))
    book.case("an attacker's key", "It is not trusted.", license=license_(key=MALLORY),
              expect=unread("unknown_key"))
    book.case("an attacker's key under our kid", "It did not sign with our key.",
              license=license_(key=MALLORY, header={"kid": KEY.kid}),
              expect=unread("bad_signature"))
    book.case("the key was removed", "An app that has a newer JWKS no longer knows the key.",
              trust={"jwks": jwks(KEY2)}, expect=unread("unknown_key"))
    for name, kid in [("key-1", "key-1"), ("one character", "1"), ("a URL", "https://a.example/#1"),
                      ("__proto__", "__proto__"), ("hasOwnProperty", "hasOwnProperty"),
                      ("an accent", "clé")]:
        book.case(f"kid of the JWKS is {name}", "It is any text, and not recomputed.",
                  trust={"jwks": jwks(KEY.jwk(kid=kid), KEY2)},
                  license=license_(header={"kid": kid}))
    book.case("kid differs in normalization", "Texts are compared exactly.",
              trust={"jwks": jwks(KEY.jwk(kid="cle\u0301"))},
              license=license_(header={"kid": "clé"}), expect=unread("unknown_key"))
    book.case("one key under two names", "Each is a name of the key.",
              trust={"jwks": jwks(KEY.jwk(kid="a"), KEY.jwk(kid="b"))},
              license=license_(header={"kid": "b"}))
    times = {"nbf": 4_000_000_000, "exp": 1}
    book.case("times in a JWKS", "Keys of a JWKS have no times.",
              trust={"jwks": jwks(KEY.jwk(**times))})
    book.case("wrong times in a JWKS", "They are unknown members there.",
              trust={"jwks": jwks(KEY.jwk(nbf="soon", exp=-1.5))})
    book.case("revoked in a JWKS", "It is an unknown member there.",
              trust={"jwks": {**jwks(KEY), "revoked": [KEY.kid]}})
    book.case("a bundle beside a JWKS", "An app that trusts a JWKS ignores bundles.",
              keys=bundle(KEY, revoked=[KEY.kid]), remember=memory(
                  time=1_800_000_000, signed=1_799_913_540, seq={"cust_1": 7}))
    book.case("a bundle with the license's key, beside a JWKS without it",
              "An app that trusts a JWKS ignores bundles.", trust={"jwks": jwks(KEY2)},
              keys=bundle(KEY), expect=unread("unknown_key"), remember=memory())
    book.case("a bundle signed by a key of the JWKS", "Only a root signs bundles.",
              trust={"jwks": jwks(KEY2)}, keys=bundle(KEY, signed_by=KEY2),
              expect=unread("unknown_key"))
    book.case("a bundle whose root is in the JWKS", "An app that trusts a JWKS ignores bundles.",
              trust={"jwks": jwks(ROOT)}, keys=bundle(KEY), expect=unread("unknown_key"))
    return book


def usable():
    book = Book("keys-usable")

    def good(name, why, **changes):
        book.case(name, why, trust={"jwks": jwks(KEY.jwk(**changes), OTHER)})

    def absent(name, why, **changes):
        book.case(name, why, trust={"jwks": jwks(KEY.jwk(**changes), OTHER)},
                  expect=unread("unknown_key"))

    good("only the required members", "alg and use are optional.", alg=DROP, use=DROP)
    good("unknown members", "They are ignored.", x5c=["MIIB"], ext=True, key_ops=["verify"],
         iat=1.5)
    good("key_ops for encryption", "It is ignored: use decides.", key_ops=["encrypt"])
    for name, changes in [
            ("kty EC", {"kty": "EC"}), ("kty okp", {"kty": "okp"}), ("kty absent", {"kty": DROP}),
            ("crv Ed448", {"crv": "Ed448"}), ("crv X25519", {"crv": "X25519"}),
            ("crv ed25519", {"crv": "ed25519"}), ("crv absent", {"crv": DROP}),
            ("alg HS256", {"alg": "HS256"}), ("alg Ed448", {"alg": "Ed448"}),
            ("alg none", {"alg": "none"}), ("alg eddsa", {"alg": "eddsa"}),
            ("alg null", {"alg": None}), ("use enc", {"use": "enc"}), ("use SIG", {"use": "SIG"}),
            ("use null", {"use": None}), ("kid null", {"kid": None}), ("kid absent", {"kid": DROP}),
            ("kid a number", {"kid": 1}), ("x absent", {"x": DROP}), ("x null", {"x": None}),
            ("x a number", {"x": 1}), ("x empty", {"x": ""})]:
        absent(f"{name} in a JWK", "It is no usable key, so it counts as absent.", **changes)
    for name, x in [("31 bytes", encode(KEY.public[:31])), ("33 bytes",
                    encode(KEY.public + b"\0")), ("64 bytes", encode(KEY.public * 2)),
                    ("padding", KEY.x + "="), ("a blank", KEY.x + " "),
                    ("hexadecimal", KEY.public.hex())]:
        absent(f"x with {name}", "x is the strict base64url of 32 bytes.", x=x)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    absent("x with unused bits", "x is strict base64url.",
           x=KEY.x[:-1] + last[last.index(KEY.x[-1]) | 1])
    absent("x in the standard alphabet", "x is base64url.", x=standard_alphabet())
    for entry in [None, 1, "key", [], {}, [KEY.jwk()]]:
        book.case(f"an entry {entry if entry != [KEY.jwk()] else 'array'!r}",
                  "An entry that is no key counts as absent, and the others count.",
                  trust={"jwks": jwks(entry, KEY)})
    rsa = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": KEY.kid, "alg": "RS256", "use": "sig"}
    book.case("an RSA key of the same name", "It is not usable, so the name is not used twice.",
              trust={"jwks": jwks(rsa, KEY)})
    book.case("an RSA key alone", "It is not usable.", trust={"jwks": jwks(rsa, OTHER)},
              expect=unread("unknown_key"))
    oct_ = {"kty": "oct", "k": KEY.x, "kid": KEY.kid, "alg": "HS256"}
    book.case("a secret of the same name", "It is not usable.",
              trust={"jwks": jwks(oct_, OTHER)}, expect=unread("unknown_key"))
    points(book)
    return book


def standard_alphabet():
    """Returns an x in the standard alphabet of base64, where that differs."""
    x = KEY.x.replace("-", "+").replace("_", "/")
    return x if x != KEY.x else "+" + KEY.x[1:]


def points(book):
    """Adds keys whose 32 bytes are no point, or a bad one."""
    def absent(name, why, public):
        book.case(name, why, trust={"jwks": jwks(KEY.jwk(x=encode(public)), OTHER)},
                  expect=unread("unknown_key"))

    for index, point in enumerate(ed25519.torsion()):
        order = {0: 1, 4: 2, 2: 4, 6: 4}.get(index, 8)
        absent(f"small order {order}, point {index}", "Anyone can forge signatures of such a key.",
               ed25519.encode(point))
    for name, public in ed25519.non_canonical_small_order():
        absent(f"small order, not canonical: {name}", "It is such a key, in another form.", public)
    off_curve = [y for y in range(2, 60) if ed25519.recover_x(y, 0) is None]
    for y in off_curve[:3]:
        absent(f"y = {y} is not on the curve", "It is no point.", ed25519.encode_raw(y, 0))
    on_curve = [y for y in range(2, 19) if ed25519.recover_x(y, 0) is not None]
    for y in on_curve[:3]:
        for sign in (0, 1):
            absent(f"y = p + {y}, sign {sign}", "y must be below p, although the point exists.",
                   ed25519.encode_raw(ed25519.P + y, sign))
    absent("all bits set", "y must be below p.", b"\xff" * 32)
