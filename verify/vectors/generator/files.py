"""The file license.json."""

from .base import (BY_ROOT, CUSTOMER, DAY, ISSUED, KEY, KEY2, LIST_URI, MALLORY, NOW, Book, active,
                   bundle, license_, listed, memory, refused, status_list, unread)
from .jose import DROP, Members, Raw, dumps


def books():
    return [contents(), choices()]


def file(license=DROP, **members):
    """Returns a license.json."""
    return dumps({"license": license_() if license is DROP else license, **members})


def contents():
    book = Book("license-json")

    def good(name, why, text, expect=None, **inputs):
        book.case(name, why, license=text, expect=expect, **inputs)

    def bad(name, why, text, code="malformed", **inputs):
        book.case(name, why, license=text, expect=unread(code), **inputs)

    good("only a license", "keys and status are optional.", file())
    good("a license and a bundle", "The bundle in the file is used.", file(keys=bundle()),
         trust=BY_ROOT)
    good("a license, a bundle and a list", "All three are used.", file(
        license_(listed()), keys=bundle(), status=status_list([42])), refused("revoked"),
        trust=BY_ROOT, remember=memory(
            time=NOW, signed=NOW - 3600, keys_seq=3, seq={CUSTOMER: 7},
            lists={LIST_URI: {"iat": NOW - 3600, "revoked": [42]}}))
    good("a license and a list", "A list needs no bundle where a JWKS is trusted.", file(
        license_(listed()), status=status_list([42])), refused("revoked"))
    pretty = file(keys=bundle()).replace(",", ",\r\n  ").replace(":", ": ")
    good("indented", "It is JSON.", "\ufeff" + pretty + "\r\n", trust=BY_ROOT)
    good("in quotes", "Every text is cleaned.", f"`{file()}`")
    token = license_()
    wrapped = token[:100] + "\r\n   " + token[100:]
    good("wrapped within the license", "Line breaks are removed before the JSON is read.",
         f'{{"license":"{wrapped}"}}')
    good("escaped line breaks", "The texts within are cleaned too.",
         file("\n" + token[:76] + "\n" + token[76:] + "\n"))
    good("quotes within", "The texts within are cleaned too.", file(f" “{token}” "))
    good("a bundle and a list in quotes", "The texts within are cleaned too.", file(
        license_(listed()), keys=f'"{bundle()}"', status=status_list([42]) + "\r\n"),
        refused("revoked"), trust=BY_ROOT)
    good("unknown members", "They are ignored.",
         file(product="acme-app", x=Raw("[1.0,-0,1e999,{}]"), memory={"v": 1}))
    good("escaped names", "It is JSON.", file().replace('"license"', '"l\\u0069cense"'))
    good("keys and status null", "They count as not given.", file(keys=None, status=None))
    for value in (1, True, [], {}, ["x"]):
        good(f"keys and status {value!r}", "They are no texts, so they count as not given.",
             file(license_(listed()), keys=value, status=value))
    good("keys and status empty", "They count as not given.", file(keys="", status=""))
    good("keys a JWKS", "It is no bundle.", file(keys=dumps({"keys": [MALLORY.jwk()]})))
    bad("keys a JWKS, by a root", "It is no bundle.", file(keys=dumps({"keys": [KEY.jwk()]})),
        "unknown_key", trust=BY_ROOT)
    bad("a bundle that does not verify", "It counts as not given.",
        file(keys=bundle(signed_by=MALLORY)), "unknown_key", trust=BY_ROOT)

    bad("no license", "license is required.", dumps({"keys": bundle()}))
    bad("an empty object", "license is required.", "{}")
    for value in (None, 1, True, [], {}, [license_()], {"token": license_()}):
        bad(f"license {type(value).__name__} {'' if value in (None, 1, True) else len(value)}",
            "license is a text.", file(value))
    bad("license empty", "It is no license.", file(""))
    bad("a license.json within", "There is only one level.", file(file()))
    bad("an array", "It is no object, and no license.", f"[{file()}]")
    bad("a JSON text with a file in it", "Its quotes are removed, but its escapes are not.",
        dumps(file()))
    good("a JSON text with a token in it", "Its quotes are removed.", dumps(token))
    bad("a license twice", "No repeated members.", dumps(Members(
        [("license", token), ("license", token)])))
    bad("a license twice, once escaped", "No repeated members.",
        file()[:-1] + f',"licens\\u0065":"{token}"}}')
    bad("keys twice", "No repeated members.", file(keys="")[:-1] + ',"keys":""}')
    bad("an unknown member twice, deeper", "No repeated members.",
        file(x=Members([("a", 1), ("a", 1)])))
    bad("a trailing comma", "It is strict JSON.", file()[:-1] + ",}")
    bad("a comment", "It is strict JSON.", file()[:-1] + "/**/}")
    bad("not complete", "It is strict JSON.", file()[:-1])
    bad("something after it", "It is strict JSON.", file() + ";")
    bad("a second file after it", "It is strict JSON.", file() + "\n" + file())
    bad("a lone surrogate", "It is strict JSON.", file(x=Raw('"\\ud800"')))
    bad("NaN", "It is strict JSON.", file(x=Raw("NaN")))
    bad("depth 65", "At most 64 arrays and objects are open.", file(x=Raw("[" * 64 + "]" * 64)))
    good("depth 64", "64 arrays and objects may be open.", file(x=Raw("[" * 63 + "]" * 63)))
    bad("names in capitals", "Names have one case.", dumps({"License": token}))
    bad("a flattened JWS", "RFC 7515, 7.2: it is no license.json.", flattened())
    bad("a general JWS", "RFC 7515, 7.2: it is no license.json.", dumps(
        {"payload": token.split(".")[1], "signatures": [{"protected": token.split(".")[0],
                                                         "signature": token.split(".")[2]}]}))
    bad("a compact JWS within a flattened one", "RFC 8725bis: a text in two formats at once.",
        '{"protected":"' + token + '","payload":"e30","signature":"AAAA"}')
    good("a flattened JWS with a license", "Its members are unknown, and license is the license.",
         flattened()[:-1] + f',"license":"{token}"}}')
    bad("the license of the file is wrong", "The rules apply to it.",
        file(license_(key=MALLORY)), "unknown_key")
    return book


def flattened():
    """Returns the usual license as a flattened JWS (RFC 7515, section 7.2.2)."""
    head, body, signature = license_().split(".")
    return dumps({"payload": body, "protected": head, "signature": signature})


def choices():
    book = Book("license-json-choice")
    new, old = bundle(KEY2, seq=5), bundle(KEY, seq=4)

    def keys(name, why, inside, separate, code, seq):
        """Both bundles; KEY signed the license and is only in the old one."""
        after = memory(signed=NOW - 2 * DAY, keys_seq=seq) if code else None
        book.case(name, why, trust=BY_ROOT, license=file(keys=inside), keys=separate,
                  expect=unread(code) if code else active(), remember=after)

    keys("the separate bundle is newer", "The higher seq counts.", old, new, "unknown_key", 5)
    keys("the bundle in the file is newer", "The higher seq counts.", new, old, "unknown_key", 5)
    keys("the newer bundle does not verify", "Of those that count, the higher seq counts.",
         bundle(KEY2, seq=9, signed_by=MALLORY), old, None, 4)
    keys("the newer bundle, in the file, has ended", "Of those that count.",
         bundle(KEY2, seq=9, exp=NOW), old, None, 4)
    keys("the newer bundle, separate, has ended", "Of those that count.", old,
         bundle(KEY2, seq=9, exp=NOW), None, 4)
    keys("the separate bundle is garbage", "The one in the file counts.", old, "garbage", None, 4)
    keys("two bundles with the same seq", "The separate one counts.", old, bundle(KEY2, seq=4),
         "unknown_key", 4)
    keys("two bundles with the same seq, the other way", "The separate one counts.",
         bundle(KEY2, seq=4), old, None, 4)
    book.case("the separate bundle revokes", "The higher seq counts.", trust=BY_ROOT,
              license=file(keys=old), keys=bundle(KEY, seq=5, revoked=[KEY.kid]),
              expect=unread("key_revoked"))
    book.case("both bundles are older than remembered", "Neither counts.", trust=BY_ROOT,
              license=file(keys=old), keys=bundle(KEY, seq=3), memory=memory(keys_seq=5),
              expect=unread("unknown_key"), remember=memory(keys_seq=5))
    book.case("the bundle in the file is older than remembered", "The separate one counts.",
              trust=BY_ROOT, license=file(keys=old), keys=bundle(KEY, seq=5),
              memory=memory(keys_seq=5))
    book.case("only the bundle that counts is remembered", "The other's iat is later, and unused.",
              trust=BY_ROOT, license=file(keys=bundle(KEY, seq=4, iat=NOW - 5)),
              keys=bundle(KEY, seq=5), remember=memory(
                  time=NOW, signed=ISSUED, keys_seq=5, seq={CUSTOMER: 7}))
    for name, text, code in [("a file without a license", {"keys": bundle()}, "malformed"),
                             ("a file with a license that is no text", {"license": 1,
                              "keys": bundle()}, "malformed"),
                             ("a file with a license that is too large", {"license": "a" * 9000,
                              "keys": bundle()}, "too_large")]:
        book.case(f"{name}, and a bundle", "The bundle is read first, and remembered.",
                  trust=BY_ROOT, license=dumps(text), expect=unread(code),
                  remember=memory(signed=NOW - 2 * DAY, keys_seq=3))
    book.case("a file that is not JSON, and a bundle in it", "Nothing can be read.",
              trust=BY_ROOT, license=file(keys=bundle())[:-1], expect=unread("malformed"),
              remember=memory())

    named = license_(listed())

    def lists(name, why, inside, separate, revoked):
        book.case(name, why, license=file(named, status=inside), status=separate,
                  expect=refused("revoked") if revoked else active())

    yes, no = (lambda age: status_list([42], iat=NOW - age)), (lambda age: status_list(
        [], iat=NOW - age))
    lists("the separate list is newer, and revokes", "The later iat counts.", no(20), yes(10), True)
    lists("the separate list is newer, and clears", "The later iat counts.", yes(20), no(10), False)
    lists("the list in the file is newer, and revokes", "The later iat counts.", yes(10), no(20),
          True)
    lists("the list in the file is newer, and clears", "The later iat counts.", no(10), yes(20),
          False)
    lists("two lists of the same second", "The separate one counts.", no(10), yes(10), True)
    lists("two lists of the same second, the other way", "The separate one counts.", yes(10),
          no(10), False)
    lists("the newer list is another one's", "Of those that count, the later iat counts.",
          status_list([], sub="https://b.example", iat=NOW - 1), yes(10), True)
    lists("the newer list, separate, is another one's", "Of those that count.", yes(10),
          status_list([], sub="https://b.example", iat=NOW - 1), True)
    lists("the newer list is too short", "Of those that count, the later iat counts.",
          status_list([], size=8, iat=NOW - 1), yes(10), True)
    lists("the separate list is garbage", "The one in the file counts.", yes(10), "garbage", True)
    return book
