"""Other protocols on a cleartext port: answers to HTTP/1.x and TLS, and the handling of garbage and silence."""
from __future__ import annotations

import re
import select
import shlex
import socket
import ssl
from typing import Iterator

import pytest
from hyperframe.frame import SettingsFrame

from clients import curl, run_tool
from conftest import Start
from daemon import Daemon
from wire import MAGIC, PROTOCOL_ERROR, Client, read_all

PIECES = pytest.mark.parametrize("piece", [None, 1], ids=["whole", "by-byte"])
ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"  # fatal, unexpected_message


def send_first_bytes(client: Client, first: bytes, piece: int | None = None) -> None:
    """Send these bytes; in pieces, the daemon may close before it has all of them."""
    try:
        client.send(first, piece=piece)
    except (BrokenPipeError, ConnectionResetError):
        assert piece, "the daemon must not close before it has read bytes sent at once"


def answer_to(daemon: Daemon, first: bytes, piece: int | None = None) -> bytes:
    """Everything that the daemon sends for these bytes until it closes."""
    client = daemon.open_connection()
    send_first_bytes(client, first, piece)
    return read_all(client.socket)


def only_line(daemon: Daemon, client: Client, words: str) -> str:
    """Close the client; return the only line above level debug about it, which must contain these words."""
    prefix = rf"connection \d+ from {re.escape(client.name)}: "
    client.close()
    daemon.wait_for_log(rf"debug {prefix}closed", client.since)
    lines = daemon.log(rf"(error|warning|notice|info) {prefix}.*$", client.since)
    assert len(lines) == 1, lines
    assert lines[0][1] == "notice" and words in lines[0][0]
    return lines[0][0]


# --- the preface ---

@PIECES
def test_preface(daemon: Daemon, piece: int | None) -> None:
    client = daemon.open_connection()
    client.send(MAGIC, SettingsFrame(0), piece=piece)
    client.assert_answered()
    assert client.acknowledged == 1


def test_nothing_is_sent_before_the_clients_first_bytes(start: Start) -> None:
    client = start("--header-timeout=300ms").open_connection()
    assert read_all(client.socket) == b""


@pytest.mark.parametrize("first", [b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", b"G", b"GET / HTTP/1",
                                   b"\x16"], ids=["p", "preface", "g", "get", "tls"])
def test_nothing_is_sent_while_the_protocol_is_undecided(daemon: Daemon, first: bytes) -> None:
    client = daemon.open_connection()
    client.send(first)
    daemon.connect().assert_answered()  # so that the daemon has had time to read them
    assert select.select([client.socket], [], [], 0.05) == ([], [], [])


# --- HTTP/1.x with --upgrade=off ---

@pytest.fixture(scope="module")
def without_upgrade() -> Iterator[Daemon]:
    daemon = Daemon("--upgrade=off", "--log-level=debug")
    yield daemon
    daemon.stop()


def assert_505(answer: bytes, host: str, body: bool = True) -> str:
    """The answer is a complete 505; return the command that its content contains."""
    head, _, text = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status == "HTTP/1.1 505 HTTP Version Not Supported"
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["connection"] == "close"
    assert headers["content-type"].startswith("text/plain")
    command = f"curl --http2-prior-knowledge http://{host}/"
    if body:
        assert len(text) == int(headers["content-length"])
        assert 1 <= len(text.splitlines()) <= 2 and text.endswith(b"\n")
        assert command in text.decode()
    else:
        assert text == b""
    return command


def test_curl_without_http2_gets_a_command_that_works(without_upgrade: Daemon) -> None:
    host = f"localhost:{without_upgrade.port}"
    done = curl("-i", f"http://{host}/")
    command = assert_505(done.stdout, host)
    printed = re.search(r"curl --http2-prior-knowledge \S+", done.stdout.decode())
    assert printed and printed[0] == command
    works = run_tool([*shlex.split(printed[0]), "-q", "-sS"])
    assert works.stdout.startswith(b'{":method": "GET", ')


@PIECES
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "PROPFIND", "PATCH", "P"])
def test_http_1_gets_505(without_upgrade: Daemon, method: str, version: str, piece: int | None) -> None:
    host = f"127.0.0.1:{without_upgrade.port}"
    client = without_upgrade.open_connection()
    send_first_bytes(client, f"{method} / HTTP/{version}\r\nHost: {host}\r\n\r\n".encode(), piece)
    assert_505(read_all(client.socket), host)
    only_line(without_upgrade, client, "HTTP/1.1 request")


def test_http_1_0_without_host_gets_the_local_address(without_upgrade: Daemon) -> None:
    assert_505(answer_to(without_upgrade, b"GET / HTTP/1.0\r\n\r\n"), f"127.0.0.1:{without_upgrade.port}")


@pytest.mark.parametrize("host", ["a b", "$(reboot)", "`id`", "a;id", "a|b", "<script>", "\xff", "'\"",
                                  "a\tb", "../..", "user@host"])
def test_invalid_host_is_not_repeated(without_upgrade: Daemon, host: str) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1")
    words = answer_to(without_upgrade, request)
    assert_505(words, f"127.0.0.1:{without_upgrade.port}")
    assert host.encode("latin-1") not in words


@pytest.mark.parametrize("header", ["Host: example.org:81", "hOST:example.org:81",
                                    "HOST: \t example.org:81 "])
def test_host_field_in_any_spelling(without_upgrade: Daemon, header: str) -> None:
    request = f"GET / HTTP/1.1\r\nAccept: */*\r\n{header}\r\n\r\n".encode()
    assert_505(answer_to(without_upgrade, request), "example.org:81")


@PIECES
def test_505_to_head_has_no_body(without_upgrade: Daemon, piece: int | None) -> None:
    assert_505(answer_to(without_upgrade, b"HEAD / HTTP/1.1\r\nHost: a:1\r\n\r\n", piece), "a:1", body=False)


def test_curl_head_over_http_1(without_upgrade: Daemon) -> None:
    assert_505(curl("--head", without_upgrade.url()).stdout, f"127.0.0.1:{without_upgrade.port}", body=False)


def test_http_1_post_with_a_body_can_read_the_505(without_upgrade: Daemon) -> None:
    """Closing with unread data would cause a reset, which discards the answer."""
    done = curl("-i", "-H", "Expect:", "--data-binary", "@-", without_upgrade.url(), stdin=bytes(300_000))
    assert done.stdout.startswith(b"HTTP/1.1 505 ")


def test_curl_with_upgrade_reads_the_505(without_upgrade: Daemon) -> None:
    assert curl("-i", "--http2", without_upgrade.url()).stdout.startswith(b"HTTP/1.1 505 ")


def test_request_line_alone_is_answered(without_upgrade: Daemon) -> None:
    """It identifies the protocol: the rest of the head is not waited for."""
    client = without_upgrade.open_connection()
    client.send(b"GET / HTTP/1.1\r\nAccept: */*\r\n")
    assert_505(read_all(client.socket), f"127.0.0.1:{without_upgrade.port}")


# --- TLS ---

def client_hello_with_sni(minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    """The first bytes that a TLS client sends."""
    context = ssl.create_default_context()
    context.minimum_version = minimum
    context.set_alpn_protocols(["h2", "http/1.1"])
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


@PIECES
def test_tls_client_hello_gets_an_alert_and_a_log_line(daemon: Daemon, piece: int | None) -> None:
    client = daemon.open_connection()
    send_first_bytes(client, client_hello_with_sni(), piece)
    assert read_all(client.socket) == ALERT
    only_line(daemon, client, "TLS ClientHello")


def test_curl_https_reports_the_alert(daemon: Daemon) -> None:
    done = curl(f"https://localhost:{daemon.port}/", check=False)
    assert done.returncode == 35, done  # CURLE_SSL_CONNECT_ERROR
    assert re.search(rb"alert|unexpected message", done.stderr, re.IGNORECASE), done.stderr


# --- anything else ---

GARBAGE = {
    "binary": (b"\x00\xff\"\\garbage", r'\x00\xff\"\\garbage'),
    "text": (b"hello\r\n", r"hello\x0d\x0a"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", r"SSH-2.0-"),
    "preface-with-a-wrong-byte": (b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", r"PRI * HTTP/2.0\x0d\x0a\x0d\x0aSX"),
    "preface-in-lower-case": (MAGIC.lower(), r"pri * http/2.0"),
    "frame-without-preface": (SettingsFrame(0).serialize(), r"\x00\x00\x00\x04"),
    "escape-sequence": (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J"),
    "long": (b"\x01" * 5000, r"\x01\x01\x01"),
}


@PIECES
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_gets_goaway_and_a_log_line(daemon: Daemon, name: str, piece: int | None) -> None:
    garbage, escaped = GARBAGE[name]
    client = daemon.open_connection()
    send_first_bytes(client, garbage, piece)
    assert client.read_to_end() == "end"
    assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]
    assert client.settings  # a server's first frame is SETTINGS
    text = only_line(daemon, client, "not an HTTP/2 preface")
    assert escaped[:4 if piece else None] in text  # in pieces, only the first bytes may have been read
    assert re.fullmatch(r"[ -~]+", text)


def test_connection_without_data_is_logged_only_at_debug(daemon: Daemon) -> None:
    client = daemon.open_connection()
    prefix = rf"connection \d+ from {re.escape(client.name)}: "
    client.close()
    daemon.wait_for_log(rf"debug {prefix}closed", client.since)
    assert not daemon.log(rf"(error|warning|notice|info) {prefix}", client.since)


def test_undecided_connections_do_not_block_others(daemon: Daemon) -> None:
    undecided = [daemon.open_connection() for _ in range(3)]
    for client, first in zip(undecided, (b"", b"GET / HT", b"\x16\x03\x01\x02")):
        client.send(first)
    daemon.connect().assert_answered()


def test_unread_garbage_does_not_discard_the_goaway(daemon: Daemon) -> None:
    client = daemon.open_connection()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
    client.send(b"\x00" * 100_000)
    assert client.read_to_end() == "end" and client.goaways[0].error_code == PROTOCOL_ERROR
