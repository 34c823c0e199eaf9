"""The life of an app in the field: from the trial to a clock that was set back."""

import tempfile
import unittest
from pathlib import Path
from typing import Any

from licentia import Client, Outcome

from .fake_server import REFRESH, STATUS, FakeServer, Response, problem
from .support import DAY, KEY, NEXT_KEY, NOW, bundle, license, rooted, status_list


class Story(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)
        self.now = NOW

    def app(self, address: str) -> Client:
        """Returns another start of the app, which was built once, with nothing but the root."""
        return Client(rooted(), address, self.folder, clock=lambda: self.now)

    def online(self) -> Client:
        return self.app(self.server.url)

    def offline(self) -> Client:
        return self.app("http://127.0.0.1:1")

    def issue(self, **changes: Any) -> str:
        members: Any = {
            "iat": self.now - 60,
            "nbf": self.now - 60,
            "exp": self.now + 14 * DAY,
            "license_expires": self.now + 30 * DAY,
            "grace_until": None,
            "on_end": {"mode": "limited", "features": ["viewer"]},
            "warn_days": 3,
            "status": {"status_list": {"idx": 7, "uri": self.server.url + STATUS}},
        }
        return license(**{**members, **changes})

    def serve(self, token: str, keys: str) -> None:
        self.server.responses[REFRESH] = Response(200, {"token": token, "keys": keys})

    def shows(self, plan: str, state_or_code: str, *, warn: bool = False) -> None:
        verdict = self.offline().verify()
        shown = (verdict.plan, verdict.state or verdict.code, verdict.warn)
        self.assertEqual(shown, (plan, state_or_code, warn))

    def refreshes(self, outcome: Outcome, client: Client) -> None:
        self.assertEqual(client.refresh().outcome, outcome)

    def test_an_app_survives_a_trial_an_upgrade_40_days_offline_and_a_rotated_key(self) -> None:
        trial = self.issue(plan="trial", trial=True, license_expires=NOW + 14 * DAY)
        keys = bundle()
        self.online().install(f'{{"license":"{trial}","keys":"{keys}"}}')
        self.shows("trial", "active")
        self.now += 12 * DAY
        self.shows("trial", "active", warn=True)
        self.now += 2 * DAY
        self.shows("trial", "limited", warn=True)
        self.server.responses[REFRESH] = problem(403, "license_expired")
        self.refreshes(Outcome.ENDED, self.online())

        # The customer buys. The app notices at the next refresh.
        self.serve(self.issue(seq=2), keys)
        self.refreshes(Outcome.RENEWED, self.online())
        self.shows("professional", "active")

        # 40 days offline, on a journey. Meanwhile, the vendor has replaced the key.
        self.now += 40 * DAY
        self.shows("professional", "limited", warn=True)
        self.refreshes(Outcome.OFFLINE, self.offline())
        both = [key.jwk(nbf=0, exp=None) for key in (KEY, NEXT_KEY)]
        keys = bundle(both, seq=2, iat=self.now - DAY)
        self.serve(self.issue(key=NEXT_KEY, seq=3), keys)
        self.refreshes(Outcome.RENEWED, self.online())
        self.shows("professional", "active")

        # A clock that is set back stops the app until it is right again.
        self.now += 10 * DAY
        self.shows("professional", "active")
        self.now -= 9 * DAY
        self.shows("professional", "clock_rolled_back")
        self.now += 9 * DAY
        self.shows("professional", "active")

        # A clock that was ahead by mistake, and is right again, is healed by a refresh.
        self.now += 300 * DAY
        self.shows("professional", "limited", warn=True)
        self.now -= 300 * DAY
        self.shows("professional", "clock_rolled_back")
        self.serve(self.issue(key=NEXT_KEY, seq=4), keys)
        self.refreshes(Outcome.RENEWED, self.online())
        self.shows("professional", "active")

        # The vendor revokes the license. A colleague carries the list on a USB stick.
        uri = self.server.url + STATUS
        revoking = status_list([7], iat=self.now, uri=uri, by=NEXT_KEY)
        verdict = self.offline().install(status=revoking)
        self.assertEqual(verdict.code, "revoked")
        self.shows("professional", "revoked")


if __name__ == "__main__":
    unittest.main()
