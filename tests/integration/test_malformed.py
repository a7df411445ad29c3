"""Malformed requests are stream errors with a log line; floods end the connection and affect no other client."""
from __future__ import annotations

import re

import pytest
from hyperframe.frame import (ContinuationFrame, DataFrame, HeadersFrame, PingFrame, PriorityFrame,
                              RstStreamFrame, SettingsFrame)

from daemon import Daemon
from waiting import SLOW
from wire import CANCEL, ENHANCE_YOUR_CALM, PROTOCOL_ERROR, Client, Fields, fields

TRANSPORTS = ("plain", "tls")

GET = fields()
METHOD, PATH, SCHEME, AUTHORITY = GET


def fields_without(name: str) -> Fields:
    return [pair for pair in GET if pair[0] != name]


def malformed_case(request: Fields, field: str, rule: str, name: str) -> object:
    """A malformed request, the field in its log line, and the rule that the line must name."""
    return pytest.param(request, field, rule, id=name)


def with_field(name: str | bytes, value: str | bytes, field: str, rule: str, label: str) -> object:
    return malformed_case(fields("/", "GET", (name, value)), field, rule, label)


LENGTH = r"RFC 9110 section 8\.6|RFC 9113 section 8\.1\.1"
NAME_OR_VALUE = r"RFC 9113 section 8\.2\.1"
CONNECTION = r"RFC 9113 section 8\.2\.2"
PSEUDO = r"RFC 9113 section 8\.3"
REQUEST = r"RFC 9113 section 8\.3\.1"
TRAILERS = r"RFC 9113 section 8\.[13]"
CONNECT = r"RFC 9113 section 8\.5"
VALUE = rf"{NAME_OR_VALUE}|{REQUEST}"  # for a pseudo-header field, either rule may be named
MALFORMED = [
    with_field("X-Upper", "x", '"X-Upper"', NAME_OR_VALUE, "uppercase-name"),
    with_field("x-uppeR", "x", '"x-uppeR"', NAME_OR_VALUE, "uppercase-letter-at-the-end"),
    with_field("connection", "close", '"connection": "close"', CONNECTION, "connection"),
    with_field("keep-alive", "5", '"keep-alive"', CONNECTION, "keep-alive"),
    with_field("proxy-connection", "x", '"proxy-connection"', CONNECTION, "proxy-connection"),
    with_field("transfer-encoding", "chunked", '"transfer-encoding"', CONNECTION, "transfer-encoding"),
    with_field("upgrade", "h2c", '"upgrade"', CONNECTION, "upgrade"),
    with_field("te", "gzip", '"te": "gzip"', CONNECTION, "te-other-than-trailers"),
    malformed_case(fields_without(":method"), ":method", REQUEST, "no-method"),
    malformed_case(fields_without(":path"), ":path", REQUEST, "no-path"),
    malformed_case(fields_without(":scheme"), ":scheme", REQUEST, "no-scheme"),
    malformed_case(fields_without(":authority"), ":authority", REQUEST, "neither-authority-nor-host"),
    malformed_case([METHOD, PATH, SCHEME, (":authority", "user@test.example")], ":authority", REQUEST, "userinfo"),
    malformed_case([METHOD, (":path", ""), SCHEME, AUTHORITY], ":path", REQUEST, "empty-path"),
    malformed_case([METHOD, (":path", "no-slash"), SCHEME, AUTHORITY], ":path", REQUEST, "path-without-slash"),
    malformed_case([METHOD, (":path", "*"), SCHEME, AUTHORITY], ":path", REQUEST, "asterisk-without-options"),
    malformed_case([*GET, (":unknown", "x")], ":unknown", PSEUDO, "unknown-pseudo-header-field"),
    malformed_case([*GET, (":status", "200")], ":status", PSEUDO, "a-responses-pseudo-header-field"),
    malformed_case([*fields_without(":path"), ("x", "y"), PATH], ":path", PSEUDO, "pseudo-header-field-after-a-field"),
    malformed_case([*GET, METHOD], ":method", PSEUDO, "method-twice"),
    malformed_case([*GET, PATH], ":path", PSEUDO, "path-twice"),
    malformed_case([*GET, SCHEME], ":scheme", PSEUDO, "scheme-twice"),
    malformed_case([*GET, AUTHORITY], ":authority", PSEUDO, "authority-twice"),
    malformed_case([(":method", "CONNECT"), PATH, SCHEME, AUTHORITY], ":", CONNECT, "connect-with-path-and-scheme"),
    malformed_case([(":method", "G ET"), PATH, SCHEME, AUTHORITY], ":method", VALUE, "space-in-method"),
    malformed_case([METHOD, (":path", "/\x01"), SCHEME, AUTHORITY], ":path", VALUE, "control-in-path"),
    with_field("", "x", '""', NAME_OR_VALUE, "empty-name"),
    with_field("na me", "x", '"na me"', NAME_OR_VALUE, "space-in-name"),
    with_field(b"na\xe9me", "x", r'"na\xe9me"', NAME_OR_VALUE, "byte-above-ascii-in-name"),
    with_field(b"na\x00me", "x", r'"na\x00me"', NAME_OR_VALUE, "nul-in-name"),
    with_field(b"na\x7fme", "x", r'"na\x7fme"', NAME_OR_VALUE, "del-in-name"),
    with_field("na:me", "x", '"na:me"', NAME_OR_VALUE, "colon-in-name"),
    with_field("x", b"a\x00b", r'"x": "a\x00b"', NAME_OR_VALUE, "nul-in-value"),
    with_field("x", b"a\rb", r'"x": "a\x0db"', NAME_OR_VALUE, "cr-in-value"),
    with_field("x", b"a\nb", r'"x": "a\x0ab"', NAME_OR_VALUE, "lf-in-value"),
    with_field("x", " a", '"x": " a"', NAME_OR_VALUE, "space-before-value"),
    with_field("x", "a ", '"x": "a "', NAME_OR_VALUE, "space-after-value"),
    with_field("x", "\ta", r'"x": "\x09a"', NAME_OR_VALUE, "tab-before-value"),
    with_field("x", "a\t", r'"x": "a\x09"', NAME_OR_VALUE, "tab-after-value"),
    with_field("content-length", "x", '"content-length": "x"', LENGTH, "content-length-no-number"),
    with_field("content-length", "-1", '"content-length": "-1"', LENGTH, "content-length-negative"),
    with_field("content-length", "", '"content-length": ""', LENGTH, "content-length-empty"),
    with_field("content-length", "9" * 20, '"content-length"', LENGTH, "content-length-too-large"),
    with_field("content-length", "5", "content-length", LENGTH, "content-length-without-a-body"),
    malformed_case(fields("/", "GET", ("content-length", "0"), ("content-length", "0")), "content-length", LENGTH,
                   "content-length-twice"),
]


def assert_malformed(daemon: Daemon, client: Client, stream: int, field: str, rule: str,
                     since: int) -> None:
    """The stream was reset, one log line says why, and the connection goes on."""
    answer = client.wait(stream)
    assert (answer.reset, answer.fields) == (PROTOCOL_ERROR, []), answer
    client.assert_answered()
    assert not client.goaways
    line = rf"notice connection \d+ from {re.escape(client.name)} stream {stream}: malformed request: (.*)$"
    text = daemon.wait_for_log(line, since)[1]
    assert field in text
    assert re.search(rf"\((?:{rule})\b.*\)$", text), text
    assert len(daemon.log(line, since)) == 1


@pytest.mark.parametrize("request_fields, field, rule", MALFORMED)
def test_malformed_request(daemon: Daemon, client: Client, request_fields: Fields, field: str,
                           rule: str) -> None:
    since = daemon.log_position()
    client.assert_answered("/before")
    assert_malformed(daemon, client, client.send_request(request_fields), field, rule, since)


@pytest.mark.parametrize("request_fields, field, rule", MALFORMED[:3])
def test_malformed_request_without_end_stream(daemon: Daemon, client: Client, request_fields: Fields, field: str,
                                              rule: str) -> None:
    since = daemon.log_position()
    stream = client.send_request(request_fields, end=False)
    assert_malformed(daemon, client, stream, field, rule, since)
    client.send(DataFrame(stream, b"sent before the reset is known", flags=["END_STREAM"]))
    client.assert_answered("/after-data-on-the-reset-stream")


@pytest.mark.parametrize("body", [b"", b"abc", b"abcde"], ids=["empty", "short", "long"])
def test_content_length_that_differs_from_the_body(daemon: Daemon, client: Client, body: bytes) -> None:
    since = daemon.log_position()
    stream = client.send_request(fields("/", "POST", ("content-length", "4")), end=False)
    client.send(DataFrame(stream, body, flags=["END_STREAM"]))
    assert_malformed(daemon, client, stream, "content-length", LENGTH, since)


@pytest.mark.parametrize("trailer, field, rule", [
    ((":path", "/"), ":path", TRAILERS),
    ((":status", "200"), ":status", TRAILERS),
    (("connection", "close"), '"connection"', CONNECTION),
    (("X-Upper", "x"), '"X-Upper"', NAME_OR_VALUE),
    (("x", b"a\nb"), r'"x": "a\x0ab"', NAME_OR_VALUE),
])
def test_malformed_trailers(daemon: Daemon, client: Client, trailer: tuple[str, str | bytes], field: str,
                            rule: str) -> None:
    since = daemon.log_position()
    stream = client.send_request(fields("/", "POST"), end=False)
    client.send_body(stream, b"body", end=False)
    client.send(client.headers([trailer], True, stream))
    assert_malformed(daemon, client, stream, field, rule, since)


def test_trailers_without_end_stream(client: Client) -> None:
    stream = client.send_request(fields("/", "POST"), end=False)
    client.send_body(stream, b"body", end=False)
    client.send(client.headers([("x", "y")], False, stream))
    assert client.wait(stream).reset == PROTOCOL_ERROR
    client.assert_answered()


def test_long_field_is_truncated_in_the_log(daemon: Daemon, client: Client) -> None:
    since = daemon.log_position()
    stream = client.send_request(fields("/", "GET", ("x", b"\n" + b"y" * 20000)))
    assert_malformed(daemon, client, stream, r'"x": "\x0ayyy', NAME_OR_VALUE, since)
    assert all(len(line) < 1024 for line in daemon.lines[since:])


def test_other_requests_on_the_connection_are_answered(client: Client) -> None:
    good = [fields(f"/{number}") for number in range(4)]
    bad = fields("/", "GET", ("Bad", "x"))
    client.send(*(client.headers(request) for pair in zip(good, [bad] * 4) for request in pair))
    for number, request in enumerate(good):
        client.wait(4 * number + 1).assert_echo(request)
        assert client.wait(4 * number + 3).reset == PROTOCOL_ERROR


def test_malformed_requests_keep_hpack_synchronized(client: Client) -> None:
    """Fields that a malformed request adds to the dynamic table can be used by the next request."""
    for number in range(5):
        new = (f"new-{number}", f"value-{number}")
        assert client.request(fields("/", "GET", ("Bad", "x"), new)).reset == PROTOCOL_ERROR
        client.request(fields("/", "GET", new)).assert_echo(fields("/", "GET", new))


# --- floods ---

GET_BLOCK = b"\x82\x86\x84\x41\x01a"  # GET http / with :authority "a"


def send_repeatedly(client: Client, piece: bytes, times: int) -> None:
    """Send the piece so many times, or until the daemon closes the connection."""
    client.socket.settimeout(10 * SLOW)
    try:
        for _ in range(times):
            client.socket.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass


FLOODS = {
    "ping": PingFrame(0, b"12345678").serialize() * 1000,
    "settings": SettingsFrame(0, settings={SettingsFrame.ENABLE_PUSH: 0}).serialize() * 1000,
    "priority": PriorityFrame(1, depends_on=3).serialize() * 1000,
    "empty-data": DataFrame(1, b"").serialize() * 1000,
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", FLOODS)
def test_flood_does_not_affect_other_clients(daemon: Daemon, client: Client, name: str) -> None:
    client.send_request(fields("/", "POST"), end=False)
    send_repeatedly(client, FLOODS[name], 50)
    daemon.connect().assert_answered()


@pytest.mark.heavy
def test_rapid_reset_is_ended(daemon: Daemon, client: Client) -> None:
    burst = []
    for _ in range(20000):
        stream = client.new_stream()
        burst += [HeadersFrame(stream, GET_BLOCK, flags=["END_HEADERS", "END_STREAM"]),
                  RstStreamFrame(stream, CANCEL)]
    send_repeatedly(client, b"".join(frame.serialize() for frame in burst), 1)
    client.read_to_end(10)
    daemon.wait_for_log(rf"debug connection \d+ from {re.escape(client.name)}: closed: ", client.since)
    daemon.connect().assert_answered()


@pytest.mark.heavy
def test_header_block_without_end_is_ended(daemon: Daemon, client: Client) -> None:
    client.send(HeadersFrame(1, GET_BLOCK))
    send_repeatedly(client, ContinuationFrame(1, b"\x00\x01a\x01b" * 3000).serialize(), 2000)
    client.read_to_end(10)
    if client.closed == "end":
        assert client.goaways[-1].error_code in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
    daemon.connect().assert_answered()
