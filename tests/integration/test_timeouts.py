"""Timeouts: each ends a slow connection or stream, not before its time, and does not affect other clients."""
from __future__ import annotations

import select
import time

import pytest
from hyperframe.frame import (ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame,
                              WindowUpdateFrame)

from conftest import Start
from daemon import Daemon
from waiting import SLOW, Deadline, Stopwatch, poll
from wire import CANCEL, ENHANCE_YOUR_CALM, MAGIC, NO_ERROR, Client, fields, read_all

TRANSPORTS = ("plain", "tls")

LIMIT = 0.4  # seconds: the value of every timeout here
TEXT = f"{LIMIT * 1000:.0f}ms"
WINDOW = SettingsFrame.INITIAL_WINDOW_SIZE


def assert_other_client_is_answered(daemon: Daemon) -> None:
    watch = Stopwatch()
    with daemon.connect() as client:
        client.assert_answered("/other")
    assert watch.seconds() < LIMIT * SLOW


def assert_logged(daemon: Daemon, level: str, what: str) -> None:
    daemon.wait_for_log(rf"{level} connection 1 from 127\.0\.0\.1:\d+.*: .*{what}")


def send_slowly(client: Client, pieces: list[bytes], pause: float = LIMIT / 4) -> None:
    """Send the pieces, with pauses between them, until the daemon sends something or closes."""
    for piece in pieces:
        if select.select([client.socket], [], [], pause)[0]:
            return
        client.send(piece)


# --- header-timeout ---

@pytest.mark.parametrize("first", [b"", b"PRI * HT", b"GET / HTT", b"\x16", MAGIC[:23]],
                         ids=["nothing", "preface", "http1", "tls", "preface-but-one"])
def test_incomplete_preface_is_closed_without_an_answer(start: Start, first: bytes) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    client = daemon.open_connection()
    client.send(first)
    assert_other_client_is_answered(daemon)
    assert read_all(client.socket) == b""
    watch.assert_between(LIMIT)
    assert_logged(daemon, "notice", "header-timeout")
    assert daemon.stats()["timed-out"] == 1


def test_slowly_sent_preface_is_closed(start: Start) -> None:
    """The timeout covers the whole preface: further bytes do not extend it."""
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    client = daemon.open_connection()
    send_slowly(client, [bytes([byte]) for byte in MAGIC])
    assert read_all(client.socket) == b""
    watch.assert_between(LIMIT)


def test_preface_without_settings_is_closed(start: Start) -> None:
    """The preface of a client includes a SETTINGS frame (RFC 9113 section 3.4)."""
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    client = daemon.open_connection()
    client.acknowledge = False  # else an ACK would be sent instead of the client's SETTINGS
    client.send(MAGIC)
    client.read_to_end()
    watch.assert_between(LIMIT)
    assert_logged(daemon, "notice", "header-timeout")


METHOD, PATH = b"\x82", b"\x84"  # entries of HPACK's static table
EMPTY = ContinuationFrame(1, b"").serialize()
FIELD = ContinuationFrame(1, b"\x00\x01a\x01b").serialize()
WITHOUT_END = {  # header blocks: their beginning, and what is then sent repeatedly
    "continuation": (HeadersFrame(1, METHOD).serialize(), FIELD),
    "empty-continuation": (HeadersFrame(1, METHOD).serialize(), EMPTY),
    "frame": (HeadersFrame(1, b"\x00\x7f" + b"x" * 150).serialize()[:20], b"x"),
    "nothing": (HeadersFrame(1, METHOD).serialize(), b""),
    "malformed": (HeadersFrame(1, METHOD + METHOD).serialize(), EMPTY),
    "pseudo-header-field-last": (HeadersFrame(1, b"\x00\x01a\x01b" + PATH).serialize(), EMPTY),
}


@pytest.mark.parametrize("case", WITHOUT_END)
def test_header_block_without_end(start: Start, case: str) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    client = daemon.connect()
    client.ping()
    first, more = WITHOUT_END[case]
    watch = Stopwatch()
    client.send(first)
    assert_other_client_is_answered(daemon)
    send_slowly(client, [more] * 20)
    client.read_to_end()
    watch.assert_between(LIMIT)
    assert [goaway.error_code for goaway in client.goaways] == [ENHANCE_YOUR_CALM]
    assert_logged(daemon, "notice", "header-timeout")


def test_each_header_block_has_its_own_timeout(start: Start) -> None:
    client = start(f"--header-timeout={TEXT}").connect()
    watch = Stopwatch()
    while watch.seconds() < 2 * LIMIT:
        block = client.headers(fields())
        client.send(block[:5])
        time.sleep(LIMIT / 8)
        client.send(block[5:])
        client.wait(client.next_stream - 2).assert_echo(fields())


def test_trailers_without_end(start: Start) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    client = daemon.connect()
    stream = client.send_request(fields("/", "POST"), end=False)
    client.ping()
    watch = Stopwatch()
    client.send(HeadersFrame(stream, b"", flags=["END_STREAM"]))
    client.read_to_end()
    watch.assert_between(LIMIT)
    assert client.goaways[-1].error_code == ENHANCE_YOUR_CALM


# --- idle-timeout ---

def test_idle_connection_gets_goaway(start: Start) -> None:
    daemon = start(f"--idle-timeout={TEXT}")
    client = daemon.connect()
    client.ping()
    watch = Stopwatch()
    client.assert_answered()
    assert_other_client_is_answered(daemon)
    assert client.read_to_end() == "end"
    watch.assert_between(LIMIT)
    assert [(goaway.error_code, goaway.last_stream_id) for goaway in client.goaways] == [(NO_ERROR, 1)]
    assert_logged(daemon, "info", "idle-timeout")


def test_idle_connection_without_any_request_is_closed(start: Start) -> None:
    watch = Stopwatch()
    client = start(f"--idle-timeout={TEXT}").connect()
    client.read_to_end()
    assert client.goaways[-1].error_code == NO_ERROR and watch.seconds() >= LIMIT


def test_frames_keep_a_connection_from_being_idle(start: Start) -> None:
    client = start(f"--idle-timeout={TEXT}").connect()
    watch = Stopwatch()
    while watch.seconds() < 3 * LIMIT:
        time.sleep(LIMIT / 4)
        client.ping()
    client.assert_answered()


def test_open_stream_keeps_a_connection_from_being_idle(start: Start) -> None:
    client = start(f"--idle-timeout={TEXT}").connect()
    stream = client.send_request(fields("/", "POST"), end=False)
    client.ping()
    assert select.select([client.socket], [], [], 2 * LIMIT)[0] == []
    client.send_body(stream, b"")
    client.wait(stream).assert_echo(fields("/", "POST"))


# --- stream-timeout ---

def test_body_that_stops_is_reset(start: Start) -> None:
    daemon = start(f"--stream-timeout={TEXT}")
    client = daemon.connect()
    stream = client.send_request(fields("/", "POST"), end=False)
    client.ping()
    watch = Stopwatch()
    client.send(DataFrame(stream, b"some"))
    assert_other_client_is_answered(daemon)
    answer = client.wait(stream)
    watch.assert_between(LIMIT)
    assert (answer.reset, answer.fields) == (CANCEL, [])
    assert_logged(daemon, "notice", "stream-timeout")
    client.assert_answered()


def test_body_that_does_not_begin_is_reset(start: Start) -> None:
    client = start(f"--stream-timeout={TEXT}").connect()
    watch = Stopwatch()
    assert client.wait(client.send_request(fields("/", "POST"), end=False)).reset == CANCEL
    watch.assert_between(LIMIT)
    client.assert_answered()


def test_other_frames_do_not_extend_the_stream_timeout(start: Start) -> None:
    client = start(f"--stream-timeout={TEXT}").connect()
    watch = Stopwatch()
    stream = client.send_request(fields("/", "POST"), end=False)
    while not client.answer(stream).finished:
        client.send(PingFrame(0, b"12345678"))
        client.assert_answered()
        time.sleep(LIMIT / 20)
        assert watch.seconds() < LIMIT + SLOW
    watch.assert_between(LIMIT)


def test_slowly_sent_body_is_not_reset(start: Start) -> None:
    client = start(f"--stream-timeout={TEXT}").connect()
    stream = client.send_request(fields("/", "POST"), end=False)
    watch = Stopwatch()
    while watch.seconds() < 3 * LIMIT:
        client.send(DataFrame(stream, b"x"))
        time.sleep(LIMIT / 4)
    client.send_body(stream, b"")
    client.wait(stream).assert_echo(fields("/", "POST"))


@pytest.mark.parametrize("window", [0, 10])
def test_answer_whose_window_stays_closed_is_reset(start: Start, window: int) -> None:
    daemon = start(f"--stream-timeout={TEXT}")
    client = daemon.connect({WINDOW: window}, refill=False)
    watch = Stopwatch()
    answer = client.wait(client.send_request(fields()))
    watch.assert_between(LIMIT)
    assert (answer.reset, answer.status, len(answer.body)) == (CANCEL, 200, window)
    assert_logged(daemon, "notice", "stream-timeout")
    client.send(SettingsFrame(0, settings={WINDOW: 65535}))
    client.assert_answered()


def test_answer_whose_window_opens_slowly_is_not_reset(start: Start) -> None:
    client = start(f"--stream-timeout={TEXT}").connect({WINDOW: 0}, refill=False)
    stream = client.send_request(fields())
    watch = Stopwatch()
    while watch.seconds() < 3 * LIMIT:
        client.send(WindowUpdateFrame(stream, 1))
        time.sleep(LIMIT / 4)
    client.send(WindowUpdateFrame(stream, 10000))
    client.wait(stream).assert_echo(fields())


# --- write-timeout ---

def request_megabytes(client: Client) -> None:
    """Send 100 small requests with answers of 60 KB each: 6 MB, more than the kernel buffers."""
    request = fields("/", "GET", *[("x", "y" * 3000)] * 20)
    client.send(*(client.headers(request) for _ in range(100)))


def client_that_does_not_read(daemon: Daemon, receive_buffer: int = 4096) -> Client:
    """A client that has requested megabytes, and is limited by TCP, not by HTTP/2's flow control."""
    client = daemon.connect({WINDOW: 2**31 - 1}, receive_buffer=receive_buffer)
    client.send(WindowUpdateFrame(0, 2**31 - 1 - 65535))
    request_megabytes(client)
    return client


def test_client_that_does_not_read_is_reset(start: Start) -> None:
    daemon = start(f"--write-timeout={TEXT}")
    watch = Stopwatch()
    client = client_that_does_not_read(daemon)
    assert_other_client_is_answered(daemon)
    ended = select.poll()
    ended.register(client.socket, select.POLLHUP)
    assert ended.poll(10_000 * SLOW), "the daemon does not close the connection"
    watch.assert_between(LIMIT)
    assert client.read_to_end() == "reset"
    assert_logged(daemon, "notice", "write-timeout")
    assert daemon.wait_for_stats(connections=0)["timed-out"] == 1


def test_client_that_does_not_read_the_last_data_is_reset(start: Start) -> None:
    """The daemon has sent everything, and waits until the client has read what the kernel still has."""
    daemon = start(f"--write-timeout={TEXT}")
    client = daemon.connect({WINDOW: 2**31 - 1}, receive_buffer=4096)
    client.send(WindowUpdateFrame(0, 2**31 - 1 - 65535))
    client.send(*(client.headers(fields("/last", "GET", *[("x", "y" * 3000)] * 20)) for _ in range(5)))
    poll(lambda: daemon.stats()["sent"] > 5 * 60_000, "all answers to be in the kernel's buffer")
    client.send(bytes.fromhex("000000 00 00 00000000"))  # DATA on stream 0: a connection error
    assert_logged(daemon, "notice", "GOAWAY")
    assert_other_client_is_answered(daemon)
    assert_logged(daemon, "notice", "write-timeout")
    assert daemon.wait_for_stats(connections=0)["timed-out"] == 1
    assert client.read_to_end() == "reset"


def longest_pause_while_reading_slowly(daemon: Daemon) -> float:
    """Read 6 MB slowly. Return the longest pause, which may be longer than intended on a busy machine."""
    # With a small buffer the kernel announces free space too late. With this size, it does so at every 64 KB
    # (RFC 9293 section 3.8.6.2.2).
    client = client_that_does_not_read(daemon, receive_buffer=128 * 1024)
    watch, before, longest = Stopwatch(), 0.0, 0.0
    try:
        while before < 4 * LIMIT:
            assert client.receive_unparsed(16 * 1024, Deadline(1)), "the daemon has closed the connection"
            time.sleep(LIMIT / 20)
            longest, before = max(longest, watch.seconds() - before), watch.seconds()
        client.read_until(lambda: all(client.answer(2 * number + 1).ended for number in range(100)),
                          "100 answers", seconds=20)
    except (AssertionError, ConnectionError):
        longest = max(longest, watch.seconds() - before)
        if longest < LIMIT:
            raise
    return longest


def test_client_that_reads_slowly_is_not_reset(start: Start) -> None:
    """The kernel wakes up the daemon only when a third of its send buffer is free, which may be a megabyte."""
    daemon = start(f"--write-timeout={TEXT}")
    poll(lambda: longest_pause_while_reading_slowly(daemon) < LIMIT, "a run without long pauses", seconds=60)
