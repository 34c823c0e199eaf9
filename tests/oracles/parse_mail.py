"""Reads mails with Python's modern email policy: parse_mail.py FOLDER SENDER PRODUCT CUSTOMER.

Every .eml file must parse without a defect. The names must arrive as they were written, and both
texts and the license must be readable.
"""

import json
import sys
from email import policy
from email.parser import BytesParser
from pathlib import Path

folder, sender, product, customer = sys.argv[1:5]
mails = attachments = 0

for path in sorted(Path(folder).glob("*.eml")):
    raw = path.read_bytes()
    assert raw.isascii(), path
    mail = BytesParser(policy=policy.default).parsebytes(raw)
    for part in mail.walk():
        assert not part.defects, (path, part.defects)
        for name, value in part.items():
            assert not getattr(value, "defects", ()), (path, name, value, value.defects)
    (from_,), (to,) = mail["from"].addresses, mail["to"].addresses
    assert (from_.display_name, from_.addr_spec) == (sender, "licenses@acme.example"), (path, from_)
    assert (to.display_name, to.addr_spec) == (customer, "ada@example.com"), (path, to)
    assert product in mail["subject"], (path, mail["subject"])
    assert "\n" not in mail["subject"], (path, mail["subject"])
    text = mail.get_body(("plain",)).get_content()
    html = mail.get_body(("html",)).get_content()
    assert product in text, (path, text)
    assert html.startswith("<!doctype html>"), (path, html)
    files = {part.get_filename(): part.get_content().decode() for part in mail.iter_attachments()}
    if files:
        assert list(files) == ["license.jwt", "license.json"], (path, list(files))
        token = files["license.jwt"]
        assert token in text and token in html, path
        assert json.loads(files["license.json"])["license"] == token, path
        attachments += 1
    mails += 1

print(f"read {mails} mails, {attachments} with a license")
