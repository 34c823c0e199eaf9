"""Verifies Licentia licenses offline, and keeps them fresh."""

from .client import Client, Outcome, Refresh
from .keys import TrustError, thumbprint
from .messages import message
from .verdict import Verdict
from .verifier import Checked, Verifier

__all__ = [
    "Checked",
    "Client",
    "Outcome",
    "Refresh",
    "TrustError",
    "Verdict",
    "Verifier",
    "message",
    "thumbprint",
]
