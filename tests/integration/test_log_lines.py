"""Log lines about connections: each error, reset, refusal and timeout is one line with the place, reason and rule."""
from __future__ import annotations

import re
import signal
from typing import Iterator

import pytest

from conftest import Start
from daemon import Daemon
from frames import (ACK, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, GET, GOAWAY, HAS_PRIORITY, HEADERS,
                    INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PING, POST, PUSH_PROMISE, SETTINGS, continuation,
                    data, frame, get, headers, literal, number, ping, post, priority, reset_stream, settings,
                    table_size_update, window_update)
from hostile import on_streams, send_until_closed
from rules import BLOCK, LARGEST, PREFACE
from waiting import Deadline, Stopwatch
from wire import DEFAULT_WINDOW, MAGIC, Client, Fields, Text, fields, read_all

PER_CONNECTION = 32  # lines of a level; one more says that further ones are omitted, and the last one is the error
BURST, PER_SECOND = 1000, 100  # lines about peers, of all connections together
CONNECTIONS = 150  # enough to exceed BURST


def line_prefix(client: Client) -> str:
    """A pattern for the beginning of lines about a client; its groups are the level and the stream."""
    return rf"(\w+) connection \d+ from {re.escape(client.name)}(?: stream (\d+))?: "


def lines_after_close(daemon: Daemon, client: Client) -> list[str]:
    """Close the client; return the log's lines about it."""
    prefix = line_prefix(client)
    client.close()
    daemon.wait_for_log(prefix + "(?:closed|cut|write-timeout): ", client.since)
    return lines_so_far(daemon, prefix, client.since)


def lines_so_far(daemon: Daemon, prefix: str, since: int) -> list[str]:
    """The log's lines about a client, without its opening and closing, as: level, stream, text."""
    lines = [match.groups() for match in daemon.log(prefix + "(.*)$", since)]
    return [f"{level} {f'stream {stream}: ' if stream else ''}{words}" for level, stream, words in lines
            if words != "open" and not words.startswith("closed: ")]


def wait_until_processed(client: Client) -> None:
    """Wait until everything sent has been processed: a PING sent now is acknowledged, or the connection ends."""
    client.send_if_open(ping(b"are-done"))
    deadline = Deadline(5)
    while b"are-done" not in client.ping_acks and client.read_frame(deadline):
        pass


def case(name: str, sent: bytes, *lines: str) -> object:
    """Bytes that are sent after the preface, and all lines that must be logged."""
    return pytest.param(sent, list(lines), id=name)


def get_with(name: Text, value: Text) -> bytes:
    """A request on stream 1 with this field added."""
    return headers(1, [*GET, (name, value)])


def headers_without(name: str) -> bytes:
    return headers(1, [pair for pair in GET if pair[0] != name])


def malformed(words: str) -> str:
    return f"notice stream 1: malformed request: field {words}"


def post_with_trailers(fields_: Fields, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return post(1) + data(1, b"body", 0) + headers(1, fields_, flags)


def error(name: str, sent: bytes, goaway: str, rule: str, stream: int = 0) -> object:
    """A connection error, with the only line that must be logged."""
    where = f"stream {stream}: " if stream else ""
    return case(name, sent, f"notice {where}connection error: GOAWAY {goaway} sent ({rule})")


def section(place: str) -> str:
    return f"RFC 9113 section {place}"


USERINFO = [("name", "a@b"), ("empty", "@b"), ("and-no-host", "a@"), ("sign-alone", "@"), ("twice", "a@b@c"),
            ("with-password", "a:b%20c@d:80"), ("of-an-address", "a@[::1]:80")]

REFUSED = [
    case("upper-case", get_with("X-Up", "x"),
         malformed(f'"X-Up": "x": upper case in a field name ({section("8.2.1")})')),
    case("byte-in-name", get_with(b"a\x00", "x"),
         malformed(rf'"a\x00": "x": byte not allowed in a field name ({section("8.2.1")})')),
    case("byte-in-value", get_with("x", b'a\n"\\\xe9'),
         malformed(r'"x": "a\x0a\"\\\xe9": byte not allowed in a field value, or white space at its ends '
                   f'({section("8.2.1")})')),
    case("connection", get_with("connection", "close"),
         malformed(f'"connection": "close": connection-specific field ({section("8.2.2")})')),
    case("te", get_with("te", "gzip"), malformed(f'"te": "gzip": te with more than "trailers" ({section("8.2.2")})')),
    case("host-twice", headers(1, [*GET, ("host", "a"), ("host", "b")]),
         malformed('"host": "b": host repeated (RFC 9110 section 7.2)')),
    case("empty-host", headers(1, [*GET[:3], ("host", "")]),
         malformed('"host": "": empty host (RFC 9110 section 4.2.1)')),
    *(case(f"userinfo-{name}", headers(1, [*GET[:3], (":authority", value)]),
           malformed(f'":authority": "{value}": userinfo before the host ({section("8.3.1")})'))
      for name, value in USERINFO),
    case("userinfo-of-connect", headers(1, [(":method", "CONNECT"), (":authority", "a@b:443")]),
         malformed(f'":authority": "a@b:443": userinfo before the host ({section("8.3.1")})')),
    *(case(f"userinfo-in-host-{name}", get_with("host", value),
           malformed(f'"host": "{value}": userinfo before the host (RFC 9110 section 4.2.4)'))
      for name, value in USERINFO),
    *(case(f"userinfo-in-lone-host-{name}", headers(1, [*GET[:3], ("host", value)]),
           malformed(f'"host": "{value}": userinfo before the host (RFC 9110 section 4.2.4)'))
      for name, value in USERINFO),
    case("userinfo-in-trailers", post_with_trailers([("host", "a@b")]),
         malformed('"host": "a@b": userinfo before the host (RFC 9110 section 4.2.4)')),
    case("at-sign-after-a-slash", headers(1, [*GET[:3], (":authority", "a/b@c")]),
         malformed(f'":authority": "a/b@c": value not allowed in this pseudo-header field ({section("8.3.1")})')),
    case("at-sign-after-a-bracket", headers(1, [*GET[:3], (":authority", "[::1]@c")]),
         malformed(f'":authority": "[::1]@c": value not allowed in this pseudo-header field ({section("8.3.1")})')),
    case("nul-in-te", get_with("te", b"trailers\0"),
         malformed(f'"te": "trailers": te with more than "trailers" ({section("8.2.2")})')),
    case("nul-in-connection", get_with("connection", b"a\0b"),
         malformed(f'"connection": "a": connection-specific field ({section("8.2.2")})')),
    case("nul-in-content-length", get_with("content-length", b"5\0"),
         malformed('"content-length": "5": not a number (RFC 9110 section 8.6)')),
    case("unknown-pseudo", get_with(":x", "y"), malformed(f'":x": "y": unknown pseudo-header field ({section("8.3")})')),
    case("pseudo-after-field", headers(1, [("x", "y"), *GET]),
         malformed(f'":method": "GET": pseudo-header field after a regular field ({section("8.3")})')),
    case("no-path", headers_without(":path"), malformed(f'":path": missing ({section("8.3.1")})')),
    case("connect-with-path", headers(1, [(":method", "CONNECT"), *GET[1:2], *GET[3:]]),
         malformed(f'":path": not allowed with CONNECT ({section("8.5")})')),
    case("content-length", get_with("content-length", "5x"),
         malformed('"content-length": "5x": not a number (RFC 9110 section 8.6)')),
    case("content-of-another-length", headers(1, [*POST, ("content-length", "4")], END_HEADERS) + data(1, b"abc"),
         malformed(f'"content-length": "4": differs from the length of the content ({section("8.1.1")})')),
    case("pseudo-in-trailers", post_with_trailers([(":path", "/")]),
         malformed(f'":path": "/": pseudo-header field in trailers ({section("8.1")})')),
    case("trailers-without-end", post_with_trailers([("x", "y")], END_HEADERS),
         malformed(f'"trailers": a trailer section without END_STREAM ({section("8.1")})')),
    case("too-large", get_with("x", "y" * 1100),
         "notice stream 1: 431: the fields exceed max-header-list-size, 1024 bytes "
         f"({section('6.5.2')})"),
]

FIRST_STREAMS = b"".join(post(stream) for stream in range(1, 8, 2))
STREAMS = [
    case("reset-by-peer", post(1) + reset_stream(1), "info stream 1: the peer sent RST_STREAM CANCEL"),
    case("reset-by-peer-without-error", post(3) + reset_stream(3, 0),
         "info stream 3: the peer sent RST_STREAM NO_ERROR"),
    case("reset-by-peer-with-a-number", post(1) + reset_stream(1, 0xcafe),
         "info stream 1: the peer sent RST_STREAM 0xcafe"),
    case("reset-after-the-answer", get(1) + reset_stream(1), "info stream 1: the peer sent RST_STREAM CANCEL"),
    case("answered-early", headers(1, [(":method", "CONNECT"), (":authority", "a:1")], END_HEADERS),
         f"debug stream 1: RST_STREAM NO_ERROR sent ({section('8.1')})"),
    case("too-many-streams", FIRST_STREAMS + post(9),
         f"notice stream 9: RST_STREAM REFUSED_STREAM sent (max-concurrent-streams, {section('5.1.2')})"),
    case("window-overflows", settings((INITIAL_WINDOW_SIZE, 0)) + get(1) + window_update(1, LARGEST) +
         window_update(1, 1), f"notice stream 1: RST_STREAM FLOW_CONTROL_ERROR sent ({section('6.9.1')})"),
]


def goaway_with(code: int, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, number(0) + number(code) + debug)


GOAWAYS = [
    case("goaway-by-peer", goaway_with(0), 'debug the peer sent GOAWAY NO_ERROR ""'),
    case("goaway-by-peer-with-text", goaway_with(0, b"bye\n"), r'debug the peer sent GOAWAY NO_ERROR "bye\x0a"'),
    case("goaway-by-peer-with-error", goaway_with(9, b'"x"'), r'notice the peer sent GOAWAY COMPRESSION_ERROR "\"x\""'),
    case("goaway-by-peer-with-a-number", goaway_with(0xffff), 'notice the peer sent GOAWAY 0xffff ""'),
]

ERRORS = [
    error("too-large-frame", frame(0xee, 0, 0, bytes(16385)), 'FRAME_SIZE_ERROR "too large frame size"',
          section("4.2")),
    error("ping-of-7", frame(PING, 0, 0, bytes(7)), 'FRAME_SIZE_ERROR ""', section("4.2")),
    error("hpack", headers(1, table_size_update(2**20)), 'COMPRESSION_ERROR ""', section("4.3"), 1),
    error("ping-in-block", headers(1, b"", END_STREAM) + ping(bytes(8)),
          'PROTOCOL_ERROR "unexpected non-CONTINUATION frame or stream_id is invalid"', section("4.3"), 1),
    error("data-on-idle", data(1, b"x"), 'PROTOCOL_ERROR "DATA: stream in idle"', section("5.1")),
    error("reset-of-idle", reset_stream(7), 'PROTOCOL_ERROR "RST_STREAM: stream in idle"', section("5.1"), 7),
    error("data-on-half-closed", get(3) + data(3, b"x"), 'STREAM_CLOSED "DATA: stream in half-closed(remote)"',
          section("5.1")),
    case("data-on-closed", post(3) + reset_stream(3) + data(3, b"x"), "info stream 3: the peer sent RST_STREAM CANCEL",
         f'notice stream 3: connection error: GOAWAY STREAM_CLOSED "DATA: stream closed" sent ({section("5.1")})'),
    error("headers-on-closed", get(3) + get(3), 'STREAM_CLOSED "HEADERS: stream closed"', section("5.1"), 3),
    error("even-stream", get(2), 'PROTOCOL_ERROR "request HEADERS: invalid stream_id"', section("5.1.1"), 2),
    error("stream-id-decreases", get(5) + get(3), 'PROTOCOL_ERROR "HEADERS: stream id goes back"', section("5.1.1"), 3),
    error("too-many-streams", frame(SETTINGS, ACK, 0) + FIRST_STREAMS + post(9),
          'PROTOCOL_ERROR "request HEADERS: max concurrent streams exceeded"',
          f"max-concurrent-streams, {section('5.1.2')}", 9),
    error("depends-on-itself", headers(1, number(1) + b"\x0f", END_STREAM | END_HEADERS | HAS_PRIORITY),
          'PROTOCOL_ERROR "request HEADERS: depend on itself"', "RFC 7540 section 5.3.1", 1),
    error("data-on-0", data(0, b"x"), 'PROTOCOL_ERROR "DATA: stream_id == 0"', section("6.1")),
    error("padding-of-data", post(1) + frame(DATA, PADDED, 1, b"\x05x"), 'PROTOCOL_ERROR "DATA: invalid padding"',
          section("6.1")),
    error("padding-of-headers", frame(HEADERS, PADDED | END_HEADERS, 1, b"\x05x"),
          'PROTOCOL_ERROR "HEADERS: invalid padding"', section("6.2")),
    error("priority-on-itself", post(1) + priority(1, 1), 'PROTOCOL_ERROR "depend on itself"',
          "RFC 7540 section 5.3.1"),
    error("priority-on-0", priority(0, 1), 'PROTOCOL_ERROR "PRIORITY: stream_id == 0"', section("6.3")),
    error("reset-of-0", reset_stream(0), 'PROTOCOL_ERROR "RST_STREAM: stream_id == 0"', section("6.4")),
    error("settings-on-stream", frame(SETTINGS, 0, 1), 'PROTOCOL_ERROR "SETTINGS: stream_id != 0"', section("6.5"), 1),
    error("enable-push-2", settings((ENABLE_PUSH, 2)), 'PROTOCOL_ERROR "SETTINGS: invalid SETTINGS_ENBLE_PUSH"',
          section("6.5.2")),
    error("frame-size-0", settings((MAX_FRAME_SIZE, 0)), 'PROTOCOL_ERROR "SETTINGS: invalid SETTINGS_MAX_FRAME_SIZE"',
          section("6.5.2")),
    error("window-size", settings((INITIAL_WINDOW_SIZE, LARGEST + 1)),
          'FLOW_CONTROL_ERROR "SETTINGS: too large SETTINGS_INITIAL_WINDOW_SIZE"', section("6.5.2")),
    error("unexpected-ack", frame(SETTINGS, ACK, 0) * 2, 'PROTOCOL_ERROR "SETTINGS: unexpected ACK"', section("6.5.3")),
    error("push-promise", frame(PUSH_PROMISE, END_HEADERS, 1, number(2)),
          'PROTOCOL_ERROR "PUSH_PROMISE: push disabled"', section("8.4"), 1),
    error("ping-on-stream", frame(PING, 0, 1, bytes(8)), 'PROTOCOL_ERROR "PING: stream_id != 0"', section("6.7"), 1),
    error("goaway-on-stream", frame(GOAWAY, 0, 1, bytes(8)), 'PROTOCOL_ERROR "GOAWAY: stream_id != 0"',
          section("6.8"), 1),
    error("window-update-of-0", window_update(0, 0), 'PROTOCOL_ERROR "WINDOW_UPDATE: window_size_increment == 0"',
          section("6.9")),
    error("window-of-connection-overflows", window_update(0, LARGEST), 'FLOW_CONTROL_ERROR ""', section("6.9.1")),
    case("settings-overflow-a-window", settings((INITIAL_WINDOW_SIZE, 0)) + get(1) + window_update(1, LARGEST) +
         settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)),
         f'notice stream 1: RST_STREAM FLOW_CONTROL_ERROR sent ({section("6.9.1")})',
         'notice connection error: GOAWAY FLOW_CONTROL_ERROR "SETTINGS: a window becomes too large" sent '
         f'({section("6.9.2")})'),
    error("unexpected-continuation", continuation(1, b""), 'PROTOCOL_ERROR "CONTINUATION: unexpected"',
          section("6.10")),
    error("too-many-settings", settings(*[(ENABLE_PUSH, 0)] * 33),
          'ENHANCE_YOUR_CALM "SETTINGS: too many setting entries"', section("10.5")),
    error("pings", ping(bytes(8)) * 20000, 'ENHANCE_YOUR_CALM "too many frames that bring nothing"', section("10.5")),
    error("continuations", headers(1, b"", 0) + continuation(1, b"", 0) * 1100,
          'ENHANCE_YOUR_CALM "header block too long"', f"max-header-list-size, {section('10.5.1')}", 1),
    error("too-large-field-section", headers(1, b"\x40\x01x" + b"\x7f\x81\x02" + b"y" * 256 + b"\xbe" * 16000),
          'ENHANCE_YOUR_CALM "field list too large"', f"max-header-list-size, {section('10.5.1')}", 1),
]


@pytest.fixture(scope="module")
def strict() -> Iterator[Daemon]:
    """A daemon with low limits, shared by many connections."""
    daemon = Daemon("--log-level=debug", "--max-concurrent-streams=4", "--max-header-list-size=1KiB")
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("sent, lines", [*REFUSED, *STREAMS, *GOAWAYS, *ERRORS])
def test_line(strict: Daemon, sent: bytes, lines: list[str]) -> None:
    client = strict.open_connection(refill=False)
    client.acknowledge = False  # else an unexpected ACK of SETTINGS would be sent
    send_until_closed(client, PREFACE + sent)
    wait_until_processed(client)
    assert lines_after_close(strict, client) == lines


def test_normal_connection_is_not_logged(strict: Daemon) -> None:
    """Requests, answers and the end of a connection are not logged, not even at level debug."""
    client = strict.connect()
    client.assert_answered()
    client.request(fields("/", "POST"), b"content", [("x", "y")]).assert_echo([*fields("/", "POST")])
    assert lines_after_close(strict, client) == []


PROTOCOLS = [
    case("http1", b'GET /a"b HTTP/1.1\r\nhost: x\r\n\r\n',
         r'notice HTTP/1.1 request "GET /a\"b HTTP/1.1" answered with 426: this port speaks only HTTP/2, and '
         "the request does not ask for an Upgrade to h2c (RFC 7540 section 3.2)"),
    case("http1-malformed", b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n",
         'notice HTTP/1.1 request "GET / HTTP/1.1" answered with 400: host repeated (RFC 9112 section 3.2)'),
    case("http1-old", b"GET / HTTP/1.0\r\n",
         'notice HTTP/1.1 request "GET / HTTP/1.0" answered with 505: only HTTP/1.1 can be upgraded to h2c '
         "(RFC 9110 section 7.8)"),
    case("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
         "notice TLS ClientHello on a cleartext port: answered with an alert (RFC 8446 section 6.2); "
         "use http://, not https://"),
    case("garbage", b"\x00\xff", rf'notice not an HTTP/2 preface: "\x00\xff" ({section("3.4")})'),
    case("preface-without-settings", MAGIC + ping(bytes(8)),
         f'notice connection error: GOAWAY PROTOCOL_ERROR "SETTINGS expected" sent ({section("3.4")})'),
]


@pytest.mark.parametrize("sent, lines", PROTOCOLS)
def test_line_of_another_protocol(strict: Daemon, sent: bytes, lines: list[str]) -> None:
    client = strict.open_connection()
    client.send(sent)
    assert read_all(client.socket)
    assert lines_after_close(strict, client) == lines


# --- timeouts and limits ---

TIMEOUTS = [
    case("no-preface", b"PRI", "notice header-timeout: no complete preface"),
    case("no-settings", MAGIC, "notice header-timeout: the preface does not end"),
    case("block", PREFACE + headers(3, b"\x82", 0), "notice stream 3: header-timeout: a header block does not end"),
    case("idle", PREFACE, "info idle-timeout"),
    case("content", PREFACE + post(1), "notice stream 1: stream-timeout: request content stopped",
         "info idle-timeout"),
    case("window", PREFACE + settings((INITIAL_WINDOW_SIZE, 0)) + get(5),
         "notice stream 5: stream-timeout: flow-control window exhausted", "info idle-timeout"),
]


@pytest.mark.parametrize("sent, lines", TIMEOUTS)
def test_line_of_a_timeout(start: Start, sent: bytes, lines: list[str]) -> None:
    daemon = start("--log-level=debug", *(f"--{name}-timeout=200ms" for name in ("header", "idle", "stream")))
    client = daemon.open_connection(refill=False)
    client.acknowledge = False
    client.send(sent)
    client.read_to_end()
    assert lines_after_close(daemon, client) == lines


def test_line_of_a_write_timeout(start: Start) -> None:
    daemon = start("--log-level=debug", "--write-timeout=200ms")
    client = daemon.connect({INITIAL_WINDOW_SIZE: LARGEST}, receive_buffer=4096)
    client.send(window_update(0, LARGEST - DEFAULT_WINDOW))
    client.send(*(client.headers(fields("/", "GET", *[("x", "y" * 3000)] * 20)) for _ in range(100)))
    daemon.wait_for_log("write-timeout", seconds=15)
    assert lines_after_close(daemon, client) == ["notice write-timeout: peer is not reading"]


def test_lines_of_the_limits_on_connections(start: Start) -> None:
    daemon = start("--max-connections=2", "--max-connections-per-address=1")
    with daemon.connect() as inside:
        inside.assert_answered()
        refused = daemon.open_connection()
        assert read_all(refused.socket) == b""
        daemon.wait_for_log(r"notice max-connections-per-address: connection from " + re.escape(refused.name) +
                            " refused, its host already has 1$")
        daemon.connect(source="127.0.0.2").assert_answered()
        daemon.wait_for_log(r"warning max-connections: 2 connections are open; new ones wait in the backlog until one "
                            r"of them ends$")


def lines_of_an_aborted_connection(start: Start) -> list[str]:
    """The lines about a connection whose request is still open when the drain times out."""
    daemon = start("--log-level=debug", "--drain-timeout=700ms")
    done, aborted = daemon.connect(), daemon.connect()
    done.assert_answered()
    aborted.send_request(fields("/", "POST"), end=False)
    aborted.ping()
    daemon.signal(signal.SIGTERM)
    done.read_to_end()
    first, final = (f'debug GOAWAY NO_ERROR "" sent, last stream {stream}' for stream in (LARGEST, 1))
    assert lines_after_close(daemon, done) == [first, final]
    aborted.read_to_end()
    prefix = line_prefix(aborted)
    daemon.wait()
    assert daemon.log("notice stopped: drain timeout, 1 connection aborted$")
    lines = lines_so_far(daemon, prefix, aborted.since)
    assert lines[0] == first
    return lines


def test_lines_of_a_drain(start: Start) -> None:
    """A connection without open requests gets two GOAWAY frames; one with an open request is aborted at the timeout.
    The daemon exits on time, so on a busy machine a thread's last line may be lost; but not three times in a row."""
    assert any(lines_of_an_aborted_connection(start)[-1] == "notice aborted: drain timeout" for _ in range(3))


# --- floods ---

def bad_request(stream: int) -> bytes:
    return headers(stream, BLOCK + literal("X", "x"))


def rapid_reset(stream: int) -> bytes:
    return headers(stream, BLOCK, END_HEADERS) + reset_stream(stream)


FLOODS = {"malformed": bad_request, "rapid-reset": rapid_reset,
          "both": lambda stream: bad_request(stream) if stream % 4 == 1 else rapid_reset(stream)}


@pytest.mark.heavy
@pytest.mark.parametrize("name", FLOODS)
def test_flood_on_one_connection_logs_few_lines(start: Start, name: str) -> None:
    """Of 100,000 log lines, the first are written, then one about the omission, and the final error."""
    daemon = start("--log-level=debug")
    client = daemon.connect()
    send_until_closed(client, on_streams(FLOODS[name], 100_000))
    client.acknowledge = client.refill = False
    client.read_to_end()
    lines = lines_after_close(daemon, client)
    for level in ("notice", "info"):
        of_level = [line for line in lines if line.startswith(level) and "GOAWAY" not in line]
        assert len(of_level) in (0, PER_CONNECTION + 1), of_level
        assert not of_level or of_level[-1] == f"{level} no more {level} messages for this connection"
    assert [line for line in lines if "GOAWAY" in line] == [lines[-1]]
    assert re.fullmatch(r'notice connection error: GOAWAY ENHANCE_YOUR_CALM "too many streams .*" sent '
                        r"\(RFC 9113 section 10\.5\)", lines[-1])


@pytest.mark.heavy
def test_floods_on_many_connections_log_a_bounded_number_of_lines(start: Start) -> None:
    daemon, watch = start(), Stopwatch()
    for _ in range(CONNECTIONS):
        with daemon.connect() as client:
            send_until_closed(client, on_streams(bad_request, 100))
            wait_until_processed(client)
    daemon.wait_for_stats(connections=0)
    most = BURST + PER_SECOND * watch.seconds()
    logged = len(daemon.log(r" from 127\.0\.0\.1:"))
    assert BURST <= logged <= most, f"{logged} lines"
    assert logged < CONNECTIONS * PER_CONNECTION  # else the limit was not reached
