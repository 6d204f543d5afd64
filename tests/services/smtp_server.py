"""The mail server of tests: Debian's aiosmtpd, run by Debian's Python; see tests.services.smtp.

It keeps what it accepts as lines of JSON, and refuses as a real one does: nobody@ does not exist,
full@ has no room just now, slow@ is served at another time; banned@ may not send here.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = b"office", b"mail-secret"
RECIPIENTS = {
    "nobody": "550 5.1.1 No such user here",
    "full": "452 4.2.2 Mailbox full",
    "slow": "421 4.3.2 Try again later",
}


class Keeper:
    def __init__(self, kept: Path) -> None:
        self.kept = kept

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        if address.startswith("banned@"):
            return "553 5.7.1 Sender not allowed"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        refusal = RECIPIENTS.get(address.partition("@")[0])
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        content = envelope.content.decode("utf-8", "surrogateescape")
        if "451 please" in content:
            return "451 4.3.0 Local error in processing"
        if "554 please" in content:
            return "554 5.6.0 Content refused"
        line = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "content": content}
        with self.kept.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 Message accepted for delivery"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (USER, PASSWORD)
    return AuthResult(success=good, handled=False)


async def main(port: int, kept: Path) -> None:
    keeper = Keeper(kept)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            keeper, authenticator=authenticate, auth_required=True, auth_require_tls=False
        ),
        "127.0.0.1",
        port,
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
