"""The header: typ, crit, alg, kid, and what is ignored."""

import hashlib
import hmac

from .base import (BY_ROOT, ISSUER, KEY, KEY2, MALLORY, Book, bundle, claims, license_,
                   unread)
from .jose import DROP, dumps, encode, jwks, sign_text


def books():
    return [typ_and_crit(), algorithms(), kid_and_ignored()]


def typ_and_crit():
    book = Book("header")

    def bad(name, why, code, **header):
        book.case(name, why, license=license_(header=header), expect=unread(code))

    for typ in ["LICENSE+JWT", "License+Jwt", "license+JWT"]:
        book.case(f"typ {typ}", "Upper and lower case are equal.",
                  license=license_(header={"typ": typ}))
    for typ, why in [
            ("JWT", "A session token of somebody is no license."),
            ("jwt", "It is another type."), ("", "It is another type."),
            ("license", "It is another type."), ("license+cwt", "It is another type."),
            ("license-keys+jwt", "It is the type of a bundle."),
            ("statuslist+jwt", "It is the type of a list."),
            ("at+jwt", "It is the type of an access token."),
            ("application/license+jwt", "The type is written without application/."),
            ("application/License+JWT", "The type is written without application/."),
            (" license+jwt", "Blanks are not removed in a header."),
            ("license+jwt ", "Blanks are not removed in a header."),
            ("license+jwt\u0000", "It is another text."),
            ("licen\u017fe+jwt", "Only ASCII letters have two cases: this s is U+017F."),
            ("l\u0130cense+jwt", "Only ASCII letters have two cases: this i is U+0130."),
            ("l\u0131cense+jwt", "Only ASCII letters have two cases: this i is U+0131."),
            ("\uff4cicense+jwt", "No compatibility forms."),
            ("license+jwt;v=1", "It has no parameters.")]:
        bad(f"typ {typ!r}", why, "wrong_type", typ=typ)
    for name, typ in [("absent", DROP), ("null", None), ("a number", 1), ("true", True),
                      ("an array", ["license+jwt"]), ("an object", {"license+jwt": 1})]:
        bad(f"typ is {name}", "A license says that it is one.", "wrong_type", typ=typ)
    bad("cty instead of typ", "cty is the type of something else.", "wrong_type", typ=DROP,
        cty="license+jwt")
    for name, crit in [("exp", ["exp"]), ("b64", ["b64"]), ("empty", []), ("null", None),
                       ("a text", "b64"), ("an object", {}), ("false", False), ("0", 0),
                       ("many", ["a", "b", "c"])]:
        bad(f"crit {name}", "No extension is known, and crit is never empty.", "critical_header",
            crit=crit)
    bad("crit with b64 false", "RFC 7797 is not supported.", "critical_header", crit=["b64"],
        b64=False)
    bad("Crit", "Names have one case, so this is an unknown member and then an unknown key.",
        "unknown_key", Crit=["exp"], kid="other")
    bad("wrong type and crit", "typ comes before crit.", "wrong_type", typ="JWT", crit=["exp"])
    bad("crit and none", "crit comes before alg.", "critical_header", crit=[], alg="none")
    bad("none and no kid", "alg comes before kid.", "unsupported_algorithm", alg="none", kid=DROP)
    bad("wrong type and everything else", "typ comes first.", "wrong_type", typ="JWT", crit=[],
        alg="none", kid=DROP)
    book.case("an empty header", "Without typ, it is another type.", expect=unread("wrong_type"),
              license=sign_text("{}", dumps(claims()), KEY))
    return book


def algorithms():
    book = Book("algorithm")
    for alg in ["EdDSA", "Ed25519"]:
        book.case(f"alg {alg}", "Both names of the algorithm are accepted.",
                  license=license_(header={"alg": alg}))
        for name, jwk in [("EdDSA", KEY.jwk(alg="EdDSA")), ("Ed25519", KEY.jwk(alg="Ed25519")),
                          ("no alg", KEY.jwk(alg=DROP))]:
            book.case(f"alg {alg} by a key with {name}", "Both names mean the same.",
                      license=license_(header={"alg": alg}), trust={"jwks": jwks(jwk)})
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "RS256", "PS256",
                "ES256", "ES256K", "Ed448", "eddsa", "EDDSA", "ed25519", "ED25519", "EdDSA ",
                "Ed25519ph", "Ed25519ctx", "X25519", "EdDSA\u0000", "dir", "A128GCM"]:
        book.case(f"alg {alg!r}", "Only EdDSA and Ed25519, in this case, are accepted.",
                  license=license_(header={"alg": alg}), expect=unread("unsupported_algorithm"))
    for name, alg in [("absent", DROP), ("null", None), ("an array", ["EdDSA"]), ("-8", -8),
                      ("true", True), ("an object", {"alg": "EdDSA"})]:
        book.case(f"alg is {name}", "It is the name of an algorithm.",
                  license=license_(header={"alg": alg}), expect=unread("unsupported_algorithm"))
    head, body, _ = license_(header={"alg": "none"}).split(".")
    book.case("none without a signature", "RFC 8725, 2.1: an unsigned token.",
              license=f"{head}.{body}.", expect=unread("unsupported_algorithm"))
    secrets = [("the 32 bytes", KEY.public), ("x", KEY.x.encode()),
               ("the JWK", dumps(KEY.jwk()).encode()), ("the JWKS", dumps(jwks(KEY)).encode()),
               ("the kid", KEY.kid.encode()), ("nothing", b"")]
    for name, secret in secrets:
        header = dumps({"alg": "HS256", "typ": "license+jwt", "kid": KEY.kid})
        message = f"{encode(header)}.{encode(dumps(claims()))}"
        mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
        book.case(f"HS256 with {name} as the secret",
                  "RFC 8725, 2.1: the public key as a shared secret.",
                  license=f"{message}.{encode(mac)}", expect=unread("unsupported_algorithm"))
        header = dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid})
        message = f"{encode(header)}.{encode(dumps(claims()))}"
        mac = hmac.new(secret, message.encode(), hashlib.sha512).digest()
        book.case(f"a MAC of 64 bytes with {name} as the secret", "It is no signature.",
                  license=f"{message}.{encode(mac)}", expect=unread("bad_signature"))
    book.case("no algorithm and an unknown key", "alg comes before kid.",
              license=license_(header={"alg": "none", "kid": "other"}),
              expect=unread("unsupported_algorithm"))
    return book


def kid_and_ignored():
    book = Book("header-members")
    for name, kid in [("absent", DROP), ("null", None), ("a number", 1), ("an array", [KEY.kid]),
                      ("an object", {}), ("true", True)]:
        book.case(f"kid is {name}", "Without kid there is no key to look for.",
                  license=license_(header={"kid": kid}), expect=unread("malformed"))
    for name, kid in [
            ("empty", ""), ("of another key", KEY2.kid), ("in lower case", KEY.kid.lower()),
            ("with a blank", KEY.kid + " "), ("with padding", KEY.kid + "="),
            ("cut off", KEY.kid[:-1]), ("__proto__", "__proto__"), ("constructor", "constructor"),
            ("a path", "../../../dev/null"), ("SQL", "x' UNION SELECT 1 --"), ("a wildcard", "*"),
            ("0", "0")]:
        book.case(f"kid is {name}", "No other key is tried, even if the only one would fit.",
                  license=license_(header={"kid": kid}), expect=unread("unknown_key"))
    book.case("kid absent, by a root", "The same with a bundle.", trust=BY_ROOT, keys=bundle(),
              license=license_(header={"kid": DROP}), expect=unread("malformed"))
    evil = {"jwk": MALLORY.jwk(), "jku": "https://evil.example/jwks.json",
            "x5u": "https://evil.example/chain.pem", "x5c": ["MIIB"], "x5t": "AAAA"}
    book.case("an attacker's key in jwk, jku and x5u, under our kid",
              "Keys in the header are ignored, so the signature does not hold.",
              license=sign_text(dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid,
                                       **evil}), dumps(claims()), MALLORY),
              expect=unread("bad_signature"))
    book.case("an attacker's key in jwk, under its own kid", "Keys in the header are ignored.",
              license=license_(key=MALLORY, header=evil), expect=unread("unknown_key"))
    book.case("an attacker's key in jwk, without kid", "Keys in the header are ignored.",
              license=license_(key=MALLORY, header={**evil, "kid": DROP}),
              expect=unread("malformed"))
    book.case("jwk, jku and x5u in a license of ours", "They are ignored.",
              license=license_(header=evil))
    for name, members in [("b64 false without crit", {"b64": False}), ("zip", {"zip": "DEF"}),
                          ("cty", {"cty": "JWT"}), ("enc", {"enc": "A128GCM"}),
                          ("unknown members", {"x": {"y": [None, 1.5]}, "": 0}),
                          ("claims in the header", {"exp": 0, "aud": "other", "iss": ISSUER}),
                          ("names in capitals", {"ALG": "none", "TYP": "JWT", "KID": "x"})]:
        book.case(f"{name} in the header", "Unknown members are ignored.",
                  license=license_(header=members))
    members = [("kid", KEY.kid), ("typ", "license+jwt"), ("alg", "EdDSA")]
    book.case("another order of members", "Order has no meaning.",
              license=sign_text(dumps(dict(members)), dumps(claims()), KEY))
    return book
