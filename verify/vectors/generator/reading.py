"""How texts are cleaned, and the form of a token."""

from .base import KEY, Book, claims, license_, unread
from .jose import dumps, encode, sign_parts

TOKEN = license_()
HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")
MIDDLE = len(TOKEN) // 2


def wrapped(text, separator, width=76):
    """Returns the text in lines, as a mail program wraps it."""
    return separator.join(text[i:i + width] for i in range(0, len(text), width))


def books():
    return [cleaned(), not_cleaned(), parts()]


def cleaned():
    book = Book("reading-cleaned")

    def ok(name, why, text):
        book.case(name, why, license=text)

    ok("a plain token", "The usual license, from which other cases differ.", TOKEN)
    for name, blank in [("space", " "), ("tab", "\t"), ("CR", "\r"), ("LF", "\n"),
                        ("BOM", "\ufeff"), ("NBSP", "\u00a0"), ("ZWSP", "\u200b")]:
        ok(f"{name} at both ends", "Blanks at both ends are removed.", blank + TOKEN + blank * 3)
    ok("all blanks at both ends", "Blanks at both ends are removed in any order.",
       "\ufeff \t\r\n\u00a0\u200b" + TOKEN + "\u200b\u00a0\n\r\t \ufeff")
    for first, last in ['""', "''", "``", "“”", "‘’", "„“", "«»", "»«", "””", "‘‘", "\"'", "„\""]:
        ok(f"quotes {first} {last}", "Any quote in front and any quote at the end are a pair.",
           first + TOKEN + last)
    ok("two pairs of quotes", "Two pairs are removed.", f"'\"{TOKEN}\"'")
    ok("blanks inside and outside quotes", "Blanks are removed around and within each pair.",
       f" “ ‘\t{TOKEN}\n ’ ” ")
    ok("guillemets with NBSP", "French typography puts NBSP within guillemets.",
       f"«\u00a0{TOKEN}\u00a0»")
    ok("backticks as a block", "Text copied from chat may keep its code marks.", f"`\n{TOKEN}\n`")
    for name, separator in [("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r"), ("two LF", "\n\n"),
                            ("spaces and LF", "  \n"), ("LF and spaces", "\n    "),
                            ("LF and a tab", "\n\t"), ("NBSP, CRLF, ZWSP", "\u00a0\r\n\u200b"),
                            ("a BOM after LF", "\n\ufeff"), ("LF, spaces, LF", "\n \n ")]:
        ok(f"wrapped with {name}", "Line breaks go together with the blanks next to them.",
           wrapped(TOKEN, separator))
    ok("wrapped at the period", "A line may end at a period.", TOKEN.replace(".", ".\r\n"))
    ok("wrapped before the period", "A line may begin with a period.", TOKEN.replace(".", "\n."))
    ok("wrapped after each character", "However short the lines are.", "\n".join(TOKEN))
    ok("wrapped within quotes", "Both are undone.", '"' + wrapped(TOKEN, "\r\n ", 60) + '"')
    return book


def not_cleaned():
    book = Book("reading-not-cleaned")

    def bad(name, why, text, code="malformed"):
        book.case(name, why, license=text, expect=unread(code))

    bad("empty", "An empty text is no license.", "")
    bad("only blanks", "Nothing remains.", " \r\n\t\ufeff\u200b\u00a0")
    bad("only two quotes", "Nothing remains.", '""')
    bad("only a quote", "One character is no pair of quotes, and no license.", '"')
    bad("only quotes", "Nothing remains.", "\"''\"")
    bad("three pairs of quotes", "At most two pairs are removed.", f"'\"`{TOKEN}`\"'")
    bad("a quote in front only", "It is no pair.", '"' + TOKEN)
    bad("a quote at the end only", "It is no pair.", TOKEN + "'")
    bad("two quotes in front, one at the end", "The second has no partner.", f"''{TOKEN}'")
    bad("other quotes", "‹ and › are none of the quotes that are removed.", f"‹{TOKEN}›")
    bad("angle brackets", "Only quotes are removed.", f"<{TOKEN}>")
    bad("a mail's quote mark", "Only blanks are removed next to line breaks.",
        wrapped(TOKEN, "\n> "))
    bad("a name in front", "Only the token is a license.", "License: " + TOKEN)
    bad("Bearer in front", "A header of HTTP is no license.", "Bearer " + TOKEN)
    for name, blank in [("space", " "), ("tab", "\t"), ("NBSP", "\u00a0"), ("ZWSP", "\u200b"),
                        ("BOM", "\ufeff"), ("two spaces", "  ")]:
        bad(f"{name} within", "A blank that is not next to a line break stays.",
            TOKEN[:MIDDLE] + blank + TOKEN[MIDDLE:])
    for name, blank in [("U+2028", "\u2028"), ("U+2029", "\u2029"), ("NEL", "\u0085"),
                        ("vertical tab", "\v"), ("form feed", "\f"), ("U+3000", "\u3000"),
                        ("U+2003", "\u2003"), ("word joiner", "\u2060"), ("NUL", "\0"),
                        ("soft hyphen", "\u00ad"), ("right-to-left mark", "\u200f")]:
        bad(f"{name} at the end", "It is not one of the blanks.", TOKEN + blank)
    bad("U+2028 within", "Only CR and LF are line breaks.",
        TOKEN[:MIDDLE] + "\u2028" + TOKEN[MIDDLE:])
    bad("a hyphen at a line break", "Hyphens are letters of base64url and stay: 65 bytes.",
        f"{HEADER}.{CLAIMS}.{SIGNATURE[:40]}-\n{SIGNATURE[40:]}", "bad_signature")
    bad("quoted-printable", "The = of a soft line break stays.", wrapped(TOKEN, "=\n"))
    bad("full-width letters", "No compatibility forms.", "\uff45" + TOKEN[1:])
    bad("percent-encoded", "The text is not decoded.", TOKEN.replace(".", "%2E"))
    return book


def with_spaces(text, remainder):
    """Returns the JSON text with spaces at its end, so that its length has this remainder."""
    while len(text) % 3 != remainder:
        text += " "
    return text


def unused_bits(part):
    """Returns the part with the lowest unused bit of its last character set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) | 1]


def parts():
    book = Book("reading-parts")

    def bad(name, why, text, code="malformed"):
        book.case(name, why, license=text, expect=unread(code))

    for name, text in [("a period", "."), ("two periods", ".."), ("three periods", "..."),
                       ("a word", "license"), ("one part", HEADER),
                       ("two parts", f"{HEADER}.{CLAIMS}"), ("four parts", TOKEN + ".AAAA"),
                       ("an empty fourth part", TOKEN + "."), ("an empty first part", "." + TOKEN),
                       ("five parts, like a JWE", f"{TOKEN}.{HEADER}.AAAA"),
                       ("the token twice", TOKEN + TOKEN),
                       ("the token twice, with a line break", f"{TOKEN}\n{TOKEN}"),
                       ("an empty header", f".{CLAIMS}.{SIGNATURE}")]:
        bad(name, "A license has three parts, and the first is a JSON object.", text)
    bad("an empty signature", "It is base64url, of no bytes, and so no signature.",
        f"{HEADER}.{CLAIMS}.", "bad_signature")
    bad("empty claims, signed", "No bytes are no JSON object.", sign_parts(HEADER, "", KEY))
    bad("empty claims, not signed", "The signature is checked before the claims.",
        f"{HEADER}..{SIGNATURE}", "bad_signature")

    header = dumps({"alg": "EdDSA", "typ": "license+jwt", "kid": KEY.kid})
    header_1, header_2 = (encode(with_spaces(header, remainder)) for remainder in (1, 2))
    book.case("spaces at the end of the header", "They are JSON.",
              license=sign_parts(header_1, CLAIMS, KEY))
    bad("padding of the header, signed", "base64url has no padding.",
        sign_parts(header_1 + "==", CLAIMS, KEY))
    bad("padding of the header, signed, one =", "base64url has no padding.",
        sign_parts(header_2 + "=", CLAIMS, KEY))
    bad("unused bits of the header, 4 bits", "Unused bits are zero.",
        sign_parts(unused_bits(header_1), CLAIMS, KEY))
    bad("unused bits of the header, 2 bits", "Unused bits are zero.",
        sign_parts(unused_bits(header_2), CLAIMS, KEY))
    claims_1, claims_2 = (encode(with_spaces(dumps(claims()), rest)) for rest in (1, 2))
    book.case("spaces at the end of the claims", "They are JSON.",
              license=sign_parts(HEADER, claims_1, KEY))
    bad("padding of the claims, signed", "base64url has no padding.",
        sign_parts(HEADER, claims_1 + "==", KEY))
    bad("unused bits of the claims, 4 bits", "Unused bits are zero.",
        sign_parts(HEADER, unused_bits(claims_1), KEY))
    bad("unused bits of the claims, 2 bits", "Unused bits are zero.",
        sign_parts(HEADER, unused_bits(claims_2), KEY))
    bad("padding of the signature", "base64url has no padding.", TOKEN + "==")
    bad("one = after the signature", "base64url has no padding.", TOKEN + "=")
    bad("unused bits of the signature", "64 bytes leave 4 bits of the last character unused.",
        f"{HEADER}.{CLAIMS}.{unused_bits(SIGNATURE)}")
    bad("another 4n + 1 characters", "No bytes have such a length.",
        f"{HEADER}.{CLAIMS}.{SIGNATURE[:85]}")
    bad("4n + 1 characters of claims, signed", "No bytes have such a length.",
        sign_parts(HEADER, "AAAAA", KEY))
    standard = {"-": "+", "_": "/"}
    many = license_({"plan": "~~~???>>>"})
    mapped = "".join(standard.get(letter, letter) for letter in many)
    assert mapped != many
    bad("the standard alphabet of base64", "base64url has - and _.", mapped)
    head, body, _ = many.split(".")
    changed = "".join(standard.get(letter, letter) for letter in body)
    assert changed != body
    bad("the standard alphabet in the claims, signed", "base64url has - and _.",
        sign_parts(head, changed, KEY))
    for name, letter in [("an asterisk", "*"), ("a tilde", "~"), ("a letter e with accent", "é"),
                         ("a comma", ","), ("a colon", ":"), ("NUL", "\0"), ("an emoji", "😀")]:
        bad(f"{name} in the signature", "It is not in the alphabet.",
            f"{HEADER}.{CLAIMS}.{SIGNATURE[:40]}{letter}{SIGNATURE[41:]}")
    wrong_type = encode(dumps({"alg": "none", "typ": "JWT"}))
    bad("a bad signature part before a wrong type", "All parts are decoded before typ is read.",
        f"{wrong_type}.{CLAIMS}.{SIGNATURE[:85]}")
    bad("a bad claims part before a wrong type", "All parts are decoded before typ is read.",
        f"{wrong_type}.{CLAIMS}=.{SIGNATURE}")
    return book
