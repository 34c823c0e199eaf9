"""The code in the README runs, from top to bottom, against a server on this machine."""

import contextlib
import io
import os
import re
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Dict
from unittest import mock

from licentia import Client, Verifier

from .fake_server import REFRESH, STATUS, FakeServer, Response, problem
from .support import DAY, KEY, ROOT, bundle, license, status_list

README = Path(__file__).parent.parent / "README.md"
ADDRESS = "https://licenses.acme.example"


class Readme(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        directory = os.getcwd()
        self.addCleanup(os.chdir, directory)
        os.chdir(self.home)
        self.server = FakeServer().__enter__()
        self.addCleanup(self.server.__exit__)
        now = int(time.time())
        uri = self.server.url + STATUS
        reference = {"status_list": {"idx": 7, "uri": uri}}
        times: Dict[str, Any] = {"iat": now - 60, "nbf": now - 60, "exp": now + 14 * DAY}
        times.update(license_expires=now + 30 * DAY, grace_until=now + 37 * DAY)
        keys = bundle([KEY.jwk(nbf=0, exp=None)], iat=now)
        self.token = license(status=reference, **times)
        self.server.responses[STATUS] = Response(200, status_list(iat=now, uri=uri))
        upgraded = license(status=reference, plan="enterprise", **times)
        self.server.responses[REFRESH] = Response(200, {"token": upgraded, "keys": keys})
        self.pasted = f'{{"license":"{self.token}","keys":"{keys}"}}'
        stick = self.home / "usb-stick"
        stick.mkdir()
        (stick / "license-keys.jwt").write_text(keys)
        (stick / "license.json").write_text(self.pasted)
        (stick / "license-status-1.jwt").write_text(status_list([7], iat=now + 1, uri=uri))

    def test_its_code_runs(self) -> None:
        blocks = re.findall("```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
        self.assertEqual(len(blocks), 5)
        names: Dict[str, Any] = {}
        outputs = []
        environment = {"HOME": str(self.home), "USERPROFILE": str(self.home)}
        with mock.patch.dict(os.environ, environment), mock.patch(
            "builtins.input", side_effect=[self.pasted[:100], " " + self.pasted[100:], ""]
        ):
            for block in blocks:
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(block.replace(ADDRESS, self.server.url), names)
                    if "client.start" in block:
                        names["client"].stop()
                outputs.append(output.getvalue())
        self.assertIn("no valid license", outputs[0])
        self.assertIn("Export is on\nSeats: 5", outputs[1])
        self.assertIn("Thank you! Your plan is enterprise", outputs[2])
        self.assertTrue(outputs[3].startswith("license-keys.jwt "), outputs[3])
        self.assertTrue(outputs[3].endswith("license-status-1.jwt None revoked\n"), outputs[3])
        self.assertIn("'code': 'revoked'", outputs[4])
        self.assertEqual(names["verdict"].code, "revoked")

    def test_its_files_of_a_usb_stick_revoke_a_license_on_a_new_machine(self) -> None:
        text = README.read_text(encoding="utf-8")
        blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
        client = Client(
            Verifier("acme-app", root=ROOT.jwk()), "http://127.0.0.1:1", self.home / "new"
        )
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(blocks[3], {"client": client, "Path": Path})
        self.assertIn("license.json active None\n", output.getvalue())
        self.assertEqual(client.verify().code, "revoked")

    def test_it_takes_the_name_of_a_file(self) -> None:
        text = README.read_text(encoding="utf-8")
        block = re.findall("```python\n(.*?)```", text, re.DOTALL)[0]
        names: Dict[str, Any] = {}
        environment = {"HOME": str(self.home), "USERPROFILE": str(self.home)}
        with mock.patch.dict(os.environ, environment), mock.patch(
            "builtins.input", side_effect=["usb-stick/license.json", ""]
        ), contextlib.redirect_stdout(io.StringIO()):
            exec(block.replace(ADDRESS, self.server.url), names)
        self.assertEqual(names["verdict"].state, "active")

    def test_its_sentence_for_a_busy_server_is_printed(self) -> None:
        self.server.responses[REFRESH] = problem(503, "busy", Retry_After="17")
        text = README.read_text(encoding="utf-8")
        blocks = re.findall("```python\n(.*?)```", text, re.DOTALL)
        names: Dict[str, Any] = {}
        output = io.StringIO()
        environment = {"HOME": str(self.home), "USERPROFILE": str(self.home)}
        with mock.patch.dict(os.environ, environment), mock.patch(
            "builtins.input", side_effect=[self.pasted[:100], " " + self.pasted[100:], ""]
        ), contextlib.redirect_stdout(output):
            for block in (blocks[0], blocks[2]):
                exec(block.replace(ADDRESS, self.server.url), names)
        self.assertIn("try again in 17 seconds", output.getvalue())


if __name__ == "__main__":
    unittest.main()
