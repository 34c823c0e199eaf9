"""Stores a license in a folder, and refreshes it from the vendor's server.

Only signed documents decide. What the server says about a license leads to fetching the key bundle
or the status list that proves it; an answer alone neither extends nor ends a license.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .folder import Folder, Stored
from .reading import Text
from .verdict import ACTIVE, Verdict
from .verifier import Examination, LicenseText, Verifier

LOG = logging.getLogger("licentia")

KEYS_PATH = "/.well-known/license-keys"
DAY_SECONDS = 86_400
MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
MAX_RESPONSE_BYTES = 1024 * 1024
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+\Z", re.ASCII)


class Outcome(str, Enum):
    """The result of a refresh."""

    RENEWED = "renewed"
    """A fresh license is stored, or the one is kept that was installed meanwhile."""

    ENDED = "ended"
    """Nothing is paid for any more. A new purchase makes the next refresh succeed."""

    REVOKED = "revoked"
    """This license was revoked. The user logs in, or contacts the vendor."""

    UNKNOWN = "unknown"
    """The server cannot refresh this license, or there is none. The user logs in to get one."""

    BUSY = "busy"
    """The server asks to try again after `Refresh.retry_after` seconds."""

    OFFLINE = "offline"
    """The server could not be reached."""

    FAILED = "failed"
    """The server refused the request, or its license does not verify: `Refresh.code` says why."""


@dataclass(frozen=True)
class Refresh:
    """What a refresh did, and the verdict about the license that is stored now."""

    outcome: Outcome
    verdict: Verdict
    code: Optional[str] = None
    retry_after: Optional[int] = None


@dataclass(frozen=True)
class _Response:
    """The response of the server; status 0 if there was none."""

    status: int
    body: bytes = b""
    retry_after: Optional[int] = None

    def members(self) -> Dict[str, object]:
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def text(self, name: str) -> Optional[str]:
        value = self.members().get(name)
        return value if isinstance(value, str) else None


@dataclass
class _Offer:
    """A license, if there is one, and the bundles and lists that came with it."""

    license: Optional[Text] = None
    keys: List[Optional[Text]] = field(default_factory=list)
    status: List[Optional[Text]] = field(default_factory=list)


class Client:
    """A license in a folder: `license.json`, and the memory of the device in `memory.json`.

    `server` is the address of the vendor's server, without `/api`. The methods may be called from
    several threads. They wait for the network only in `refresh`, and in `install` of a license.
    """

    def __init__(
        self,
        verifier: Verifier,
        server: str,
        folder: Union[str, Path],
        *,
        timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not _is_secure(server):
            raise ValueError(f"{server!r} is not an https address; a license is a credential")
        self._verifier = verifier
        self._server = server.rstrip("/")
        self._folder = Folder(Path(folder))
        self._timeout = timeout
        self._clock = clock
        self._opener = build_opener(_Redirects)
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def verify(self) -> Verdict:
        """Returns the verdict about the stored license, without the network.

        It reads the license and stores the memory: call it at the start and from `changes_at` on,
        and keep the verdict in between.
        """
        with self._lock:
            stored = self._folder.load()
            examination = self._examine(stored, _Offer())
            try:
                self._folder.save_memory(stored, examination)
            except OSError:
                LOG.warning("The memory of the license could not be stored", exc_info=True)
            return examination.verdict

    def install(
        self,
        license: Optional[Text] = None,
        *,
        keys: Optional[Text] = None,
        status: Optional[Text] = None,
    ) -> Verdict:
        """Stores what the user pasted, opened or carried here: a license or a `license.json`, a
        key bundle, a status list. Returns the verdict about it.

        A license that does not work never replaces one that does. With a license, the status list
        is fetched, and the bundle if the key of the license is unknown. Raises `OSError` if the
        folder cannot be written.
        """
        offer = _Offer(license, [keys], [status])
        if license is not None:
            self._complete(offer)
        return self._install(offer)[0]

    def _complete(self, offer: _Offer, needs_bundle: bool = False) -> None:
        """Adds the newest status list of the server, and its bundle if that is needed or the key
        of the license is unknown.
        """
        examination = self._examine(self._folder.load(), offer)
        if needs_bundle or examination.verdict.code == "unknown_key":
            offer.keys.append(self._fetch(self._server + KEYS_PATH))
            examination = self._examine(self._folder.load(), offer)
        claims = examination.claims
        if claims is not None and claims.status is not None and _is_secure(claims.status.uri):
            offer.status.append(self._fetch(claims.status.uri))

    def _install(self, offer: _Offer, sent: Optional[str] = None) -> Tuple[Verdict, bool]:
        """Returns the verdict about what was given, and whether that is stored.

        An answer of the server replaces only the license that was `sent`. If another one was
        installed meanwhile, that one is kept.
        """
        with self._lock:
            stored = self._folder.load()
            if sent is not None and sent != stored.token():
                offer = replace(offer, license=None)
            offered = kept = self._examine(stored, offer)
            is_stored = offer.license is None or offered.verdict.valid
            if not is_stored:
                # The memory of the first examination counts the bundle and the list of the offered
                # license, although it is not kept.
                beside = replace(stored, memory=offered.memory.text())
                current = self._examine(beside, offer, stored.license or b"")
                is_stored = offered.claims is not None and not current.verdict.valid
                kept = offered if is_stored else current
            if kept.claims is not None or kept.verdict.code == "key_revoked":
                self._folder.save_license(stored, kept)
            self._folder.save_memory(stored, kept)
            return offered.verdict, is_stored

    def _examine(
        self, stored: Stored, offer: _Offer, license: Optional[Text] = None
    ) -> Examination:
        """Returns an examination of a license: by default the one that is offered, otherwise the
        stored one. All bundles and lists that are offered or stored take part.
        """
        if license is None:
            license = stored.license if offer.license is None else offer.license
        files = [LicenseText.read(text) for text in (stored.license, offer.license)]
        return self._verifier.examine(
            license,
            keys=[*offer.keys, stored.keys, *(file.keys for file in files)],
            status=[*offer.status, stored.status, *(file.status for file in files)],
            memory=stored.memory,
            now=int(self._clock()),
        )

    def refresh(self) -> Refresh:
        """Exchanges the license for the newest one. Waits for the network, `timeout` at most for
        each step. Raises `OSError` if the folder cannot be written.
        """
        sent = self._folder.load().token()
        if not _TOKEN.match(sent):
            return Refresh(Outcome.UNKNOWN, self.verify())
        response = self._request("POST", f"{self._server}/api/licenses/refresh", sent)
        if response.status == 200:
            return self._renewed(response, sent)
        code = response.text("code")
        outcome = _outcome(response.status, code)
        if outcome not in (Outcome.OFFLINE, Outcome.BUSY):
            # The signed documents say why the license is not refreshed.
            proof = _Offer()
            self._complete(proof, needs_bundle=True)
            self._install(proof)
        return Refresh(outcome, self.verify(), code, response.retry_after)

    def start(
        self, on_change: Callable[[Verdict], None], *, every: float = DAY_SECONDS
    ) -> None:
        """Refreshes in a background thread: now, every day, and when the verdict changes. While
        the license is not active, every hour. After a failure, and while the clock seems wrong,
        sooner. `every` is in seconds.

        `on_change` is called in that thread with the first verdict and each one that differs.
        """
        if self._thread is not None:
            raise RuntimeError("the client has been started already")
        self._stopped.clear()
        arguments = (on_change, every)
        self._thread = threading.Thread(
            target=self._run, args=arguments, name="licentia", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ends the background thread. Waits for a refresh that is under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, on_change: Callable[[Verdict], None], every: float) -> None:
        last: Optional[Verdict] = None
        due, failures = 0.0, 0
        while not self._stopped.is_set():
            verdict = self.verify()
            if verdict != last or time.monotonic() >= due:
                if verdict != last:
                    _call(on_change, verdict)
                failures, wait = self._try_refresh(every, failures)
                due = time.monotonic() + wait
                last, verdict = verdict, self.verify()
                if verdict != last:
                    _call(on_change, verdict)
                last = verdict
            wait = min(due - time.monotonic(), HOUR_SECONDS)
            if verdict.changes_at is not None:
                wait = min(wait, verdict.changes_at - self._clock())
            self._stopped.wait(max(wait, 1.0))

    def _try_refresh(self, every: float, failures: int) -> Tuple[int, float]:
        """Returns the number of failures in a row, and the seconds until the next refresh."""
        try:
            result = self.refresh()
        except OSError:
            LOG.exception("The refreshed license could not be stored")
            return 0, HOUR_SECONDS
        LOG.info("Refresh of the license: %s (%s)", result.outcome.value, result.code)
        if _should_retry(result):
            # A server that is down sends the same few seconds in each Retry-After.
            backoff = MINUTE_SECONDS * 2 ** min(failures, 6)
            wait: float = max(backoff, result.retry_after or 0)
            failures += 1
        else:
            # A payment may arrive at any time, and brings a license that is active again.
            is_active = result.verdict.state == ACTIVE
            wait, failures = every if is_active else min(every, HOUR_SECONDS), 0
        # Spread the requests, so that apps do not come back all at once.
        return failures, wait * random.uniform(1.0, 1.2)

    def _renewed(self, response: _Response, sent: str) -> Refresh:
        token, keys = response.text("token"), response.text("keys")
        if token is None:  # somebody else answered, such as the login page of a network
            return Refresh(Outcome.OFFLINE, self.verify())
        offer = _Offer(token, [keys])
        self._complete(offer)
        verdict, is_stored = self._install(offer, sent)
        if not is_stored:
            return Refresh(Outcome.FAILED, self.verify(), verdict.code)
        return Refresh(Outcome.RENEWED, verdict)

    def _fetch(self, url: str) -> Optional[bytes]:
        response = self._request("GET", url)
        return response.body if response.status == 200 else None

    def _request(self, method: str, url: str, token: Optional[str] = None) -> _Response:
        headers = {"Accept": "*/*", "User-Agent": "licentia-python"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = b"" if method == "POST" else None
        request = Request(url, headers=headers, method=method, data=data)
        try:
            try:
                response = self._opener.open(request, timeout=self._timeout)
            except HTTPError as error:
                response = error
            with response:
                body = response.read(MAX_RESPONSE_BYTES)
                retry_after = _seconds(response.headers.get("Retry-After"), self._clock())
                return _Response(response.status or 0, body, retry_after)
        except (OSError, HTTPException, ValueError) as error:
            LOG.info("%s cannot be reached: %s", urlsplit(url).hostname, error)
            return _Response(0)


class _Redirects(HTTPRedirectHandler):
    """Follows no redirect with a license, which is a credential. Lists and bundles are public, and
    may have moved.
    """

    def redirect_request(self, req: Request, *rest: Any) -> Optional[Request]:
        if req.has_header("Authorization"):
            return None
        return super().redirect_request(req, *rest)


def _should_retry(result: Refresh) -> bool:
    """Returns whether to refresh again soon. A clock that seems wrong may have been corrected: the
    next license, which is signed later, confirms it.
    """
    is_away = result.outcome in (Outcome.BUSY, Outcome.OFFLINE)
    return is_away or result.verdict.code in ("clock_rolled_back", "not_yet_valid")


def _outcome(status: int, code: Optional[str]) -> Outcome:
    if status == 429 or status >= 500:
        return Outcome.BUSY
    if code is None:  # no response, or that of somebody else, such as the login page of a network
        return Outcome.OFFLINE
    if code in ("revoked", "key_revoked"):
        return Outcome.REVOKED
    if code == "license_expired":
        return Outcome.ENDED
    if status in (408, 409):
        return Outcome.BUSY
    return Outcome.UNKNOWN if status in (401, 403) else Outcome.FAILED


def _seconds(retry_after: Optional[str], now: float) -> Optional[int]:
    """Returns the seconds of a `Retry-After`: a number or a date, between a second and a day."""
    if retry_after is None:
        return None
    try:
        if retry_after.isascii() and retry_after.isdigit():
            seconds = int(retry_after[:9])
        else:
            seconds = int(parsedate_to_datetime(retry_after).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 1), DAY_SECONDS)


def _is_secure(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        return False
    is_http = parts.scheme == "https" or (parts.scheme == "http" and is_local)
    return is_http and bool(parts.hostname)


def _call(on_change: Callable[[Verdict], None], verdict: Verdict) -> None:
    try:
        on_change(verdict)
    except Exception:  # a fault of the app must not end the refreshes
        LOG.exception("The app's callback failed")
