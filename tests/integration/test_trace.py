"""The trace: it shows every frame and field of a connection in order and as sent, and is off by default."""
from __future__ import annotations

import json
import os
import pty
import random
import re
import select
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Callable, Sequence

import h2.connection
import hpack
import pytest
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import PriorityFrame, SettingsFrame, WindowUpdateFrame

from clients import curl_h2, run_tool
from conftest import Start
from daemon import TOP, Daemon, command, environment_without_systemd
from frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED, PING, PRIORITY,
                    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame)
from hostile import GET_BLOCK, request
from tracing import (Trace, TracedFrame, as_nghttpd_shows, complete_traces, expected_frames, nghttpd_frames,
                     nghttpd_output, nghttpd_shows_priorities, record_client, replay, traces_of)
from waiting import SLOW, Deadline
from wire import CANCEL, COMPRESSION_ERROR, MAGIC, PROTOCOL_ERROR, Client, fields, read_all

GOAWAY, ORIGIN, PRIORITY_UPDATE, GREASE = 7, 12, 16, 0xbb


def only_trace(daemon: Daemon) -> Trace:
    [trace] = complete_traces(daemon).values()
    return trace


def kinds(frames: Sequence[TracedFrame]) -> list[str]:
    return [shown.kind for shown in frames]


# --- random requests, compared with the bytes themselves ---

class Tap:
    """A socket that records what is sent and received."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner, self.sent, self.received = inner, bytearray(), bytearray()

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def sendall(self, data: bytes) -> None:
        self.sent += data
        self.inner.sendall(data)

    def recv(self, size: int) -> bytes:
        data = self.inner.recv(size)
        self.received += data
        return data


class RandomClient:
    """A client that sends random valid requests."""

    VALUES = [*range(0x21, 0x7f), *range(0x80, 0x100)]
    TABLES = (None, 0, 100, 4096, 65536)
    REQUESTS = 300

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.random = random.Random(seed)
        self.client = daemon.open_connection()
        self.tap = self.client.socket = Tap(self.client.socket)
        table = self.TABLES[seed % len(self.TABLES)]
        settings = {0x1a2a: seed} | ({} if table is None else {SettingsFrame.HEADER_TABLE_SIZE: table})
        self.client.decoder.max_allowed_table_size = max(4096, table or 0)
        self.client.send_preface(settings)

    def value(self, most: int) -> bytes:
        return bytes(self.random.choices(self.VALUES, k=self.random.randrange(most)))

    def more_fields(self) -> list[hpack.HeaderTuple]:
        made = []
        for _ in range(self.random.randrange(10)):
            name = self.random.choice([b"cookie", b"accept", b"x-%d" % self.random.randrange(20), b"authorization"])
            value = b"." + self.value(40) + self.random.choice([b"", b" : , \t", b'"\\']) + self.value(40) + b"."
            kind = NeverIndexedHeaderTuple if self.random.random() < 0.2 else hpack.HeaderTuple
            made.append(kind(name, value))
        return made

    def block(self, stream: int, block: bytes, end: bool) -> bytes:
        """HEADERS, perhaps padded and with a priority, and CONTINUATION."""
        cuts = sorted(self.random.choices(range(len(block) + 1), k=self.random.choice([0, 0, 0, 1, 3])))
        pieces = [block[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(block)])]
        padding = self.random.choice([None, None, 0, 7]) if pieces[0] else None  # hyperframe cannot pad an empty payload
        dependency = self.random.choice([None, struct.pack(">IB", 0x80000000, self.random.randrange(256))])
        flags = (END_STREAM if end else 0) | (0 if padding is None else PADDED) | (HAS_PRIORITY if dependency else 0)
        head = (b"" if padding is None else bytes([padding])) + (dependency or b"")
        frames = [(HEADERS, flags, head + pieces[0] + bytes(padding or 0))]
        frames += [(CONTINUATION, 0, piece) for piece in pieces[1:]]
        frames[-1] = (frames[-1][0], frames[-1][1] | END_HEADERS, frames[-1][2])
        return b"".join(frame(kind, flags, stream, payload) for kind, flags, payload in frames)

    def encode(self, block: Sequence[tuple[object, object]]) -> bytes:
        return self.client.encoder.encode(block, huffman=self.random.random() < 0.5)

    def request(self, stream: int) -> bytes:
        """All frames of a request, among them some without effect."""
        path = b"/%d?" % stream + self.value(10).replace(b"#", b"")
        block = [*fields(path, self.random.choice(["GET", "POST", "HEAD"])), *self.more_fields()]
        bodies = [self.value(100) for _ in range(self.random.choice([0, 0, 1, 2]))]
        trailers = bool(bodies) and self.random.random() < 0.3
        data = self.block(stream, self.encode(block), not bodies)
        for number, body in enumerate(bodies):
            flags = END_STREAM if not trailers and number == len(bodies) - 1 else 0
            padded = bool(body) and self.random.random() < 0.3
            data += frame(DATA, flags | (PADDED if padded else 0), stream, b"\x05" * padded + body + bytes(5 * padded))
        if trailers:
            data += self.block(stream, self.encode([("x-trailer", self.value(10) + b".")]), True)
        return data + self.random.choice([b"", b"", self.frame_without_effect(stream)])

    def frame_without_effect(self, stream: int) -> bytes:
        return self.random.choice([
            frame(PING, 0, 0, self.random.randbytes(8)),
            WindowUpdateFrame(0, self.random.randrange(1, 100)).serialize(),
            PriorityFrame(stream + 100, depends_on=stream, stream_weight=self.random.randrange(256)).serialize(),
            frame(SETTINGS, 0, 0, struct.pack(">HIHI", 0x99, 1, 6, self.random.getrandbits(31))),
            frame(GREASE, self.random.randrange(256), stream, self.random.randbytes(self.random.randrange(30)))])

    def send_requests(self) -> None:
        for _ in range(self.REQUESTS // 20):
            streams = [self.client.new_stream() for _ in range(20)]
            self.client.send(b"".join(map(self.request, streams)))
            for stream in streams:
                assert self.client.wait(stream, 60).status == 200
        self.client.ping()
        self.client.close()


@pytest.mark.heavy
def test_trace_shows_exactly_what_was_sent_and_received(start: Start) -> None:
    """Three thousand requests on ten connections at once: no line is wrong, missing, mixed up or superfluous."""
    daemon = start("-vv")
    clients = [RandomClient(daemon, seed) for seed in range(10)]
    names = [client.client.name for client in clients]
    with ThreadPoolExecutor(len(clients)) as pool:
        assert list(pool.map(RandomClient.send_requests, clients)) == [None] * len(clients)
    traces = complete_traces(daemon)
    assert sorted(traces) == sorted(names)
    for name, client in zip(names, clients):
        for shown, data in ((traces[name].received, client.tap.sent), (traces[name].sent, client.tap.received)):
            for ours, theirs in zip(shown, expected := expected_frames(bytes(data))):
                assert ours == theirs
            assert len(shown) == len(expected)
        assert sum(shown.kind == "HEADERS" for shown in traces[name].sent) == RandomClient.REQUESTS
        assert traces[name].notes == []


# --- compared with nghttpd ---

def send_by_curl(port: int) -> None:
    url = f"http://127.0.0.1:{port}/index.html"
    curl_h2("-H", "cookie: a=b", "-H", "x: y", "--data-binary", "@-", url, stdin=b"x" * 70000)


def send_by_nghttp(port: int) -> None:
    run_tool(["nghttp", "-ns", "-H", "x-y: : z", "--trailer=t: u", f"--data={__file__}", "--padding=17",
              "--window-bits=20", "--multiply=3", "--header-table-size=65536", f"http://127.0.0.1:{port}/index.html"])


def send_by_h2(port: int) -> None:
    """A request with a priority, a never indexed field and a trailer; another stream is reset."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    head = [(":method", "PUT"), (":path", "/index.html"), (":scheme", "http"), (":authority", "a")]
    connection.send_headers(1, [*head, NeverIndexedHeaderTuple("authorization", "Basic dTpw")], priority_weight=99,
                            priority_depends_on=3, priority_exclusive=True)
    connection.send_data(1, b"body", pad_length=9)
    connection.send_headers(1, [("x-trailer", "y")], end_stream=True)
    connection.send_headers(5, head)
    connection.reset_stream(5, CANCEL)
    connection.ping(b"12345678")
    connection.increment_flow_control_window(1000)
    connection.close_connection(11, b"so long")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(connection.data_to_send())
        client.shutdown(socket.SHUT_WR)
        read_all(client)


def send_raw_frames(port: int) -> None:
    """Frames that the other clients do not send."""
    encoder = hpack.Encoder()
    block = encoder.encode([*fields("/index.html", "POST"), ("x", "caf\xe9 : \"\\".encode("latin-1")), ("empty", ""),
                            NeverIndexedHeaderTuple("s", "t"), ("x-long", "v" * 900)])
    data = [
        MAGIC, frame(SETTINGS, 0, 0, struct.pack(">HIHIHIHI", 3, 100, 0x1234, 5, 4, 70000, 1, 65536)),
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x80000005)),
        frame(PRIORITY, 0, 3, struct.pack(">IB", 0x80000001, 200)), frame(PRIORITY, 0, 7, bytes(5)),
        frame(GREASE, 0x12, 0, b"hello"), frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=2, i"), frame(PING, 0, 0, b"\0" * 8),
        frame(HEADERS, PADDED | HAS_PRIORITY, 1, b"\x03" + struct.pack(">IB", 5, 15) + block[:5] + bytes(3)),
        frame(CONTINUATION, 0, 1, block[5:50]), frame(CONTINUATION, 0, 1),
        frame(CONTINUATION, END_HEADERS, 1, block[50:]),
        frame(DATA, PADDED, 1, b"\x05abc" + bytes(5)), frame(DATA, PADDED, 1, b"\0abc"), frame(DATA, 0, 1),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, encoder.encode([("x-trailer", "z")])),
        frame(HEADERS, END_HEADERS, 5, encoder.encode(fields("/index.html", "POST"))),
        frame(WINDOW_UPDATE, 0, 5, struct.pack(">I", 2**31 - 1 - 70000)),
        frame(RST_STREAM, 0, 5, struct.pack(">I", 0x99)), frame(SETTINGS, 1),
        frame(GOAWAY, 0, 0, struct.pack(">II", 2, 13) + b"\x00debug data\n")]
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"".join(data))
        client.shutdown(socket.SHUT_WR)
        read_all(client)


@pytest.mark.parametrize("send_requests, wanted", [
    (send_by_curl, {"SETTINGS", "WINDOW_UPDATE", "HEADERS", "DATA"}),
    (send_by_nghttp, {"SETTINGS", "PRIORITY", "HEADERS", "DATA", "GOAWAY"}),
    (send_by_h2, {"SETTINGS", "HEADERS", "DATA", "RST_STREAM", "PING", "WINDOW_UPDATE", "GOAWAY"}),
    (send_raw_frames, {"SETTINGS", "WINDOW_UPDATE", "PRIORITY", "PING", "HEADERS", "DATA", "RST_STREAM", "GOAWAY"}),
], ids=["curl", "nghttp", "h2", "raw"])
def test_trace_shows_what_nghttpd_shows(start: Start, tmp_path: Path, send_requests: Callable[[int], None],
                                        wanted: set[str]) -> None:
    (tmp_path / "index.html").write_text("index")
    recorded = record_client(start().address, send_requests)
    theirs = nghttpd_frames(nghttpd_output(recorded, tmp_path))
    daemon = start("-vv")
    replay(daemon.address, recorded)
    ours = only_trace(daemon).received
    if send_requests == send_raw_frames:
        assert {"UNKNOWN(0xbb)", "PRIORITY", "PRIORITY_UPDATE", "CONTINUATION"} <= set(kinds(ours))
    if not nghttpd_shows_priorities():
        wanted = wanted - {"PRIORITY"}
    assert as_nghttpd_shows(ours) == theirs
    assert set(kinds(theirs)) >= wanted and any(shown.fields for shown in theirs)


# --- malformed input ---

def test_goaway_for_a_wrong_preface_is_shown(start: Start) -> None:
    daemon = start("--trace=fields")
    with socket.create_connection(daemon.address) as client:
        client.sendall(b"\x16garbage that is no preface, nor TLS, nor HTTP/1")
        read_all(client)
    daemon.wait_for_stats(connections=0)
    assert daemon.log("notice connection 1 from .*: not an HTTP/2 preface: ")
    trace = only_trace(daemon)
    assert (trace.received, kinds(trace.sent)) == ([], ["SETTINGS", "WINDOW_UPDATE", "GOAWAY"])
    assert trace.sent[-1].details == {"last_stream_id": "0", "error_code": "PROTOCOL_ERROR(0x01)",
                                      "opaque_data(21)": "[not an HTTP/2 preface]"}


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b""],
                         ids=["http1", "tls", "nothing"])
def test_other_protocols_are_not_traced(start: Start, data: bytes) -> None:
    daemon = start("-vv")
    with socket.create_connection(daemon.address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        read_all(client)
    daemon.wait_for_log("connection 1 from .*: closed")
    assert complete_traces(daemon) == {}


def test_block_with_an_hpack_error(start: Start) -> None:
    daemon = start("-vv")
    client = daemon.connect()
    client.send(request(1), request(3, b"\x82\xff\xff\xff\xff\xff\xff"), request(5))
    assert client.read_to_end() and client.goaways[-1].error_code == COMPRESSION_ERROR
    client.close()
    trace = only_trace(daemon)
    assert kinds(trace.received)[1:4] == ["HEADERS"] * 3
    assert trace.notes == ["the fields can't be decoded, nor any after them"]
    assert [len(shown.fields) for shown in trace.received[1:4]] == [4, 1, 0]
    assert trace.sent[-1].details["error_code"] == "COMPRESSION_ERROR(0x09)"


def test_oversized_frame_is_shown_before_its_end(start: Start) -> None:
    daemon = start("-vv")
    client = daemon.connect()
    client.send((16385).to_bytes(3, "big") + bytes([DATA, 0, 0, 0, 0, 1]))
    assert client.read_to_end()
    client.close()
    trace = only_trace(daemon)
    assert trace.received[-1] == TracedFrame("DATA", 16385, 0, 1, fault="malformed: longer than 16384 bytes")
    assert trace.sent[-1].details["error_code"] == "FRAME_SIZE_ERROR(0x06)"


def test_incomplete_frame_is_shown_when_the_connection_ends(start: Start) -> None:
    daemon = start("-vv")
    client = daemon.connect()
    client.send(request(1)[:12])
    client.close()
    assert only_trace(daemon).received[-1] == TracedFrame(
        "HEADERS", len(GET_BLOCK), END_STREAM | END_HEADERS, 1, ["END_STREAM", "END_HEADERS"],
        fault="ended after 3 bytes")


def test_push_promise_from_a_client_is_shown(start: Start) -> None:
    daemon = start("-vv")
    client = daemon.connect()
    client.send(frame(5, END_HEADERS, 1, b"\0\0\0\2" + GET_BLOCK))
    assert client.read_to_end() and client.goaways[-1].error_code == PROTOCOL_ERROR
    client.close()
    [shown] = [shown for shown in only_trace(daemon).received if shown.kind == "PUSH_PROMISE"]
    assert (shown.details["promised_stream_id"], len(shown.fields)) == ("2", 4)


def test_hpack_bomb_does_not_flood_the_log(start: Start) -> None:
    """Of a 16 KB block that decodes to 15,000 fields of 4 KB, only the first fields are shown."""
    daemon = start("-vv", "--max-header-list-size=16MiB")
    client = daemon.connect()
    client.send(request(1, GET_BLOCK + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000))
    client.wait(1)
    client.send(request(3, GET_BLOCK + b"\xbe" * 15000), request(5))
    client.wait(5, 20)
    client.close()
    trace = only_trace(daemon)
    assert trace.notes == ["whatever else is in this header block is not shown"]
    assert [len(shown.fields) for shown in trace.received if shown.kind == "HEADERS"][::2] == [5, 4]
    assert sum(map(len, daemon.lines)) < 400 * 1024


# --- options ---

def request_once(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.assert_answered()


@pytest.mark.parametrize("arguments", [[], ["--log-level=debug"], ["-qv"], ["--trace=off"]],
                         ids=["default", "debug", "both", "off"])
def test_trace_is_off(start: Start, arguments: list[str]) -> None:
    daemon = start(*arguments)
    request_once(daemon)
    assert complete_traces(daemon) == {}


@pytest.mark.parametrize("arguments, values", [(["-v"], False), (["-vv"], True), (["--trace=frames"], False),
                                               (["--trace=fields"], True), (["-v", "--trace=fields"], True)])
def test_level_of_detail(start: Start, arguments: list[str], values: bool) -> None:
    daemon = start(*arguments)
    client = daemon.connect()
    client.send(frame(GREASE, 0, 0, b"hello"))
    client.request(fields("/path", "GET", NeverIndexedHeaderTuple("s", "t"))).assert_echo(
        fields("/path", "GET", ("s", "t")))
    client.close()
    received = only_trace(daemon).received
    [headers] = [shown for shown in received if shown.kind == "HEADERS"]
    plain = [(name.encode(), value.encode(), name == "s") for name, value in fields("/path", "GET", ("s", "t"))]
    assert headers.fields == (plain if values else [(name, b"", sensitive) for name, _, sensitive in plain])
    [unknown] = [shown for shown in received if shown.kind == "UNKNOWN(0xbb)"]
    assert unknown.details == ({"payload": b"hello".hex()} if values else {})
    assert bool(daemon.log("debug connection 1 from .*: open")) == (arguments[0] in ("-v", "-vv"))


def test_trace_does_not_depend_on_the_log_level(start: Start) -> None:
    daemon = start("--trace=frames", "--log-level=notice", listen=["--port=0", "--address=127.0.0.1"])
    port = int(re.search(r":(\d+)/$", daemon.ready)[1])
    with Client(("127.0.0.1", port)) as client:
        client.send_preface().assert_answered()
    daemon.wait_for_log("send DATA frame")
    [trace] = traces_of(daemon.lines).values()
    assert kinds(trace.sent)[-1] == "DATA"


def test_reload_applies_to_new_connections(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text("trace = off\n")
    daemon = start("-c", config)
    old = daemon.connect()
    old.assert_answered()
    config.write_text("trace = fields\n")
    daemon.reload()
    new = daemon.connect()
    new.assert_answered("/new")
    old.assert_answered("/old")
    name = new.name
    daemon.close_clients()
    traces = complete_traces(daemon)
    assert set(traces) == {name}
    assert (b":path", b"/new", False) in traces[name].received[1].fields
    assert not daemon.log("/old")


def log_of_one_request(stderr: int, output: int, no_color: str | None) -> bytes:
    """Everything that a daemon with a trace writes to stderr for one request by curl."""
    variables = {name: value for name, value in environment_without_systemd().items() if name != "NO_COLOR"}
    variables |= {} if no_color is None else {"NO_COLOR": no_color}
    words = command(["--port=0", "--address=127.0.0.1", "--trace=fields"])
    process = subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, stderr=stderr)
    os.close(stderr)
    log, asked, deadline = bytearray(), False, Deadline(10)
    try:
        while True:
            assert select.select([output], [], [], deadline.left())[0], bytes(log)
            log += os.read(output, 65536)
            if not asked and (match := re.search(rb"ready: curl \S+ (\S+)\r?\n", log)):
                asked = bool(curl_h2(match[1].decode()))
            if re.search(rb"send (\x1b\[1;35m)?DATA", log):
                return bytes(log)
    finally:
        process.terminate()
        os.close(output)
        assert process.wait(10 * SLOW) == 0


@pytest.mark.parametrize("no_color, coloured", [(None, True), ("", True), ("1", False)])
def test_colours_on_a_terminal(no_color: str | None, coloured: bool) -> None:
    output, stderr = pty.openpty()
    log = log_of_one_request(stderr, output, no_color)
    assert (b"recv \x1b[1;36mHEADERS\x1b[0m frame <" in log) == coloured
    assert (b"recv (stream_id=1) \x1b[1;34m:method\x1b[0m: GET\r\n" in log) == coloured
    assert (b"\x1b" in log) == coloured


def test_no_colours_in_a_pipe() -> None:
    output, stderr = os.pipe()
    assert b"\x1b" not in log_of_one_request(stderr, output, None)


def example_in_the_manual() -> str:
    text = re.sub(r"\\(?=-)", "", (TOP / "man/h2echod.8").read_text())
    example = re.search(r"^\.Ss The trace\n.*?^\.Bd .*?\n(.*?)^\.Ed", text, re.MULTILINE | re.DOTALL)
    assert example
    return re.sub(r"\n  ", " ", example[1])


def example_in_the_readme() -> str:
    example = re.search(r"^```console\n(recv .*?)^```", (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert example
    return example[1]


def without_numbers(line: str) -> str:
    return re.sub(r"\d+", "0", re.sub(r"date: \w+, \d+ \w+", "date: ", line))


def with_sorted_pseudo_fields(lines: Sequence[str]) -> list[str]:
    """The lines with pseudo-header fields sorted: their order depends on curl's version."""
    runs = groupby(lines, lambda line: ") :" in line)
    return [line for pseudo, run in runs for line in (sorted(run) if pseudo else run)]


@pytest.mark.parametrize("example, more", [(example_in_the_manual, ["-H", "authorization: Basic dTpw"]),
                                           (example_in_the_readme, [])], ids=["manual", "readme"])
def test_documented_examples(start: Start, example: Callable[[], str], more: list[str]) -> None:
    """Apart from numbers, their lines are in the trace, in the same order in each direction."""
    wanted = [without_numbers(line) for line in example().splitlines()]
    daemon = start("--trace=fields")
    echo = json.loads(curl_h2(*more, f"http://localhost:{daemon.port}/hello").stdout)
    daemon.wait_for_stats(connections=0)
    shown = [without_numbers(line).partition(" info connection 0 ")[2] for line in daemon.lines]
    assert len(wanted) > 8
    for direction in ("recv", "send"):
        traced = iter(with_sorted_pseudo_fields([line for line in shown if line.startswith(direction)]))
        documented = with_sorted_pseudo_fields([line for line in wanted if line.startswith(direction)])
        assert [line for line in documented if line not in traced] == []
    names = [match[1] for line in shown if (match := re.match(r"recv \(stream_id=0[^)]*\) (:?[^:]+): ", line))]
    assert names == list(echo)
