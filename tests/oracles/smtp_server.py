"""A real SMTP server (aiosmtpd): smtp_server.py ANSWERS.

ANSWERS says how it meets one mail after the other: `ok`, a code like `451` or `554`, `drop` (closes
the connection), or `hang` (accepts, and never answers); after the last one, all are `ok`. It prints
its port, and each mail that it took to the end as a line of JSON.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, answers):
        self.answers = answers

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.pop(0) if self.answers else "ok"
        if answer.isdigit():
            return f"{answer} not now"
        if answer == "drop":
            server.transport.abort()
            return "451 unheard"
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        files = {part.get_filename(): part.get_content() for part in mail.iter_attachments()}
        files = {name: file.decode() for name, file in files.items()}
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "message_id": mail["Message-ID"],
            "subject": mail["Subject"],
            "auto_submitted": mail["Auto-Submitted"],
            "files": files,
            "text": mail.get_body(("plain",)).get_content(),
        }), flush=True)
        if answer == "hang":
            await asyncio.sleep(3600)
        return "250 taken"


async def main():
    answers = sys.argv[1].split(",") if len(sys.argv) > 1 else []
    handler = Handler(answers)
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(handler), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
