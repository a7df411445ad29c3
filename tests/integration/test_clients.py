"""Other clients (curl, nghttp, h2load, node, Python's h2), and ten thousand requests on a hundred connections."""
from __future__ import annotations

import json
import selectors
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import hpack
import pytest

from clients import curl_h2, h2load_counts, node, run_tool
from conftest import Start
from daemon import Daemon
from waiting import Deadline
from wire import MAGIC, echo, fields

TRANSPORTS = ("plain", "tls")

BROWSER = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0"),
           ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"), ("accept-language", "de,en;q=0.5"),
           ("accept-encoding", "gzip, deflate"), ("upgrade-insecure-requests", "1"), ("x-city", "Köln")]


# --- curl ---

def test_concurrent_curls(daemon: Daemon) -> None:
    """One process for each request: this curl cannot reuse a cleartext connection."""
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda number: curl_h2(daemon.url(f"/{number}")).stdout, range(40)))
    assert [json.loads(body)[":path"] for body in bodies] == [f"/{number}" for number in range(40)]


@pytest.mark.plain
def test_curl_over_ipv6(start: Start) -> None:
    daemon = start(listen=["--port=0", "-a", "::1"])
    body = json.loads(curl_h2("-g", f"http://[::1]:{daemon.port}/six").stdout)
    assert body[":authority"] == f"[::1]:{daemon.port}"


# --- nghttp ---

def test_nghttp(daemon: Daemon) -> None:
    body = json.loads(run_tool(["nghttp", "-H", "x-mine: 1", daemon.url("/n")]).stdout)
    assert (body[":path"], body["x-mine"]) == ("/n", "1")


def test_nghttp_with_padding_continuation_and_a_body(daemon: Daemon) -> None:
    done = run_tool(["nghttp", "--padding=200", "--continuation", "--data=-", daemon.url("/n")],
                    stdin=bytes(300_000))
    members = json.loads(done.stdout)
    assert (members[":method"], members["content-length"]) == ("POST", "300000")
    assert len(members["continuation-test-1"]) > 1000  # nghttp adds fields that need CONTINUATION frames


def test_nghttp_with_a_small_window_and_trailers(daemon: Daemon) -> None:
    done = run_tool(["nghttp", "-w", "1", "--trailer=x-sum: 1", "--data=-", "-H", "x: " + "v" * 5000,
                     daemon.url("/n")], stdin=b"body")
    assert json.loads(done.stdout)["x"] == "v" * 5000


# --- h2load ---

@pytest.mark.heavy
@pytest.mark.parametrize("options", [
    pytest.param(["-c", "1", "-m", "1", "-n", "500"], id="sequential"),
    pytest.param(["-c", "50", "-m", "100", "-n", "20000"], id="concurrent"),
    pytest.param(["-c", "10", "-m", "10", "-n", "2000", "-w", "1", "-W", "10"], id="small-windows"),
])
def test_h2load(start: Start, options: list[str]) -> None:
    daemon = start()
    counts = h2load_counts(run_tool(["h2load", *options, daemon.url()], seconds=30).stdout.decode())
    assert counts["total"] == counts["succeeded"] == counts["2xx"] == int(options[5])
    assert daemon.wait_for_stats(connections=0)["requests"] == counts["total"]


# --- node ---

def test_node(daemon: Daemon) -> None:
    requests = [{"fields": {":method": "POST", ":path": f"/{number}", "x-number": str(number),
                            "cookie": "a=1; b=2"}, "bodySize": number % 3 * 1000} for number in range(100)]
    for number, answer in enumerate(node(daemon.url(), requests)):
        members = json.loads(answer["body"])
        assert answer["status"] == 200
        assert (members[":path"], members["x-number"], members["cookie"]) == \
            (f"/{number}", str(number), "a=1; b=2")


# --- python3-h2 ---

class H2Client:
    """A client on Python's h2, which validates what it receives."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=Deadline(10).left())
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.statuses: dict[int, str] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()

    def send_request(self, request: list[tuple[str, str]]) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, request, end_stream=True)
        self.bodies[stream] = b""
        return stream

    def run(self) -> None:
        """Send the requests and read until every stream has ended."""
        while self.ended != set(self.bodies):
            self.socket.sendall(self.h2.data_to_send())
            for event in self.h2.receive_data(self.socket.recv(65536)):
                self._on(event)

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = dict(event.headers)[":status"]
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        else:
            assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event


@pytest.mark.plain
def test_python_h2(daemon: Daemon) -> None:
    client = H2Client(daemon.address)
    requests = {}
    for number in range(100):
        request = [*fields(f"/{number}"), *BROWSER, ("x-number", str(number))]
        requests[client.send_request(request)] = request
    client.run()
    client.socket.close()
    assert set(client.statuses.values()) == {"200"}
    assert client.bodies == {stream: echo(request) for stream, request in requests.items()}


# --- ten thousand requests ---

CONNECTIONS, STREAMS = 100, 100


def short_literal(name_index: int, value: str) -> bytes:
    """A literal field without indexing, its name from HPACK's static table."""
    return bytes([name_index, len(value)]) + value.encode()


def request_bytes(stream: int, path: str) -> bytes:
    """HEADERS of a GET request."""
    block = b"\x82\x86" + short_literal(0x04, path) + short_literal(0x01, "a")
    return len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + block


def expected_body(path: str) -> bytes:
    return b'{":method": "GET", ":scheme": "http", ":path": "%s", ":authority": "a"}' % path.encode()


@dataclass
class ManyRequests:
    """A connection that sends all its requests at once, and parses the answers as they arrive."""

    number: int
    socket: socket.socket
    decoder: hpack.Decoder = field(default_factory=hpack.Decoder)
    buffer: bytearray = field(default_factory=bytearray)
    statuses: dict[int, bytes] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    ended: int = 0

    def path(self, stream: int) -> str:
        return f"/{self.number}/{stream}"

    def send_requests(self) -> None:
        window = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x00\x10\x00\x00"
        self.socket.sendall(MAGIC + window + b"".join(
            request_bytes(stream, self.path(stream)) for stream in range(1, 2 * STREAMS, 2)))

    def read_once(self) -> bool:
        """Read once; return whether all answers are complete."""
        data = self.socket.recv(65536)
        assert data, f"connection {self.number} is closed after {self.ended} answers"
        self.buffer += data
        start = 0
        while len(self.buffer) >= start + 9:
            length = int.from_bytes(self.buffer[start:start + 3], "big")
            if len(self.buffer) < start + 9 + length:
                break
            stream = int.from_bytes(self.buffer[start + 5:start + 9], "big")
            self._frame(self.buffer[start + 3], self.buffer[start + 4], stream,
                        bytes(self.buffer[start + 9:start + 9 + length]))
            start += 9 + length
        del self.buffer[:start]
        return self.ended == STREAMS

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == 1:
            assert flags & 4
            self.statuses[stream] = self.decoder.decode(payload, raw=True)[0][1]
        elif kind == 0:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        else:
            assert kind in (4, 6, 8), f"frame of type {kind} with {payload!r}"
        if stream and flags & 1:
            self.ended += 1

    def check(self) -> None:
        for stream in range(1, 2 * STREAMS, 2):
            assert self.statuses[stream] == b"200"
            assert self.bodies[stream] == expected_body(self.path(stream))


@pytest.mark.heavy
@pytest.mark.plain
def test_ten_thousand_requests_over_a_hundred_connections(daemon: Daemon) -> None:
    deadline = Deadline(30)
    connections = [ManyRequests(number, socket.create_connection(daemon.address)) for number in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each.socket, selectors.EVENT_READ, each)
        for each in connections:
            each.send_requests()
        while selector.get_map():
            for key, _ in selector.select(deadline.left()):
                if key.data.read_once():
                    selector.unregister(key.fileobj)
    for each in connections:
        each.check()
        each.socket.close()
