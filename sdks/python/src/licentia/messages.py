"""What to show the user for each verdict, in English. Translate by `state` and `code`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Optional

from .verdict import ACTIVE, GRACE, OVERDUE, Verdict

_CONNECT = "Please connect to the internet once, so that your license can be refreshed."

_INVALID = {
    "license_expired": "Your license has ended. Please renew it to continue.",
    "token_expired": _CONNECT,
    "stale_status": _CONNECT,
    "unknown_key": _CONNECT,
    "key_not_valid": _CONNECT,
    "revoked": "This license was revoked. Please log in to get your current one, or contact us.",
    "wrong_device": "This license belongs to another device.",
    "not_yet_valid": "The clock of this device is wrong. Please set it and try again.",
    "unsupported_version": "This license needs a newer version of the app. Please update the app.",
    "wrong_audience": "This license is for another product.",
}
_INVALID["key_revoked"] = _INVALID["revoked"]
_INVALID["clock_rolled_back"] = _INVALID["not_yet_valid"]
_INVALID["wrong_issuer"] = _INVALID["wrong_audience"]

_NOT_A_LICENSE = "There is no valid license. Please enter all of it."


def message(verdict: Verdict) -> Optional[str]:
    """Returns what to show the user; `None` while there is nothing to say."""
    if not verdict.valid:
        return _invalid(verdict)
    if verdict.state == ACTIVE:
        if not verdict.warn:
            return None
        return f"Please connect to the internet or renew your license by {_date(verdict)}."
    if verdict.state == GRACE:
        return f"Your license has ended. It still works until {_date(verdict)}. Please renew it."
    remains = "Everything keeps working" if verdict.state == OVERDUE else "Some features are off"
    if verdict.code == "token_expired":
        return f"{_CONNECT} {remains} until then."
    return f"Your license has ended. {remains}. Please renew it."


def _invalid(verdict: Verdict) -> str:
    if verdict.code == "update_not_covered":
        until = _day(verdict.updates_until)
        return f"Your license covers versions until {until}. Use an earlier one or buy the updates."
    return _INVALID.get(verdict.code or "", _NOT_A_LICENSE)


def _date(verdict: Verdict) -> str:
    return _day(verdict.changes_at)


def _day(time: Optional[int]) -> str:
    return datetime.fromtimestamp(time or 0, timezone.utc).date().isoformat()
