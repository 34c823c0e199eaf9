"""Stores a license in a folder, and refreshes it from the vendor's server.

Only signed documents decide. What the server says about a license leads to fetching the key bundle
or the status list that proves it; an answer alone neither extends nor ends a license.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import tempfile
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .reading import MAX_LICENSE_FILE_BYTES, Text
from .verdict import Verdict
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
    """A fresh license is stored."""

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
        self._folder = Path(folder)
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
            return self._examine(self._stored()).verdict

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
        if license is not None:
            license, keys, status = self._complete(license, keys, status)
        return self._install(license, keys, status)[0]

    def _complete(
        self, license: Text, keys: Optional[Text], status: Optional[Text]
    ) -> Tuple[Text, Optional[Text], Optional[Text]]:
        """Returns a license with the newest status list of the server, and with its bundle if the
        key of the license is unknown. What was given is in the license file that is returned.
        """
        offered = self._examine_offered(license, keys, status)
        if offered.verdict.code == "unknown_key":
            bundle = self._fetch(self._server + KEYS_PATH)
            if bundle is not None:
                license, keys = offered.license_file(), bundle
                offered = self._examine_offered(license, keys, status)
        status_list = self._fetch_list(offered)
        if status_list is not None:
            license, status = offered.license_file(), status_list
        return license, keys, status

    def _examine_offered(
        self, license: Text, keys: Optional[Text], status: Optional[Text]
    ) -> Examination:
        """Returns an examination of a license that is not stored, beside what is stored."""
        with self._lock:
            current = self._examine(self._stored(), keys=keys, status=status)
            return self._examine_beside(current, license, keys, status)

    def _examine_beside(
        self,
        current: Examination,
        license: Text,
        keys: Optional[Text],
        status: Optional[Text],
    ) -> Examination:
        # The stored bundle and list may be newer than those that come with the license.
        if current.bundle:
            keys = current.bundle.text
        if status is None and current.status_list:
            status = current.status_list.text
        return self._examine(license, keys=keys, status=status)

    def _install(
        self, license: Optional[Text], keys: Optional[Text], status: Optional[Text]
    ) -> Tuple[Verdict, bool]:
        """Returns the verdict about what was given, and whether that is stored."""
        with self._lock:
            stored = self._stored()
            current = self._examine(stored, keys=keys, status=status)
            if license is None:
                self._store(current)
                return current.verdict, True
            offered = self._examine_beside(current, license, keys, status)
            is_ours = offered.claims is not None
            is_stored = offered.verdict.valid or (is_ours and not current.verdict.valid)
            if is_stored:
                self._store(offered)
            elif stored is not None:
                self._store(current)
            return offered.verdict, is_stored

    def refresh(self) -> Refresh:
        """Exchanges the license for the newest one. Waits for the network, `timeout` at most for
        each step. Raises `OSError` if the folder cannot be written.
        """
        token = LicenseText.read(self._stored()).license
        if not _TOKEN.match(token):
            return Refresh(Outcome.UNKNOWN, self.verify())
        response = self._request("POST", f"{self._server}/api/licenses/refresh", token)
        if response.status == 200:
            return self._renewed(response)
        code = response.text("code")
        outcome = _outcome(response.status, code)
        if outcome in (Outcome.REVOKED, Outcome.UNKNOWN):
            self._fetch_proof()
        return Refresh(outcome, self.verify(), code, response.retry_after)

    def start(
        self, on_change: Callable[[Verdict], None], *, every: float = DAY_SECONDS
    ) -> None:
        """Refreshes in a background thread: now, then every day, or sooner after a failure or
        while the clock seems wrong.

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
            if verdict != last:
                last = verdict
                _call(on_change, verdict)
            if time.monotonic() >= due:
                failures, wait = self._try_refresh(every, failures)
                due = time.monotonic() + wait
                continue  # the refresh may have changed the verdict
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
            wait, failures = every, 0
        # Spread the requests, so that apps do not come back all at once.
        return failures, wait * random.uniform(1.0, 1.2)

    def _renewed(self, response: _Response) -> Refresh:
        token, keys = response.text("token"), response.text("keys")
        if token is None:  # somebody else answered, such as the login page of a network
            return Refresh(Outcome.OFFLINE, self.verify())
        verdict, is_stored = self._install(*self._complete(token, keys, None))
        if not is_stored:
            return Refresh(Outcome.FAILED, self.verify(), verdict.code)
        return Refresh(Outcome.RENEWED, verdict)

    def _fetch_proof(self) -> None:
        """Fetches the signed documents that say why a license is not refreshed."""
        keys = self._fetch(self._server + KEYS_PATH)
        if keys is not None:
            self.install(keys=keys)
        with self._lock:
            current = self._examine(self._stored())
        status = self._fetch_list(current)
        if status is not None:
            self.install(status=status)

    def _fetch_list(self, examination: Examination) -> Optional[bytes]:
        """Returns the status list that a license names."""
        claims = examination.claims
        if claims is None or claims.status is None or not _is_secure(claims.status.uri):
            return None
        return self._fetch(claims.status.uri)

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

    def _examine(
        self,
        license: Optional[Text],
        *,
        keys: Optional[Text] = None,
        status: Optional[Text] = None,
    ) -> Examination:
        """Returns an examination, and stores the new memory."""
        path = self._folder / "memory.json"
        before = _read(path)
        examination = self._verifier.examine(
            license, keys=keys, status=status, memory=before, now=int(self._clock())
        )
        after = examination.memory.text().encode()
        if after != before:
            try:
                _write(path, after)
            except OSError:
                LOG.warning("The memory of the license could not be stored", exc_info=True)
        return examination

    def _stored(self) -> Optional[bytes]:
        return _read(self._folder / "license.json")

    def _store(self, examination: Examination) -> None:
        _write(self._folder / "license.json", examination.license_file().encode())


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


def _read(path: Path) -> Optional[bytes]:
    """Returns the content of a file; `None` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_LICENSE_FILE_BYTES + 64 * 1024)
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Replaces a file. After a crash it has either the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
