"""Hostile peers within TLS itself: what its records and messages allow that HTTP/2 never sees. A neighbour is answered
all the while, and what it costs is bounded."""
from __future__ import annotations

import socket
import ssl
import time
from typing import Callable

import pytest

from conftest import Start
from daemon import Daemon
from frames import DATA, END_STREAM, SETTINGS, frame
from hostile import POST_BLOCK, Neighbour, Record, request
from openssl import TLS_1_2, TLS_1_3, OpenSslClient
from waiting import SLOW, Stopwatch
from wire import MAGIC, read_all, unverified_tls

pytestmark = pytest.mark.heavy
TRANSPORTS = ("tls",)

LIMIT = 0.5 * min(SLOW, 4)  # seconds that a neighbour's handshake, too, has to be over in
TEXT = f"{round(1000 * LIMIT)}ms"
REST = 1       # seconds without a byte for HTTP/2, after which the daemon gives memory back
MEMORY = 1024  # KiB
COST = 20_000  # requests that could be answered instead, for what takes a tenth of it
FLOOD = 5000   # messages
SEGMENT = 1220  # bytes, what IPv6 lets each path take
HELLO, HANDSHAKE, CLIENT_HELLO = MAGIC + frame(SETTINGS), 0x16, 1
Attack = Callable[[Daemon], list[OpenSslClient]]


def stands(start: Start, record: Record, attack: Attack, *options: str) -> None:
    """Let the attack happen beside a neighbour."""
    daemon = start(*options)
    with Neighbour(daemon) as watch:
        clients = attack(daemon)
    watch.assert_harmless(clients, MEMORY, COST)
    record("figures", watch.summary())


def assert_echo(client: OpenSslClient) -> None:
    """The answer to a request comes, whatever came before."""
    heard = b""
    while b'{":method"' not in heard:
        more = client.receive()
        assert more, f"{client.reason} after {heard!r}"
        heard += more


def assert_answered(client: OpenSslClient, stream: int) -> None:
    client.send(request(stream))
    assert_echo(client)


def connect(daemon: Daemon, transport: str = "tls") -> socket.socket:
    """A connection without TLS of its own."""
    return socket.create_connection(daemon.addresses(transport)[0], 5 * SLOW)


def told(daemon: Daemon, said: bytes) -> bytes:
    """What a client without TLS of its own gets for these bytes, until the end."""
    with connect(daemon) as connection:
        connection.sendall(said)
        return read_all(connection)


# --- messages that bring nothing ---

@pytest.mark.alone
@pytest.mark.parametrize("both", [False, True], ids=["ours", "both"])
def test_key_updates(start: Start, record_property: Record, both: bool) -> None:
    def attack(daemon: Daemon) -> list[OpenSslClient]:
        client = OpenSslClient(daemon.address)
        client.send(HELLO)
        for _ in range(FLOOD):
            client.update_keys(both)
        assert_answered(client, 1)
        return [client]
    stands(start, record_property, attack)


@pytest.mark.parametrize("updates", [1, 2, 20])
def test_request_behind_key_updates(start: Start, updates: int) -> None:
    """When the daemon would give memory back, TLS may hold a request that came together with new keys: it is answered
    without any further byte.

    Connections that nothing comes to are looked at twice a second: of four, the daemon has not yet looked at most."""
    daemon = start()
    clients = []
    for _ in range(4):
        client = OpenSslClient(daemon.address)
        client.send(HELLO)
        clients.append((client, Stopwatch()))
        time.sleep(0.12)
    for client, watch in clients:
        time.sleep(max(0.0, REST + 0.05 - watch.seconds()))
        with client.in_one_segment():
            for _ in range(updates):
                client.update_keys(both=False)
            client.send(request(1))
    for client, _ in clients:
        assert_echo(client)
        client.close()


def test_key_updates_are_no_sign_of_life(start: Start) -> None:
    daemon = start(f"--idle-timeout={TEXT}", f"--write-timeout={TEXT}")
    client = OpenSslClient(daemon.address)
    client.send(HELLO)
    watch = Stopwatch()
    with pytest.raises(ConnectionError):
        while watch.seconds() < 20 * SLOW:
            client.update_keys(both=True)
    daemon.wait_for_log("idle-timeout")
    client.close()
    daemon.connect().assert_answered()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_records_of_a_byte(start: Start, record_property: Record, version: int) -> None:
    said = HELLO + request(1, POST_BLOCK, False) + frame(DATA, 0, 1, bytes(FLOOD)) + frame(DATA, END_STREAM, 1)

    def attack(daemon: Daemon) -> list[OpenSslClient]:
        client = OpenSslClient(daemon.address, version)
        for byte in said:
            client.send(bytes([byte]))
        assert_answered(client, 3)
        return [client]
    stands(start, record_property, attack)


# --- ends and nonsense behind the handshake ---

@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_close_notify_amid_a_frame(start: Start, version: int) -> None:
    daemon = start("--log-level=debug")
    client = OpenSslClient(daemon.address, version)
    client.send(HELLO + request(1)[:-1])
    client.end()
    client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    daemon.wait_for_log("closed: by the peer")
    client.close()
    daemon.connect().assert_answered()


TYPE, LENGTH, MAC = "wrong record type or version", "record too long", "decryption failed or bad record mac"
CLEAR = (MAC, TYPE)  # in TLS 1.2 it may be an encrypted one
GARBAGE = {  # and the log's words for it, with TLS 1.2 and 1.3: the same whatever the version of OpenSSL
    "text": (b"GET / HTTP/1.1\r\n\r\n" * 10, TYPE, TYPE),
    "zeros": (bytes(100), TYPE, TYPE),
    "record of TLS 1.0": (b"\x17\x03\x01\x00\x28" + bytes(40), TYPE, TYPE),
    "record too long": (b"\x17\x03\x03\xff\xff" + bytes(100), LENGTH, LENGTH),
    "record longer by a byte": (b"\x17\x03\x03\x41\x01" + bytes(0x4101), MAC, LENGTH),
    "wrong MAC": (b"\x17\x03\x03\x00\x40" + bytes(64), MAC, MAC),
    "record too short": (b"\x17\x03\x03\x00\x01\x00", MAC, MAC),
    "empty record": (b"\x17\x03\x03\x00\x00", MAC, MAC),
    "handshake in the clear": (b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", *CLEAR),
    "alert in the clear": (b"\x15\x03\x03\x00\x02\x02\x28", *CLEAR),
    "unknown type": (b"\x19\x03\x03\x00\x28" + bytes(40), *CLEAR),
}


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_behind_the_handshake(daemon: Daemon, case: str, version: int) -> None:
    said, *words = GARBAGE[case]
    since = daemon.log_position()
    client = OpenSslClient(daemon.address, version)
    client.send(HELLO)
    assert client.receive(), client.reason
    client.socket.sendall(said)
    while client.receive():
        pass
    daemon.wait_for_log(f"notice .*TLS error: {words[version == TLS_1_3]}$", since)
    client.close()
    daemon.connect().assert_answered()


# --- ClientHellos ---

def client_hello() -> bytes:
    """The message, without its record."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        unverified_tls("h2").wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()[5:]


def record(content: bytes) -> bytes:
    return bytes([HANDSHAKE, 3, 1]) + len(content).to_bytes(2, "big") + content


def with_extension(message: bytes, length: int) -> bytes:
    """The same with an extension that nobody knows (RFC 8701), as long as this."""
    session = 4 + 2 + 32
    at = session + 1 + message[session]
    at += 2 + int.from_bytes(message[at:at + 2], "big")
    at += 1 + message[at]
    extensions = message[at + 2:] + b"\x3a\x3a" + length.to_bytes(2, "big") + bytes(length)
    body = message[4:at] + len(extensions).to_bytes(2, "big") + extensions
    return bytes([CLIENT_HELLO]) + len(body).to_bytes(3, "big") + body


def test_client_hello_in_records_of_a_byte(daemon: Daemon) -> None:
    said = b"".join(record(bytes([byte])) for byte in client_hello())
    with connect(daemon) as connection:
        connection.sendall(said)
        assert connection.recv(1) == bytes([HANDSHAKE])


def long_hello() -> bytes:
    """Of 16 KiB and some, in two records."""
    said = with_extension(client_hello(), 1 << 14)
    return record(said[:1 << 14]) + record(said[1 << 14:])


def send_by_segments(connection: socket.socket, said: bytes) -> None:
    """A segment for each piece: one is never the whole of a post-quantum key share."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(said), SEGMENT):
        connection.sendall(said[start:start + SEGMENT])


@pytest.mark.parametrize("send", [socket.socket.sendall, send_by_segments], ids=["whole", "segments"])
def test_client_hello_of_16_kib(daemon: Daemon, send: Callable[[socket.socket, bytes], None]) -> None:
    with connect(daemon) as connection:
        send(connection, long_hello())
        assert connection.recv(1) == bytes([HANDSHAKE])


@pytest.mark.parametrize("send", [socket.socket.sendall, send_by_segments], ids=["whole", "segments"])
def test_client_hello_of_16_kib_without_tls_reads_the_alert(daemon: Daemon, send: Callable[[socket.socket, bytes], None]) -> None:
    """The alert is sent for the first bytes; those that follow don't make the kernel take it back."""
    with connect(daemon, "plain") as connection:
        send(connection, long_hello())
        assert read_all(connection) == b"\x15\x03\x01\x00\x02\x02\x0a"


def test_client_hello_that_is_too_long(daemon: Daemon) -> None:
    since = daemon.log_position()
    assert told(daemon, record(bytes([CLIENT_HELLO]) + b"\xff\xff\xff" + bytes(1000)))[:1] == b"\x15"
    daemon.wait_for_log("notice .*TLS handshake failed: excessive message size", since)


def test_client_hello_that_never_ends(start: Start) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with connect(daemon) as connection:
        connection.sendall(record(bytes([CLIENT_HELLO]) + (100_000).to_bytes(3, "big") + bytes(1000)) +
                           record(bytes(1000)) * 50)
        read_all(connection, seconds=5)
        watch.assert_between(LIMIT)
    daemon.wait_for_log("notice .*header-timeout: ")
    daemon.connect().assert_answered()


def test_records_of_no_content_before_the_handshake(daemon: Daemon) -> None:
    since = daemon.log_position()
    told(daemon, record(b"") * FLOOD)
    daemon.wait_for_log("notice .*TLS handshake failed: ", since)


@pytest.mark.parametrize("said, words", [
    (b"GET / HTTP/1.1\r\n\r\n" * 10, TYPE),
    (b"\x17\x03\x03\xff\xff" + bytes(100), LENGTH),
    (b"\x17\x03\x03\x00\x28" + bytes(40), MAC),
    (b"\x15\x03\x03\x00\x02\x02\x28", "alert handshake failure"),
    (b"\x15\x03\x03\x00\x02\x02\x30", "alert unknown ca"),
], ids=["text", "record too long", "wrong MAC", "alert", "another alert"])
def test_what_follows_the_client_hello(daemon: Daemon, said: bytes, words: str) -> None:
    since = daemon.log_position()
    told(daemon, record(client_hello()) + said)
    daemon.wait_for_log(f"notice .*TLS handshake failed: {words}$", since)
