"""The claims of a license: which are required, their values, and audience and issuer."""

from .base import (AUDIENCE, BY_ROOT, DEVICE, ISSUER, KEY, NOW, Book, active, bundle, bundle_key,
                   claims, license_, listed, refused, unread)
from .jose import DROP, dumps, sign_text


def books():
    return [required(), optional(), audience()]


TEXTS = {"a number": 1, "true": True, "an array": ["x"], "an object": {"x": "x"}}
TIMES = {"a text": "1800000000", "a date": "2027-01-15T08:00:00Z", "true": True, "an array": [1]}


def required():
    book = Book("claims")
    for claim in claims():
        book.case(f"{claim} is absent", "Every claim is required.",
                  license=license_({claim: DROP}), expect=unread("invalid_claims"))
        if claim not in ("license_expires", "grace_until"):
            book.case(f"{claim} is null", "Only license_expires and grace_until may be null.",
                      license=license_({claim: None}), expect=unread("invalid_claims"))
    wrong = {
        "iss": TEXTS, "sub": TEXTS, "aud": TEXTS, "jti": TEXTS, "plan": TEXTS, "iat": TIMES,
        "nbf": TIMES, "exp": TIMES, "license_expires": TIMES, "grace_until": TIMES,
        "trial": {"a text": "true", "0": 0, "1": 1},
        "features": {"a text": "sso", "an object": {"sso": True}, "a number in it": ["sso", 1],
                     "null in it": [None], "an array in it": [["sso"]], "true": True},
        "limits": {"an array": [5], "a number": 5, "a text in it": {"seats": "5"},
                   "null in it": {"seats": None}, "true in it": {"seats": True},
                   "an object in it": {"seats": {"max": 5}}},
        "seq": {"a text": "7", "true": True}, "ver": {"a text": "1", "true": True, "an array": [1]},
    }
    for claim, values in wrong.items():
        for name, value in values.items():
            book.case(f"{claim}: {name}", "The value is of another type.",
                      license=license_({claim: value}), expect=unread("invalid_claims"))
    for claim in ("iss", "sub", "jti"):
        book.case(f"{claim} is empty", "It identifies something, so it is not empty.",
                  license=license_({claim: ""}), expect=unread("invalid_claims"))
    book.case("plan is empty", "Any text is a plan.", license=license_({"plan": ""}),
              expect=active(plan=""))
    book.case("ids with other prefixes", "The prefixes are not checked.",
              license=license_({"sub": "42", "jti": "43"}),
              expect=active(customer_id="42", license_id="43"))
    book.case("no features and no limits", "Both may be empty.",
              license=license_({"features": [], "limits": {}}),
              expect=active(features=[], limits={}))
    book.case("a feature twice", "Features are passed on as they are.",
              license=license_({"features": ["b", "a", "b"]}),
              expect=active(features=["b", "a", "b"]))
    book.case("a trial", "The app can tell trials from purchases.",
              license=license_({"trial": True, "plan": "trial"}),
              expect=active(trial=True, plan="trial"))
    book.case("unknown claims", "They are ignored, whatever they are.",
              license=license_({"email": "a@b.example", "x": [{}], "EXP": 0, "scope": None}))
    book.case("another order of claims", "Order has no meaning.",
              license=sign_text(dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid}),
                                dumps(dict(reversed(list(claims().items())))), KEY))
    book.case("grace without an end", "grace_until is null when license_expires is.",
              license=license_({"license_expires": None, "grace_until": NOW + 1}),
              expect=unread("invalid_claims"))
    book.case("grace_until false", "Only null means none.",
              license=license_({"grace_until": False}), expect=unread("invalid_claims"))
    versions(book)
    return book


def versions(book):
    newer = "A newer version is named as such, because its claims may be other ones."
    for version in (2, 3, 2**53 - 1):
        book.case(f"ver {version}", newer, license=license_({"ver": version}),
                  expect=unread("unsupported_version"))
    book.case("ver 2 with other claims", newer, expect=unread("unsupported_version"),
              license=license_({"ver": 2, "exp": None, "plan": {"id": "x"}, "sub": DROP}))
    book.case("ver 2 for another product", newer, expect=unread("unsupported_version"),
              license=license_({"ver": 2, "aud": "other"}))
    book.case("ver 0", "There is no version 0.", license=license_({"ver": 0}),
              expect=unread("invalid_claims"))
    book.case("ver 2^53", "It is no number of this format, so it is no higher version.",
              license=license_({"ver": 2**53}), expect=unread("invalid_claims"))
    book.case("ver -1", "It is no number of this format.", license=license_({"ver": -1}),
              expect=unread("invalid_claims"))


def optional():
    book = Book("claims-optional")

    def bad(name, changes):
        book.case(name, "An optional claim that is present has a right value.",
                  license=license_(changes), expect=unread("invalid_claims"))

    for claim in ("updates_until", "on_end", "warn_days", "status", "cnf"):
        bad(f"{claim} is null", {claim: None})
        bad(f"{claim} is a text", {claim: "1"})
        bad(f"{claim} is an array", {claim: []})
        bad(f"{claim} is true", {claim: True})
    for claim in ("on_end", "status", "cnf"):
        bad(f"{claim} is an empty object", {claim: {}})
        bad(f"{claim} is a number", {claim: 1})
    for claim in ("updates_until", "warn_days"):
        bad(f"{claim} is negative", {claim: -1})
        bad(f"{claim} is an object", {claim: {}})
    entry = {"idx": 1, "uri": "https://a.example/1"}
    for name, value in [
            ("status_list null", {"status_list": None}),
            ("status_list an array", {"status_list": [entry]}),
            ("status_list empty", {"status_list": {}}),
            ("idx absent", {"status_list": {**entry, "idx": DROP}}),
            ("idx null", {"status_list": {**entry, "idx": None}}),
            ("idx a text", {"status_list": {**entry, "idx": "1"}}),
            ("idx negative", {"status_list": {**entry, "idx": -1}}),
            ("uri absent", {"status_list": {**entry, "uri": DROP}}),
            ("uri null", {"status_list": {**entry, "uri": None}}),
            ("uri empty", {"status_list": {**entry, "uri": ""}}),
            ("uri a number", {"status_list": {**entry, "uri": 1}}),
            ("another mechanism", {"identifier_list": {"id": "1", "uri": "https://a.example"}})]:
        bad(f"status: {name}", {"status": value})
    for name, value in [
            ("jkt null", {"jkt": None}), ("jkt empty", {"jkt": ""}), ("jkt a number", {"jkt": 1}),
            ("jkt an array", {"jkt": [DEVICE]}), ("jwk only", {"jwk": KEY.jwk()}),
            ("kid only", {"kid": DEVICE}), ("x5t#S256 only", {"x5t#S256": DEVICE})]:
        bad(f"cnf: {name}", {"cnf": value})
    for name, value in [
            ("mode absent", {"features": []}), ("mode null", {"mode": None}),
            ("mode unknown", {"mode": "continue"}), ("mode Stop", {"mode": "Stop"}),
            ("mode empty", {"mode": ""}), ("mode a number", {"mode": 1}),
            ("features a text", {"mode": "limited", "features": "export"}),
            ("features null", {"mode": "limited", "features": None}),
            ("features with a number", {"mode": "limited", "features": [1]}),
            ("limits an array", {"mode": "limited", "limits": []}),
            ("limits null", {"mode": "limited", "limits": None}),
            ("limits with a text", {"mode": "limited", "limits": {"seats": "1"}}),
            ("limits with a negative number", {"mode": "limited", "limits": {"seats": -1}}),
            ("stop with wrong features", {"mode": "stop", "features": "export"}),
            ("warn with wrong limits", {"mode": "warn", "limits": {"seats": -1}}),
            ("warn with features null", {"mode": "warn", "features": None})]:
        bad(f"on_end: {name}", {"on_end": value})
    book.case("unknown members in optional claims", "They are ignored.", device=DEVICE,
              license=license_({"on_end": {"mode": "stop", "x": 1.5}, "cnf": {"jkt": DEVICE,
                                "jwk": None}, **listed(x=1),
                                "status": {"status_list": {**entry, "x": -1}, "y": None}}))
    book.case("all optional claims", "They may all be present.", device=DEVICE, build=NOW,
              license=license_({"on_end": {"mode": "limited", "features": ["a"], "limits": {}},
                                "updates_until": NOW, "warn_days": 3, "cnf": {"jkt": DEVICE},
                                **listed()}), expect=active(updates_until=NOW))
    return book


def audience():
    book = Book("audience")

    def audience_case(name, why, changes, code, **inputs):
        expect = refused(code) if code else active()
        book.case(name, why, license=license_(changes), expect=expect, **inputs)

    for aud in ["other-app", "ACME-APP", "acme-app ", " acme-app", "acme-ap", "acme-app2",
                "acme-app\u0000", "acme\u2010app", "*", "", "https://acme-app"]:
        audience_case(f"aud {aud!r}", "It is for another product; texts are compared exactly.",
                      {"aud": aud}, "wrong_audience")
    book.case("aud an array with the product", "aud is one text.",
              license=license_({"aud": [AUDIENCE]}), expect=unread("invalid_claims"))
    book.case("the app is another product", "The license is for acme-app.", audience="other-app",
              expect=refused("wrong_audience"))
    book.case("an audience with an accent", "Texts are compared exactly, without normalization.",
              audience="cafe\u0301", license=license_({"aud": "café"}),
              expect=refused("wrong_audience"))
    book.case("the same audience with an accent", "Any text is a product.",
              audience="café", license=license_({"aud": "café"}))
    audience_case("the right issuer", "It is compared when it is given.", {}, None, issuer=ISSUER)
    audience_case("no issuer given", "Then it is not compared.", {"iss": "https://b.example"}, None)
    for issuer in ["https://other.example", ISSUER + "/", ISSUER.upper(), "acme.example",
                   "http://acme.example"]:
        audience_case(f"issuer {issuer}", "Texts are compared exactly.", {"iss": issuer},
                      "wrong_issuer", issuer=ISSUER)
    audience_case("another product and issuer", "aud comes before iss.",
                  {"aud": "other", "iss": "https://b.example"}, "wrong_audience", issuer=ISSUER)
    audience_case("another product, too early", "aud comes before the times.",
                  {"aud": "other", "nbf": NOW + 1000}, "wrong_audience")
    audience_case("another issuer, over", "iss comes before the times.",
                  {"iss": "https://b.example", "exp": NOW}, "wrong_issuer", issuer=ISSUER)
    book.case("another product with a wrong claim", "The claims come before aud.",
              license=license_({"aud": "other", "trial": 1}), expect=unread("invalid_claims"))
    book.case("another product by an old key", "The key's time comes before aud.", trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, exp=1)), license=license_({"aud": "other"}),
              expect=refused("key_not_valid"))
    return book
