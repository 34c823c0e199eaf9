"""Strict JSON, in the header and in the claims."""

from .base import AUDIENCE, KEY, KEY2, Book, active, claims, license_, refused, unread
from .jose import DROP, Members, Raw, dumps, jwks, sign_text

HEADER = dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid})
CLAIMS = dumps(claims())


def with_member(text, member):
    """Returns the object's text with one more member in front, as it is."""
    return "{" + member + "," + text[1:]


def nested(depth):
    """Returns a member whose value has this many arrays within each other."""
    return '"x":' + "[" * depth + "]" * depth


def books():
    return [of_header(), of_claims()]


# Texts that are no JSON object: a name, the reason, and the change of an object's text.
WRONG = [
    ("an array", "It is no object.", lambda text: f"[{text}]"),
    ("a string", "It is no object.", lambda text: dumps(text)),
    ("a number", "It is no object.", lambda text: "1"),
    ("null", "It is no object.", lambda text: "null"),
    ("true", "It is no object.", lambda text: "true"),
    ("a word", "It is no JSON.", lambda text: "license"),
    ("only a space", "It is no JSON.", lambda text: " "),
    ("without its last brace", "It is not complete.", lambda text: text[:-1]),
    ("a trailing comma", "JSON has none.", lambda text: text[:-1] + ",}"),
    ("a comment", "JSON has none.", lambda text: text[:-1] + "/* */}"),
    ("something after the object", "Only white space may follow.", lambda text: text + "x"),
    ("a second object", "Only white space may follow.", lambda text: text + "{}"),
    ("a NUL after the object", "Only white space may follow.", lambda text: text + "\0"),
    ("a byte order mark", "JSON in a token has none.", lambda text: "\ufeff" + text),
    ("a form feed as white space", "It is not white space of JSON.",
     lambda text: "\f" + text),
    ("NBSP as white space", "It is not white space of JSON.", lambda text: "\u00a0" + text),
    ("UTF-16", "JSON is UTF-8.", lambda text: text.encode("utf-16-le")),
    ("single quotes", "JSON has double quotes.", lambda text: text.replace('"', "'")),
    ("a name without quotes", "JSON has double quotes.", lambda text: with_member(text, "x:1")),
    ("no value", "A member has a value.", lambda text: with_member(text, '"x":')),
    ("two colons", "A member has one value.", lambda text: with_member(text, '"x"::1')),
    ("no comma", "Members are separated.", lambda text: with_member(text, '"x":1 "y":2')),
    ("NaN", "It is no number of JSON.", lambda text: with_member(text, '"x":NaN')),
    ("Infinity", "It is no number of JSON.", lambda text: with_member(text, '"x":Infinity')),
    ("-Infinity", "It is no number of JSON.", lambda text: with_member(text, '"x":-Infinity')),
    ("a leading zero", "JSON has none.", lambda text: with_member(text, '"x":01')),
    ("a negative leading zero", "JSON has none.", lambda text: with_member(text, '"x":-01')),
    ("a plus sign", "JSON has none.", lambda text: with_member(text, '"x":+1')),
    ("a minus sign alone", "It is no number.", lambda text: with_member(text, '"x":-')),
    ("a point without digits after it", "It is no number.",
     lambda text: with_member(text, '"x":1.')),
    ("a point without digits before it", "It is no number.",
     lambda text: with_member(text, '"x":.5')),
    ("an exponent without digits", "It is no number.", lambda text: with_member(text, '"x":1e')),
    ("a hexadecimal number", "JSON has none.", lambda text: with_member(text, '"x":0x10')),
    ("an underscore in a number", "JSON has none.", lambda text: with_member(text, '"x":1_000')),
    ("digits of another script", "JSON has ASCII digits.",
     lambda text: with_member(text, '"x":\u0661')),
    ("True", "JSON has true.", lambda text: with_member(text, '"x":True')),
    ("nul", "It is no literal.", lambda text: with_member(text, '"x":nul')),
    ("a line break in a string", "Control characters are escaped.",
     lambda text: with_member(text, '"x":"a\nb"')),
    ("a tab in a string", "Control characters are escaped.",
     lambda text: with_member(text, '"x":"a\tb"')),
    ("a NUL in a string", "Control characters are escaped.",
     lambda text: with_member(text, '"x":"a\0b"')),
    ("an unknown escape", "JSON has no such escape.", lambda text: with_member(text, '"x":"\\a"')),
    ("an escape in hexadecimal", "JSON has no such escape.",
     lambda text: with_member(text, '"x":"\\x41"')),
    ("an escape of three digits", "It has four.", lambda text: with_member(text, '"x":"\\u123"')),
    ("an escape with a sign", "It has four hexadecimal digits.",
     lambda text: with_member(text, '"x":"\\u+041"')),
    ("an escape with other letters", "It has four hexadecimal digits.",
     lambda text: with_member(text, '"x":"\\u12g4"')),
    ("a string without an end", "It is not complete.", lambda text: with_member(text, '"x":"')),
    ("a high surrogate alone", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ud83d"')),
    ("a low surrogate alone", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ude00"')),
    ("surrogates in the wrong order", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ude00\\ud83d"')),
    ("two high surrogates", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ud83d\\ud83d"')),
    ("a high surrogate and a letter", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ud83dA"')),
    ("a high surrogate and another escape", "No lone surrogates.",
     lambda text: with_member(text, '"x":"\\ud83d\\u0041"')),
    ("a lone surrogate in a name", "No lone surrogates, in names either.",
     lambda text: with_member(text, '"\\ud800":1')),
    ("an encoded surrogate", "UTF-8 has none.",
     lambda text: with_member(text, '"x":"?"').encode().replace(b"?", b"\xed\xa0\x80")),
    ("two encoded surrogates", "CESU-8 is not UTF-8.",
     lambda text: with_member(text, '"x":"?"').encode()
     .replace(b"?", b"\xed\xa0\xbd\xed\xb8\x80")),
    ("an overlong form", "UTF-8 is the shortest form.",
     lambda text: with_member(text, '"x":"?"').encode().replace(b"?", b"\xc0\xaf")),
    ("a byte of Latin-1", "It is not UTF-8.",
     lambda text: with_member(text, '"x":"?"').encode().replace(b"?", b"\xe9")),
    ("a UTF-8 sequence that is not complete", "It is not UTF-8.",
     lambda text: with_member(text, '"x":"?"').encode().replace(b"?", b"\xf0\x9f\x98")),
    ("a character beyond Unicode", "It is not UTF-8.",
     lambda text: with_member(text, '"x":"?"').encode().replace(b"?", b"\xf4\x90\x80\x80")),
    ("a member twice", "No repeated members, unknown ones either.",
     lambda text: with_member(text, '"x":1,"x":1')),
    ("a member twice, once escaped", "Names are compared after their escapes are decoded.",
     lambda text: with_member(text, '"x":1,"\\u0078":1')),
    ("a member twice, deeper", "At no depth.",
     lambda text: with_member(text, '"x":[{"a":1,"a":2}]')),
    ("the empty name twice", "It is a name.", lambda text: with_member(text, '"":1,"":2')),
    ("__proto__ twice", "It is a name.",
     lambda text: with_member(text, '"__proto__":1,"__proto__":2')),
    ("depth 65", "At most 64 arrays and objects are open.",
     lambda text: with_member(text, nested(64))),
    ("depth 1,000", "At most 64 arrays and objects are open.",
     lambda text: with_member(text, nested(1000))),
    ("depth 65 of objects", "At most 64 arrays and objects are open.",
     lambda text: with_member(text, '"x":' + '{"a":' * 64 + "1" + "}" * 64)),
    ("2,000 brackets that are not closed", "It ends, whatever the parser is.",
     lambda text: with_member(text, '"x":' + "[" * 2000)),
]

# Unknown members with valid values, which are ignored.
RIGHT = [
    ("depth 64", "64 arrays and objects may be open: the object and 63 arrays.", nested(63)),
    ("65 arrays beside each other", "Only those that are open at once count.",
     '"x":[' + ",".join(["[]"] * 65) + "]"),
    ("1e999", "A number of JSON may have any size where no number is expected.", '"x":1e999'),
    ("-1e999", "A number of JSON may have any size where no number is expected.", '"x":-1e999'),
    ("1e-999", "A number of JSON may have any size where no number is expected.", '"x":1e-999'),
    ("2,000 digits", "A number of JSON may have any length where no number is expected.",
     '"x":' + "9" * 2000),
    ("4,400 digits", "Some parsers refuse more than 4,300 digits.", '"x":1' + "0" * 4399),
    ("-0 and fractions", "They are numbers of JSON.", '"x":[-0,-0.0,1.5,1E+3,1e-3,0e0]'),
    ("a pair of surrogates", "It is one character.", '"x":"\\ud83d\\ude00"'),
    ("a pair of surrogates in capitals", "Digits of escapes have no case.", '"x":"\\uD83D\\uDE00"'),
    ("each escape", "JSON has these.", '"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFFFF"'),
    ("DEL and U+FFFF", "Only characters below U+0020 are escaped.", '"x":"\x7f\uffff\u2028"'),
    ("names of JavaScript", "They are names like any other.",
     '"__proto__":{"kid":1},"constructor":1,"toString":null,"hasOwnProperty":1'),
    ("the empty name", "It is a name.", '"":1'),
    ("names that differ in case", "They are two names.", '"x":1,"X":2'),
    ("names that differ in normalization", "They are two names.", '"é":1,"e\u0301":2'),
    ("the same name in two objects", "Each object has its own.", '"x":{"a":1},"y":{"a":1}'),
    ("white space", "JSON has these four.", '"x" \t\r\n:\r\n[ 1 , 2 ]\t'),
]


def of_header():
    book = Book("json-header")
    # Every second one: most verifiers read the header with the parser of the claims.
    for name, why, change in WRONG[::2]:
        book.case(name, why, license=sign_text(change(HEADER), CLAIMS, KEY),
                  expect=unread("malformed"))
    for name, why, member in RIGHT[::2]:
        book.case(name, why, license=sign_text(with_member(HEADER, member), CLAIMS, KEY))
    for name, member in [("kid", {"kid": KEY2.kid}), ("typ", {"typ": "JWT"}),
                         ("alg", {"alg": "none"})]:
        member = dumps(member)[1:-1]
        both = {"jwks": jwks(KEY, KEY2)}
        book.case(f"two {name}, the right one last", "No repeated members.", trust=both,
                  license=sign_text(with_member(HEADER, member), CLAIMS, KEY),
                  expect=unread("malformed"))
        book.case(f"two {name}, the right one first", "No repeated members.", trust=both,
                  license=sign_text(HEADER[:-1] + "," + member + "}", CLAIMS, KEY),
                  expect=unread("malformed"))
    escaped = HEADER.replace('"kid"', '"\\u006bid"').replace('"typ"', '"t\\u0079p"')
    book.case("escaped names", "Escapes are decoded.", license=sign_text(escaped, CLAIMS, KEY))
    escaped = HEADER.replace("license+jwt", "license\\u002Bj\\u0077t")
    book.case("an escaped value", "Escapes are decoded.", license=sign_text(escaped, CLAIMS, KEY))
    return book


def of_claims():
    book = Book("json-claims")
    for name, why, change in WRONG:
        book.case(name, why, license=sign_text(HEADER, change(CLAIMS), KEY),
                  expect=unread("malformed"))
    for name, why, member in RIGHT:
        book.case(name, why, license=sign_text(HEADER, with_member(CLAIMS, member), KEY))
    for name, value in [("plan", "trial"), ("exp", 0), ("aud", AUDIENCE), ("ver", 2)]:
        text = with_member(CLAIMS, dumps({name: value})[1:-1])
        book.case(f"two {name}", "No repeated members: parsers differ in which one counts.",
                  license=sign_text(HEADER, text, KEY), expect=unread("malformed"))
    text = dumps(claims(limits=Members([("seats", 5), ("seats", 500)])))
    book.case("two limits of the same name", "At no depth.", license=sign_text(HEADER, text, KEY),
              expect=unread("malformed"))
    text = dumps(claims(limits=Raw('{"seats":5,"se\\u0061ts":500}')))
    book.case("two limits of the same name, once escaped", "At no depth, however written.",
              license=sign_text(HEADER, text, KEY), expect=unread("malformed"))
    book.case("two wrong things", "What is not a JSON object has no claims: malformed comes before "
              "unsupported_version.", expect=unread("malformed"),
              license=sign_text(HEADER, with_member(dumps(claims(ver=2)), '"x":1,"x":1'), KEY))
    book.case("malformed claims by an unknown key", "The key comes before the claims.",
              trust={"jwks": jwks(KEY2)}, license=sign_text(HEADER, "[]", KEY),
              expect=unread("unknown_key"))
    book.case("malformed claims, not signed", "The signature comes before the claims.",
              license=".".join([*sign_text(HEADER, "[]", KEY).split(".")[:2],
                                license_().split(".")[2]]), expect=unread("bad_signature"))
    escaped = CLAIMS.replace('"exp"', '"e\\u0078p"').replace("professional", "profession\\u0061l")
    book.case("escaped names and values", "Escapes are decoded.",
              license=sign_text(HEADER, escaped, KEY))
    spaced = CLAIMS.replace(",", " ,\n\t").replace(":", " :\r\n ")
    spaced = spaced.replace(" :\r\n //", "://")
    book.case("white space everywhere", "It is JSON.", license=sign_text(HEADER, spaced, KEY))
    strings = ["\u0000", "é", "e\u0301", "😀", "\u2028", '"\\/', "", "  ", "\ufeff", "\uffff"]
    book.case("all kinds of strings", "Strings are passed on as they are.",
              license=license_({"features": strings, "plan": "😀\u0000"}),
              expect=active(features=strings, plan="😀\u0000"))
    names = {"__proto__": 1, "constructor": 2, "toString": 3, "": 4, "é": 5, "e\u0301": 6}
    book.case("limits with names of JavaScript", "They are names like any other.",
              license=license_({"limits": names}), expect=active(limits=names))
    book.case("a missing claim in the prototype", "A member of __proto__ is not a claim.",
              license=license_({"plan": DROP, "__proto__": {"plan": "professional"}}),
              expect=unread("invalid_claims"))
    book.case("a refused license with strange facts", "They are passed on as they are.",
              license=license_({"plan": "\u202eplan", "aud": "other"}),
              expect=refused("wrong_audience", plan="\u202eplan"))
    return book
