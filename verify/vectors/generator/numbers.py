"""Numbers, written as no library writes them."""

from .base import EXP, NOW, Book, active, license_, listed, unread
from .jose import Raw

MAX = 2**53 - 1
MAX_TIME = 253_402_300_799

# Texts of JSON that are no plain whole digits.
FORMS = ["1.0", "1E3", "1e3", "1e0", "1e+9", "1.8e9", "1800000000.0", "1800000000e0",
         "18000000000e-1", "-0", "-0.0", "0.0", "0e0", "-1", "0.5", "1e400", "1e-400",
         "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808",
         "18446744073709551616", "18446744073709551617", "123456789012345678901234567890"]


def books():
    return [wrong(), right()]


def wrong():
    book = Book("numbers-wrong")

    def bad(name, why, changes, code="invalid_claims"):
        book.case(name, why, license=license_(changes), expect=unread(code))

    for text in FORMS:
        bad(f"exp {text}", "A number is plain whole digits, at most 2^53 - 1.", {"exp": Raw(text)})
    bad("exp of 400 digits", "A number is at most 2^53 - 1.", {"exp": Raw("9" * 400)})
    few = ["1.0", "1E3", "-0", "-1", "9007199254740992"]
    places = {
        "iat": lambda raw: {"iat": raw}, "nbf": lambda raw: {"nbf": raw},
        "license_expires": lambda raw: {"license_expires": raw},
        "grace_until": lambda raw: {"grace_until": raw}, "seq": lambda raw: {"seq": raw},
        "updates_until": lambda raw: {"updates_until": raw},
        "warn_days": lambda raw: {"warn_days": raw},
        "a limit": lambda raw: {"limits": {"seats": raw}},
        "the second limit": lambda raw: {"limits": {"a": 1, "seats": raw}},
        "a limit of on_end": lambda raw: {"on_end": {"mode": "limited", "limits": {"seats": raw}}},
        "idx": lambda raw: {"status": {"status_list": {"idx": raw, "uri": "https://a.example"}}},
    }
    for place, changes in places.items():
        for text in few:
            bad(f"{place} {text}", "A number is plain whole digits, at most 2^53 - 1.",
                changes(Raw(text)))
    for text in ["1.0", "1E0", "10e-1", "2.0", "1e1", "-0", "-1", "1e400", "18446744073709551617"]:
        bad(f"ver {text}", "It is no number of this format, so neither 1 nor a higher version.",
            {"ver": Raw(text)})
    for claim in ("iat", "nbf", "exp", "license_expires", "grace_until", "updates_until"):
        bad(f"{claim} after the year 9999", "Times end with the year 9999.",
            {claim: MAX_TIME + 1})
        bad(f"{claim} in milliseconds", "Times are seconds.", {claim: NOW * 1000})
    for text in ["01", "+1", "1.", ".5", "0x10", "1_000", "NaN", "Infinity", "--1", "1e", "00"]:
        bad(f"exp {text}", "It is not JSON.", {"exp": Raw(text)}, "malformed")
        bad(f"a limit {text}", "It is not JSON.", {"limits": {"seats": Raw(text)}}, "malformed")
    return book


def right():
    book = Book("numbers")
    book.case("the largest limit", "2^53 - 1 is a number.",
              license=license_({"limits": {"seats": MAX, "zero": 0}}),
              expect=active(limits={"seats": MAX, "zero": 0}))
    book.case("the largest seq", "2^53 - 1 is a number.", license=license_({"seq": MAX}))
    book.case("seq 0", "0 is a number.", license=license_({"seq": 0}))
    book.case("the latest times", "The last second of the year 9999 is a time.",
              license=license_({"exp": MAX_TIME, "license_expires": MAX_TIME,
                                "grace_until": MAX_TIME, "updates_until": MAX_TIME}),
              expect=active(changes_at=MAX_TIME, updates_until=MAX_TIME))
    book.case("the latest exp of a license that never ends", "It ends with the year 9999.",
              license=license_({"exp": MAX_TIME, "license_expires": None}),
              expect=active(changes_at=MAX_TIME))
    book.case("iat and nbf 0", "0 is a time.", license=license_({"iat": 0, "nbf": 0}))
    book.case("the largest idx", "It is beyond the end of every list, which then does not count.",
              license=license_(listed(MAX)))
    book.case("warn_days 2^53 - 1", "The product with 86,400 exceeds 64 bits: always warn.",
              license=license_({"warn_days": MAX}), expect=active(warn=True))
    book.case("warn_days 213503982334601", "The product with 86,400 is near 2^64: always warn.",
              license=license_({"warn_days": 213_503_982_334_601}), expect=active(warn=True))
    book.case("warn_days 106751991167301", "The product with 86,400 is near 2^63: always warn.",
              license=license_({"warn_days": 106_751_991_167_301}), expect=active(warn=True))
    book.case("numbers in unknown claims", "They are not numbers of this format.",
              license=license_({"a": Raw("1.0"), "b": Raw("-0"), "c": Raw("1E400"),
                                "d": [Raw("18446744073709551616")], "e": {"f": Raw("-1e-9")}}))
    book.case("numbers in unknown members of the header", "They are not numbers of this format.",
              license=license_(header={"a": Raw("1.0"), "b": Raw("-0"), "iat": Raw("1E400")}))
    book.case("white space around numbers", "It is JSON, and no part of the number.",
              license=license_({"exp": Raw(f" {EXP}\n"), "limits": Raw('{"seats": 5 ,"b":\t6 }')}),
              expect=active(limits={"seats": 5, "b": 6}))
    book.case("numbers in texts", "They are texts.",
              license=license_({"plan": "1.0", "features": ["-0", "1E3"]}),
              expect=active(plan="1.0", features=["-0", "1E3"]))
    return book
