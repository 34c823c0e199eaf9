"""The client: storing, refreshing, and what it does with each response of the server."""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, Optional, Tuple
from unittest import mock

from licentia import Client, Outcome, Verdict, Verifier

from .fake_server import KEYS, REFRESH, STATUS, FakeServer, Response, problem
from .support import (
    DAY,
    KEY,
    NEXT_KEY,
    NOW,
    PRODUCT,
    ROOT,
    bundle,
    license,
    status_list,
)


class ClientTest(unittest.TestCase):
    """A client with a valid license of yesterday, and its server."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "acme"
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)
        self.now = NOW
        self.client = self.new_client()
        self.list_uri = self.server.url + STATUS
        self.token = self.license(iat=NOW - DAY)
        self.assertTrue(self.client.install(self.token, keys=bundle()).valid)
        self.server.received.clear()

    def new_client(self, **options: Any) -> Client:
        verifier = Verifier(PRODUCT, root=ROOT.jwk(), **options)
        return Client(verifier, self.server.url + "/", self.folder, clock=lambda: self.now)

    def license(self, **changes: Any) -> str:
        status = {"status_list": {"idx": 7, "uri": self.list_uri}}
        return license(**{"status": status, **changes})

    def stored(self) -> Any:
        return json.loads((self.folder / "license.json").read_text())

    def renew(self, token: str, **members: Any) -> None:
        self.server.responses[REFRESH] = Response(200, {"token": token, **members})


class Refreshing(ClientTest):
    def test_a_refresh_stores_the_newest_license_bundle_and_list(self) -> None:
        token = self.license(plan="enterprise", seq=2)
        keys, status = bundle(seq=2), status_list(uri=self.list_uri)
        self.renew(token, keys=keys)
        self.server.responses[STATUS] = Response(200, status)
        result = self.client.refresh()
        self.assertEqual((result.outcome, result.code), (Outcome.RENEWED, None))
        self.assertEqual(result.verdict.plan, "enterprise")
        self.assertEqual(self.stored(), {"license": token, "keys": keys, "status": status})
        self.assertEqual(self.server.received[0].authorization, f"Bearer {self.token}")
        self.assertEqual([r.authorization for r in self.server.received[1:]], [None])
        self.assertEqual(self.new_client().verify(), result.verdict)
        self.server.responses[STATUS] = Response(500)
        self.client.refresh()
        self.assertEqual(self.stored()["status"], status, "the list of the last refresh is kept")

    def test_a_pasted_license_needs_no_bundle_beside_it(self) -> None:
        verifier = Verifier(PRODUCT, root=ROOT.jwk())
        folder = self.folder / "new"
        client = Client(verifier, self.server.url, folder, clock=lambda: self.now)
        self.assertEqual(client.install(self.token).code, "unknown_key")
        self.server.responses[KEYS] = Response(200, bundle())
        self.assertTrue(client.install(self.token).valid)
        self.assertTrue(client.verify().valid)
        self.server.responses[STATUS] = Response(200, status_list([7], uri=self.list_uri))
        (folder / "license.json").unlink()
        self.assertEqual(client.install(self.token).code, "revoked", "the list comes as well")

    def test_the_status_list_of_a_pasted_license_is_fetched(self) -> None:
        revoked = self.license(jti="lic_2", seq=2)
        self.server.responses[STATUS] = Response(200, status_list([7], uri=self.list_uri))
        unnamed = license(jti="lic_3")
        self.assertTrue(self.client.install(unnamed).valid)
        self.assertEqual(self.server.received, [], "it names no list")
        self.assertEqual(self.client.install(revoked).code, "revoked")
        self.assertEqual(self.stored()["license"], unnamed, "one that works is kept")
        (self.folder / "license.json").unlink()
        self.assertEqual(self.client.install(revoked, keys=bundle()).code, "revoked")
        self.assertEqual(self.stored()["license"], revoked)
        self.server.responses.clear()
        (self.folder / "memory.json").unlink()
        self.assertEqual(self.new_client().verify().code, "revoked", "the list is stored")

    def test_the_latest_of_the_lists_that_are_given_stored_and_fetched_counts(self) -> None:
        for latest in ("given", "in the file", "fetched"):
            (self.folder / "license.json").unlink()
            (self.folder / "memory.json").unlink()
            lists = {
                source: status_list(
                    [7] if source == latest else [],
                    uri=self.list_uri,
                    iat=NOW - (1 if source == latest else 60),
                )
                for source in ("given", "in the file", "fetched")
            }
            self.server.responses[STATUS] = Response(200, lists["fetched"])
            file = {"license": self.token, "keys": bundle(), "status": lists["in the file"]}
            verdict = self.client.install(json.dumps(file), status=lists["given"])
            self.assertEqual(verdict.code, "revoked", latest)

    def test_each_response_has_an_outcome(self) -> None:
        before = self.stored()
        for response, outcome, retry_after in (
            (problem(403, "license_expired"), Outcome.ENDED, None),
            (problem(403, "revoked"), Outcome.REVOKED, None),
            (problem(403, "key_revoked"), Outcome.REVOKED, None),
            (problem(401, "invalid_license"), Outcome.UNKNOWN, None),
            (problem(401, "unauthenticated"), Outcome.UNKNOWN, None),
            (problem(403, "token_expired"), Outcome.UNKNOWN, None),
            (problem(429, "too_many_requests", Retry_After="17"), Outcome.BUSY, 17),
            (problem(503, "busy", Retry_After="0"), Outcome.BUSY, 1),
            (problem(503, "busy", Retry_After="9" * 5000), Outcome.BUSY, DAY),
            (problem(503, "busy", Retry_After="soon"), Outcome.BUSY, None),
            (
                problem(503, "busy", Retry_After="Fri, 15 Jan 2027 08:01:00 GMT"),
                Outcome.BUSY,
                60,
            ),
            (Response(502, "<html>"), Outcome.BUSY, None),
            (problem(400, "invalid_request"), Outcome.FAILED, None),
            (Response(404, "<html>"), Outcome.OFFLINE, None),
            (Response(403, "<html>Log in to the hotel's network"), Outcome.OFFLINE, None),
            (problem(409, "idempotency_running"), Outcome.BUSY, None),
            (Response(200, "<html>Please log in to this network"), Outcome.OFFLINE, None),
            (Response(200, {"token": 7}), Outcome.OFFLINE, None),
            (Response(200, "[" * 100_000), Outcome.OFFLINE, None),
        ):
            self.server.responses[REFRESH] = response
            result = self.client.refresh()
            self.assertEqual((result.outcome, result.retry_after), (outcome, retry_after), response)
            self.assertTrue(result.verdict.valid, "an answer alone never ends a license")
            self.assertEqual(self.stored(), before)

    def test_a_server_that_is_away_is_offline(self) -> None:
        with FakeServer() as gone:
            client = Client(Verifier(PRODUCT, root=ROOT.jwk()), gone.url, self.folder)
        with mock.patch.object(client, "_clock", lambda: NOW):
            self.assertEqual(client.refresh().outcome, Outcome.OFFLINE)

    def test_a_revoked_license_is_revoked_by_the_signed_list(self) -> None:
        self.server.responses[REFRESH] = problem(403, "revoked")
        self.server.responses[STATUS] = Response(200, status_list([7], uri=self.list_uri))
        result = self.client.refresh()
        self.assertEqual((result.outcome, result.verdict.code), (Outcome.REVOKED, "revoked"))
        self.assertEqual(self.new_client().verify().code, "revoked")
        (self.folder / "memory.json").unlink()
        self.assertEqual(self.new_client().verify().code, "revoked", "the list is stored too")

    def test_a_revoked_key_is_revoked_by_the_signed_bundle(self) -> None:
        self.server.responses[REFRESH] = problem(403, "key_revoked")
        self.server.responses[KEYS] = Response(200, bundle([], seq=2, revoked=[KEY.kid]))
        self.assertEqual(self.client.refresh().verdict.code, "key_revoked")

    def test_a_rotated_key_arrives_with_the_refresh(self) -> None:
        entries = [KEY.jwk(nbf=0, exp=NOW), NEXT_KEY.jwk(nbf=0, exp=None)]
        status = {"status_list": {"idx": 7, "uri": self.list_uri}}
        self.renew(license(NEXT_KEY, status=status), keys=bundle(entries, seq=2))
        self.assertEqual(self.client.refresh().outcome, Outcome.RENEWED)
        self.renew(license(NEXT_KEY, status=status), keys=bundle(seq=1))
        self.assertEqual(self.client.refresh().outcome, Outcome.RENEWED, "an old bundle is ignored")

    def test_a_license_that_does_not_verify_never_replaces_one_that_does(self) -> None:
        before = self.stored()
        for token, code in (
            ("x", "malformed"),
            (license(NEXT_KEY), "unknown_key"),
            (license(aud="other"), "wrong_audience"),
            (license(exp=NOW), "token_expired"),
        ):
            self.renew(token)
            result = self.client.refresh()
            self.assertEqual((result.outcome, result.code), (Outcome.FAILED, code))
            self.assertEqual(self.stored(), before)
            self.assertTrue(result.verdict.valid)

    def test_without_a_license_nothing_is_sent(self) -> None:
        (self.folder / "license.json").write_text("no license\r\nX: y")
        self.assertEqual(self.client.refresh().outcome, Outcome.UNKNOWN)
        (self.folder / "license.json").unlink()
        result = self.client.refresh()
        self.assertEqual((result.outcome, result.verdict.code), (Outcome.UNKNOWN, "malformed"))
        self.assertEqual(self.server.received, [])

    def test_the_license_is_never_sent_elsewhere(self) -> None:
        with FakeServer() as other:
            for status in (301, 302, 307, 308):
                location = (("Location", other.url + REFRESH),)
                self.server.responses[REFRESH] = Response(status, "", location)
                self.assertEqual(self.client.refresh().outcome, Outcome.OFFLINE)
            self.assertEqual(other.received, [])
            self.server.responses[REFRESH] = problem(403, "revoked")
            location = (("Location", other.url + STATUS),)
            self.server.responses[STATUS] = Response(301, "", location)
            moved = status_list([7], uri=self.list_uri)
            other.responses[STATUS] = Response(200, moved)
            self.assertEqual(self.client.refresh().verdict.code, "revoked", "a list that has moved")
        for server in ("http://licenses.acme.example", "ftp://x", "licenses.acme.example", ""):
            with self.assertRaises(ValueError):
                Client(Verifier(PRODUCT, root=ROOT.jwk()), server, self.folder)

    def test_40_days_offline_end_the_token_and_one_refresh_brings_it_back(self) -> None:
        self.now = NOW + 40 * DAY
        self.assertEqual(self.client.verify().code, "license_expired")
        self.renew(
            self.license(
                iat=self.now - 60,
                nbf=self.now,
                exp=self.now + DAY,
                license_expires=None,
                grace_until=None,
            )
        )
        self.assertTrue(self.client.refresh().verdict.valid)
        self.now -= 7200
        self.assertEqual(self.client.verify().code, "not_yet_valid")


class Parting(ClientTest):
    """What is stored fits together, whatever happens between two writes."""

    def setUp(self) -> None:
        super().setUp()
        entries = [KEY.jwk(nbf=0, exp=None), NEXT_KEY.jwk(nbf=0, exp=None)]
        status = {"status_list": {"idx": 7, "uri": self.list_uri}}
        self.newer_keys = bundle(entries, seq=2)
        self.by_next_key = license(NEXT_KEY, plan="enterprise", status=status)
        self.renew(self.by_next_key, keys=self.newer_keys)

    def test_an_app_verifies_while_the_list_of_a_refresh_is_under_way(self) -> None:
        verdicts = []

        def respond() -> Response:
            verdicts.append(self.new_client().verify())  # as another process does
            return Response(200, status_list(uri=self.list_uri))

        self.server.responses[STATUS] = respond
        self.assertEqual(self.client.refresh().outcome, Outcome.RENEWED)
        self.client.install(self.token)
        self.assertEqual([verdict.state for verdict in verdicts], ["active", "active"])

    def test_an_app_that_is_killed_while_it_stores_works_offline(self) -> None:
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        rename = os.replace
        self.server.responses[STATUS] = Response(200, status_list(uri=self.list_uri))
        for renamed in range(3):
            for name, content in before.items():
                (self.folder / name).write_bytes(content)
            calls = iter(range(9))

            def killed(source: str, target: str, last: int = renamed) -> None:
                if next(calls) == last:
                    raise SystemExit
                rename(source, target)

            with mock.patch("os.replace", killed), contextlib.suppress(SystemExit):
                self.client.refresh()
            verdict = self.new_client(max_status_age=DAY).verify()
            code = "stale_status" if renamed == 0 else None
            self.assertEqual(verdict.code, code, f"{renamed} files are stored")
            self.assertEqual(self.new_client().verify().state, "active")

    def test_processes_on_one_folder_never_lose_the_bundle(self) -> None:
        seq = itertools.count(2)
        lock = threading.Lock()

        def respond() -> Response:
            with lock:
                number = next(seq)
            keys = bundle(seq=number)
            return Response(200, {"token": self.license(seq=number), "keys": keys})

        self.server.responses[REFRESH] = respond
        script = (
            "import sys; from licentia import Client, Verifier\n"
            f"verifier = Verifier({PRODUCT!r}, root=sys.argv[1])\n"
            f"client = Client(verifier, *sys.argv[2:], clock=lambda: {NOW})\n"
            "for _ in range(40): client.refresh()"
        )
        arguments = [json.dumps(ROOT.jwk()), self.server.url, str(self.folder)]
        writers = [
            subprocess.Popen([sys.executable, "-c", script, *arguments]) for _ in range(2)
        ]
        reader, codes = self.new_client(), set()
        while any(writer.poll() is None for writer in writers):
            codes.add(reader.verify().code)
        self.assertEqual([writer.returncode for writer in writers], [0, 0])
        self.assertEqual(codes, {None})
        self.assertEqual(self.new_client().verify().state, "active")

    def test_the_newest_bundle_counts_whether_it_comes_before_the_license_or_after_it(self) -> None:
        file = json.dumps({"license": self.token, "keys": bundle()})
        for name, keys_come_first in (("first", True), ("last", False)):
            client = Client(
                Verifier(PRODUCT, root=ROOT.jwk()),
                self.server.url,
                self.folder / name,
                clock=lambda: self.now,
            )
            if keys_come_first:
                self.assertEqual(client.install(keys=self.newer_keys).code, "malformed")
                self.assertEqual(client.install(file).state, "active")
            else:
                self.assertEqual(client.install(file).state, "active")
                self.assertEqual(client.install(keys=self.newer_keys).state, "active")
            self.assertEqual(client.verify().state, "active")
            self.assertEqual(client.install(self.by_next_key).state, "active")

    def test_a_bundle_without_a_license_survives_an_app_that_ends(self) -> None:
        (self.folder / "license.json").unlink()
        self.client.install(keys=self.newer_keys)
        self.assertEqual(self.new_client().install(self.by_next_key).state, "active")

    def test_a_license_that_is_installed_during_a_refresh_is_kept(self) -> None:
        paid = self.license(plan="paid", jti="lic_2", seq=2)
        self.server.responses[STATUS] = Response(200, status_list(uri=self.list_uri))

        def respond() -> Response:
            self.new_client().install(paid)
            return Response(200, {"token": self.by_next_key, "keys": self.newer_keys})

        self.server.responses[REFRESH] = respond
        result = self.client.refresh()
        self.assertEqual((result.outcome, result.verdict.plan), (Outcome.RENEWED, "paid"))
        self.assertEqual(self.stored()["license"], paid)
        self.assertEqual(self.stored()["keys"], self.newer_keys, "the bundle counts")

    def test_a_license_that_is_deleted_during_a_refresh_stays_away(self) -> None:
        def respond() -> Response:
            (self.folder / "license.json").unlink()
            return Response(200, {"token": self.by_next_key, "keys": self.newer_keys})

        self.server.responses[REFRESH] = respond
        self.assertEqual(self.client.refresh().verdict.code, "malformed")
        self.assertFalse((self.folder / "license.json").exists())


class Storing(ClientTest):
    def test_a_clock_that_is_set_back_is_noticed(self) -> None:
        self.now = NOW + 5 * DAY
        self.client.verify()
        self.now = NOW
        self.assertEqual(self.client.verify().code, "clock_rolled_back")

    def test_a_revocation_arrives_on_a_usb_stick(self) -> None:
        verdict = self.client.install(status=status_list([7], uri=self.list_uri))
        self.assertEqual(verdict.code, "revoked")
        old = status_list([], uri=self.list_uri, iat=NOW - 999)
        self.assertEqual(self.client.install(status=old).code, "revoked")

    def test_a_pasted_license_replaces_one_that_is_over_but_not_a_better_one(self) -> None:
        over = self.license(iat=NOW - 90 * DAY, exp=NOW - 80 * DAY)
        self.assertEqual(self.client.install(over).code, "token_expired")
        self.assertEqual(self.stored()["license"], self.token)
        self.now = NOW + 50 * DAY
        self.assertFalse(self.client.verify().valid)
        fresh = self.license(exp=NOW + 60 * DAY, license_expires=NOW + 60 * DAY, grace_until=None)
        self.assertTrue(self.client.install(f"“{fresh[:70]}\r\n {fresh[70:]}”").valid)
        self.assertEqual(self.stored()["license"], fresh)
        self.assertEqual(self.stored()["keys"], bundle())

    def test_damaged_files_are_no_errors(self) -> None:
        for content in (b"", b"\xff\xfe", b"{", os.urandom(2_000_000)):
            (self.folder / "memory.json").write_bytes(content)
            self.assertTrue(self.client.verify().valid)
        for content in (b"", b"\xff\xfe", b"{", b"{" * 1_000_000):
            (self.folder / "license.json").write_bytes(content)
            self.assertFalse(self.client.verify().valid)

    def test_a_crash_while_storing_leaves_the_old_file(self) -> None:
        before = self.stored()
        full_disk = mock.patch("os.replace", side_effect=OSError("no space left"))
        with full_disk, self.assertLogs("licentia", "WARNING"):
            self.renew(self.license(plan="enterprise"))
            with self.assertRaises(OSError):
                self.client.refresh()
            self.now += 1
            self.assertTrue(self.client.verify().valid, "memory that cannot be stored is no error")
        self.assertEqual(self.stored(), before)
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(names, ["license.json", "memory.json"])


class Background(ClientTest):
    def setUp(self) -> None:
        super().setUp()
        self.verdicts: "queue.Queue[Verdict]" = queue.Queue()

    def next_plan(self) -> Optional[str]:
        return self.verdicts.get(timeout=10).plan

    def test_it_refreshes_at_once_and_reports_each_verdict_that_differs(self) -> None:
        self.renew(self.license(plan="enterprise"))
        self.client.start(self.verdicts.put)
        self.assertEqual(self.next_plan(), "professional")
        self.assertEqual(self.next_plan(), "enterprise")
        self.client.stop()
        self.assertEqual(self.server.paths().count(REFRESH), 1)
        self.assertTrue(self.verdicts.empty())

    def test_it_comes_back_when_the_server_says_so_but_later_each_time(self) -> None:
        for response, failures, least, most in (
            (problem(503, "busy", Retry_After="5"), 0, 60, 72),
            (problem(503, "busy", Retry_After="5"), 3, 480, 576),
            (problem(503, "busy", Retry_After="600"), 0, 600, 720),
            (problem(503, "busy", Retry_After="600"), 99, 3840, 4608),
            (Response(502), 0, 60, 72),
            (Response(502), 3, 480, 576),
            (Response(502), 99, 3840, 4608),
            (problem(403, "license_expired"), 5, DAY, DAY * 1.2),
        ):
            self.server.responses[REFRESH] = response
            _, wait = self.client._try_refresh(DAY, failures)
            self.assertTrue(least <= wait <= most, (response, wait))

    def test_it_refreshes_when_the_verdict_changes(self) -> None:
        self.client = self.new_client(max_status_age=60)
        self.renew(self.token)
        self.server.responses[STATUS] = Response(200, status_list(uri=self.list_uri, iat=NOW - 60))
        self.client.start(self.verdicts.put)
        while not self.verdicts.get(timeout=10).valid:
            pass
        fresh = status_list(uri=self.list_uri, iat=NOW + 1)
        self.server.responses[STATUS] = Response(200, fresh)
        self.now = NOW + 1
        self.assertEqual(self.verdicts.get(timeout=10).code, "stale_status")
        self.assertEqual(self.verdicts.get(timeout=10).state, "active")
        self.client.stop()

    def test_it_comes_back_hourly_while_the_license_is_not_active(self) -> None:
        self.client = self.new_client(max_status_age=60)
        ended = {"license_expires": NOW - 1, "grace_until": None, "jti": "lic_2"}
        for changes, listed_at, expected in (
            ({"license_expires": NOW - 1}, NOW, "grace"),
            ({**ended, "on_end": {"mode": "warn"}}, NOW, "overdue"),
            ({**ended, "on_end": {"mode": "limited"}}, NOW, "limited"),
            (ended, NOW, "license_expired"),
            ({}, NOW - 61, "stale_status"),
        ):
            for path in self.folder.iterdir():
                path.unlink()
            status = status_list(uri=self.list_uri, iat=listed_at)
            self.server.responses[STATUS] = Response(200, status)
            verdict = self.client.install(self.license(**changes), keys=bundle())
            self.assertEqual(verdict.state or verdict.code, expected)
            self.renew(self.license(**changes))
            for response in (self.server.responses[REFRESH], problem(403, "license_expired")):
                self.server.responses[REFRESH] = response
                _, wait = self.client._try_refresh(DAY, 0)
                self.assertTrue(3600 <= wait <= 4320, (expected, wait))
                _, wait = self.client._try_refresh(600, 0)
                self.assertTrue(600 <= wait <= 720, (expected, wait))

    def test_a_license_that_has_ended_gets_the_newest_list_too(self) -> None:
        self.client = self.new_client(max_status_age=60)
        ended = {"license_expires": NOW - 1, "grace_until": None, "on_end": {"mode": "warn"}}
        self.server.responses[STATUS] = Response(200, status_list(uri=self.list_uri))
        self.assertEqual(self.client.install(self.license(**ended)).state, "overdue")
        self.now = NOW + 3600
        self.assertEqual(self.client.verify().code, "stale_status")
        fresh = status_list(uri=self.list_uri, iat=self.now)
        self.server.responses[STATUS] = Response(200, fresh)
        self.server.responses[REFRESH] = problem(403, "license_expired")
        result = self.client.refresh()
        self.assertEqual((result.outcome, result.verdict.state), (Outcome.ENDED, "overdue"))

    def test_it_comes_back_soon_while_the_clock_seems_wrong(self) -> None:
        def refresh(failures: int) -> Tuple[int, float, Optional[str]]:
            failures, wait = self.client._try_refresh(DAY, failures)
            return failures, wait, self.client.verify().code

        # The clock was a year ahead, and is right again. The server has signed nothing later.
        self.now = NOW + 365 * DAY
        self.client.verify()
        self.now = NOW
        self.renew(self.token)
        failures, wait, code = refresh(0)
        self.assertEqual((failures, code), (1, "clock_rolled_back"))
        self.assertTrue(60 <= wait <= 72, wait)
        failures, wait, code = refresh(failures)
        self.assertEqual((failures, code), (2, "clock_rolled_back"))
        self.assertTrue(120 <= wait <= 144, wait)
        self.renew(self.license(iat=NOW - 59, nbf=NOW - 59))
        failures, wait, code = refresh(failures)
        self.assertEqual((failures, code), (0, None))
        self.assertGreaterEqual(wait, DAY)
        # The clock is too slow.
        self.now = NOW - DAY
        self.assertEqual(self.client.refresh().outcome, Outcome.RENEWED)
        failures, wait, code = refresh(0)
        self.assertEqual((failures, code), (1, "not_yet_valid"))

    def test_a_callback_that_raises_and_a_full_disk_do_not_end_it(self) -> None:
        def fails(verdict: Verdict) -> None:
            self.verdicts.put(verdict)
            raise RuntimeError("a fault of the app")

        self.renew(self.license(plan="enterprise"))
        with self.assertLogs("licentia", "ERROR"):
            self.client.start(fails)
            self.assertEqual(self.next_plan(), "professional")
            self.assertEqual(self.next_plan(), "enterprise")
            self.client.stop()
        self.renew(self.license(plan="professional", seq=2))
        with self.assertLogs("licentia", "ERROR"), mock.patch("os.replace", side_effect=OSError):
            self.assertEqual(self.client._try_refresh(DAY, 3), (0, 3600))

    def test_it_is_started_once(self) -> None:
        self.client.start(self.verdicts.put)
        with self.assertRaises(RuntimeError):
            self.client.start(self.verdicts.put)
        self.client.stop()
        self.client.stop()


if __name__ == "__main__":
    unittest.main()
