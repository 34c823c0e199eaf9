"""The memory of a device: what it has seen, so that a clock or a list cannot be set back unseen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Dict, FrozenSet, Optional

from .claims import Claims, StatusReference
from .keys import Bundle
from .reading import Text, Unreadable, byte_length, epoch_seconds, json_object, whole
from .status_list import StatusList

MAX_MEMORY_BYTES = 256 * 1024
VERSION = 1

CLOCK_TOLERANCE_SECONDS = 3600
"""How far a clock may go back before it counts as rolled back."""

HEALING_SECONDS = 86_400
"""How close to the device's clock a newer license must be to prove that the clock is right."""


@dataclass(frozen=True)
class RememberedList:
    """The `iat` of a status list, and the customer's indexes that are revoked in it."""

    issued_at: int
    revoked: FrozenSet[int]


@dataclass
class Memory:
    """What a device remembers. Only documents that were verified change it."""

    time: int = 0
    signed: int = 0
    keys_seq: int = 0
    seq: Dict[str, int] = field(default_factory=dict)
    lists: Dict[str, RememberedList] = field(default_factory=dict)

    @classmethod
    def read(cls, text: Optional[Text]) -> Memory:
        """Returns the memory of a text. An unreadable text is treated as lost: empty memory."""
        if text is None:
            return cls()
        try:
            if isinstance(text, bytes):
                text = text.decode("utf-8")
            if byte_length(text) > MAX_MEMORY_BYTES:
                return cls()
            return _parse(json_object(text))
        except ValueError:
            return cls()

    def text(self) -> str:
        """Returns the memory as JSON."""
        lists = {
            uri: {"iat": remembered.issued_at, "revoked": sorted(remembered.revoked)}
            for uri, remembered in self.lists.items()
        }
        document = {
            "v": VERSION,
            "time": self.time,
            "signed": self.signed,
            "keys_seq": self.keys_seq,
            "seq": self.seq,
            "lists": lists,
        }
        return json.dumps(document, separators=(",", ":"))

    def earliest_plausible_time(self) -> int:
        """Returns the time before which the device's clock counts as rolled back."""
        return max(self.time, self.signed) - CLOCK_TOLERANCE_SECONDS

    def heal(self, claims: Claims, now: int) -> None:
        """Forgets a time in the future if a newer license proves that the clock is right now."""
        is_newer = claims.issued_at > self.signed
        is_close = abs(claims.issued_at - now) <= HEALING_SECONDS
        if now < self.earliest_plausible_time() and is_newer and is_close:
            self.time = now

    def is_revoked(self, reference: StatusReference) -> bool:
        """Returns whether a list that was seen before revoked this index."""
        remembered = self.lists.get(reference.uri)
        return remembered is not None and reference.index in remembered.revoked

    def add_bundle(self, bundle: Bundle) -> None:
        """Remembers a usable key bundle."""
        self.keys_seq = max(self.keys_seq, bundle.seq)
        self.signed = max(self.signed, bundle.issued_at)

    def add_license(self, claims: Claims) -> None:
        """Remembers a verified license."""
        self.signed = max(self.signed, claims.issued_at)
        self.seq[claims.customer_id] = max(self.seq.get(claims.customer_id, 0), claims.seq)

    def add_list(self, status_list: StatusList, reference: StatusReference) -> None:
        """Remembers a verified list that is not older than the one before.

        It decides about each remembered index that it has: one whose bit is 0 again is dropped.
        """
        self.signed = max(self.signed, status_list.issued_at)
        remembered = self.lists.get(reference.uri)
        before = remembered.revoked if remembered else frozenset()
        revoked = {i for i in before if status_list.is_revoked(i) or not status_list.has(i)}
        if status_list.is_revoked(reference.index):
            revoked.add(reference.index)
        self.lists[reference.uri] = RememberedList(status_list.issued_at, frozenset(revoked))


def _parse(document: Dict[str, object]) -> Memory:
    if whole(document.get("v")) != VERSION:
        raise Unreadable("another version")
    return Memory(
        time=_known(epoch_seconds(document.get("time"))),
        signed=_known(epoch_seconds(document.get("signed"))),
        keys_seq=_known(whole(document.get("keys_seq"))),
        seq={sub: _known(whole(seq)) for sub, seq in _object(document.get("seq")).items()},
        lists={uri: _list(entry) for uri, entry in _object(document.get("lists")).items()},
    )


def _list(value: object) -> RememberedList:
    entry = _object(value)
    revoked = entry.get("revoked")
    if not isinstance(revoked, list):
        raise Unreadable("not a list of indexes")
    indexes = frozenset(_known(whole(index)) for index in revoked)
    return RememberedList(_known(epoch_seconds(entry.get("iat"))), indexes)


def _object(value: object) -> Dict[str, object]:
    if isinstance(value, dict):
        return value
    raise Unreadable("not an object")


def _known(number: Optional[int]) -> int:
    if number is None:
        raise Unreadable("not a number")
    return number
