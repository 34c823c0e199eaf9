"""Memory: how it is read, what changes it, and what does not."""

from .base import (BY_ROOT, CUSTOMER, DAY, EXP, ISSUED, ISSUER, KEY, KEY2, LIST_URI, MALLORY, NOW,
                   Book, active, bundle, bundle_key, license_, listed, memory, over, refused,
                   status_list, step, unread)
from .jose import DROP, Raw, dumps, jwks

FIRST = memory(time=NOW, signed=ISSUED, seq={CUSTOMER: 7})
"""Memory after the usual license."""


def books():
    return [reading(), changes()]


def reading():
    book = Book("memory")
    revoked = {LIST_URI: {"iat": NOW - 3600, "revoked": [42]}}
    full = memory(time=NOW - 5, signed=NOW - 9, keys_seq=3, seq={CUSTOMER: 9, "cust_2": 1},
                  lists=revoked)
    named = license_(listed())

    def lost(name, why, text):
        """Memory that would revoke the license if it could be read."""
        book.case(name, why, license=named, memory=text, remember=FIRST)

    def kept(name, why, text, remember=None):
        book.case(name, why, license=named, memory=text, expect=refused("revoked"),
                  remember=remember or {**full, "time": NOW})

    book.case("none", "The first verdict makes a memory.", remember=FIRST)
    kept("all of it", "It is read, and raised.", full)
    kept("white space", "It is JSON.", "\n " + dumps(full).replace(",", ",\n  ") + "\n")
    kept("another order", "It is JSON.", dumps(dict(reversed(list(full.items())))))
    kept("unknown members", "They are dropped.", {**full, "x": 1.5, "token": "y", "lists": {
        LIST_URI: {"iat": NOW - 3600, "revoked": [42], "x": None}}})
    kept("escapes", "It is JSON.", dumps(full).replace('"lists"', '"l\\u0069sts"'))
    kept("indexes in another order, and twice", "They are ascending, each once, afterwards.",
         {**full, "lists": {LIST_URI: {"iat": 1, "revoked": [900, 42, 42, 3]}}},
         {**full, "time": NOW, "lists": {LIST_URI: {"iat": 1, "revoked": [3, 42, 900]}}})
    for name, text in [
            ("an empty text", ""), ("a word", "memory"), ("null", "null"), ("an array", "[]"),
            ("a text", '"x"'), ("an empty object", "{}"), ("cut off", dumps(full)[:-1]),
            ("something after it", dumps(full) + "x"), ("in quotes", f"'{dumps(full)}'"),
            ("a byte order mark", "\ufeff" + dumps(full)),
            ("NBSP in front", "\u00a0" + dumps(full)),
            ("a member twice", '{"time":1,' + dumps(full)[1:]),
            ("a member twice, deeper", dumps(full).replace('"iat"', '"iat":1,"iat"')),
            ("a lone surrogate", '{"x":"\\ud800",' + dumps(full)[1:]),
            ("depth 65", '{"x":' + "[" * 64 + "]" * 64 + "," + dumps(full)[1:]),
            ("NaN", '{"x":NaN,' + dumps(full)[1:])]:
        lost(f"text: {name}", "What cannot be read is lost, which is no error.", text)
    for member in full:
        lost(f"{member} absent", "All members are there, or all of it is lost.",
             {**full, member: DROP})
        lost(f"{member} null", "A wrong value makes all of it lost.", {**full, member: None})
    entry = {"iat": NOW - 3600, "revoked": [42]}
    for name, change in [
            ("v 2", {"v": 2}), ("v 0", {"v": 0}), ("v a text", {"v": "1"}),
            ("v 1.0", {"v": Raw("1.0")}), ("time a text", {"time": "1"}),
            ("time 1.0", {"time": Raw("1.0")}), ("time -1", {"time": -1}),
            ("time -0", {"time": Raw("-0")}), ("time 1E3", {"time": Raw("1E3")}),
            ("time after 9999", {"time": 253_402_300_800}),
            ("signed after 9999", {"signed": 253_402_300_800}), ("signed a text", {"signed": "1"}),
            ("keys_seq 2^53", {"keys_seq": 2**53}), ("keys_seq a text", {"keys_seq": "3"}),
            ("seq an array", {"seq": []}), ("seq a number", {"seq": 7}),
            ("a seq a text", {"seq": {CUSTOMER: "7"}}), ("a seq 1.0", {"seq": {"x": Raw("1.0")}}),
            ("a seq null", {"seq": {"x": None}}), ("lists an array", {"lists": []}),
            ("a list an array", {"lists": {LIST_URI: [42]}}),
            ("a list without iat", {"lists": {LIST_URI: {**entry, "iat": DROP}}}),
            ("a list without revoked", {"lists": {LIST_URI: entry, "x": {"iat": 1}}}),
            ("a list's iat a text", {"lists": {LIST_URI: {**entry, "iat": "1"}}}),
            ("revoked an object", {"lists": {LIST_URI: {**entry, "revoked": {}}}}),
            ("revoked with a text", {"lists": {LIST_URI: {**entry, "revoked": [42, "43"]}}}),
            ("revoked with 1.0", {"lists": {LIST_URI: {**entry, "revoked": [42, Raw("1.0")]}}}),
            ("revoked with -1", {"lists": {LIST_URI: {**entry, "revoked": [42, -1]}}})]:
        lost(name, "A wrong value makes all of it lost.", {**full, **change})
    bad = memory()
    book.case("nothing verified, nothing remembered", "There is always a memory.",
              license="x", expect=unread("malformed"), remember=bad)
    book.case("nothing verified, memory that cannot be read", "It is lost.", license="x",
              memory="garbage", expect=unread("malformed"), remember=bad)
    book.case("nothing verified, memory that can be read", "It stays.", license="x", memory=full,
              expect=unread("malformed"), remember=full)
    strange = {"__proto__": 5, "constructor": 6, "": 7, "é": 8, "😀\u0000\"\\": 9}
    book.case("customers with strange names", "They are names like any other.",
              license=license_({"sub": "__proto__"}), memory=memory(seq=strange),
              expect=active(customer_id="__proto__"),
              remember={**FIRST, "seq": {**strange, "__proto__": 7}})
    uri = "__proto__"
    book.case("a list with a strange name", "It is a name like any other.",
              license=license_(listed(42, uri)), status=status_list([42], sub=uri),
              expect=refused("revoked"), memory=memory(), remember=memory(
                  time=NOW, signed=NOW - 3600, seq={CUSTOMER: 7},
                  lists={uri: {"iat": NOW - 3600, "revoked": [42]}}))
    book.case("no list of a strange name", "An object has no members that nobody gave it.",
              license=license_(listed(42, "constructor")), memory=memory(), remember=FIRST)
    return book


def changes():
    book = Book("memory-changes")
    before = memory(time=NOW - 50, signed=ISSUED - 50, keys_seq=2, seq={CUSTOMER: 5, "cust_2": 3})
    after = {**before, "time": NOW, "signed": ISSUED, "seq": {CUSTOMER: 7, "cust_2": 3}}
    unchanged = "It did not verify, so memory stays."
    changed = "It verified, so memory changes, also when the verdict is invalid."

    def case(name, why, expect, remember, changes=None, **inputs):
        inputs.setdefault("license", license_(changes))
        book.case(name, why, expect=expect, memory=before, remember=remember, **inputs)

    case("an active license", "time, signed and seq are raised.", active(), after)
    case("another customer", "Each customer has a seq.", active(customer_id="cust_9"),
         {**after, "seq": {CUSTOMER: 5, "cust_2": 3, "cust_9": 7}}, {"sub": "cust_9"})
    case("an older license", "An older seq and iat lower nothing, and are not refused.", active(),
         {**before, "time": NOW}, {"seq": 1, "iat": ISSUED - 100, "nbf": ISSUED - 100})
    case("a JWKS", "keys_seq stays, because no bundle is read.", active(), after,
         keys=bundle(seq=99))
    case("too early", changed, refused("not_yet_valid", changes_at=NOW + 40),
         {**after, "signed": NOW + 100}, {"iat": NOW + 100})
    case("revoked", changed, refused("revoked"),
         {**after, "signed": NOW - 3600, "lists": {LIST_URI: {"iat": NOW - 3600,
                                                              "revoked": [42]}}},
         listed(), status=status_list([42]))
    case("stale_status", changed, refused("stale_status"), after, listed(), max_status_age=1)
    case("another device", changed, refused("wrong_device"), after, {"cnf": {"jkt": "x"}})
    case("an uncovered build", changed, refused("update_not_covered", updates_until=1), after,
         {"updates_until": 1}, build=2)
    case("token out", changed, refused("token_expired"), after, {"exp": NOW})
    case("over", changed, refused("license_expired"), after, {"license_expires": NOW})
    case("overdue", changed, over("overdue", "token_expired"), after,
         {"exp": NOW, "on_end": {"mode": "warn"}})

    case("another product", "Its license is not for this app, so memory stays.",
         refused("wrong_audience"), before, {"aud": "other"})
    case("another issuer", "A JWKS may have another vendor's keys, so memory stays.",
         refused("wrong_issuer"), before, {"iss": "https://b.example"}, issuer=ISSUER)
    case("another product, with a list", "Its list is not read.", refused("wrong_audience"),
         before, listed(aud="other"), status=status_list([42]))
    case("malformed", unchanged, unread("malformed"), before, license="x")
    case("too large", unchanged, unread("too_large"), before, license="a" * 9000)
    case("an unknown key", unchanged, unread("unknown_key"), before,
         license=license_({"seq": 99}, key=MALLORY))
    case("a bad signature", unchanged, unread("bad_signature"), before,
         license=license_({"seq": 99}, key=MALLORY, header={"kid": KEY.kid}))
    case("wrong claims", unchanged, unread("invalid_claims"), before, {"seq": 99, "trial": 0})
    case("a newer version", unchanged, unread("unsupported_version"), before, {"ver": 2})
    case("a bad signature and a list", "Without a license there is no list.",
         unread("bad_signature"), before, status=status_list([42]),
         license=license_(listed(), key=MALLORY, header={"kid": KEY.kid}))

    root = {"trust": BY_ROOT}
    case("a bundle and a license", changed, active(), {**after, "keys_seq": 3}, **root,
         keys=bundle())
    case("a newer bundle's iat", "signed is the latest iat of anything.", active(),
         {**after, "keys_seq": 3, "signed": NOW - 5}, **root, keys=bundle(iat=NOW - 5))
    case("a bundle, and another product", "The bundle verified; the license is another app's.",
         refused("wrong_audience"), {**before, "keys_seq": 3, "signed": NOW - 5},
         {"aud": "other"}, **root, keys=bundle(iat=NOW - 5))
    case("a key out of its time", "A thief of an old key could date a license in the future.",
         refused("key_not_valid"), {**before, "keys_seq": 3, "signed": NOW - 5},
         **root, keys=bundle(bundle_key(KEY, exp=1), iat=NOW - 5))
    for name, license, code in [
            ("a malformed license", "x", "malformed"), ("no license", None, "malformed"),
            ("a license that is too large", "a" * 9000, "too_large"),
            ("a session token", license_(header={"typ": "JWT"}), "wrong_type"),
            ("an unknown key", license_(key=KEY2), "unknown_key")]:
        case(f"a bundle and {name}", "The bundle is read first. time stays.", unread(code),
             {**before, "keys_seq": 3, "signed": NOW - 5}, **root, keys=bundle(iat=NOW - 5),
             license=license)
    case("a bundle with a revoked key", changed, unread("key_revoked"),
         {**before, "keys_seq": 3, "signed": NOW - 5}, **root,
         keys=bundle(iat=NOW - 5, revoked=[KEY.kid]))
    case("an older bundle", "It counts as not given.", unread("unknown_key"), before, **root,
         keys=bundle(seq=1, iat=NOW - 5))
    two_customers(book)
    return book


def two_customers(book):
    one = license_({"seq": 7})
    newer = license_({"seq": 8, "iat": ISSUED + 500, "nbf": ISSUED + 500})
    other = license_({"sub": "cust_2", "seq": 2})
    book.sequence("several licenses", "Each customer has a seq; an older license is still valid.", [
        step(active(), license=newer, remember=memory(time=NOW, signed=ISSUED + 500,
                                                      seq={CUSTOMER: 8})),
        step(active(), license=one, remember=memory(time=NOW, signed=ISSUED + 500,
                                                    seq={CUSTOMER: 8})),
        step(active(customer_id="cust_2"), license=other, now=NOW + 9, remember=memory(
            time=NOW + 9, signed=ISSUED + 500, seq={CUSTOMER: 8, "cust_2": 2})),
        step(refused("token_expired"), license=one, now=EXP, remember=memory(
            time=EXP, signed=ISSUED + 500, seq={CUSTOMER: 8, "cust_2": 2})),
    ])
    lists = {uri: license_(listed(42, uri)) for uri in ("https://a.example", "https://b.example")}
    a, b = lists
    book.sequence("several lists", "Each list has its own iat and indexes.", [
        step(refused("revoked"), license=lists[a], status=status_list([42], sub=a)),
        step(active(), license=lists[b], status=status_list([], sub=b, iat=NOW - DAY)),
        step(active(), license=lists[b], status=status_list([42], sub=a),
             remember=memory(time=NOW, signed=NOW - 3600, seq={CUSTOMER: 7}, lists={
                 a: {"iat": NOW - 3600, "revoked": [42]}, b: {"iat": NOW - DAY, "revoked": []}})),
        step(refused("revoked"), license=lists[a]),
        step(active(), license=lists[b], trust={"jwks": jwks(KEY2, KEY)}),
    ], license=None)
    book.sequence("memory that is lost between runs", "Lost memory is no error.", [
        step(active()), step(active(), memory="{}"), step(active(), memory=None),
        step(active(), remember=FIRST)])
