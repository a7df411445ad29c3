"""Attacks below HTTP/2, by TLS records and messages: their cost is bounded while another client is served; and how
malformed records and ClientHellos are answered and logged."""
from __future__ import annotations

import socket
import time
from typing import Callable

import pytest

from conftest import Start
from daemon import Daemon
from frames import DATA, END_STREAM, SETTINGS, frame
from hostile import POST_BLOCK, Record, request, run_attack
from openssl import TLS_1_2, TLS_1_3, OpenSslClient
from tls import client_hello_record
from waiting import SLOW, Stopwatch
from wire import MAGIC, read_all

pytestmark = pytest.mark.heavy
TRANSPORTS = ("tls",)

LIMIT = 0.5 * min(SLOW, 4)  # seconds; another client's handshake must be finished within it, too
TEXT = f"{round(1000 * LIMIT)}ms"
IDLE = 1       # seconds without HTTP/2 data after which the daemon releases memory
MEMORY = 1024  # KiB
COST = 20_000  # requests that could be answered instead: ten times what these attacks cost
FLOOD = 5000   # messages or records
SEGMENT = 1220  # bytes of data in a TCP segment that every IPv6 path can carry
PREFACE, HANDSHAKE, CLIENT_HELLO = MAGIC + frame(SETTINGS), 0x16, 1


def wait_for_echo(client: OpenSslClient) -> None:
    """Read until the answer to a request arrives."""
    received = b""
    while b'{":method"' not in received:
        more = client.receive()
        assert more, f"{client.reason} after {received!r}"
        received += more


def assert_answered(client: OpenSslClient, stream: int) -> None:
    client.send(request(stream))
    wait_for_echo(client)


def connect_tcp(daemon: Daemon, transport: str = "tls") -> socket.socket:
    """A TCP connection; TLS messages are sent as bytes."""
    return socket.create_connection(daemon.addresses(transport)[0], 5 * SLOW)


def answer_over_tcp(daemon: Daemon, data: bytes) -> bytes:
    """Everything that the daemon sends for these bytes on a TCP connection."""
    with connect_tcp(daemon) as connection:
        connection.sendall(data)
        return read_all(connection)


# --- messages and records without effect ---

@pytest.mark.alone
@pytest.mark.parametrize("both", [False, True], ids=["client", "both"])
def test_key_updates(start: Start, record_property: Record, both: bool) -> None:
    def attack(daemon: Daemon) -> list[OpenSslClient]:
        client = OpenSslClient(daemon.address)
        client.send(PREFACE)
        for _ in range(FLOOD):
            client.update_keys(both)
        assert_answered(client, 1)
        return [client]
    run_attack(start, record_property, attack, memory=MEMORY, cost=COST)


@pytest.mark.parametrize("updates", [1, 2, 20])
def test_request_after_key_updates(start: Start, updates: int) -> None:
    """When the daemon is about to release a connection's memory, OpenSSL may have buffered a request that arrived with
    KeyUpdate messages. It must be answered without waiting for further bytes.

    Idle connections are looked at twice a second; with four connections at intervals, one is hit at the right time."""
    daemon = start()
    clients = []
    for _ in range(4):
        client = OpenSslClient(daemon.address)
        client.send(PREFACE)
        clients.append((client, Stopwatch()))
        time.sleep(0.12)
    for client, watch in clients:
        time.sleep(max(0.0, IDLE + 0.05 - watch.seconds()))
        with client.in_one_segment():
            for _ in range(updates):
                client.update_keys(both=False)
            client.send(request(1))
    for client, _ in clients:
        wait_for_echo(client)
        client.close()


def test_key_updates_do_not_extend_the_idle_timeout(start: Start) -> None:
    daemon = start(f"--idle-timeout={TEXT}", f"--write-timeout={TEXT}")
    client = OpenSslClient(daemon.address)
    client.send(PREFACE)
    watch = Stopwatch()
    with pytest.raises(ConnectionError):
        while watch.seconds() < 20 * SLOW:
            client.update_keys(both=True)
    daemon.wait_for_log("idle-timeout")
    client.close()
    daemon.connect().assert_answered()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_records_of_one_byte(start: Start, record_property: Record, version: int) -> None:
    data = PREFACE + request(1, POST_BLOCK, False) + frame(DATA, 0, 1, bytes(FLOOD)) + frame(DATA, END_STREAM, 1)

    def attack(daemon: Daemon) -> list[OpenSslClient]:
        client = OpenSslClient(daemon.address, version)
        for byte in data:
            client.send(bytes([byte]))
        assert_answered(client, 3)
        return [client]
    run_attack(start, record_property, attack, memory=MEMORY, cost=COST)


# --- records after the handshake ---

@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_close_notify_inside_a_frame(start: Start, version: int) -> None:
    daemon = start("--log-level=debug")
    client = OpenSslClient(daemon.address, version)
    client.send(PREFACE + request(1)[:-1])
    client.end()
    client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    daemon.wait_for_log("closed: by the peer")
    client.close()
    daemon.connect().assert_answered()


TYPE, LENGTH, MAC = "wrong record type or version", "record too long", "decryption failed or bad record mac"
CLEAR = (MAC, TYPE)  # with TLS 1.2, a record of this type may be encrypted
GARBAGE = {  # data, and the logged errors with TLS 1.2 and 1.3, which do not depend on OpenSSL's version
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
def test_garbage_after_the_handshake(daemon: Daemon, case: str, version: int) -> None:
    data, *errors = GARBAGE[case]
    since = daemon.log_position()
    client = OpenSslClient(daemon.address, version)
    client.send(PREFACE)
    assert client.receive(), client.reason
    client.socket.sendall(data)
    while client.receive():
        pass
    daemon.wait_for_log(f"notice .*TLS error: {errors[version == TLS_1_3]}$", since)
    client.close()
    daemon.connect().assert_answered()


# --- ClientHello ---

def client_hello_message() -> bytes:
    """A ClientHello, without the header of its record."""
    return client_hello_record()[5:]


def tls_record(content: bytes) -> bytes:
    return bytes([HANDSHAKE, 3, 1]) + len(content).to_bytes(2, "big") + content


def with_extension(message: bytes, length: int) -> bytes:
    """The message with an unknown extension of this length (RFC 8701)."""
    session = 4 + 2 + 32
    at = session + 1 + message[session]
    at += 2 + int.from_bytes(message[at:at + 2], "big")
    at += 1 + message[at]
    extensions = message[at + 2:] + b"\x3a\x3a" + length.to_bytes(2, "big") + bytes(length)
    body = message[4:at] + len(extensions).to_bytes(2, "big") + extensions
    return bytes([CLIENT_HELLO]) + len(body).to_bytes(3, "big") + body


def test_client_hello_in_records_of_one_byte(daemon: Daemon) -> None:
    data = b"".join(tls_record(bytes([byte])) for byte in client_hello_message())
    with connect_tcp(daemon) as connection:
        connection.sendall(data)
        assert connection.recv(1) == bytes([HANDSHAKE])


def long_client_hello() -> bytes:
    """A ClientHello of more than 16 KiB, in two records."""
    message = with_extension(client_hello_message(), 1 << 14)
    return tls_record(message[:1 << 14]) + tls_record(message[1 << 14:])


def send_in_segments(connection: socket.socket, data: bytes) -> None:
    """Send data in several TCP segments, as a long ClientHello (with a post-quantum key share) is sent."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(data), SEGMENT):
        connection.sendall(data[start:start + SEGMENT])


@pytest.mark.parametrize("send", [socket.socket.sendall, send_in_segments], ids=["whole", "segments"])
def test_client_hello_of_16_kib(daemon: Daemon, send: Callable[[socket.socket, bytes], None]) -> None:
    with connect_tcp(daemon) as connection:
        send(connection, long_client_hello())
        assert connection.recv(1) == bytes([HANDSHAKE])


@pytest.mark.parametrize("send", [socket.socket.sendall, send_in_segments], ids=["whole", "segments"])
def test_client_hello_of_16_kib_on_a_cleartext_port(daemon: Daemon,
                                                    send: Callable[[socket.socket, bytes], None]) -> None:
    """The alert answers the first bytes. The unread rest must not cause a reset that discards the alert."""
    with connect_tcp(daemon, "plain") as connection:
        send(connection, long_client_hello())
        assert read_all(connection) == b"\x15\x03\x01\x00\x02\x02\x0a"


def test_too_long_client_hello(daemon: Daemon) -> None:
    since = daemon.log_position()
    assert answer_over_tcp(daemon, tls_record(bytes([CLIENT_HELLO]) + b"\xff\xff\xff" + bytes(1000)))[:1] == b"\x15"
    daemon.wait_for_log("notice .*TLS handshake failed: excessive message size", since)


def test_incomplete_client_hello_is_timed_out(start: Start) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with connect_tcp(daemon) as connection:
        connection.sendall(tls_record(bytes([CLIENT_HELLO]) + (100_000).to_bytes(3, "big") + bytes(1000)) +
                           tls_record(bytes(1000)) * 50)
        read_all(connection, seconds=5)
        watch.assert_between(LIMIT)
    daemon.wait_for_log("notice .*header-timeout: ")
    daemon.connect().assert_answered()


def test_empty_records_before_the_handshake(daemon: Daemon) -> None:
    since = daemon.log_position()
    answer_over_tcp(daemon, tls_record(b"") * FLOOD)
    daemon.wait_for_log("notice .*TLS handshake failed: ", since)


@pytest.mark.parametrize("data, words", [
    (b"GET / HTTP/1.1\r\n\r\n" * 10, TYPE),
    (b"\x17\x03\x03\xff\xff" + bytes(100), LENGTH),
    (b"\x17\x03\x03\x00\x28" + bytes(40), MAC),
    (b"\x15\x03\x03\x00\x02\x02\x28", "alert handshake failure"),
    (b"\x15\x03\x03\x00\x02\x02\x30", "alert unknown ca"),
], ids=["text", "record too long", "wrong MAC", "alert", "another alert"])
def test_garbage_after_the_client_hello(daemon: Daemon, data: bytes, words: str) -> None:
    since = daemon.log_position()
    answer_over_tcp(daemon, tls_record(client_hello_message()) + data)
    daemon.wait_for_log(f"notice .*TLS handshake failed: {words}$", since)
