"""A vendor for tests: it signs licenses, key bundles and status lists, good ones and bad ones."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any, Dict, Iterable, List, Optional

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from licentia import Verifier, thumbprint
from licentia.reading import to_base64url

NOW = 1_800_000_000
DAY = 86_400
PRODUCT = "acme-app"
LIST = "https://licenses.acme.example/.well-known/license-status/1"

Json = Dict[str, Any]


class SigningKey:
    """A key pair that is derived from a name, so that it is the same in every run."""

    def __init__(self, name: str) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = thumbprint(self.public)

    def jwk(self, **members: object) -> Json:
        x = to_base64url(self.public)
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, **members}

    def sign(self, typ: str, claims: object, **header: object) -> str:
        """Returns a signed document. `claims` may be text, for JSON that is not strict."""
        head = {"alg": "EdDSA", "typ": typ, "kid": self.kid, **header}
        head = {name: value for name, value in head.items() if value is not None}
        payload = claims if isinstance(claims, str) else json.dumps(claims)
        message = f"{to_base64url(json.dumps(head).encode())}.{to_base64url(payload.encode())}"
        return f"{message}.{to_base64url(self.private.sign(message.encode()))}"


ROOT = SigningKey("root")
KEY = SigningKey("first")
NEXT_KEY = SigningKey("second")


def claims(**changes: object) -> Json:
    """Returns the claims of a license: 30 days are paid for, the token is valid for 14 days."""
    members: Json = {
        "iss": "https://licenses.acme.example",
        "sub": "cust_1",
        "aud": PRODUCT,
        "iat": NOW - 60,
        "nbf": NOW - 60,
        "exp": NOW + 14 * DAY,
        "jti": "lic_1",
        "plan": "professional",
        "trial": False,
        "features": ["editor", "export"],
        "limits": {"seats": 5},
        "license_expires": NOW + 30 * DAY,
        "grace_until": NOW + 37 * DAY,
        "seq": 1,
        "ver": 1,
    }
    members.update(changes)
    return {name: value for name, value in members.items() if value is not ...}


def license(key: SigningKey = KEY, **changes: object) -> str:
    """Returns a license token. A claim that is changed to `...` is left out."""
    return key.sign("license+jwt", claims(**changes))


def bundle(
    keys: Optional[Iterable[object]] = None,
    *,
    seq: int = 1,
    exp: Optional[int] = None,
    revoked: Iterable[str] = (),
    iat: int = NOW - DAY,
    by: SigningKey = ROOT,
) -> str:
    """Returns a key bundle; by default with `KEY`, valid since a year ago."""
    default: List[object] = [KEY.jwk(nbf=NOW - 365 * DAY, exp=None)]
    entries = default if keys is None else list(keys)
    members = {"iss": "https://licenses.acme.example", "iat": iat, "exp": exp, "seq": seq}
    return by.sign("license-keys+jwt", {**members, "keys": entries, "revoked": list(revoked)})


def status_list(
    revoked: Iterable[int] = (),
    *,
    iat: int = NOW - 60,
    size: int = 1024,
    uri: str = LIST,
    by: SigningKey = KEY,
    **changes: object,
) -> str:
    """Returns a status list in which these indexes are revoked."""
    bits = bytearray(size)
    for index in revoked:
        bits[index // 8] |= 1 << index % 8
    content = {"bits": 1, "lst": to_base64url(zlib.compress(bytes(bits), 9))}
    members = {"sub": uri, "iat": iat, "exp": iat + DAY, "ttl": 3600, "status_list": content}
    return by.sign("statuslist+jwt", {**members, **changes})


def reference(index: int = 7) -> Json:
    """Returns the claim `status`."""
    return {"status_list": {"idx": index, "uri": LIST}}


def pinned(**options: Any) -> Verifier:
    """Returns a verifier that pins a key set."""
    return Verifier(PRODUCT, jwks={"keys": [KEY.jwk()]}, **options)


def rooted(**options: Any) -> Verifier:
    """Returns a verifier that pins the root."""
    return Verifier(PRODUCT, root=ROOT.jwk(), **options)
