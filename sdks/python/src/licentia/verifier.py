"""The verifier: reads a license with its key bundle, status list and memory, and judges it."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .claims import Claims
from .jws import LICENSE_TYPE, Code, Rejected, SignedDocument
from .keys import Bundle, Jwk, KeySet, Root, TrustError, parse_jwks, parse_root
from .memory import Memory
from .reading import (
    MAX_LICENSE_BYTES,
    MAX_LICENSE_FILE_BYTES,
    MAX_TIME,
    Text,
    Unreadable,
    byte_length,
    clean_text,
    json_object,
)
from .status_list import StatusList, read_status_list
from .verdict import Facts, Verdict, rejection, verdict_of


class Checked(NamedTuple):
    """A verdict, and the text of the memory to store for the next one."""

    verdict: Verdict
    memory: str


@dataclass(frozen=True)
class LicenseText:
    """The text of a license, or of a `license.json` with what travels alongside."""

    license: str
    problem: Optional[Code] = None
    """The code if the text is not even a candidate: ``too_large`` or ``malformed``."""

    keys: Optional[str] = None
    status: Optional[str] = None

    @classmethod
    def read(cls, text: Optional[Text]) -> LicenseText:
        """Returns the parts of a license token or of a `license.json`."""
        cleaned = clean_text(text or "")
        if not cleaned.startswith("{"):
            return cls(cleaned, _size_problem(cleaned, MAX_LICENSE_BYTES))
        if _size_problem(cleaned, MAX_LICENSE_FILE_BYTES):
            return cls("", "too_large")
        try:
            members = json_object(cleaned)
        except Unreadable:
            return cls("", "malformed")
        token, keys, status = (members.get(name) for name in ("license", "keys", "status"))
        keys = keys if isinstance(keys, str) else None
        status = status if isinstance(status, str) else None
        if not isinstance(token, str):
            return cls("", "malformed", keys, status)
        token = clean_text(token)
        return cls(token, _size_problem(token, MAX_LICENSE_BYTES), keys, status)


@dataclass(frozen=True)
class Examination:
    """A verdict, and the newest key bundle and status list that count."""

    verdict: Verdict
    memory: Memory
    license: str
    bundle: Optional[Bundle] = None
    status_list: Optional[StatusList] = None
    claims: Optional[Claims] = None
    """The claims once everything holds that does not depend on the time or the device."""

    def license_file(self) -> str:
        """Returns the text of a `license.json` with everything that counts."""
        document = {"license": self.license}
        if self.bundle:
            document["keys"] = self.bundle.text
        if self.status_list:
            document["status"] = self.status_list.text
        return json.dumps(document, indent=1)


class Verifier:
    """Verifies the licenses of one product. It does no I/O; all it needs are texts and the time.

    `audience` is the product. Pin either `root`, the JWK of the vendor's root key, or `jwks`, the
    vendor's key set; both as JSON text or as the parsed object. With `issuer`, licenses of other
    servers are refused. `build` is the time at which this build of the app was made; `device` is
    the thumbprint of the device's key. `max_status_age` refuses licenses (``stale_status``) whose
    status list is older, in seconds; a negative age counts as 0. Raises `TrustError` when the keys
    or the product are unusable.
    """

    def __init__(
        self,
        audience: str,
        *,
        root: Optional[Jwk] = None,
        jwks: Optional[Jwk] = None,
        issuer: Optional[str] = None,
        build: Optional[int] = None,
        device: Optional[str] = None,
        max_status_age: Optional[int] = None,
    ) -> None:
        if not audience:
            raise TrustError("the audience is empty; it is the product in your plans file")
        if (root is None) == (jwks is None):
            raise TrustError("pin either the root key or a key set")
        self._root: Optional[Root] = parse_root(root) if root is not None else None
        self._pinned: Optional[KeySet] = parse_jwks(jwks) if jwks is not None else None
        self._audience = audience
        self._issuer = issuer
        self._build = build
        self._device = device or None
        self._max_status_age = max_status_age

    def verify(
        self,
        license: Optional[Text],
        *,
        keys: Optional[Text] = None,
        status: Optional[Text] = None,
        memory: Optional[Text] = None,
        now: Optional[int] = None,
    ) -> Checked:
        """Returns the verdict about a license at `now`, and the memory to store.

        `license` is a license token or the text of a `license.json`; `None` is ``malformed``.
        `keys` is a key bundle and `status` a status list; if `license` has one too, the newer one
        counts. `memory` is what the last verdict returned. `now` is in epoch seconds; by default
        the device's clock.

        Never raises for anything in these texts.
        """
        examination = self.examine(license, keys=[keys], status=[status], memory=memory, now=now)
        return Checked(examination.verdict, examination.memory.text())

    def examine(
        self,
        license: Optional[Text],
        *,
        keys: Sequence[Optional[Text]] = (),
        status: Sequence[Optional[Text]] = (),
        memory: Optional[Text] = None,
        now: Optional[int] = None,
    ) -> Examination:
        """Returns what `verify` returns, and which of these key bundles and status lists count."""
        # A memory with a later time could not be read again.
        now = min(max(0, int(time.time()) if now is None else now), MAX_TIME)
        text = LicenseText.read(license)
        before = Memory.read(memory)
        after = copy.deepcopy(before)
        bundle = self._newest_bundle([*keys, text.keys], now, before)
        if bundle:
            after.add_bundle(bundle)
        key_set = bundle.key_set if bundle else self._pinned or KeySet({})
        try:
            claims, was_key_in_use = _authentic_claims(text, key_set)
        except Rejected as rejected:
            return Examination(rejection(rejected.code), after, text.license, bundle)
        code = self._mismatch(claims, was_key_in_use)
        if code:
            return Examination(verdict_of(claims, None, code), after, text.license, bundle)
        status_list = _newest_list([*status, text.status], key_set, claims, before)
        before.heal(claims, now)
        after.time = max(before.time, now)
        after.add_license(claims)
        if status_list and claims.status:
            after.add_list(status_list, claims.status)
        verdict = self._facts(claims, bundle, status_list, before).verdict(now)
        return Examination(verdict, after, text.license, bundle, status_list, claims)

    def _newest_bundle(
        self, texts: List[Optional[Text]], now: int, memory: Memory
    ) -> Optional[Bundle]:
        if self._root is None:
            return None
        bundles = [
            self._root.read_bundle(text, now, memory.keys_seq) for text in texts if text is not None
        ]
        return max(filter(None, bundles), key=lambda bundle: bundle.seq, default=None)

    def _mismatch(self, claims: Claims, was_key_in_use: bool) -> Optional[Code]:
        """Returns the code if the license is not one of ours, whatever the time."""
        if not was_key_in_use:
            return "key_not_valid"
        if claims.audience != self._audience:
            return "wrong_audience"
        if self._issuer is not None and claims.issuer != self._issuer:
            return "wrong_issuer"
        return None

    def _facts(
        self,
        claims: Claims,
        bundle: Optional[Bundle],
        status_list: Optional[StatusList],
        memory: Memory,
    ) -> Facts:
        is_revoked = False
        stale_from: Optional[int] = None
        if claims.status:
            index = claims.status.index
            is_revoked = (
                status_list.is_revoked(index) if status_list else memory.is_revoked(claims.status)
            )
            if self._max_status_age is not None:
                age = max(0, self._max_status_age)
                stale_from = status_list.issued_at + age + 1 if status_list else 0
        updates_until, build = claims.updates_until, self._build
        return Facts(
            claims=claims,
            keys_expire=bundle.expires if bundle else None,
            earliest_plausible_time=memory.earliest_plausible_time(),
            is_revoked=is_revoked,
            stale_from=stale_from,
            is_wrong_device=claims.device is not None and claims.device != self._device,
            is_update_not_covered=(
                updates_until is not None and build is not None and build > updates_until
            ),
        )


def _authentic_claims(text: LicenseText, key_set: KeySet) -> Tuple[Claims, bool]:
    """Returns the claims, and whether their key was in use when they were signed.

    Raises `Rejected` by the first rule that fails: the claims prove nothing then.
    """
    if text.problem:
        raise Rejected(text.problem)
    document = SignedDocument.parse(text.license, LICENSE_TYPE)
    key = key_set.signer(document)
    claims = Claims.parse(document.claims())
    return claims, key.was_in_use(claims.issued_at)


def _size_problem(text: str, limit: int) -> Optional[Code]:
    return "too_large" if byte_length(text) > limit else None


def _newest_list(
    texts: List[Optional[Text]], key_set: KeySet, claims: Claims, memory: Memory
) -> Optional[StatusList]:
    """Returns the newest status list that counts for a license; `None` if there is none."""
    reference = claims.status
    if reference is None:
        return None
    remembered = memory.lists.get(reference.uri)
    oldest = remembered.issued_at if remembered else 0
    newest: Optional[StatusList] = None
    for text in texts:
        status_list = read_status_list(text, key_set, reference.uri) if text is not None else None
        if not status_list or status_list.issued_at < oldest:
            continue
        if not status_list.has(reference.index):
            continue
        if newest is None or status_list.issued_at > newest.issued_at:
            newest = status_list
    return newest
