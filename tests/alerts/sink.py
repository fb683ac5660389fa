"""A mail server for tests: prints its port, then each mail that it took as a line of JSON.

Arguments: plain | starttls | tls, and for the latter two CERTIFICATE KEY. Over TLS it wants a login.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@"):
            return "451 4.3.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "user": session.auth_data,
            "data": envelope.content.decode("latin-1"),
        }), flush=True)
        return "250 2.0.0 taken as 4711"


def login(server, session, envelope, mechanism, data):
    user, password = data.login.decode(), data.password.decode()
    good = (user, password) == ("duotone", "s3cret")
    return AuthResult(success=good, handled=good, auth_data=user if good else None)


async def main():
    mode, *files = sys.argv[1:]
    options, secure = {}, None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        options = {"authenticator": login, "auth_required": True}
        if mode == "starttls":
            options.update(tls_context=context, require_starttls=True)
        else:
            options.update(auth_require_tls=False)
            secure = context
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Sink(), loop=loop, **options), "127.0.0.1", 0, ssl=secure)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
