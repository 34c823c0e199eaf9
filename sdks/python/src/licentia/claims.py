"""The claims of a license, with their types checked. Their meaning is in `verdict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

from .jws import Rejected
from .reading import epoch_seconds, whole

VERSION = 1
"""The version of the claims that this package understands."""


@dataclass(frozen=True)
class OnEnd:
    """What remains when the license is over, or when its token has run out without a refresh."""

    mode: str  # stop, limited or warn
    features: Tuple[str, ...]
    limits: Mapping[str, int]


@dataclass(frozen=True)
class StatusReference:
    """The place of the license in a status list."""

    uri: str
    index: int


@dataclass(frozen=True)
class Claims:
    """The claims of a license. Times are epoch seconds."""

    issuer: str
    customer_id: str
    audience: str
    issued_at: int
    not_before: int
    token_expires: int
    license_id: str
    plan: str
    trial: bool
    features: Tuple[str, ...]
    limits: Mapping[str, int]
    license_expires: Optional[int]
    grace_until: Optional[int]
    seq: int
    updates_until: Optional[int]
    on_end: OnEnd
    warn_days: int
    status: Optional[StatusReference]
    device: Optional[str]

    @classmethod
    def parse(cls, members: Dict[str, object]) -> Claims:
        """Returns the claims. Raises `Rejected` (``unsupported_version``, ``invalid_claims``)."""
        # The version comes first, because the claims of a newer version may have other types.
        version = whole(members.get("ver"))
        if version is not None and version > VERSION:
            raise Rejected("unsupported_version")
        if version != VERSION:
            raise Rejected("invalid_claims")
        license_expires = _optional_time(members, "license_expires")
        grace_until = _optional_time(members, "grace_until")
        if license_expires is None and grace_until is not None:
            raise Rejected("invalid_claims")
        return cls(
            issuer=_text(members, "iss"),
            customer_id=_text(members, "sub"),
            audience=_text(members, "aud", may_be_empty=True),
            issued_at=_time(members, "iat"),
            not_before=_time(members, "nbf"),
            token_expires=_time(members, "exp"),
            license_id=_text(members, "jti"),
            plan=_text(members, "plan", may_be_empty=True),
            trial=_flag(members, "trial"),
            features=_features(members),
            limits=_limits(members),
            license_expires=license_expires,
            grace_until=grace_until,
            seq=_number(members, "seq"),
            updates_until=_time(members, "updates_until") if "updates_until" in members else None,
            on_end=_on_end(members),
            warn_days=_number(members, "warn_days") if "warn_days" in members else 0,
            status=_status(members),
            device=_text(_object(members, "cnf"), "jkt") if "cnf" in members else None,
        )


def _text(members: Dict[str, object], name: str, may_be_empty: bool = False) -> str:
    value = members.get(name)
    if isinstance(value, str) and (value or may_be_empty):
        return value
    raise Rejected("invalid_claims")


def _flag(members: Dict[str, object], name: str) -> bool:
    value = members.get(name)
    if isinstance(value, bool):
        return value
    raise Rejected("invalid_claims")


def _number(members: Dict[str, object], name: str) -> int:
    value = whole(members.get(name))
    if value is not None:
        return value
    raise Rejected("invalid_claims")


def _time(members: Dict[str, object], name: str) -> int:
    value = epoch_seconds(members.get(name))
    if value is not None:
        return value
    raise Rejected("invalid_claims")


def _optional_time(members: Dict[str, object], name: str) -> Optional[int]:
    """Returns a time or `None` for null. The member is required."""
    if name in members and members[name] is None:
        return None
    return _time(members, name)


def _object(members: Dict[str, object], name: str) -> Dict[str, object]:
    value = members.get(name)
    if isinstance(value, dict):
        return value
    raise Rejected("invalid_claims")


def _features(members: Dict[str, object]) -> Tuple[str, ...]:
    value = members.get("features")
    if isinstance(value, list) and all(isinstance(feature, str) for feature in value):
        return tuple(value)
    raise Rejected("invalid_claims")


def _limits(members: Dict[str, object]) -> Dict[str, int]:
    limits = _object(members, "limits")
    return {name: _number(limits, name) for name in limits}


def _on_end(members: Dict[str, object]) -> OnEnd:
    if "on_end" not in members:
        return OnEnd("stop", (), {})
    on_end = _object(members, "on_end")
    mode = _text(on_end, "mode")
    if mode not in ("stop", "limited", "warn"):
        raise Rejected("invalid_claims")
    return OnEnd(
        mode=mode,
        features=_features(on_end) if "features" in on_end else (),
        limits=_limits(on_end) if "limits" in on_end else {},
    )


def _status(members: Dict[str, object]) -> Optional[StatusReference]:
    if "status" not in members:
        return None
    reference = _object(_object(members, "status"), "status_list")
    return StatusReference(uri=_text(reference, "uri"), index=_number(reference, "idx"))
