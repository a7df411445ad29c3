"""Attacks by HTTP/2: each is ended or tolerated as h2echod(8) says under LIMITS, at a bounded cost, while another client
is served. Attacks on memory are in test_memory.py."""
from __future__ import annotations

import select
from typing import Callable

import pytest

from conftest import Start
from daemon import Daemon
from frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED, PING, PRIORITY,
                    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal, number)
from hostile import (GET_BLOCK, POST_BLOCK, Record, assert_goaway, on_streams, request, run_attack, send_until_closed,
                     stream_ids)
from waiting import Stopwatch
from wire import (CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, LAST_STREAM, PROTOCOL_ERROR,
                  STREAM_CLOSED, Client, fields)

pytestmark = pytest.mark.heavy
TRANSPORTS = ("plain", "tls")

REFUSED_STREAM = 7
MANY, FLOOD = 3000, 20000  # streams, frames: more of them than are tolerated
MEMORY = 2048  # KiB that an attack may cost whose client reads its answers
COST = 5_000   # requests that could be answered instead: ten times what a flood costs; a busy loop for 0.2 s costs it
WINDOW = 4     # SETTINGS_INITIAL_WINDOW_SIZE
CODE = (8).to_bytes(4, "big")
ON_STREAM_0 = b"\0\0\0\0\x10"  # a dependency on stream 0, of weight 17


# --- floods that end with GOAWAY ---

def send_open_request(client: Client) -> None:
    """A request without the end of its body: the connection has an open stream during the flood."""
    client.send(request(1, POST_BLOCK, end=False))


def reset_by_overflow(stream: int) -> bytes:
    return request(stream, POST_BLOCK, end=False) + frame(WINDOW_UPDATE, 0, stream, number(LAST_STREAM))


def too_much_content(stream: int) -> bytes:
    block = POST_BLOCK + literal(b"content-length", b"1")
    return request(stream, block, end=False) + frame(DATA, 0, stream, b"two")


def block_without_end(stream: int, piece: bytes, count: int) -> bytes:
    return frame(HEADERS, 0, stream, GET_BLOCK) + frame(CONTINUATION, 0, stream, piece) * count


ENTRY = literal(b"x", b"\xff" * 4000, first=0x40)  # fills the dynamic table; its index is 62
PLAIN_ENTRY = literal(b"x", b"y" * 4000, first=0x40)
REFERENCE = b"\xbe"

CALMED = {  # data sent after send_open_request that ends the connection with ENHANCE_YOUR_CALM
    # streams that end early: CVE-2023-44487, CVE-2025-8671
    "rapid-reset": on_streams(lambda s: request(s) + frame(RST_STREAM, 0, s, CODE), MANY, 3),
    "rapid-reset-of-bodies": on_streams(lambda s: request(s, POST_BLOCK, False) + frame(RST_STREAM, 0, s, CODE),
                                        MANY, 3),
    "provoked-by-window-overflow": on_streams(reset_by_overflow, MANY, 3),
    "provoked-by-malformed-fields": on_streams(lambda s: request(s, GET_BLOCK + literal(b"te", b"no")), MANY, 3),
    "provoked-by-missing-fields": on_streams(lambda s: request(s, b"\x82"), MANY, 3),
    "provoked-by-content-length": on_streams(lambda s: request(s, GET_BLOCK + literal(b"content-length", b"9")),
                                             MANY, 3),
    "provoked-by-too-much-content": on_streams(too_much_content, MANY, 3),
    "empty-field-names": on_streams(lambda s: request(s, GET_BLOCK + literal(b"", b"x") * 20), MANY, 3),  # CVE-2019-9516
    "empty-headers": on_streams(lambda s: request(s, b"", False), MANY, 3),  # CVE-2019-9518
    # header blocks without an end: CVE-2024-28182
    "continuation": block_without_end(3, literal(b"a", b"b"), FLOOD),
    "continuation-empty": block_without_end(3, b"", FLOOD),
    "continuation-large": block_without_end(3, literal(b"a", b"b" * 16000), 40),
    "continuation-malformed": block_without_end(3, literal(b"A", b"b"), FLOOD),
    # frames without effect: CVE-2019-9512, -9515, -9518, -9513, -9511
    "ping": frame(PING, 0, 0, b"12345678") * FLOOD,
    "settings": frame(SETTINGS) * FLOOD,
    "empty-data": frame(DATA, 0, 1) * FLOOD,
    "empty-padded-data": frame(DATA, PADDED, 1, b"\0") * FLOOD,
    "priority": on_streams(lambda s: frame(PRIORITY, 0, s, ON_STREAM_0), FLOOD, 3),
    "priority-loops": on_streams(lambda s: frame(PRIORITY, 0, s % 200 + 2, number(s % 190 + 1) + b"\xff"), FLOOD, 3),
    "unknown-frames": frame(0xbb, 0xff, 1, b"what") * FLOOD,
    "window-by-the-byte": frame(WINDOW_UPDATE, 0, 1, number(1)) * FLOOD,
    "connection-window-by-the-byte": frame(WINDOW_UPDATE, 0, 0, number(1)) * FLOOD,
    # few frames that cause much work: CVE-2020-11080, HPACK bomb
    "many-settings": frame(SETTINGS, 0, 0, (b"\0\1" + number(4096)) * 2700) * 20,
    "hpack-bomb": request(3, GET_BLOCK + ENTRY + REFERENCE * 14000),
}


@pytest.mark.parametrize("case", CALMED)
def test_flood_ends_the_connection(start: Start, record_property: Record, case: str) -> None:
    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect()
        send_open_request(client)
        send_until_closed(client, CALMED[case])
        assert_goaway(client, ENHANCE_YOUR_CALM)
        return [client]
    run_attack(start, record_property, attack, memory=MEMORY, cost=COST)


@pytest.mark.parametrize("case", ["ping", "settings", "provoked-by-malformed-fields", "rapid-reset"])
def test_flood_whose_answers_are_not_read(start: Start, record_property: Record, case: str) -> None:
    """The output queue does not grow: while the client does not read, the daemon does not read either."""
    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect(receive_buffer=4096)
        send_open_request(client)
        send_until_closed(client, CALMED[case], reading=False)
        assert_goaway(client, ENHANCE_YOUR_CALM)
        return [client]
    run_attack(start, record_property, attack, memory=MEMORY, cost=COST)


# --- errors that end the connection at once ---

FATAL = {  # data sent after send_open_request and the ACK of SETTINGS, and the error code
    "window-update-of-0": (frame(WINDOW_UPDATE, 0, 1, number(0)), PROTOCOL_ERROR),
    "connection-window-overflow": (frame(WINDOW_UPDATE, 0, 0, number(LAST_STREAM)), FLOW_CONTROL_ERROR),
    "window-overflow-by-settings": (on_streams(lambda s: request(s) + frame(WINDOW_UPDATE, 0, s, number(1)), 127, 3) +
                                    frame(SETTINGS, 0, 0, b"\0\4" + number(LAST_STREAM)), FLOW_CONTROL_ERROR),
    "settings-ack-for-nothing": (frame(SETTINGS, 1), PROTOCOL_ERROR),
    "data-after-the-end": (request(3) + frame(DATA, 0, 3, b"more"), STREAM_CLOSED),
    "headers-after-the-end": (request(3) + request(3), STREAM_CLOSED),
    "priority-on-itself": (frame(PRIORITY, 0, 3, number(3) + b"\0"), PROTOCOL_ERROR),
    "headers-on-itself": (frame(HEADERS, END_HEADERS | END_STREAM | HAS_PRIORITY, 3, number(3) + b"\0" + GET_BLOCK),
                          PROTOCOL_ERROR),
    "more-streams-than-allowed": (on_streams(lambda s: request(s, POST_BLOCK, False), 129, 3), PROTOCOL_ERROR),
    "stream-id-that-decreases": (request(LAST_STREAM) + request(LAST_STREAM - 2), PROTOCOL_ERROR),
    "padding-longer-than-the-frame": (frame(DATA, PADDED, 1, b"\xff"), PROTOCOL_ERROR),
    "index-that-does-not-exist": (request(3, GET_BLOCK + b"\xff\xff\x7f"), COMPRESSION_ERROR),
    "value-of-100-KiB": (request(3, GET_BLOCK + literal(b"x", b"y" * 100_000)), COMPRESSION_ERROR),
}


@pytest.mark.parametrize("case", FATAL)
def test_error_ends_the_connection(start: Start, record_property: Record, case: str) -> None:
    data, code = FATAL[case]

    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect({WINDOW: 0})
        send_open_request(client)
        client.ping()
        send_until_closed(client, data)
        assert_goaway(client, code)
        return [client]
    run_attack(start, record_property, attack, memory=MEMORY, cost=COST)


# --- attacks that are tolerated ---

def streams_before_the_limit_is_known(daemon: Daemon) -> Client:
    """Streams above the limit are refused one by one as long as the client may not know the limit."""
    client = daemon.open_connection()
    client.acknowledge = False
    client.send_preface()
    client.send(on_streams(lambda s: request(s, POST_BLOCK, False), 228))
    assert {client.wait(s).reset for s in stream_ids(100, 257)} == {REFUSED_STREAM}
    assert not any(client.answer(s).finished for s in stream_ids(128))
    client.send(*(frame(DATA, END_STREAM, s) for s in stream_ids(128)))
    for stream in stream_ids(128):
        assert client.wait(stream).status == 200
    return client


def field_sections_over_the_limit(daemon: Daemon) -> Client:
    """Blocks of 100 bytes that decode to 400 KB: each request is answered with 431."""
    client = daemon.connect()
    client.send(frame(WINDOW_UPDATE, 0, 0, number(1 << 30)), request(1, GET_BLOCK + ENTRY))
    client.send(on_streams(lambda s: request(s, GET_BLOCK + REFERENCE * 100), 50, 3))
    for stream in stream_ids(50, 3):
        assert client.wait(stream).status == 431
    return client


def repeated_fields(daemon: Daemon) -> Client:
    """As many fields of one name as the limit allows, whose values must be joined."""
    client = daemon.connect()
    block = GET_BLOCK + literal(b"a", b"", first=0x40) + REFERENCE * 1900
    for first in range(1, 400, 200):
        client.send(on_streams(lambda s: request(s, block), 100, first))
        for stream in stream_ids(100, first):
            assert client.wait(stream).status == 200
    return client


def data_frames_with_one_byte(daemon: Daemon) -> Client:
    """Frames of 266 bytes with one byte of content."""
    client = daemon.connect()
    client.send(request(1, POST_BLOCK, False), frame(DATA, PADDED, 1, b"\xffx" + b"\0" * 255) * 3500,
                frame(DATA, END_STREAM, 1))
    assert client.wait(1).status == 200
    return client


def answer_in_single_bytes(daemon: Daemon) -> Client:
    """A large answer is read through a window of one byte (CVE-2019-9511, -9517)."""
    client = daemon.connect({WINDOW: 0}, refill=False)
    wanted = fields("/", "GET", ("x", "y" * 20000))
    stream = client.send_request(wanted)
    for taken in range(1000):
        client.send(frame(WINDOW_UPDATE, 0, stream, number(1)))
        client.read_until(lambda: len(client.answer(stream).body) > taken, "a byte")
    assert set(client.answer(stream).data_lengths) == {1}
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(65535)))
    client.wait(stream).assert_echo(wanted)
    return client


def last_stream_id(daemon: Daemon) -> Client:
    """No further stream is possible after it, so the client needs another connection."""
    client = daemon.connect()
    client.next_stream = LAST_STREAM - 2
    client.assert_answered()
    client.assert_answered()
    client.close()
    return daemon.connect()


def windows_that_open_and_close(daemon: Daemon) -> Client:
    """Each SETTINGS frame changes the windows of 128 streams."""
    client = daemon.connect({WINDOW: 0})
    client.send(on_streams(request, 128))
    client.send(*(frame(SETTINGS, 0, 0, b"\0\4" + number(step % 2)) for step in range(2000)))
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(65535)))
    for stream in stream_ids(128):
        assert client.wait(stream).status == 200
    return client


TOLERATED = [streams_before_the_limit_is_known, field_sections_over_the_limit, repeated_fields,
             data_frames_with_one_byte, answer_in_single_bytes, last_stream_id, windows_that_open_and_close]


@pytest.mark.parametrize("act", TOLERATED, ids=lambda act: act.__name__.replace("_", "-"))
def test_tolerated_attack(start: Start, record_property: Record, act: Callable[[Daemon], Client]) -> None:
    """The connection goes on."""
    def attack(daemon: Daemon) -> list[Client]:
        client = act(daemon)
        client.next_stream = max(client.answers, default=-1) + 2
        client.assert_answered()
        return [client]
    run_attack(start, record_property, attack, attackers=2, memory=MEMORY, cost=8 * COST)


# --- slow clients: several at once, each of which is ended at its timeout ---

LIMIT, TEXT = 0.5, "500ms"
MANY_CLIENTS, FEW_CLIENTS = 8, 3


# Each begins something on a client's connection, and returns what makes the next bytes that keep it going.

def slow_header_block(client: Client) -> Callable[[], bytes]:
    client.send(frame(HEADERS, END_STREAM, 1, GET_BLOCK))
    return lambda: frame(CONTINUATION, 0, 1, b"\0\1a\1b")


def body_that_stops(client: Client) -> Callable[[], bytes]:
    client.send(request(1, POST_BLOCK, False), frame(DATA, 0, 1, b"some"))
    return lambda: frame(PING, 0, 0, b"12345678")


def window_that_stays_closed(client: Client) -> Callable[[], bytes]:
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), request(1))
    return lambda: frame(PING, 0, 0, b"12345678")


def window_that_opens_by_single_bytes(client: Client) -> Callable[[], bytes]:
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), request(1, GET_BLOCK + literal(b"x", b"y" * 20000)))
    return lambda: frame(WINDOW_UPDATE, 0, 1, number(1))


SLOW_CLIENTS = {
    "slow-header-block": ("header-timeout", slow_header_block, ENHANCE_YOUR_CALM),
    "body-that-stops": ("stream-timeout", body_that_stops, None),
    "window-that-stays-closed": ("stream-timeout", window_that_stays_closed, None),
    "window-that-opens-by-single-bytes": ("stream-timeout", window_that_opens_by_single_bytes, None),
}


@pytest.mark.parametrize("case", SLOW_CLIENTS)
def test_slow_clients_are_timed_out(start: Start, record_property: Record, case: str) -> None:
    timeout, begin, code = SLOW_CLIENTS[case]

    def attack(daemon: Daemon) -> list[Client]:
        clients = [daemon.connect(refill=False) for _ in range(MANY_CLIENTS)]
        for client in clients:
            client.ping()
        watch = Stopwatch()
        send_slowly_on_all([(client, begin(client)) for client in clients])
        for client in clients:
            if code is None:
                assert client.wait(1).reset == CANCEL
            else:
                assert_goaway(client, code)
        watch.assert_between(LIMIT)
        return clients
    run_attack(start, record_property, attack, f"--{timeout}={TEXT}", attackers=MANY_CLIENTS, memory=MEMORY, cost=COST)


def send_slowly_on_all(clients: list[tuple[Client, Callable[[], bytes]]]) -> None:
    """Send a few bytes on each connection from time to time, until the timeout is near."""
    watch = Stopwatch()
    while watch.seconds() < LIMIT * 0.9:
        for client, next_bytes in clients:
            client.send(next_bytes())
        select.select([], [], [], LIMIT / 20)


def test_clients_that_do_not_read(start: Start, record_property: Record) -> None:
    """Megabytes of answers are requested through open windows, and not read."""
    def attack(daemon: Daemon) -> list[Client]:
        clients = [daemon.connect({WINDOW: LAST_STREAM}, receive_buffer=4096) for _ in range(FEW_CLIENTS)]
        watch = Stopwatch()
        for client in clients:
            client.send(frame(WINDOW_UPDATE, 0, 0, number(LAST_STREAM - 65535)), request(1, GET_BLOCK + PLAIN_ENTRY),
                        on_streams(lambda s: request(s, GET_BLOCK + REFERENCE * 15), 100, 3))
        for client in clients:
            closed = select.poll()
            closed.register(client.socket, select.POLLHUP)
            assert closed.poll(20_000), "the daemon does not close the connection"
        watch.assert_between(LIMIT)
        return clients
    # Memory: 100 answers of 60 KB each are kept until the connection ends.
    run_attack(start, record_property, attack, f"--write-timeout={TEXT}", attackers=FEW_CLIENTS,
               memory=FEW_CLIENTS * 22 * 1024, cost=4 * COST)
