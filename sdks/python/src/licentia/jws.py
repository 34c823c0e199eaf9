"""Signed documents: a JWS in compact form (RFC 7515), always signed with Ed25519."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Literal

from .reading import Unreadable, base64url, json_object

LICENSE_TYPE = "license+jwt"
KEYS_TYPE = "license-keys+jwt"
STATUS_TYPE = "statuslist+jwt"

# The older name of RFC 8037, and the exact one of RFC 9864.
ALGORITHMS = ("EdDSA", "Ed25519")


Code = Literal[
    "too_large",
    "malformed",
    "wrong_type",
    "critical_header",
    "unsupported_algorithm",
    "key_revoked",
    "unknown_key",
    "bad_signature",
    "unsupported_version",
    "invalid_claims",
    "key_not_valid",
    "wrong_audience",
    "wrong_issuer",
    "not_yet_valid",
    "clock_rolled_back",
    "revoked",
    "stale_status",
    "wrong_device",
    "update_not_covered",
    "license_expired",
    "token_expired",
]
"""The reasons for a verdict, in the order of the rules."""


class Rejected(Exception):
    """A document is rejected. `code` is the code of the verdict, such as ``bad_signature``."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class SignedDocument:
    """A document of the expected type. Its signature is not verified yet."""

    kid: str
    payload: bytes
    message: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str, expected_type: str) -> SignedDocument:
        """Returns the parts of a token. Raises `Rejected` by the first rule that it violates."""
        parts = token.split(".")
        if len(parts) != 3:
            raise Rejected("malformed")
        try:
            header_bytes, payload, signature = (base64url(part) for part in parts)
            header = json_object(header_bytes)
        except Unreadable as error:
            raise Rejected("malformed") from error
        typ = header.get("typ")
        if not (isinstance(typ, str) and typ.isascii() and typ.lower() == expected_type):
            raise Rejected("wrong_type")
        if "crit" in header:
            raise Rejected("critical_header")
        if header.get("alg") not in ALGORITHMS:
            raise Rejected("unsupported_algorithm")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise Rejected("malformed")
        message = token.rpartition(".")[0].encode("ascii")
        return cls(kid=kid, payload=payload, message=message, signature=signature)

    def claims(self) -> Dict[str, object]:
        """Returns the payload as a JSON object. Raises `Rejected` (``malformed``)."""
        try:
            return json_object(self.payload)
        except Unreadable as error:
            raise Rejected("malformed") from error
