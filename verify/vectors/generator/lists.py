"""Status lists: which count, what they revoke, and how old they may be."""

import zlib

from . import deflate
from .base import (BY_ROOT, CUSTOMER, DAY, EXP, ISSUED, KEY, KEY2, LIST_URI, MALLORY, NOW, ROOT,
                   Book, active, bits, bundle, license_, listed, memory, packed, refused,
                   status_list, step)
from .jose import DROP, Raw, encode, jwks

NAMED = license_(listed())
KNOWN = {"time": NOW, "signed": ISSUED, "seq": {CUSTOMER: 7}}
"""What memory holds after the license alone."""


def books():
    return [counts(), inflating(), ages()]


def remembered(iat=NOW - 3600, revoked=(), uri=LIST_URI):
    """Returns the entry of a list in memory."""
    return {"lists": {uri: {"iat": iat, "revoked": list(revoked)}}}


def counts():
    book = Book("status")

    def good(name, why, indexes, revoked, index=42, **inputs):
        expect = refused("revoked") if revoked else active()
        book.case(name, why, license=license_(listed(index)), expect=expect,
                  status=status_list(indexes, size=inputs.pop("size", 1024)), **inputs)

    def bad(name, why, text, **inputs):
        """A list with the license's bit that does not count: the license stays active."""
        book.case(name, why, license=NAMED, status=text, remember=memory(**KNOWN), **inputs)

    good("not revoked", "The bit is 0.", [], False, remember=memory(
        **{**KNOWN, "signed": NOW - 3600}, **remembered()))
    good("revoked", "The bit is 1.", [42], True, remember=memory(
        **{**KNOWN, "signed": NOW - 3600}, **remembered(revoked=[42])))
    good("the bits beside it", "They belong to other licenses.", [41, 43], False)
    good("all other bits", "They belong to other licenses.",
         [index for index in range(1024) if index != 42], False)
    good("the bit in the other order", "Bit 0 is the lowest of a byte: 45 is not 42.", [45], False)
    for index in [0, 1, 7, 8, 15, 1016, 1023]:
        good(f"bit {index} alone", "Bit idx mod 8 of byte idx div 8.", [index], True, index)
        good(f"bit {index}, not its mirror", "Bit idx mod 8 of byte idx div 8.", [index ^ 7],
             False, index)
    full = 2**20
    good("the last bit of the largest list", "A list has up to 2^20 bits.", [full - 1], True,
         full - 1, size=full)
    good("1,000 revoked of 2^20", "The usual size.", range(7, full, 1048), True, 7 + 1048 * 500,
         size=full)
    good("1,000 revoked of 2^20, not this one", "The usual size.", range(7, full, 1048), False,
         8 + 1048 * 500, size=full)
    beyond = "The list then counts as not given."
    for index, size in [(1024, 1024), (8, 8), (full, full), (2**31, 1024), (2**32 + 42, 1024),
                        (2**53 - 1, 1024)]:
        book.case(f"index {index} of {size} bits", f"It is beyond the end. {beyond}",
                  license=license_(listed(index)), status=status_list([0, 42 % size], size=size),
                  remember=memory(**KNOWN))
    for index, revoked in [(0, True), (1, False), (13, True), (14, False), (15, True)]:
        book.case(f"the example of the draft, bit {index}",
                  "draft-ietf-oauth-status-list, 4.1: the bytes b9 a3.",
                  license=license_(listed(index)), status=status_list(lst="eNrbuRgAAhcBXQ"),
                  expect=refused("revoked") if revoked else active())
    book.case("a license without status", "A list revokes only licenses that name it.",
              status=status_list(range(1024)), remember=memory(**KNOWN))
    book.case("no list", "Any list or none will do without max_status_age.", license=NAMED)
    book.case("in quotes and wrapped", "A list is cleaned like a license.", license=NAMED,
              status="\n'" + status_list([42]).replace(".", "\r\n .") + "'", expect=refused(
                  "revoked"))
    book.case("alg Ed25519 and typ in capitals", "As in every signed document.", license=NAMED,
              status=status_list([42], header={"alg": "Ed25519", "typ": "StatusList+JWT"}),
              expect=refused("revoked"))
    book.case("signed by another trusted key", "Any key of the JWKS may sign it.", license=NAMED,
              trust={"jwks": jwks(KEY, KEY2)}, status=status_list([42], key=KEY2),
              expect=refused("revoked"))
    book.case("without exp and ttl", "They are optional.", license=NAMED, expect=refused("revoked"),
              status=status_list([42], exp=DROP, ttl=DROP))
    book.case("unknown members", "They are ignored.", license=NAMED, expect=refused("revoked"),
              status=status_list([42], members={"aggregation_uri": 1}, iss=1, aud="x", nbf=-1))
    book.case("past its exp", "An old list can still revoke.", license=NAMED,
              expect=refused("revoked"), status=status_list([42], exp=NOW - 3000))
    book.case("from the future", "Its iat is not compared with the clock.", license=NAMED,
              expect=refused("revoked"), status=status_list([42], iat=NOW + DAY))

    bad("somebody else's sub", "It is another list.", status_list([42], sub=LIST_URI + "0"))
    bad("sub in capitals", "Texts are compared exactly.", status_list([42], sub=LIST_URI.upper()))
    bad("sub with a slash", "Texts are compared exactly.", status_list([42], sub=LIST_URI + "/"))
    bad("sub absent", "A list says which one it is.", status_list([42], sub=DROP))
    bad("sub null", "A list says which one it is.", status_list([42], sub=None))
    bad("iat absent", "iat is required.", status_list([42], iat=DROP))
    bad("iat 1.0", "A time is plain whole digits.", status_list([42], iat=Raw("1.0")))
    bad("exp a text", "exp is a time if it is present.", status_list([42], exp="never"))
    bad("exp null", "exp is a time if it is present.", status_list([42], exp=None))
    bad("exp 1E10", "A time is plain whole digits.", status_list([42], exp=Raw("1E10")))
    bad("ttl a text", "ttl is a number if it is present.", status_list([42], ttl="1"))
    bad("ttl -1", "ttl is a number if it is present.", status_list([42], ttl=-1))
    bad("status_list absent", "It is required.", status_list([42], status_list=DROP))
    bad("status_list an array", "It is an object.", status_list([42], status_list=[]))
    for name, members in [("bits absent", {"bits": DROP}), ("bits 2", {"bits": 2}),
                          ("bits 8", {"bits": 8}), ("bits 0", {"bits": 0}),
                          ("bits 1.0", {"bits": Raw("1.0")}), ("bits a text", {"bits": "1"}),
                          ("lst absent", {"lst": DROP}), ("lst null", {"lst": None}),
                          ("lst an array", {"lst": [1]})]:
        bad(f"status_list: {name}", "bits is 1, and lst is a text.",
            status_list([42], members=members))
    for name, header in [
            ("typ of a license", {"typ": "license+jwt"}), ("typ JWT", {"typ": "JWT"}),
            ("typ statuslist+cwt", {"typ": "statuslist+cwt"}),
            ("typ with application/", {"typ": "application/statuslist+jwt"}),
            ("typ with U+017F", {"typ": "\u017ftatuslist+jwt"}), ("crit", {"crit": []}),
            ("alg none", {"alg": "none"}), ("no kid", {"kid": DROP}),
            ("another kid", {"kid": KEY2.kid})]:
        bad(f"header: {name}", "A list has the rules of every signed document.",
            status_list([42], header=header))
    text = status_list([42])
    bad("signed by an attacker", "Its key is unknown.", status_list([42], key=MALLORY))
    bad("signed by an attacker under our kid", "Its signature does not hold.",
        status_list([42], key=MALLORY, header={"kid": KEY.kid}))
    bad("without a signature", "Its signature does not hold.", text.rsplit(".", 1)[0] + ".")
    bad("padding", "base64url is strict.", text + "==")
    bad("a blank within", "Only line breaks are removed.", text[:99] + " " + text[99:])
    bad("an empty text", "It is no list.", "")
    bad("the list's JSON", "It is not signed.", '{"status_list":{"bits":1,"lst":"eNoDAAAAAAE"}}')
    book.case("signed by the root", "The root signs bundles only.", trust=BY_ROOT, keys=bundle(),
              license=NAMED, status=status_list([42], key=ROOT),
              remember=memory(**KNOWN, keys_seq=3))
    return book


# What zlib 1.3 makes of `DYNAMIC_BITS` at its best level: one block with a code of its own.
DYNAMIC_BITS = [42, *(i * i % 1021 for i in range(60))]
DYNAMIC = ("78da2d8cb10d80400c03efad083d5da86958850d18290583f38ee8923bdba78632c4b18904158312917e"
           "809b892eecb20c967fadc26c51a70a76ab6e3c4de92d9be13b5b7567fec9ead10f971905f3")


def inflating():
    book = Book("status-inflate")
    data = bits([42])
    stream = deflate.compress(data)
    blocks = deflate.pack(deflate.fixed(data))

    def bad(name, why, raw):
        book.case(name, why, license=NAMED, status=status_list(lst=encode(raw)),
                  remember=memory(**KNOWN))

    def good(name, why, raw, expect=None, index=42):
        book.case(name, why, license=license_(listed(index)), status=status_list(lst=encode(raw)),
                  expect=expect or refused("revoked"))

    good("a block in the fixed code", "Any block is zlib.", stream)
    good("a block that is not compressed", "Any block is zlib.",
         deflate.stream(deflate.stored(data), data))
    good("a block with a code of its own", "Any block is zlib.", bytes.fromhex(DYNAMIC))
    chunks = [data[i:i + 9] for i in range(0, len(data), 9)]
    last = len(chunks) - 1
    good("many blocks", "Any number of blocks is zlib.", deflate.stream(deflate.pack("".join(
        deflate.fixed(chunk, i == last) for i, chunk in enumerate(chunks))), data))
    good("blocks of two kinds", "Any number of blocks is zlib.", deflate.stream(
        deflate.stored(data[:50], False) + deflate.pack(deflate.fixed(data[50:])), data))
    good("empty blocks", "Any number of blocks is zlib.", deflate.stream(
        deflate.stored(b"", False) * 3 + blocks, data))
    good("a window of 512 bytes", "Any window up to 32 KiB is zlib.",
         deflate.stream(blocks, data, b"\x18\x19"))
    bad("a window of 64 KiB", "A window has at most 32 KiB.",
        deflate.stream(blocks, data, b"\x88\x1c"))
    full = bytes(2**17)
    good("exactly 2^20 bits", "It is the largest list.", deflate.compress(full), active())
    bad("one byte more than 2^20 bits", "A list has at most 2^20 bits.",
        deflate.compress(bits([42], 2**20) + b"\0"))
    bad("a bomb of 2 MiB", "A verifier stops inflating at the first byte beyond.",
        deflate.compress(bits([42], 2**24)))
    bad("raw deflate", "zlib has a header.", stream[2:-4])
    bad("gzip", "It is not zlib.", deflate.gzip(data))
    bad("not compressed", "It is not zlib.", data)
    bad("no bytes", "It is not zlib.", b"")
    bad("only the header", "It is not complete.", stream[:2])
    bad("cut off", "It is not complete.", stream[:-6])
    bad("without its checksum", "It is not complete.", stream[:-4])
    bad("without the checksum's last byte", "It is not complete.", stream[:-1])
    bad("a wrong checksum", "The checksum is compared.",
        stream[:-1] + bytes([stream[-1] ^ 1]))
    bad("a byte after the stream", "Nothing follows it.", stream + b"\0")
    bad("a second stream after the first", "Nothing follows it.", stream + stream)
    bad("a wrong header checksum", "The header's two bytes are a multiple of 31.",
        bytes([stream[0], stream[1] ^ 1]) + stream[2:])
    bad("another method", "The method is deflate.", b"\x77\x85" + stream[2:])
    bad("a reserved block type", "It is not deflate.", b"\x78\xda\x07" + stream[-4:])
    bad("a preset dictionary", "There is none.",
        deflate.stream(zlib.adler32(data[:32]).to_bytes(4, "big") + blocks, data, b"\x78\x20"))
    bad("a repetition of nothing", "There is no byte before the first.", deflate.stream(
        deflate.pack("110" + deflate.repeat(10) * 13 + "0000000"), bytes(130)))
    for name, lst in [("padding", packed(data) + "="), ("a blank", packed(data) + " "),
                      ("a line break", packed(data)[:5] + "\n" + packed(data)[5:]),
                      ("the standard alphabet", packed(data)[:-1] + "+"), ("empty", "")]:
        book.case(f"lst with {name}" if lst else "lst empty", "lst is strict base64url of zlib.",
                  license=NAMED, status=status_list(lst=lst), remember=memory(**KNOWN))
    book.case("an empty list", "Every index is beyond its end.", license=license_(listed(0)),
              status=status_list(lst=packed(b"")), remember=memory(**KNOWN))
    book.case("one byte", "It has 8 bits.", license=license_(listed(7)),
              status=status_list(lst=packed(b"\x80")), expect=refused("revoked"))
    return book


def ages():
    book = Book("status-age")

    def at(name, why, expect, **inputs):
        inputs.setdefault("license", NAMED)
        book.case(name, why, expect=expect, **inputs)

    def aged(age, indexes=(), **changes):
        return status_list(indexes, iat=NOW - age, **changes)

    stale = refused("stale_status")
    at("as old as allowed", "Older is more than max_status_age; a second later it is.",
       active(changes_at=NOW + 1), status=aged(DAY), max_status_age=DAY)
    at("a second too old", "Older is more than max_status_age.", stale, status=aged(DAY + 1),
       max_status_age=DAY)
    at("fresh", "changes_at is when the list becomes too old.",
       active(changes_at=NOW - 3600 + DAY + 1), status=aged(3600), max_status_age=DAY)
    at("fresh for longer than the token", "The token ends first.", active(changes_at=EXP),
       status=aged(3600), max_status_age=99 * DAY)
    at("fresh for the longest time", "The sum exceeds 2^53, and the token ends first.", active(),
       status=aged(3600), max_status_age=2**53 - 1)
    at("an old list without max_status_age", "Its age plays no part.", active(),
       status=aged(999 * DAY))
    at("missing", "A missing list is stale.", stale, max_status_age=DAY)
    at("missing, and any age will do", "A missing list is stale.", stale, max_status_age=2**53 - 1)
    at("max_status_age 0", "A list of this second is not older.", active(changes_at=NOW + 1),
       status=aged(0), max_status_age=0)
    at("max_status_age 0, a second old", "It is older.", stale, status=aged(1), max_status_age=0)
    at("max_status_age -1", "A negative age counts as 0.", active(changes_at=NOW + 1),
       status=aged(0), max_status_age=-1)
    at("a negative max_status_age, a second old", "A negative age counts as 0.", stale,
       status=aged(1), max_status_age=-(2**53 - 1))
    at("from the future", "It is not old.", active(changes_at=NOW + DAY + DAY + 1),
       status=aged(-DAY), max_status_age=DAY)
    at("a license without status", "max_status_age concerns only licenses that name a list.",
       active(), license=license_(), max_status_age=DAY)
    at("a license without status, with an old list", "It concerns only licenses that name one.",
       active(), license=license_(), status=aged(99 * DAY), max_status_age=DAY)
    at("past its exp, but not too old", "exp plays no part: the age is the app's choice.",
       active(changes_at=NOW - 3600 + DAY + 1), status=aged(3600, exp=NOW - 1800),
       max_status_age=DAY)
    at("revoked and too old", "An old list can still revoke.", refused("revoked"),
       status=aged(99 * DAY, [42]), max_status_age=DAY)
    at("a list that does not count", "It is as good as missing.", stale,
       status=aged(3600, sub="https://b.example"), max_status_age=DAY)
    at("an index beyond the end", "The list is as good as missing.", stale, max_status_age=DAY,
       license=license_(listed(5000)), status=aged(3600))
    at("too old and too early", "not_yet_valid comes first.",
       refused("not_yet_valid", changes_at=NOW + 40), max_status_age=DAY,
       license=license_(listed(nbf=NOW + 100)))
    at("too old and over", "stale_status comes first.", stale, max_status_age=DAY,
       license=license_(listed(exp=NOW)))
    at("too old, warn_days", "The warning is for the next change, whatever it is.",
       active(changes_at=NOW - 3600 + DAY + 1, warn=True), max_status_age=DAY, status=aged(3600),
       license=license_(listed(warn_days=1)))
    memories(book, aged, stale)
    return book


def memories(book, aged, stale):
    """Adds cases in which memory knows the list."""
    def at(name, why, expect, **inputs):
        book.case(name, why, license=inputs.pop("license", NAMED), expect=expect, **inputs)

    revoked = memory(**remembered(NOW - 3600, [42]))
    fresh = memory(**remembered(NOW - 3600))
    at("memory has it revoked, and no list is given", "Memory revokes.", refused("revoked"),
       memory=revoked, remember=memory(**KNOWN, **remembered(NOW - 3600, [42])))
    at("memory has it revoked, and the list does not count", "Memory revokes.",
       refused("revoked"), memory=revoked, status=aged(60, sub="https://b.example"))
    at("memory has it revoked, and an older list says no", "An older list counts as not given.",
       refused("revoked"), memory=revoked, status=aged(3601),
       remember=memory(**KNOWN, **remembered(NOW - 3600, [42])))
    at("memory has it revoked, and a newer list says no", "The newer list decides.", active(),
       memory=revoked, status=aged(3599),
       remember=memory(**{**KNOWN, "signed": NOW - 3599}, **remembered(NOW - 3599)))
    at("memory has another index revoked", "It is another license's.", active(),
       memory=memory(**remembered(NOW - 3600, [41, 43])))
    at("memory has it revoked in another list", "It is another license's.", active(),
       memory=memory(**remembered(NOW - 3600, [42], "https://b.example")))
    at("memory has it revoked, a license without status", "It names no list.", active(),
       license=license_(), memory=revoked)
    at("an older list than remembered revokes", "It counts as not given.", active(),
       memory=fresh, status=aged(3601, [42]),
       remember=memory(**KNOWN, **remembered(NOW - 3600)))
    at("a list as old as remembered revokes", "Only an older one is refused.", refused("revoked"),
       memory=fresh, status=aged(3600, [42]))
    at("memory does not make a missing list fresh", "It may know another index only.", stale,
       memory=fresh, max_status_age=DAY)
    at("memory does not make an older list fresh", "It counts as not given, so it is missing.",
       stale, memory=fresh, status=aged(3601), max_status_age=DAY)
    at("revoked by memory and stale", "revoked comes first.", refused("revoked"), memory=revoked,
       max_status_age=DAY)
    several = memory(**remembered(NOW - 7200, [3, 42, 900, 5000]))
    at("a newer list decides about every remembered index",
       "Set bits stay, cleared ones go, and one beyond the end stays.", active(), memory=several,
       status=aged(3600, [3, 77]),
       remember=memory(**{**KNOWN, "signed": NOW - 3600}, **remembered(NOW - 3600, [3, 5000])))
    at("a newer list adds an index in its place", "Indexes are ascending.", refused("revoked"),
       memory=memory(**remembered(NOW - 7200, [3, 900])), status=aged(3600, [3, 42, 900]),
       remember=memory(**{**KNOWN, "signed": NOW - 3600},
                       **remembered(NOW - 3600, [3, 42, 900])))
    at("a list that does not count changes nothing", "The remembered indexes stay.", active(),
       memory=memory(**remembered(NOW - 7200, [3])), license=license_(listed(5000)),
       status=aged(3600), remember=memory(**KNOWN, **remembered(NOW - 7200, [3])))
    book.sequence("revoked on a USB stick", "A revocation reaches a machine without internet.", [
        step(active(), why="The license alone."),
        step(refused("revoked"), status=aged(600, [42]), why="The list arrives."),
        step(refused("revoked"), why="The list is taken away."),
        step(refused("revoked"), status=aged(900), why="An older list is put back."),
        step(refused("revoked"), now=NOW + DAY, why="Tomorrow."),
        step(active(), license=license_(listed(77)), now=NOW + DAY,
             why="A new license has another index."),
        step(active(), status=aged(300), now=NOW + DAY,
             why="A newer list has the bit cleared."),
        step(active(), now=NOW + DAY, why="Then the license is valid without a list again."),
        step(active(), memory=None, why="Without memory."),
    ], license=NAMED)
