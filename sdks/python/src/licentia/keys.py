"""The keys that an app trusts: a JWKS, or a root key whose bundles name the keys of the time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Dict, FrozenSet, Mapping, Optional, Tuple, Union

from .ed25519 import is_signature_valid, is_usable_key
from .jws import ALGORITHMS, KEYS_TYPE, Rejected, SignedDocument
from .reading import (
    MAX_KEYS_BYTES,
    Text,
    Unreadable,
    base64url,
    byte_length,
    clean_text,
    epoch_seconds,
    json_object,
    to_base64url,
    whole,
)

BACKDATING_SECONDS = 60
"""How long before the time of signing the server sets `iat` and `nbf`."""

Jwk = Union[str, Mapping[str, object]]
"""A JWK or a JWKS: its JSON text, or the parsed object."""


class TrustError(ValueError):
    """The app's own configuration is wrong: the keys that it pins, or its product."""


@dataclass(frozen=True)
class Key:
    """A usable public key, and the time during which it signs."""

    public: bytes
    not_before: int = 0
    expires: Optional[int] = None

    def was_in_use(self, issued_at: int) -> bool:
        """Returns whether a document with this `iat` was signed during the key's time."""
        if issued_at + BACKDATING_SECONDS < self.not_before:
            return False
        return self.expires is None or issued_at < self.expires


@dataclass(frozen=True)
class KeySet:
    """The usable keys by `kid`, and the kids that the root has revoked."""

    keys: Mapping[str, Key]
    revoked: FrozenSet[str] = frozenset()

    def signer(self, document: SignedDocument) -> Key:
        """Returns the key that signed a document.

        Raises `Rejected` (``key_revoked``, ``unknown_key``, ``bad_signature``).
        """
        if document.kid in self.revoked:
            raise Rejected("key_revoked")
        key = self.keys.get(document.kid)
        if key is None:
            raise Rejected("unknown_key")
        if not is_signature_valid(key.public, document.signature, document.message):
            raise Rejected("bad_signature")
        return key


@dataclass(frozen=True)
class Bundle:
    """A key bundle that the root has signed. It counts until `expires` (exclusive)."""

    text: str
    seq: int
    issued_at: int
    expires: Optional[int]
    key_set: KeySet


@dataclass(frozen=True)
class Root:
    """The root key. It signs key bundles, and nothing else."""

    kid: str
    public: bytes

    def read_bundle(self, text: Text, now: int, lowest_seq: int) -> Optional[Bundle]:
        """Returns a key bundle; `None` if it is not usable, expired or older than `lowest_seq`."""
        cleaned = clean_text(text)
        if byte_length(cleaned) > MAX_KEYS_BYTES:
            return None
        try:
            document = SignedDocument.parse(cleaned, KEYS_TYPE)
            KeySet({self.kid: Key(self.public)}).signer(document)
            bundle = self._bundle(cleaned, document.claims())
        except Rejected:
            return None
        is_expired = bundle.expires is not None and now >= bundle.expires
        return None if is_expired or bundle.seq < lowest_seq else bundle

    def _bundle(self, text: str, claims: Dict[str, object]) -> Bundle:
        seq, issued_at = whole(claims.get("seq")), epoch_seconds(claims.get("iat"))
        expires = epoch_seconds(claims.get("exp"))
        has_expires = "exp" in claims and (claims["exp"] is None or expires is not None)
        issuer, entries, revoked = claims.get("iss"), claims.get("keys"), claims.get("revoked")
        if seq is None or issued_at is None or not has_expires:
            raise Rejected("invalid_claims")
        if not isinstance(issuer, str) or not issuer:
            raise Rejected("invalid_claims")
        if not isinstance(entries, list) or not isinstance(revoked, list):
            raise Rejected("invalid_claims")
        if not all(isinstance(kid, str) for kid in revoked):
            raise Rejected("invalid_claims")
        named_keys = [_bundled_key(entry) for entry in entries]
        # The root signs bundles only, also when a bundle lists it as a key.
        usable = [named for named in named_keys if named and named[1].public != self.public]
        keys = dict(usable)
        if len(keys) != len(usable):
            raise Rejected("invalid_claims")
        return Bundle(text, seq, issued_at, expires, KeySet(keys, frozenset(revoked)))


def parse_jwks(jwks: Jwk) -> KeySet:
    """Returns the keys of a JWKS. Unusable keys and those of other types are left out (RFC 7517).

    Raises `TrustError` if no key is left, if a `kid` is repeated, or if it has a private key.
    """
    entries = _trusted_object(jwks).get("keys")
    if not isinstance(entries, list):
        raise TrustError('the key set has no array "keys"')
    keys: Dict[str, Key] = {}
    for entry in entries:
        jwk = _ed25519_jwk(entry)
        if jwk is None:
            continue
        if "d" in jwk:
            raise TrustError('the key set has a private key ("d"); an app must not contain it')
        public, kid = _public_key(jwk), jwk.get("kid")
        if public is None or not isinstance(kid, str) or not kid:
            continue
        if kid in keys:
            raise TrustError(f"the key set has the kid {kid!r} twice")
        keys[kid] = Key(public)
    if not keys:
        raise TrustError("the key set has no usable Ed25519 key")
    return KeySet(keys)


def parse_root(jwk: Jwk) -> Root:
    """Returns the root key of its JWK. Raises `TrustError` if it is not a usable public key."""
    members = _ed25519_jwk(_trusted_object(jwk))
    if members is None:
        raise TrustError("the root is not an Ed25519 key")
    if "d" in members:
        raise TrustError('the root is a private key ("d"); an app must contain only the public one')
    public = _public_key(members)
    if public is None:
        raise TrustError("the root is not a usable key")
    kid = members.get("kid", thumbprint(public))
    if not isinstance(kid, str) or not kid:
        raise TrustError("the kid of the root is not a text")
    return Root(kid, public)


def thumbprint(public: bytes) -> str:
    """Returns the RFC 7638 thumbprint of an Ed25519 public key: its `kid`, or `cnf.jkt`."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": to_base64url(public)}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return to_base64url(hashlib.sha256(canonical.encode("ascii")).digest())


def _trusted_object(jwk: Jwk) -> Dict[str, object]:
    text = jwk if isinstance(jwk, str) else json.dumps(dict(jwk))
    if byte_length(text) > MAX_KEYS_BYTES:
        raise TrustError(f"the trusted key is longer than {MAX_KEYS_BYTES} bytes")
    try:
        return json_object(text)
    except Unreadable as error:
        raise TrustError(f"the trusted key is not usable JSON: {error}") from error


def _ed25519_jwk(entry: object) -> Optional[Dict[str, object]]:
    """Returns the members of a JWK if it is an Ed25519 key."""
    if not isinstance(entry, dict):
        return None
    return entry if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" else None


def _public_key(jwk: Dict[str, object]) -> Optional[bytes]:
    """Returns the bytes of an Ed25519 JWK if it is usable for signatures."""
    if jwk.get("alg", "EdDSA") not in ALGORITHMS or jwk.get("use", "sig") != "sig":
        return None
    encoded = jwk.get("x")
    try:
        public = base64url(encoded) if isinstance(encoded, str) else b""
    except Unreadable:
        return None
    return public if is_usable_key(public) else None


def _bundled_key(entry: object) -> Optional[Tuple[str, Key]]:
    """Returns a key of a bundle with its `kid`; `None` if it counts as absent."""
    jwk = _ed25519_jwk(entry)
    public = _public_key(jwk) if jwk else None
    if jwk is None or public is None or "d" in jwk:
        return None
    kid, not_before, expires = jwk.get("kid"), epoch_seconds(jwk.get("nbf")), jwk.get("exp", ...)
    if not isinstance(kid, str) or not kid or not_before is None:
        return None
    if expires is None:
        return kid, Key(public, not_before)
    end = epoch_seconds(expires)
    return None if end is None else (kid, Key(public, not_before, end))
