"""Hostile peers against the daemon as it is: each meets what the manual's LIMITS say, and a neighbour on another
connection is answered all the while. Memory that is held is test_memory's."""
from __future__ import annotations

import select
from typing import Callable

import pytest

from conftest import Start
from daemon import Daemon
from frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED, PING, PRIORITY,
                    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal, number)
from hostile import (GET_BLOCK, POST_BLOCK, Neighbour, Record, assert_goaway, on_streams, request, send_until_closed,
                     stream_ids)
from waiting import Stopwatch
from wire import (CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, LAST_STREAM, PROTOCOL_ERROR,
                  STREAM_CLOSED, Client, fields)

pytestmark = pytest.mark.heavy
TRANSPORTS = ("plain", "tls")

REFUSED_STREAM = 7
MANY, FLOOD = 3000, 20000  # more than may be reset at once, more than may bring nothing
MEMORY = 2048  # KiB that a client may make the daemon take that lets its answers go
COST = 5_000   # requests that could be answered instead of a flood, ten times what it takes; a spin costs them in 0.2 s
WINDOW = 4     # SETTINGS_INITIAL_WINDOW_SIZE
CODE = (8).to_bytes(4, "big")
SELF = b"\0\0\0\0\x10"  # a dependency on the stream 0, of weight 17


def stands(start: Start, record: Record, attack: Callable[[Daemon], list[Client]],
           *options: str, attackers: int = 1, memory: int = MEMORY, cost: float = COST) -> None:
    """Let the attack happen beside a neighbour."""
    daemon = start(*options)
    with Neighbour(daemon, attackers) as watch:
        clients = attack(daemon)
    watch.assert_harmless(clients, memory, cost)
    record("figures", watch.summary())


# --- floods that end with GOAWAY ---

def first_words(client: Client) -> int:
    """Said before the flood: a body that is under way, whose stream keeps the connection from being empty."""
    client.send(request(1, POST_BLOCK, end=False))
    return 3


def reset_by_overflow(stream: int) -> bytes:
    return request(stream, POST_BLOCK, end=False) + frame(WINDOW_UPDATE, 0, stream, number(LAST_STREAM))


def too_much_content(stream: int) -> bytes:
    block = POST_BLOCK + literal(b"content-length", b"1")
    return request(stream, block, end=False) + frame(DATA, 0, stream, b"two")


def endless(stream: int, piece: bytes, count: int) -> bytes:
    return frame(HEADERS, 0, stream, GET_BLOCK) + frame(CONTINUATION, 0, stream, piece) * count


ENTRY = literal(b"x", b"\xff" * 4000, first=0x40)  # fills the dynamic table, whose first entry is 62:
PLAIN_ENTRY = literal(b"x", b"y" * 4000, first=0x40)
REFERENCE = b"\xbe"

CALMED = {  # what is sent behind first_words: ENHANCE_YOUR_CALM
    # streams that end at once: CVE-2023-44487, CVE-2025-8671
    "rapid-reset": on_streams(lambda s: request(s) + frame(RST_STREAM, 0, s, CODE), MANY, 3),
    "rapid-reset-of-bodies": on_streams(lambda s: request(s, POST_BLOCK, False) + frame(RST_STREAM, 0, s, CODE), MANY, 3),
    "provoked-by-window-overflow": on_streams(reset_by_overflow, MANY, 3),
    "provoked-by-malformed-fields": on_streams(lambda s: request(s, GET_BLOCK + literal(b"te", b"no")), MANY, 3),
    "provoked-by-missing-fields": on_streams(lambda s: request(s, b"\x82"), MANY, 3),
    "provoked-by-content-length": on_streams(lambda s: request(s, GET_BLOCK + literal(b"content-length", b"9")), MANY, 3),
    "provoked-by-too-much-content": on_streams(too_much_content, MANY, 3),
    "empty-field-names": on_streams(lambda s: request(s, GET_BLOCK + literal(b"", b"x") * 20), MANY, 3),  # CVE-2019-9516
    "empty-headers": on_streams(lambda s: request(s, b"", False), MANY, 3),  # CVE-2019-9518
    # header blocks that do not end: CVE-2024-28182
    "continuation": endless(3, literal(b"a", b"b"), FLOOD),
    "continuation-empty": endless(3, b"", FLOOD),
    "continuation-large": endless(3, literal(b"a", b"b" * 16000), 40),
    "continuation-malformed": endless(3, literal(b"A", b"b"), FLOOD),
    # frames that bring nothing: CVE-2019-9512, -9515, -9518, -9513, -9511
    "ping": frame(PING, 0, 0, b"12345678") * FLOOD,
    "settings": frame(SETTINGS) * FLOOD,
    "empty-data": frame(DATA, 0, 1) * FLOOD,
    "empty-padded-data": frame(DATA, PADDED, 1, b"\0") * FLOOD,
    "priority": on_streams(lambda s: frame(PRIORITY, 0, s, SELF), FLOOD, 3),
    "priority-loops": on_streams(lambda s: frame(PRIORITY, 0, s % 200 + 2, number(s % 190 + 1) + b"\xff"), FLOOD, 3),
    "unknown-frames": frame(0xbb, 0xff, 1, b"what") * FLOOD,
    "window-by-the-byte": frame(WINDOW_UPDATE, 0, 1, number(1)) * FLOOD,
    "connection-window-by-the-byte": frame(WINDOW_UPDATE, 0, 0, number(1)) * FLOOD,
    # much in few frames: CVE-2020-11080, HPACK
    "many-settings": frame(SETTINGS, 0, 0, (b"\0\1" + number(4096)) * 2700) * 20,
    "hpack-bomb": request(3, GET_BLOCK + ENTRY + REFERENCE * 14000),
}


@pytest.mark.parametrize("case", CALMED)
def test_flood_ends_the_connection(start: Start, record_property: Record, case: str) -> None:
    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect()
        first_words(client)
        send_until_closed(client, CALMED[case])
        assert_goaway(client, ENHANCE_YOUR_CALM)
        return [client]
    stands(start, record_property, attack)


@pytest.mark.parametrize("case", ["ping", "settings", "provoked-by-malformed-fields", "rapid-reset"])
def test_flood_whose_answers_nobody_reads(start: Start, record_property: Record,
                                          case: str) -> None:
    """The queue of what is to be sent doesn't grow: as long as nobody reads there, nobody reads here."""
    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect(receive_buffer=4096)
        first_words(client)
        send_until_closed(client, CALMED[case], reading=False)
        assert_goaway(client, ENHANCE_YOUR_CALM)
        return [client]
    stands(start, record_property, attack)


# --- errors that end the connection at once ---

FATAL = {  # behind first_words, with the settings acknowledged
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
    "stream-id-that-goes-back": (request(LAST_STREAM) + request(LAST_STREAM - 2), PROTOCOL_ERROR),
    "padding-longer-than-the-frame": (frame(DATA, PADDED, 1, b"\xff"), PROTOCOL_ERROR),
    "index-that-is-not-there": (request(3, GET_BLOCK + b"\xff\xff\x7f"), COMPRESSION_ERROR),
    "value-of-100-KiB": (request(3, GET_BLOCK + literal(b"x", b"y" * 100_000)), COMPRESSION_ERROR),
}


@pytest.mark.parametrize("case", FATAL)
def test_error_ends_the_connection(start: Start, record_property: Record, case: str) -> None:
    words, code = FATAL[case]

    def attack(daemon: Daemon) -> list[Client]:
        client = daemon.connect({WINDOW: 0})
        first_words(client)
        client.ping()
        send_until_closed(client, words)
        assert_goaway(client, code)
        return [client]
    stands(start, record_property, attack)


# --- what is borne ---

def streams_before_the_limit_is_known(daemon: Daemon) -> Client:
    """Those above it are refused one by one, until the client must have known it."""
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


def lists_over_the_limit(daemon: Daemon) -> Client:
    """A kilobyte each that comes to one of 400 KB: 431 every time."""
    client = daemon.connect()
    client.send(frame(WINDOW_UPDATE, 0, 0, number(1 << 30)), request(1, GET_BLOCK + ENTRY))
    client.send(on_streams(lambda s: request(s, GET_BLOCK + REFERENCE * 100), 50, 3))
    for stream in stream_ids(50, 3):
        assert client.wait(stream).status == 431
    return client


def repeated_fields(daemon: Daemon) -> Client:
    """As many fields of one name as the limit allows, whose values have to be put together."""
    client = daemon.connect()
    block = GET_BLOCK + literal(b"a", b"", first=0x40) + REFERENCE * 1900
    for first in range(1, 400, 200):
        client.send(on_streams(lambda s: request(s, block), 100, first))
        for stream in stream_ids(100, first):
            assert client.wait(stream).status == 200
    return client


def content_by_the_byte(daemon: Daemon) -> Client:
    """One byte of content in 266 of a frame."""
    client = daemon.connect()
    client.send(request(1, POST_BLOCK, False), frame(DATA, PADDED, 1, b"\xffx" + b"\0" * 255) * 3500,
                frame(DATA, END_STREAM, 1))
    assert client.wait(1).status == 200
    return client


def answer_by_the_byte(daemon: Daemon) -> Client:
    """A large answer is taken through a window of one byte (CVE-2019-9511, -9517)."""
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
    """After it there is none, and the client needs another connection."""
    client = daemon.connect()
    client.next_stream = LAST_STREAM - 2
    client.assert_answered()
    client.assert_answered()
    client.close()
    return daemon.connect()


def windows_that_open_and_shut(daemon: Daemon) -> Client:
    """SETTINGS change every stream's window: here 128 answers' at each frame."""
    client = daemon.connect({WINDOW: 0})
    client.send(on_streams(request, 128))
    client.send(*(frame(SETTINGS, 0, 0, b"\0\4" + number(step % 2)) for step in range(2000)))
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(65535)))
    for stream in stream_ids(128):
        assert client.wait(stream).status == 200
    return client


BORNE = [streams_before_the_limit_is_known, lists_over_the_limit, repeated_fields, content_by_the_byte,
         answer_by_the_byte, last_stream_id, windows_that_open_and_shut]


@pytest.mark.parametrize("act", BORNE, ids=lambda act: act.__name__.replace("_", "-"))
def test_what_is_borne(start: Start, record_property: Record,
                       act: Callable[[Daemon], Client]) -> None:
    """The connection goes on."""
    def attack(daemon: Daemon) -> list[Client]:
        client = act(daemon)
        client.next_stream = max(client.answers, default=-1) + 2
        client.assert_answered()
        return [client]
    stands(start, record_property, attack, attackers=2, cost=8 * COST)


# --- slowness: several at once, each of whom is ended within its time-out and a second ---

LIMIT, TEXT = 0.5, "500ms"
CROWD, FEW = 8, 3


def header_block_by_the_byte(client: Client) -> Callable[[], bytes]:
    client.send(frame(HEADERS, END_STREAM, 1, GET_BLOCK))
    return lambda: frame(CONTINUATION, 0, 1, b"\0\1a\1b")


def body_that_stops(client: Client) -> Callable[[], bytes]:
    client.send(request(1, POST_BLOCK, False), frame(DATA, 0, 1, b"some"))
    return lambda: frame(PING, 0, 0, b"12345678")


def window_that_stays_shut(client: Client) -> Callable[[], bytes]:
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), request(1))
    return lambda: frame(PING, 0, 0, b"12345678")


def window_of_crumbs(client: Client) -> Callable[[], bytes]:
    client.send(frame(SETTINGS, 0, 0, b"\0\4" + number(0)), request(1, GET_BLOCK + literal(b"x", b"y" * 20000)))
    return lambda: frame(WINDOW_UPDATE, 0, 1, number(1))


SLOW_ONES = {
    "header-block-by-the-byte": ("header-timeout", header_block_by_the_byte, ENHANCE_YOUR_CALM),
    "body-that-stops": ("stream-timeout", body_that_stops, None),
    "window-that-stays-shut": ("stream-timeout", window_that_stays_shut, None),
    "window-of-crumbs": ("stream-timeout", window_of_crumbs, None),
}


@pytest.mark.parametrize("case", SLOW_ONES)
def test_slow_ones_are_ended(start: Start, record_property: Record, case: str) -> None:
    timeout, begin, code = SLOW_ONES[case]

    def attack(daemon: Daemon) -> list[Client]:
        clients = [daemon.connect(refill=False) for _ in range(CROWD)]
        for client in clients:
            client.ping()
        watch = Stopwatch()
        crumbs = [(client, begin(client)) for client in clients]
        dribble(crumbs)
        for client in clients:
            if code is None:
                assert client.wait(1).reset == CANCEL
            else:
                assert_goaway(client, code)
        watch.assert_between(LIMIT)
        return clients
    stands(start, record_property, attack, f"--{timeout}={TEXT}", attackers=CROWD)


def dribble(crumbs: list[tuple[Client, Callable[[], bytes]]]) -> None:
    """Send a crumb to each now and then, until one is told something that is no PING's answer."""
    watch = Stopwatch()
    while watch.seconds() < LIMIT * 0.9:
        for client, crumb in crumbs:
            client.send(crumb())
        select.select([], [], [], LIMIT / 20)


def test_peers_that_take_nothing(start: Start, record_property: Record) -> None:
    """Megabytes are asked for through windows that are wide open, and not read."""
    def attack(daemon: Daemon) -> list[Client]:
        clients = [daemon.connect({WINDOW: LAST_STREAM}, receive_buffer=4096) for _ in range(FEW)]
        watch = Stopwatch()
        for client in clients:
            client.send(frame(WINDOW_UPDATE, 0, 0, number(LAST_STREAM - 65535)), request(1, GET_BLOCK + PLAIN_ENTRY),
                        on_streams(lambda s: request(s, GET_BLOCK + REFERENCE * 15), 100, 3))
        for client in clients:
            hung_up = select.poll()
            hung_up.register(client.socket, select.POLLHUP)
            assert hung_up.poll(20_000), "it isn't cut off"
        watch.assert_between(LIMIT)
        return clients
    # What 100 answers of 60 KB each hold until they go.
    stands(start, record_property, attack, f"--write-timeout={TEXT}", attackers=FEW, memory=FEW * 22 * 1024,
           cost=4 * COST)
