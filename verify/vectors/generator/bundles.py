"""Key bundles, and keys that are replaced."""

from . import ed25519
from .base import (BY_ROOT, CUSTOMER, DAY, EXP, ISSUED, KEY, KEY2, KEY3, MALLORY, NOW,
                   ROOT, Book, active, bundle, bundle_key, license_, listed, memory, refused,
                   status_list, step, unread)
from .jose import DROP, Raw, dumps, encode, jwks, sign_text

LICENSED = {"time": NOW, "seq": {CUSTOMER: 7}}
"""What memory holds after a license that verified."""


def books():
    return [bundle_counts(), bundle_keys(), rotation()]


def bundle_counts():
    book = Book("bundle")

    def good(name, why, text, expect=None, **inputs):
        book.case(name, why, trust=inputs.pop("trust", BY_ROOT), keys=text,
                  expect=expect or active(), **inputs)

    def bad(name, why, text, **inputs):
        book.case(name, why, trust=inputs.pop("trust", BY_ROOT), keys=text,
                  expect=unread("unknown_key"), remember=inputs.pop("remember", memory()),
                  **inputs)

    good("a bundle", "The root signs the keys.", bundle(),
         remember=memory(**LICENSED, signed=ISSUED, keys_seq=3))
    book.case("no bundle", "With a root and no bundle, every key is unknown.", trust=BY_ROOT,
              expect=unread("unknown_key"), remember=memory())
    good("alg Ed25519", "Both names are accepted.", bundle(header={"alg": "Ed25519"}))
    good("typ in capitals", "Upper and lower case are equal.",
         bundle(header={"typ": "LICENSE-KEYS+JWT"}))
    good("in quotes and wrapped", "A bundle is cleaned like a license.",
         '\ufeff"' + "\r\n ".join(bundle()[i:i + 76] for i in range(0, 2000, 76)).strip() + '"\n')
    good("a root without kid", "Its thumbprint is its kid.", bundle(),
         trust={"root": ROOT.jwk(kid=DROP)})
    good("a root with another kid", "It is any text.", bundle(header={"kid": "root-1"}),
         trust={"root": ROOT.jwk(kid="root-1")})
    bad("a root with another kid, and its thumbprint", "kid of the root is compared.", bundle(),
        trust={"root": ROOT.jwk(kid="root-1")})
    good("another issuer", "The root identifies the vendor.", bundle(iss="https://b.example"))
    good("another issuer, and one is given", "iss of the bundle is not compared.",
         bundle(iss="https://b.example"), issuer="https://acme.example")
    good("issued in the future", "iat of the bundle is not compared with the clock.",
         bundle(iat=NOW + 1000 * DAY),
         remember=memory(**LICENSED, signed=NOW + 1000 * DAY, keys_seq=3))
    good("a second before its end", "Ends are exclusive; the end changes the verdict.",
         bundle(exp=NOW + 1), active(changes_at=NOW + 1))
    bad("at its end", "Ends are exclusive.", bundle(exp=NOW))
    bad("after its end", "It counts as not given.", bundle(exp=NOW - DAY))
    good("an end after the token's", "The token ends first.", bundle(exp=EXP + 1))
    good("an end before the token's", "Then the key is unknown, unless a new one is fetched.",
         bundle(exp=EXP - 1), active(changes_at=EXP - 1))
    good("unknown members", "They are ignored.", bundle(x={"y": Raw("1.0")}, aud="other"))
    good("seq 0", "0 is a number.", bundle(seq=0))

    bad("a bit flipped", "Its signature does not hold.", bundle()[:-10] + flip(bundle()[-10:]))
    bad("signed by an attacker", "Its kid is not the root's.", bundle(signed_by=MALLORY))
    bad("signed by an attacker under the root's kid", "Its signature does not hold.",
        bundle(signed_by=MALLORY, header={"kid": ROOT.kid}))
    bad("signed by a key that it names", "Only the root signs bundles.", bundle(signed_by=KEY))
    bad("an attacker's root in jwk", "Keys in the header are ignored.",
        bundle(signed_by=MALLORY, header={"jwk": MALLORY.jwk(), "kid": ROOT.kid}))
    for name, header in [
            ("typ of a license", {"typ": "license+jwt"}), ("typ JWT", {"typ": "JWT"}),
            ("typ with application/", {"typ": "application/license-keys+jwt"}),
            ("typ with the Kelvin sign", {"typ": "license-\u212aeys+jwt"}),
            ("no typ", {"typ": DROP}), ("crit", {"crit": ["exp"]}), ("crit null", {"crit": None}),
            ("alg none", {"alg": "none"}), ("alg HS256", {"alg": "HS256"}),
            ("no kid", {"kid": DROP}), ("another kid", {"kid": KEY.kid})]:
        bad(f"header: {name}", "A bundle has the rules of every signed document.",
            bundle(header=header))
    for claim in ("iss", "iat", "exp", "seq", "keys", "revoked"):
        bad(f"{claim} absent", "Every claim of a bundle is required.", bundle(**{claim: DROP}))
        if claim != "exp":
            bad(f"{claim} null", "Only exp may be null.", bundle(**{claim: None}))
    for name, changes in [
            ("iss empty", {"iss": ""}), ("iss a number", {"iss": 1}), ("iat a text", {"iat": "1"}),
            ("iat 1.0", {"iat": Raw("1.0")}), ("iat after 9999", {"iat": 253_402_300_800}),
            ("exp 1E10", {"exp": Raw("1E10")}), ("exp a text", {"exp": "never"}),
            ("exp false", {"exp": False}), ("seq 3.0", {"seq": Raw("3.0")}),
            ("seq -0", {"seq": Raw("-0")}), ("seq 2^53", {"seq": 2**53}),
            ("keys an object", {"keys": {KEY.kid: bundle_key(KEY)}}),
            ("keys a JWKS", {"keys": jwks(KEY)}), ("revoked a text", {"revoked": "x"}),
            ("revoked an object", {"revoked": {}}), ("revoked with a number", {"revoked": [1]}),
            ("revoked with null", {"revoked": [None]})]:
        bad(f"claims: {name}", "It has a wrong value, so the bundle counts as not given.",
            bundle(**changes))
    bad("a member twice", "JSON has no repeated members.",
        signed_bundle('{"seq":9,' + dumps(bundle_claims())[1:]))
    bad("claims an array", "They are a JSON object.", signed_bundle("[]"))
    bad("two parts", "It has three.", bundle().rsplit(".", 1)[0])
    bad("padding", "base64url is strict.", bundle() + "==")
    bad("a blank within", "Only line breaks are removed.", bundle()[:99] + " " + bundle()[99:])
    bad("an empty text", "It is no bundle.", "")
    bad("a JWKS", "It is not signed.", dumps(jwks(KEY)))
    bad("a license.json", "Only a license may be one.",
        dumps({"license": license_(), "keys": bundle()}))
    for name, seq, counts in [("lower", 4, False), ("equal", 5, True), ("higher", 6, True)]:
        remembered = memory(keys_seq=5)
        if counts:
            good(f"seq {name} than remembered", "Only a lower one is refused.", bundle(seq=seq),
                 memory=remembered, remember=memory(**LICENSED, signed=ISSUED, keys_seq=seq))
        else:
            bad(f"seq {name} than remembered", "An old bundle counts as not given.",
                bundle(seq=seq), memory=remembered, remember=remembered)
    return book


def flip(text):
    """Returns the base64url text with its first character changed."""
    return ("B" if text[0] == "A" else "A") + text[1:]


def bundle_claims():
    """Returns the claims of the usual bundle."""
    return {"iss": "https://acme.example", "iat": NOW - DAY, "exp": None, "seq": 3,
            "keys": [bundle_key(KEY)], "revoked": []}


def signed_bundle(text):
    """Returns a bundle of this text."""
    header = {"alg": "EdDSA", "typ": "license-keys+jwt", "kid": ROOT.kid}
    return sign_text(dumps(header), text, ROOT)


def bundle_keys():
    book = Book("bundle-keys")

    def one(name, why, entry, expect=None, **inputs):
        book.case(name, why, trust=BY_ROOT, keys=bundle(entry, KEY2), expect=expect, **inputs)

    def absent(name, why, entry):
        one(name, why, entry, unread("unknown_key"))
        book.case(f"{name}: the other key", "The rest of the bundle counts.", trust=BY_ROOT,
                  keys=bundle(entry, KEY2), license=license_(key=KEY2))

    one("unknown members of a key", "They are ignored.",
        bundle_key(KEY, x5c=[], key_ops=["sign"], iat=Raw("1.5")))
    one("a key without alg and use", "They are optional.", bundle_key(KEY, alg=DROP, use=DROP))
    for name, changes in [("nbf absent", {"nbf": DROP}), ("nbf null", {"nbf": None}),
                          ("exp absent", {"exp": DROP}), ("nbf 1.0", {"nbf": Raw("1.0")}),
                          ("exp 1E10", {"exp": Raw("1E10")}), ("a private part", {"d": KEY.x}),
                          ("another crv", {"crv": "X25519"}), ("another alg", {"alg": "HS256"}),
                          ("use enc", {"use": "enc"}), ("kid absent", {"kid": DROP}),
                          ("x of 31 bytes", {"x": encode(KEY.public[:31])}),
                          ("small order", {"x": encode(ed25519.encode(ed25519.torsion()[1]))}),
                          ("zero", {"x": encode(bytes(32))}),
                          ("off the curve", {"x": encode(ed25519.encode_raw(2, 0))})]:
        absent(f"a key with {name}", "It counts as absent.", bundle_key(KEY, **changes))
    for entry in [None, 1, "x", [], {}]:
        book.case(f"an entry {entry!r}", "It counts as absent.", trust=BY_ROOT,
                  keys=bundle(entry, KEY))
    book.case("no keys", "The bundle counts, without a key.", trust=BY_ROOT,
              keys=bundle(keys=[]), expect=unread("unknown_key"),
              remember=memory(signed=NOW - 2 * DAY, keys_seq=3))
    book.case("a kid twice", "A name for two keys is no name, so the bundle counts as not given.",
              trust=BY_ROOT, keys=bundle(KEY, KEY2.jwk(kid=KEY.kid, nbf=1, exp=None)),
              expect=unread("unknown_key"), remember=memory())
    book.case("a kid twice, for another license", "The bundle counts as not given.",
              trust=BY_ROOT, keys=bundle(KEY, KEY, KEY2), license=license_(key=KEY2),
              expect=unread("unknown_key"), remember=memory())
    book.case("a kid twice, one of them not usable", "Only usable keys have names.",
              trust=BY_ROOT, keys=bundle(bundle_key(KEY, use="enc"), KEY))
    book.case("the root signs a license", "The root is no key for licenses.", trust=BY_ROOT,
              keys=bundle(), license=license_(key=ROOT), expect=unread("unknown_key"))
    book.case("the root signs a license, and is in the bundle",
              "The root counts as absent there.", trust=BY_ROOT, keys=bundle(KEY, ROOT),
              license=license_(key=ROOT), expect=unread("unknown_key"))
    book.case("the root is in the bundle under another name", "The root counts as absent there.",
              trust=BY_ROOT, keys=bundle(KEY, bundle_key(ROOT, kid="other")),
              license=license_(key=ROOT, header={"kid": "other"}), expect=unread("unknown_key"))
    revoked = [KEY.kid]
    remembered = memory(signed=NOW - 2 * DAY, keys_seq=3)
    book.case("a revoked key", "Nothing that it signed is accepted.", trust=BY_ROOT,
              keys=bundle(KEY, revoked=revoked), expect=unread("key_revoked"),
              remember=remembered)
    book.case("a revoked key that is no longer in keys", "It is revoked all the same.",
              trust=BY_ROOT, keys=bundle(KEY2, revoked=revoked), expect=unread("key_revoked"),
              remember=remembered)
    book.case("another key is revoked", "This one is not.", trust=BY_ROOT,
              keys=bundle(KEY, KEY2, revoked=[KEY2.kid, "x", ""]))
    book.case("a kid that differs in case is revoked", "Texts are compared exactly.",
              trust=BY_ROOT, keys=bundle(revoked=[KEY.kid.swapcase()]))
    book.case("the root's kid is revoked", "A root cannot revoke itself: pin another one.",
              trust=BY_ROOT, keys=bundle(revoked=[ROOT.kid]))
    book.case("a revoked key, forged", "key_revoked comes before bad_signature.", trust=BY_ROOT,
              keys=bundle(KEY, revoked=revoked), expect=unread("key_revoked"),
              license=license_(key=MALLORY, header={"kid": KEY.kid}))
    book.case("a revoked key, wrong algorithm", "alg comes before key_revoked.", trust=BY_ROOT,
              keys=bundle(KEY, revoked=revoked), expect=unread("unsupported_algorithm"),
              license=license_(header={"alg": "none"}))
    book.case("a revoked key in a bundle that has ended", "The bundle counts as not given.",
              trust=BY_ROOT, keys=bundle(KEY, revoked=revoked, exp=NOW),
              expect=unread("unknown_key"))
    return book


def rotation():
    book = Book("rotation")

    def signed(iat):
        return license_({"iat": iat, "nbf": iat})

    start, end = ISSUED - 1000, ISSUED + 1000
    entry = bundle_key(KEY, nbf=start, exp=end)
    early = start - 60
    for name, iat, holds in [
            ("a second too early", early - 1, False), ("at the beginning, set back", early, True),
            ("at the beginning", start, True), ("a second before the end", end - 1, True),
            ("at the end", end, False), ("long after the end", end + 1000, False)]:
        book.case(f"signed {name}", "iat + 60 is not before nbf of the key, and iat is before its "
                  "exp.", trust=BY_ROOT, keys=bundle(entry), license=signed(iat),
                  expect=active() if holds else refused("key_not_valid"),
                  remember=None if holds else memory(signed=NOW - 2 * DAY, keys_seq=3))
    book.case("a license outlives its key", "The clock plays no part in a key's time.",
              trust=BY_ROOT, keys=bundle(entry), now=NOW + 3000 * DAY,
              license=license_({"license_expires": None, "exp": NOW + 4000 * DAY}),
              expect=active(changes_at=NOW + 4000 * DAY))
    book.case("a key that begins after now", "The clock plays no part in a key's time.",
              trust=BY_ROOT, keys=bundle(bundle_key(KEY, nbf=NOW + 50)),
              license=license_({"iat": NOW, "nbf": NOW}))
    book.case("a key without a beginning", "0 is a time.", trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, nbf=0)))
    book.case("a key whose end is before its beginning", "It is never valid.", trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, nbf=end, exp=start)), expect=refused("key_not_valid"))
    book.case("nbf of the license plays no part", "iat is the time of signing.", trust=BY_ROOT,
              keys=bundle(entry), license=license_({"nbf": 0}))
    book.case("a key's time, and wrong claims", "invalid_claims comes first.", trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, exp=1)), license=license_({"trial": 0}),
              expect=unread("invalid_claims"))
    book.case("a key's time, too early", "key_not_valid comes before the clock.", trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, exp=1)), license=license_({"nbf": NOW + 999}),
              expect=refused("key_not_valid"))
    book.case("a stolen key signs after it was retired", "A key signs only in its own time.",
              trust=BY_ROOT,
              keys=bundle(bundle_key(KEY, exp=NOW - 10 * DAY), KEY2),
              license=license_({"plan": "enterprise"}),
              expect=refused("key_not_valid", plan="enterprise"))
    book.case("the third successor", "An app that was built years ago knows only the root.",
              trust=BY_ROOT, license=license_(key=KEY3), keys=bundle(
                  bundle_key(KEY, exp=ISSUED - 900 * DAY), bundle_key(KEY2, exp=ISSUED - 9 * DAY),
                  bundle_key(KEY3, nbf=ISSUED - 10 * DAY), seq=31))
    sequences(book)
    return book


def sequences(book):
    old = bundle(KEY)
    both = bundle(KEY, KEY2, seq=4)
    revoking = bundle(KEY2, seq=5, revoked=[KEY.kid])
    new = license_(key=KEY2)
    book.sequence("a stolen key is revoked, and the old bundle is put back",
                  "Memory refuses a bundle that is older than one already seen.", [
                      step(active(), keys=old, why="The old key signs."),
                      step(active(), keys=both, why="A new key is published."),
                      step(active(), keys=both, license=new, why="The new key signs."),
                      step(active(), keys=revoking, license=new, why="The old key is revoked.",
                           remember=memory(time=NOW, signed=ISSUED, keys_seq=5,
                                           seq={CUSTOMER: 7})),
                      step(unread("key_revoked"), keys=revoking, why="A forgery by the old key."),
                      step(unread("unknown_key"), keys=old, why="The old bundle is put back."),
                      step(unread("unknown_key"), keys=old, license=new,
                           why="It helps no license."),
                      step(active(), keys=old, memory=None,
                           why="Without memory, the old bundle is as good as any."),
                  ], trust=BY_ROOT)
    book.sequence("a bundle that comes with a bad license is remembered",
                  "Memory is changed by what verified, also when the verdict is invalid.", [
                      step(unread("malformed"), keys=revoking, license="no license",
                           remember=memory(signed=NOW - 2 * DAY, keys_seq=5)),
                      step(unread("unknown_key"), keys=old,
                           remember=memory(signed=NOW - 2 * DAY, keys_seq=5)),
                  ], trust=BY_ROOT)
    book.sequence("an attacker's bundle is not remembered", "It did not verify.", [
        step(unread("unknown_key"), keys=bundle(seq=999, signed_by=MALLORY), remember=memory()),
        step(active(), keys=old)], trust=BY_ROOT)
    book.sequence("a bundle that has ended is not remembered", "It counts as not given.", [
        step(unread("unknown_key"), keys=bundle(seq=9, exp=NOW), remember=memory()),
        step(active(), keys=old)], trust=BY_ROOT)
    named = license_(listed())
    book.case("a list signed by a revoked key", "It counts as not given.", trust=BY_ROOT,
              keys=bundle(KEY, KEY2, revoked=[KEY2.kid]), license=named,
              status=status_list([42], key=KEY2))
    book.case("a list signed out of its key's time", "Lists have a key's time too.",
              trust=BY_ROOT, license=named, status=status_list([42], key=KEY2),
              keys=bundle(KEY, bundle_key(KEY2, exp=NOW - 3600)))
    book.case("a list signed in its key's time", "The next key signs it.", trust=BY_ROOT,
              license=named, status=status_list([42], key=KEY2), expect=refused("revoked"),
              keys=bundle(KEY, bundle_key(KEY2, exp=NOW - 3599)))
    book.case("a list signed just before its key's beginning", "The 60 seconds hold for lists too.",
              trust=BY_ROOT, license=named, status=status_list([42], key=KEY2),
              expect=refused("revoked"), keys=bundle(KEY, bundle_key(KEY2, nbf=NOW - 3540)))
    book.case("a list signed before its key's beginning", "It counts as not given.",
              trust=BY_ROOT, license=named, status=status_list([42], key=KEY2),
              keys=bundle(KEY, bundle_key(KEY2, nbf=NOW - 3539)))
    book.case("a list signed by the root", "A root never signs lists.", trust=BY_ROOT,
              keys=bundle(KEY, ROOT), license=named, status=status_list([42], key=ROOT))
