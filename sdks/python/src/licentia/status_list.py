"""Status lists (draft-ietf-oauth-status-list-21): one bit for each license, 1 for revoked."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Dict, Optional

from .jws import STATUS_TYPE, Rejected, SignedDocument
from .keys import KeySet
from .reading import (
    MAX_STATUS_BYTES,
    Text,
    Unreadable,
    base64url,
    byte_length,
    clean_text,
    epoch_seconds,
    whole,
)

MAX_LIST_BYTES = 2**20 // 8
"""The size of an inflated list: 2^20 bits."""


@dataclass(frozen=True)
class StatusList:
    """A status list with a valid signature. Its age is the app's choice, so `exp` plays no part."""

    text: str
    issued_at: int
    bits: bytes

    def has(self, index: int) -> bool:
        """Returns whether the list has this index."""
        return index < 8 * len(self.bits)

    def is_revoked(self, index: int) -> bool:
        """Returns whether the bit of this index is set."""
        return self.has(index) and bool(self.bits[index // 8] >> (index % 8) & 1)


def read_status_list(text: Text, key_set: KeySet, uri: str) -> Optional[StatusList]:
    """Returns the status list with this URI; `None` if it fails."""
    cleaned = clean_text(text)
    if byte_length(cleaned) > MAX_STATUS_BYTES:
        return None
    try:
        document = SignedDocument.parse(cleaned, STATUS_TYPE)
        key = key_set.signer(document)
        claims = document.claims()
        status_list = _parse(cleaned, claims)
    except (Rejected, Unreadable):
        return None
    is_ours = claims.get("sub") == uri and key.was_in_use(status_list.issued_at)
    return status_list if is_ours else None


def _parse(text: str, claims: Dict[str, object]) -> StatusList:
    issued_at, content = epoch_seconds(claims.get("iat")), claims.get("status_list")
    if issued_at is None or not isinstance(content, dict):
        raise Rejected("invalid_claims")
    if epoch_seconds(claims.get("exp", 0)) is None or whole(claims.get("ttl", 0)) is None:
        raise Rejected("invalid_claims")
    compressed = content.get("lst")
    if whole(content.get("bits")) != 1 or not isinstance(compressed, str):
        raise Rejected("invalid_claims")
    return StatusList(text, issued_at, _inflate(base64url(compressed)))


def _inflate(compressed: bytes) -> bytes:
    """Returns the inflated list. It stops as soon as more than the allowed size comes out."""
    inflater = zlib.decompressobj()
    try:
        bits = inflater.decompress(compressed, MAX_LIST_BYTES + 1)
    except zlib.error as error:
        raise Unreadable("not zlib") from error
    if len(bits) > MAX_LIST_BYTES or not inflater.eof or inflater.unused_data:
        raise Unreadable("the list is too long, or its stream does not end where it should")
    return bits
