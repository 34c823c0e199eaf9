"""The size limits, with texts at them and one byte beyond. These are the largest files."""

from .base import (BY_ROOT, Book, bundle, license_, listed, status_list,
                   unread)
from .jose import dumps

KIB = 1024


def padded(make, size):
    """Returns make(text, header) with texts that make it exactly `size` bytes long."""
    for spare in range(3):
        header = {"x": "A" * spare}
        length = (size - len(make("", header))) * 3 // 4 - 8
        text = ""
        while len(text) < size:
            text = make("A" * length, header)
            length += 1
        if len(text) == size:
            return text
    raise AssertionError(size)


def of_license(size):
    """Returns a license of this many bytes."""
    return padded(lambda text, header: license_({"x": text}, header=header), size)


def books():
    book = Book("sizes")
    largest = of_license(8 * KIB)
    for size in (8 * KIB - 1, 8 * KIB):
        book.case(f"a license of {size} bytes", "8 KiB are accepted.", license=of_license(size))
    book.case(f"a license of {8 * KIB + 1} bytes", "More than 8 KiB are not.",
              license=of_license(8 * KIB + 1), expect=unread("too_large"))
    book.case("8 KiB within blanks and quotes", "The size is measured after cleaning.",
              license=" " * 500 + '"' + largest + '"' + "\r\n" * 500)
    book.case("8 KiB in lines", "The size is measured after cleaning.",
              license="\r\n    ".join(largest[i:i + 64] for i in range(0, len(largest), 64)))
    for name, text in [("letters", "a" * (8 * KIB + 1)), ("periods", "." * (8 * KIB + 1)),
                       ("spaces within", "a" + " " * 8 * KIB + "a"),
                       ("quotes", '"' * (8 * KIB + 6)),
                       ("2,731 characters of 3 bytes", "\u20ac" * 2731),
                       ("2,049 characters of 4 bytes", "\U0001f600" * 2049)]:
        book.case(f"too many {name}", "The size comes first, and is in bytes of UTF-8.",
                  license=text, expect=unread("too_large"))
    for name, text in [("letters", "a" * 8 * KIB), ("2,730 characters of 3 bytes",
                       "\u20ac" * 2730 + "aa"), ("2,048 characters of 4 bytes",
                       "\U0001f600" * 2048), ("10,000 blanks", " \n" * 5000)]:
        book.case(f"not too many {name}", "It is small enough, and no license.", license=text,
                  expect=unread("malformed"))
    book.case("a license of 8 KiB in a license.json", "It has its own limit.",
              license=dumps({"license": largest}))
    book.case("a license of 8 KiB + 1 in a license.json", "It has its own limit.",
              license=dumps({"license": of_license(8 * KIB + 1)}), expect=unread("too_large"))
    book.case("a license in lines in a license.json", "Its size is measured after cleaning.",
              license=dumps({"license": "\n".join(largest)}))
    file = dumps({"license": license_(), "x": ""})
    book.case("a license.json of 328 KiB + 1", "It has a limit as a whole.",
              license=file.replace('"x":""', f'"x":"{"A" * (328 * KIB + 1 - len(file))}"'),
              expect=unread("too_large"))
    book.case("a bundle of 64 KiB", "It is accepted.", trust=BY_ROOT,
              keys=padded(lambda text, header: bundle(x=text, header=header), 64 * KIB))
    book.case("a bundle of 64 KiB + 1", "It counts as not given.", trust=BY_ROOT,
              keys=padded(lambda text, header: bundle(x=text, header=header), 64 * KIB + 1),
              expect=unread("unknown_key"))
    named = license_(listed())
    book.case("a list of 256 KiB + 1", "It counts as not given.", license=named,
              status=padded(lambda text, header: status_list(
                  [42], x=text, header=header), 256 * KIB + 1))
    return [book]
