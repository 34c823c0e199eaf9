"""Reads what users and servers hand over: text, base64url, JSON and numbers.

Texts are read tolerantly, because people paste them. Base64url and JSON are read strictly: two
parsers that read a signed document differently give it two meanings.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Dict, List, NoReturn, Optional, Tuple, Union

MAX_LICENSE_BYTES = 8 * 1024
MAX_KEYS_BYTES = 64 * 1024
MAX_STATUS_BYTES = 256 * 1024
MAX_LICENSE_FILE_BYTES = MAX_LICENSE_BYTES + MAX_KEYS_BYTES + MAX_STATUS_BYTES

MAX_NUMBER = 2**53 - 1
"""The largest number in a claim: the largest integer that every JSON parser reads exactly."""

MAX_TIME = 253_402_300_799
"""The latest time in a claim: 9999-12-31T23:59:59Z."""

MAX_DEPTH = 64

_BLANKS = " \t\r\n\ufeff\u00a0\u200b"
_QUOTES = "\"'`“”„‘’«»"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")

Text = Union[str, bytes]


class Unreadable(ValueError):
    """A text is not strict base64url, or not a strict JSON object."""


class NotWhole:
    """A JSON number that is not a plain whole number from 0 to 2^53-1, such as ``1.0``."""


def clean_text(text: Text) -> str:
    """Returns a text without the blanks and quotes around it, and without its line breaks.

    Bytes that are not UTF-8 become characters that neither base64url nor JSON accepts.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="surrogateescape")
    text = text.strip(_BLANKS)
    for _ in range(2):
        if len(text) >= 2 and text[0] in _QUOTES and text[-1] in _QUOTES:
            text = text[1:-1].strip(_BLANKS)
    return "".join(line.strip(_BLANKS) for line in re.split("[\r\n]", text))


def byte_length(text: str) -> int:
    """Returns the length of a text in bytes of UTF-8."""
    return len(text.encode("utf-8", errors="surrogatepass"))


def base64url(text: str) -> bytes:
    """Returns the bytes of a base64url text without padding and without unused bits.

    Raises `Unreadable` for any other text.
    """
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        raise Unreadable("not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(data) != text:
        raise Unreadable("unused bits are set")
    return data


def to_base64url(data: bytes) -> str:
    """Returns bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def json_object(data: Union[str, bytes]) -> Dict[str, object]:
    """Returns a JSON object. Numbers in it are `int` or `NotWhole`.

    Raises `Unreadable` unless it is strict: UTF-8 without lone surrogates, no repeated members, no
    NaN, at most `MAX_DEPTH` levels.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value: object = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("not strict JSON") from error
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    _check_depth_and_surrogates(value)
    return value


def whole(value: object) -> Optional[int]:
    """Returns a value of `json_object` if it is a whole number from 0 to 2^53-1."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def epoch_seconds(value: object) -> Optional[int]:
    """Returns a value of `json_object` if it is a time between 1970 and 9999."""
    number = whole(value)
    return number if number is not None and number <= MAX_TIME else None


def _number(digits: str) -> Union[int, NotWhole]:
    # The length is checked first: converting a long number takes quadratic time.
    if digits.isascii() and digits.isdigit() and len(digits) <= 16 and int(digits) <= MAX_NUMBER:
        return int(digits)
    return NotWhole()


def _fraction(_: str) -> NotWhole:
    return NotWhole()


def _constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not JSON")


def _members(pairs: List[Tuple[str, object]]) -> Dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("a member is repeated")
    return members


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_number,
    parse_float=_fraction,
    parse_constant=_constant,
)


def _check_depth_and_surrogates(document: Dict[str, object]) -> None:
    values: List[Tuple[object, int]] = [(document, 1)]
    while values:
        value, depth = values.pop()
        if isinstance(value, str):
            if _SURROGATE.search(value):
                raise Unreadable("a string has a lone surrogate")
        elif isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                raise Unreadable("nested too deeply")
            if isinstance(value, dict):
                values.extend((name, depth) for name in value)
            children = value.values() if isinstance(value, dict) else value
            values.extend((child, depth + 1) for child in children)
