"""The verdict: whether a license works now, what it grants, and when that changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Dict, Final, Literal, Mapping, Optional, Tuple

from .claims import Claims
from .jws import Code

State = Literal["active", "grace", "overdue", "limited"]

ACTIVE: Final = "active"
GRACE: Final = "grace"
OVERDUE: Final = "overdue"
LIMITED: Final = "limited"

CLOCK_LEEWAY_SECONDS = 60
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Verdict:
    """Whether a license works now, and what it grants. Times are epoch seconds.

    `state` is ``active``, ``grace`` (over, but still within the grace period), ``overdue`` (over,
    everything keeps working), ``limited`` (over, `features` and `limits` are what remains), or
    `None` when the license is invalid. `code` is the reason for every state but ``active``.
    `features` and `limits` are those in effect now, so they are empty when it is invalid.
    """

    valid: bool
    state: Optional[State]
    code: Optional[Code]
    features: Tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    plan: Optional[str] = None
    trial: Optional[bool] = None
    customer_id: Optional[str] = None
    license_id: Optional[str] = None
    updates_until: Optional[int] = None
    warn: bool = False
    changes_at: Optional[int] = None

    def allows(self, feature: str) -> bool:
        """Returns whether a feature may be used now."""
        return feature in self.features

    def limit(self, name: str) -> Optional[int]:
        """Returns the limit with this name; `None` if there is none."""
        return self.limits.get(name)

    def as_dict(self) -> Dict[str, object]:
        """Returns the members as JSON has them."""
        members = asdict(self)
        members["features"] = list(self.features)
        members["limits"] = dict(self.limits)
        return members


def rejection(code: Code) -> Verdict:
    """Returns the verdict for a text that is not a license, or not one of a trusted key."""
    return Verdict(valid=False, state=None, code=code)


@dataclass(frozen=True)
class Facts:
    """Everything about a verified license from which its verdict at any time follows."""

    claims: Claims
    keys_expire: Optional[int]
    """The end of the key bundle, from which its keys are unknown."""

    earliest_plausible_time: int
    """The time before which the device's clock counts as rolled back."""

    is_revoked: bool
    stale_from: Optional[int]
    """The time from which the status list is too old; 0 when it is missing; `None` for never."""

    is_wrong_device: bool
    is_update_not_covered: bool

    def verdict(self, now: int) -> Verdict:
        """Returns the verdict at a time."""
        state, code = self._state(now)
        return verdict_of(self.claims, state, code, self._changes_at(state, code, now), now)

    def _state(self, now: int) -> Tuple[Optional[State], Optional[Code]]:
        """Returns the state and the code: the first rule that fails."""
        claims = self.claims
        if self.keys_expire is not None and now >= self.keys_expire:
            return None, "unknown_key"
        if now < valid_from(claims):
            return None, "not_yet_valid"
        if now < self.earliest_plausible_time:
            return None, "clock_rolled_back"
        if self.is_revoked:
            return None, "revoked"
        if self.stale_from is not None and now >= self.stale_from:
            return None, "stale_status"
        if self.is_wrong_device:
            return None, "wrong_device"
        if self.is_update_not_covered:
            return None, "update_not_covered"
        end = license_end(claims)
        remains: Dict[str, Optional[State]] = {"stop": None, "limited": LIMITED, "warn": OVERDUE}
        remaining = remains[claims.on_end.mode]
        if end is not None and now >= end:
            return remaining, "license_expired"
        if now >= claims.token_expires:
            return remaining, "token_expired"
        if claims.license_expires is not None and now >= claims.license_expires:
            return GRACE, "license_expired"
        return ACTIVE, None

    def _changes_at(self, state: Optional[State], code: Optional[Code], now: int) -> Optional[int]:
        """Returns when valid, state, features or limits change if nothing new is fetched."""
        claims = self.claims
        if code == "not_yet_valid":
            return valid_from(claims)
        if code == "clock_rolled_back":
            later_state, _ = self._state(self.earliest_plausible_time)
            return self.earliest_plausible_time if later_state else None
        if state not in (ACTIVE, GRACE):
            return None
        changes = (
            claims.license_expires,
            license_end(claims),
            claims.token_expires,
            self.keys_expire,
            self.stale_from,
        )
        return min(time for time in changes if time is not None and time > now)


def verdict_of(
    claims: Claims,
    state: Optional[State],
    code: Optional[Code],
    changes_at: Optional[int] = None,
    now: int = 0,
) -> Verdict:
    """Returns the verdict for claims whose signature holds. They are invalid without a state."""
    features, limits = claims.features, claims.limits
    if state is None:
        features, limits = (), {}
    elif state == LIMITED:
        features, limits = claims.on_end.features, claims.on_end.limits
    is_near = changes_at is not None and now >= changes_at - claims.warn_days * DAY_SECONDS
    return Verdict(
        valid=state is not None,
        state=state,
        code=code,
        features=features,
        limits=limits,
        plan=claims.plan,
        trial=claims.trial,
        customer_id=claims.customer_id,
        license_id=claims.license_id,
        updates_until=claims.updates_until,
        warn=state is not None and (state != ACTIVE or is_near),
        changes_at=changes_at,
    )


def valid_from(claims: Claims) -> int:
    """Returns the time from which a license is accepted, with leeway for a clock behind."""
    return max(claims.not_before, claims.issued_at) - CLOCK_LEEWAY_SECONDS


def license_end(claims: Claims) -> Optional[int]:
    """Returns the end of the license, the grace period included; `None`: forever."""
    if claims.license_expires is None:
        return None
    return max(claims.license_expires, claims.grace_until or 0)
