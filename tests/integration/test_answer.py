"""Answers to requests: status, fields, the body that echoes the request's fields, and flow control."""
from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from hyperframe.frame import (DataFrame, HeadersFrame, PriorityFrame, RstStreamFrame, SettingsFrame,
                              WindowUpdateFrame)

import needs
from clients import curl_h2, curl_version, node
from conftest import Start
from daemon import BINARY, Daemon
from waiting import SLOW, poll
from wire import CANCEL, ENHANCE_YOUR_CALM, MAGIC, NO_ERROR, Client, Fields, echo, fields

TRANSPORTS = ("plain", "tls")

MIB = 1024 * 1024
WINDOW = SettingsFrame.INITIAL_WINDOW_SIZE
VARIED = BINARY.parent / "tests/bench/varied"


# --- under load ---

@pytest.mark.plain
@pytest.mark.parametrize("alike", [1, 3, 1000])
def test_answers_under_load_are_exact(daemon: Daemon, alike: int) -> None:
    """The cache of field sections never mixes up answers: `alike` is how many requests in turn are the same."""
    count = int(60_000 / SLOW)
    done = subprocess.run([VARIED, str(daemon.port), "16", "100", str(count), "same", str(alike)],
                          capture_output=True, text=True, check=False, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == count


# --- the body ---

def test_body_is_the_documented_line(client: Client) -> None:
    request = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "localhost:8080"),
               ("user-agent", "curl/7.88.1"), ("accept", "*/*")]
    assert bytes(client.request(request).body) == (
        b'{":method": "GET", ":path": "/", ":scheme": "http", ":authority": "localhost:8080", '
        b'"user-agent": "curl/7.88.1", "accept": "*/*"}')


def test_curl_gets_its_fields_in_the_order_it_sent_them(daemon: Daemon) -> None:
    done = curl_h2("-v", f"{daemon.scheme}://localhost:{daemon.port}/hello")
    output = done.stderr.decode()
    sent = re.findall(r"\[(:?[a-z-]+): ([^\]]*)\]", output)  # the fields that curl prints, in their order
    assert dict(sent) == {":method": "GET", ":path": "/hello", ":scheme": daemon.scheme,
                          ":authority": f"localhost:{daemon.port}",
                          "user-agent": f"curl/{curl_version()}", "accept": "*/*"}, output
    members = ", ".join(f'"{name}": "{value}"' for name, value in sent)
    assert done.stdout.decode() == "{" + members + "}"


@pytest.mark.parametrize("request_fields", [
    pytest.param([(":authority", "a"), (":scheme", "http"), (":path", "/"), (":method", "GET")],
                 id="pseudo-header-fields-in-reverse-order"),
    pytest.param(fields("/", "GET", ("b", "2"), ("a", "1"), ("c", "3")), id="order-of-arrival"),
    pytest.param(fields("/", "GET", ("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("a", "5")),
                 id="repeated-names-are-joined-at-the-first-ones-place"),
    pytest.param(fields("/", "GET", ("accept", "a"), ("accept", ""), ("accept", "b")),
                 id="joined-with-empty"),
    pytest.param(fields("/", "GET", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"),
                        ("cookie", "c=3")),
                 id="several-cookie-fields"),
    pytest.param(fields("/", "GET", ("empty", ""), ("after", "x")), id="empty-value"),
    pytest.param(fields("/", "GET", ("empty", "")), id="empty-value-last"),
    pytest.param(fields("/", "GET", ("x", 'say "hello"')), id="quotes"),
    pytest.param(fields("/", "GET", ("x", "back\\slash\\")), id="backslash"),
    pytest.param(fields("/", "GET", ("x", "tab\there")), id="tab"),
    pytest.param(fields("/", "GET", ("x", "</script>&amp;")), id="slash-is-not-escaped"),
    pytest.param(fields("/?q=%22&x=y#z", "GET"), id="path-with-query"),
    pytest.param(fields("/", "GET", ("x", "Grüße, 世界 🌍".encode())), id="utf-8"),
    pytest.param(fields("/", "GET", ("x", "\u2028\u2029\ufeff\u0080".encode())), id="odd-utf-8"),
    pytest.param(fields("/", "GET", ("x", b"Gr\xfc\xdfe")), id="latin-1"),
    pytest.param(fields("/", "GET", ("x", "ü".encode() + b"\xfc")), id="partly-utf-8-is-latin-1-as-a-whole"),
    pytest.param(fields("/", "GET", ("x", b"cut \xe4\xb8")), id="utf-8-cut-off"),
    pytest.param(fields("/", "GET", ("x", b"\xc0\xaf")), id="utf-8-overlong"),
    pytest.param(fields("/", "GET", ("x", b"\xed\xa0\x80")), id="utf-8-surrogate"),
    pytest.param(fields("/", "GET", ("x", b"\xf4\x90\x80\x80")), id="utf-8-beyond-unicode"),
    pytest.param(fields("/", "GET", ("x", "ü".encode()), ("x", b"\xfc")), id="joined-values-decoded-separately"),
    pytest.param(fields("/", "GET", ("x", bytes(range(0x80, 0x100)))), id="every-high-byte"),
    pytest.param(fields("/", "GET", ("x", b"x\t" + bytes(range(0x20, 0x7f)))), id="every-low-byte"),
    pytest.param(fields("/", "GET", ("!#$%&'*+-.^_`|~09az", "x")), id="every-character-of-a-name"),
    pytest.param(fields("/", "GET", *((f"x-{number}", str(number)) for number in range(500))),
                 id="500-fields"),
    pytest.param(fields("/", "GET", *[("x", "y")] * 500), id="one-name-500-times"),
    pytest.param(fields("/" + "p" * 8000), id="long-path"),
    pytest.param(fields("/", "GET", ("x", "v" * 40000)), id="body-larger-than-a-frame"),
    pytest.param([(":method", "GET"), (":path", "/"), (":scheme", "http"), ("host", "only.example")],
                 id="host-in-place-of-authority"),
    pytest.param([(":method", "OPTIONS"), (":path", "*"), (":scheme", "http"), (":authority", "a")],
                 id="options-asterisk"),
    pytest.param(fields("/", "GET", ("te", "trailers")), id="te-trailers"),
    pytest.param(fields("/", "GET", ("priority", "u=3")), id="priority-field"),
])
def test_body_echoes(client: Client, request_fields: Fields) -> None:
    for _ in range(2):  # the second request refers to HPACK's dynamic table
        client.request(request_fields).assert_echo(request_fields)


def test_never_indexed_fields_are_echoed(client: Client) -> None:
    secret = fields("/", "GET", ("authorization", "Basic c2VjcmV0"))
    block = client.encoder.encode([(name, value, name == "authorization") for name, value in secret])
    for _ in range(2):
        stream = client.new_stream()
        client.send(HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]))
        client.wait(stream).assert_echo(secret)
        block = client.encoder.encode([(name, value, name == "authorization") for name, value in secret])


def test_pretty(start: Start) -> None:
    client = start("--pretty").connect()
    request = fields("/hello", "GET", ("x", "1"), ("x", "2"))
    answer = client.request(request)
    answer.assert_echo(request, pretty=True)
    assert answer.body.startswith(b'{\n  ":method": "GET",\n  ":path": "/hello",\n')
    assert answer.body.endswith(b'"1, 2"\n}\n')


# --- the answer's fields ---

def test_response_has_exactly_these_fields(client: Client, version: str) -> None:
    answer = client.request(fields())
    assert answer.fields[0] == (b":status", b"200")
    assert sorted(answer.fields) == sorted([
        (b":status", b"200"), (b"server", f"h2echod/{version}".encode()),
        (b"date", answer["date"].encode()), (b"content-type", b"application/json"),
        (b"content-length", str(len(echo(fields()))).encode()), (b"cache-control", b"no-store")])
    assert not answer.trailers and not answer.interim and answer.reset is None


def test_date_is_the_current_time_as_imf_fixdate(client: Client) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1.5)  # Date has no fractions of a second
    date = client.request(fields())["date"]
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)
    stamp = parsedate_to_datetime(date)
    assert before <= stamp <= datetime.now(timezone.utc)
    assert stamp.strftime("%a, %d %b %Y %H:%M:%S GMT") == date


def test_date_advances_during_a_connection(client: Client) -> None:
    first = client.request(fields())["date"]
    seen = {first}

    def date_has_advanced() -> bool:
        seen.add(client.request(fields())["date"])
        return len(seen) > 1
    poll(date_has_advanced, "a later date", seconds=3)
    assert parsedate_to_datetime(max(seen, key=parsedate_to_datetime)) > parsedate_to_datetime(first)


# --- methods and bodies ---

def test_head_is_answered_like_get_without_data(client: Client) -> None:
    answer = client.request(fields("/", "HEAD"))
    assert answer.status == 200 and not answer.data_lengths and answer.ended
    # RFC 9110 section 8.6: the Content-Length that the answer to GET would have.
    assert int(answer["content-length"]) == len(echo(fields("/", "GET")))
    assert answer["content-type"] == "application/json"
    client.assert_answered()


def test_curl_head(daemon: Daemon) -> None:
    done = curl_h2("--head", daemon.url())
    assert done.stdout.startswith(b"HTTP/2 200") and b"content-length: " in done.stdout


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY",
                                    "PROPFIND", "get", "X-odd.method!"])
@pytest.mark.parametrize("body", [None, b"", b"some body"], ids=["no-body", "empty-body", "body"])
def test_every_method_is_answered(client: Client, method: str, body: bytes | None) -> None:
    request = fields("/m", method)
    client.request(request, body).assert_echo(request)


def test_get_with_a_body_is_answered(client: Client) -> None:
    request = fields("/", "GET", ("content-length", "4"))
    client.request(request, b"body").assert_echo(request)


def test_body_of_8_mib(client: Client) -> None:
    request = fields("/upload", "POST", ("content-length", str(8 * MIB)))
    client.request(request, bytes(8 * MIB), seconds=20).assert_echo(request)
    client.assert_answered()


def test_body_in_a_thousand_frames(client: Client) -> None:
    request = fields("/upload", "PUT")
    stream = client.send_request(request, end=False)
    for _ in range(1000):
        client.send_body(stream, bytes(1000), end=False)
    client.send_body(stream, b"")
    client.wait(stream).assert_echo(request)


def test_body_of_8_mib_from_curl(daemon: Daemon) -> None:
    done = curl_h2("--data-binary", "@-", daemon.url("/upload"), stdin=bytes(8 * MIB))
    members = json.loads(done.stdout)
    assert members[":method"] == "POST" and members["content-length"] == str(8 * MIB)


def test_body_of_8_mib_from_node(daemon: Daemon) -> None:
    [answer] = node(daemon.url(), [{"fields": {":method": "PUT", ":path": "/n"}, "bodySize": 8 * MIB}])
    assert answer["status"] == 200 and json.loads(answer["body"])[":path"] == "/n"


def test_bodies_on_many_streams_share_the_connection_window(client: Client) -> None:
    requests = {client.send_request(fields(f"/{number}", "POST"), end=False): fields(f"/{number}", "POST")
                for number in range(20)}
    for _ in range(10):
        for stream in requests:
            client.send_body(stream, bytes(20000), end=False)
    for stream, request in requests.items():
        client.send_body(stream, b"")
        client.wait(stream).assert_echo(request)


def test_window_is_refilled_for_data_of_reset_streams(client: Client) -> None:
    for _ in range(20):  # 20 * 60000 bytes are many times the connection's window
        stream = client.send_request(fields("/", "POST"), end=False)
        client.send_body(stream, bytes(60000), end=False)
        client.send(RstStreamFrame(stream, CANCEL))
    client.request(fields("/", "POST"), bytes(100000)).assert_echo(fields("/", "POST"))


@pytest.mark.parametrize("body", [b"", b"some body"], ids=["empty-body", "body"])
def test_request_with_trailers(client: Client, body: bytes) -> None:
    request = fields("/", "POST", ("trailer", "x-sum"))
    client.request(request, body, trailers=[("x-sum", "1")]).assert_echo(request)
    client.assert_answered()


def test_trailers_without_data(client: Client) -> None:
    client.request(fields("/", "POST"), trailers=[("x", "y")]).assert_echo(fields("/", "POST"))


# --- 100-continue, CONNECT, 431 ---

def test_continue_comes_before_the_body(client: Client) -> None:
    request = fields("/", "POST", ("expect", "100-continue"))
    stream = client.send_request(request, end=False)
    client.read_until(lambda: bool(client.answer(stream).interim), "the 100")
    assert client.answer(stream).interim[0][0] == (b":status", b"100")
    assert not client.answer(stream).fields
    client.send_body(stream, bytes(1000))
    client.wait(stream).assert_echo(request)
    assert len(client.answer(stream).interim) == 1


@pytest.mark.parametrize("value", ["100-Continue", "100-CONTINUE"])
def test_expect_is_case_insensitive(client: Client, value: str) -> None:
    stream = client.send_request(fields("/", "POST", ("expect", value)), end=False)
    client.read_until(lambda: bool(client.answer(stream).interim), "the 100")


def test_no_100_without_a_body(client: Client) -> None:
    request = fields("/", "GET", ("expect", "100-continue"))
    answer = client.request(request)
    answer.assert_echo(request)
    assert not answer.interim


def test_no_100_without_expect(client: Client) -> None:
    assert not client.request(fields("/", "POST"), b"x").interim


def test_curl_gets_100_continue(daemon: Daemon) -> None:
    done = curl_h2("-v", "-H", "Expect: 100-continue", "--expect100-timeout", "10", "--data-binary", "@-",
                   daemon.url(), stdin=bytes(2 * MIB))
    assert re.search(rb"< HTTP/2 100.*< HTTP/2 200", done.stderr, re.DOTALL)
    assert json.loads(done.stdout)["expect"] == "100-continue"


@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
def test_connect_is_not_implemented(client: Client, end: bool) -> None:
    stream = client.send_request([(":method", "CONNECT"), (":authority", "example.org:443")], end)
    answer = client.wait(stream)
    assert answer.status == 501 and answer.ended
    assert answer["content-type"].startswith("text/plain")
    assert len(answer.body.splitlines()) == 1 and int(answer["content-length"]) == len(answer.body)
    if not end:
        client.read_until(lambda: answer.reset is not None, "RST_STREAM")
        assert answer.reset == NO_ERROR
    client.assert_answered()


def test_header_list_size_is_announced(start: Start) -> None:
    client = start("--max-header-list-size=4KiB").connect()
    client.assert_answered()
    assert client.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 4096


def list_size(request: Fields) -> int:
    """The size of a field section as RFC 9113 section 6.5.2 counts it."""
    return sum(len(name) + len(value) + 32 for name, value in request)


@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
def test_fields_over_the_limit_get_431_and_the_connection_goes_on(start: Start, end: bool) -> None:
    client = start("--max-header-list-size=4KiB").connect()
    answer = client.wait(client.send_request(fields("/", "POST", ("x", "y" * 4096)), end))
    assert answer.status == 431 and answer.ended
    assert answer["content-type"].startswith("text/plain")
    assert len(answer.body.splitlines()) == 1 and int(answer["content-length"]) == len(answer.body)
    client.assert_answered()


def test_limit_counts_as_in_rfc_9113(start: Start) -> None:
    client = start("--max-header-list-size=4KiB").connect()
    room = 4096 - list_size(fields("/", "GET", ("x", "")))
    fits, over = (fields("/", "GET", ("x", "y" * size)) for size in (room, room + 1))
    assert list_size(fits) == 4096
    client.request(fits).assert_echo(fits)
    assert client.request(over).status == 431
    client.request(fits).assert_echo(fits)


def test_431_keeps_hpack_synchronized(start: Start) -> None:
    client = start("--max-header-list-size=4KiB").connect()
    for number in range(5):  # fields that a refused section put into the dynamic table are used afterwards
        new = (f"new-{number}", f"value-{number}")
        assert client.request(fields("/", "GET", ("x", "y" * 5000), new)).status == 431
        client.request(fields("/", "GET", new)).assert_echo(fields("/", "GET", new))


def test_many_references_to_one_large_entry_get_431(client: Client) -> None:
    entry = ("x", "y" * 3900)
    client.request(fields("/", "GET", entry)).assert_echo(fields("/", "GET", entry))
    assert client.request(fields("/", "GET", *[entry] * 200)).status == 431
    client.assert_answered()


@pytest.mark.parametrize("first, second", [("u=7", "u=0"), ("u=4", "u=3"), ("u=7", "")])
def test_urgent_answers_are_sent_first(daemon: Daemon, first: str, second: str) -> None:
    """Two answers compete for the connection's window: the priority field (RFC 9218) decides, with any nghttp2."""
    client = daemon.open_connection(refill=False).send_preface()
    entry = ("x", "y" * 3900)
    client.request(fields("/", "GET", entry)).assert_echo(fields("/", "GET", entry))
    streams = [client.new_stream(), client.new_stream()]
    client.send(*(client.headers(fields("/", "GET", *[entry] * 10, ("priority", words)), stream=stream)
                  for stream, words in zip(streams, (first, second))))
    client.read_until(lambda: client.answer(streams[1]).ended, "the whole of the urgent answer")
    assert not client.answer(streams[0]).ended


def peak_kib(daemon: Daemon) -> int:
    """The daemon's maximum of resident memory so far."""
    status = needs.proc(f"{daemon.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[1])


def test_small_block_that_decodes_to_55_mib_costs_no_memory(daemon: Daemon, client: Client) -> None:
    """Far above the limit, the connection may also end with ENHANCE_YOUR_CALM."""
    entry = ("x", "y" * 3900)
    client.request(fields("/", "GET", entry)).assert_echo(fields("/", "GET", entry))
    before = peak_kib(daemon)
    stream = client.send_request(fields("/", "GET", *[entry] * 14000))
    client.read_until(lambda: client.answer(stream).finished or bool(client.goaways), "a refusal")
    assert client.answer(stream).status == 431 or client.goaways[0].error_code == ENHANCE_YOUR_CALM
    assert peak_kib(daemon) - before < 4096
    daemon.connect().assert_answered()


def test_trailers_count_against_the_limit(start: Start) -> None:
    client = start("--max-header-list-size=4KiB").connect()
    answer = client.request(fields("/", "POST"), b"x", trailers=[("x", "y" * 5000)])
    assert answer.status == 431
    client.assert_answered()


def test_curl_prints_431(start: Start) -> None:
    daemon = start("--max-header-list-size=2KiB")
    done = curl_h2("-i", "-H", "x: " + "y" * 3000, daemon.url())
    assert re.fullmatch(rb"HTTP/2 431 .*\r\n\r\n431 [^\n]+\n", done.stdout, re.DOTALL)


# --- framing of requests ---

@pytest.mark.parametrize("piece", [None, 1, 7, 9], ids=["whole", "by-byte", "by-7", "by-9"])
def test_pipelined_requests(daemon: Daemon, piece: int | None) -> None:
    client = daemon.open_connection()
    requests = [fields(f"/{number}", "GET", ("number", str(number))) for number in range(10)]
    everything = b"".join(client.headers(request) for request in requests)
    client.send(MAGIC, SettingsFrame(0), everything, piece=piece)
    for number, request in enumerate(requests):
        client.wait(2 * number + 1).assert_echo(request)


@pytest.mark.parametrize("piece", [None, 1], ids=["whole", "by-byte"])
@pytest.mark.parametrize("block_piece", [1, 3, 50])
def test_continuation_frames(client: Client, piece: int | None, block_piece: int) -> None:
    request = fields("/", "GET", *((f"name-{number}", f"value {number}") for number in range(8)))
    for _ in range(2):
        stream = client.new_stream()
        client.send(client.headers(request, True, stream, piece=block_piece), piece=piece)
        client.wait(stream).assert_echo(request)


def test_continuation_frames_of_maximum_size(client: Client) -> None:
    request = fields("/", "GET", ("x", os.urandom(25000).hex()))
    stream = client.send_request(request)
    client.wait(stream).assert_echo(request)


def test_padding(client: Client) -> None:
    request = fields("/padded", "POST")
    stream = client.new_stream()
    client.send(HeadersFrame(stream, client.encode(request), flags=["PADDED", "END_HEADERS"], pad_length=255),
                DataFrame(stream, b"abc", flags=["PADDED"], pad_length=255),
                DataFrame(stream, b"", flags=["PADDED"], pad_length=1),
                DataFrame(stream, b"def", flags=["PADDED", "END_STREAM"]))
    client.wait(stream).assert_echo(request)


def test_window_is_refilled_for_padding(client: Client) -> None:
    stream = client.send_request(fields("/", "POST"), end=False)
    for _ in range(600):  # flow control counts 150 KB, of which 600 bytes are data
        client.send_body(stream, b"x", end=False, padding=255)
    client.send_body(stream, bytes(100000))
    client.wait(stream).assert_echo(fields("/", "POST"))


def test_content_length_does_not_count_padding(client: Client) -> None:
    request = fields("/", "POST", ("content-length", "3"))
    stream = client.send_request(request, end=False)
    client.send(DataFrame(stream, b"abc", flags=["PADDED", "END_STREAM"], pad_length=9))
    client.wait(stream).assert_echo(request)


def test_priority_frames(client: Client) -> None:
    stream = client.new_stream()
    client.send(PriorityFrame(stream, depends_on=0, stream_weight=200),
                PriorityFrame(stream + 100, depends_on=stream, exclusive=True),
                HeadersFrame(stream, client.encode(fields()), depends_on=stream + 100, stream_weight=1,
                             exclusive=True, flags=["PRIORITY", "END_HEADERS", "END_STREAM"]),
                PriorityFrame(stream, depends_on=0))
    client.wait(stream).assert_echo(fields())


def test_frames_of_unknown_type_are_ignored(client: Client) -> None:
    unknown = b"\x00\x00\x05\xfa\xff\x00\x00\x00\x00hello"
    client.send(unknown, client.headers(fields()), unknown)
    client.wait(1).assert_echo(fields())


# --- framing and flow control of answers ---

def test_128_streams_at_once(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 0})  # so that all streams are open at the same time
    client.ping()
    assert client.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 128
    requests = {2 * number + 1: fields(f"/{number}") for number in range(128)}
    client.send(*(client.headers(request) for request in requests.values()))
    client.read_until(lambda: all(client.answer(stream).fields for stream in requests), "128 headers")
    assert not any(client.answer(stream).finished for stream in requests)
    client.send(SettingsFrame(0, settings={WINDOW: 65535}))
    for stream, request in requests.items():
        client.wait(stream).assert_echo(request)


LARGE = fields("/", "GET", ("x", "v" * 40000))


@pytest.mark.parametrize("window", [1000, 16384, 70000])
def test_body_larger_than_a_frame_and_the_stream_window(daemon: Daemon, window: int) -> None:
    client = daemon.connect({WINDOW: window})
    answer = client.request(LARGE)
    answer.assert_echo(LARGE)
    assert max(answer.data_lengths) <= min(window, 16384)


def test_body_larger_than_the_connection_window(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 2**31 - 1})
    streams = [client.send_request(LARGE) for _ in range(5)]
    for stream in streams:
        client.wait(stream).assert_echo(LARGE)


def test_window_of_one_byte(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 1})
    answer = client.request(fields())
    answer.assert_echo(fields())
    assert set(answer.data_lengths) <= {0, 1} and sum(answer.data_lengths) == len(answer.body)


def test_stream_window_opened_by_settings(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 0})
    stream = client.send_request(fields())
    client.read_until(lambda: bool(client.answer(stream).fields), "the HEADERS")
    client.ping()
    assert not client.answer(stream).data_lengths
    client.send(SettingsFrame(0, settings={WINDOW: 65535}))
    client.wait(stream).assert_echo(fields())


def test_negative_stream_window(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 20000}, refill=False)
    stream = client.send_request(LARGE)
    client.read_until(lambda: len(client.answer(stream).body) == 20000, "as much as the window allows")
    client.send(SettingsFrame(0, settings={WINDOW: 100}))  # the window is -19900 now
    client.ping()
    client.send(WindowUpdateFrame(stream, 19900))
    client.ping()
    assert len(client.answer(stream).body) == 20000
    client.send(WindowUpdateFrame(stream, 100000))
    client.wait(stream).assert_echo(LARGE)


def test_client_without_a_dynamic_table(daemon: Daemon) -> None:
    client = daemon.connect({SettingsFrame.HEADER_TABLE_SIZE: 0})
    client.ping()
    client.decoder.max_allowed_table_size = 0
    for path in ("/a", "/b"):
        client.assert_answered(path)
    assert len(client.decoder.header_table.dynamic_entries) == 0


def test_larger_frames_up_to_max_frame_size(daemon: Daemon) -> None:
    client = daemon.connect({SettingsFrame.MAX_FRAME_SIZE: 20000})
    answer = client.request(LARGE)
    answer.assert_echo(LARGE)
    assert max(answer.data_lengths) <= 20000


# --- half-closed connections ---

def test_client_that_has_sent_fin_gets_all_answers(daemon: Daemon) -> None:
    client = daemon.open_connection()
    client.send(MAGIC, SettingsFrame(0), *(client.headers(fields(f"/{number}")) for number in range(100)))
    client.shut_down_writes()
    assert client.read_to_end() == "end"
    for number in range(100):
        client.answer(2 * number + 1).assert_echo(fields(f"/{number}"))


def test_client_that_has_sent_fin_gets_a_large_answer(daemon: Daemon) -> None:
    client = daemon.connect({WINDOW: 100000})
    stream = client.send_request(LARGE)
    client.shut_down_writes()
    assert client.read_to_end() == "end"
    client.answer(stream).assert_echo(LARGE)


def test_fin_before_the_end_of_a_request_closes_the_connection(daemon: Daemon) -> None:
    client = daemon.connect()
    whole, cut = client.send_request(fields("/whole")), client.send_request(fields("/cut", "POST"), end=False)
    client.shut_down_writes()
    client.read_to_end()
    client.answer(whole).assert_echo(fields("/whole"))
    assert not client.answer(cut).fields


def test_connection_closed_by_the_client_is_logged(start: Start) -> None:
    daemon = start("--log-level=debug")
    client = daemon.connect()
    client.assert_answered()
    client.close()
    daemon.wait_for_log(r"debug connection 1 from 127\.0\.0\.1:\d+: closed: .+")
    daemon.wait_for_stats(connections=0)
