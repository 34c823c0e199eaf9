"""Verifies Licentia licenses offline, and keeps them fresh."""

from .client import Client, Outcome, Refresh
from .jws import Code
from .keys import TrustError, thumbprint
from .messages import message
from .verdict import ACTIVE, GRACE, LIMITED, OVERDUE, State, Verdict
from .verifier import Checked, Verifier

__all__ = [
    "ACTIVE",
    "GRACE",
    "LIMITED",
    "OVERDUE",
    "Checked",
    "Client",
    "Code",
    "Outcome",
    "Refresh",
    "State",
    "TrustError",
    "Verdict",
    "Verifier",
    "message",
    "thumbprint",
]
