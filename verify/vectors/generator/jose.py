"""Keys, signed documents, and a writer of JSON that can write what no library does."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DROP = object()
"""The value of a member that is left out."""


class Raw(str):
    """JSON text that is written as it is, for example `1.0`."""


class Members(list):
    """An object as a list of (name, value), where a name may repeat."""


def dumps(value):
    """Returns the JSON text of a value, without spaces."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        value = Members(value.items())
    if isinstance(value, Members):
        members = (f"{dumps(name)}:{dumps(item)}" for name, item in value if item is not DROP)
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dumps(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def encode(data):
    """Returns base64url without padding, of bytes or of a text."""
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A test key. Its seed is the SHA-256 of its name, so anyone can sign with it."""

    def __init__(self, name, seed=None):
        self.seed = seed or hashlib.sha256(f"licentia vectors: {name}".encode()).digest()
        self._private = Ed25519PrivateKey.from_private_bytes(self.seed)
        public = self._private.public_key()
        self.public = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.x = encode(self.public)
        self.kid = thumbprint(self.x)

    def sign(self, message):
        """Returns the signature of bytes."""
        return self._private.sign(message)

    def jwk(self, **changes):
        """Returns the public key as a JWK."""
        jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid}
        return {name: value for name, value in {**jwk, "x": self.x, **changes}.items()
                if value is not DROP}


def thumbprint(x):
    """Returns the RFC 7638 thumbprint of an Ed25519 key."""
    text = '{"crv":"Ed25519","kty":"OKP","x":"%s"}' % x
    return encode(hashlib.sha256(text.encode()).digest())


def sign_parts(header_part, claims_part, key):
    """Returns the compact form of two parts that are encoded already."""
    message = f"{header_part}.{claims_part}"
    return f"{message}.{encode(key.sign(message.encode()))}"


def sign_text(header, claims, key):
    """Returns the compact form of two texts (or bytes), signed as they are."""
    return sign_parts(encode(header), encode(claims), key)


def document(typ, claims, key, header=None):
    """Returns a signed document. `header` changes members of the usual header."""
    usual = {"alg": "EdDSA", "typ": typ, "kid": key.kid}
    return sign_text(dumps({**usual, **(header or {})}), dumps(claims), key)


def jwks(*keys):
    """Returns a key set of keys or JWKs."""
    return {"keys": [key.jwk() if isinstance(key, Key) else key for key in keys]}
