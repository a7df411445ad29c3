"""Helpers for tests of TLS: connections whose handshake is done, and what is known of them."""
from __future__ import annotations

import contextlib
import json
import socket
import ssl

import jsonschema

from clients import run_tool
from daemon import TOP, Daemon
from waiting import SLOW
from wire import fields, unverified_tls

DETAIL = [("accept", "application/vnd.h2echod+json")]
SCHEMA = json.loads((TOP / "conf/h2echod.schema.json").read_text())


def handshake(daemon: Daemon, context: ssl.SSLContext, host: str | None = None) -> ssl.SSLSocket:
    """A connection whose handshake is done."""
    plain = socket.create_connection(daemon.address, 5 * SLOW)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def connection_details(daemon: Daemon, context: ssl.SSLContext, host: str | None = None) -> dict[str, object]:
    """The member `connection` of a detailed answer."""
    client = daemon.open_connection(tls=context, host=host).send_preface()
    answer = json.loads(bytes(client.request(fields("/", "GET", *DETAIL)).body))
    jsonschema.validate(answer, SCHEMA)
    return answer["connection"]


def s_client(daemon: Daemon, *options: str, input_: bytes = b"", check: bool = False) -> str:
    host, port = daemon.address
    done = run_tool(["openssl", "s_client", "-connect", f"{host}:{port}", *options], check=check, stdin=input_)
    return (done.stdout + done.stderr).decode(errors="replace")


def client_hello_record() -> bytes:
    """A TLS record with a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        unverified_tls("h2").wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()
