"""--probe: its URLs, its output for a daemon, and its errors for servers that misbehave."""
from __future__ import annotations

import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Callable, Iterable, Iterator

import hpack
import pytest
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame,
                              RstStreamFrame, SettingsFrame)

from conftest import Start
from daemon import Daemon, Finished, run
from waiting import SLOW, poll
from wire import ENHANCE_YOUR_CALM, REFUSED_STREAM, fields

USAGE = 64
LIMIT = 5  # seconds that a probe may take
GOOD = b'{":method": "GET", ":path": "/"}'
SETTINGS = SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 7, 0xF0: 9}).serialize()

Pieces = Iterable[bytes]
CloseServer = Callable[[socket.socket], None]
Serve = Callable[..., str]


# --- probing a daemon ---

def assert_probed(done: Finished, url: str, version: str, authority: str, path: str = "/") -> None:
    """The probe succeeded, and printed its line about the daemon and the body of the answer."""
    assert (done.status, done.errors) == (0, []), done
    first, _, body = done.out.partition("\n")
    assert re.fullmatch(rf"{re.escape(url)}: 200, h2echod/{re.escape(version)}, {len(body) - 1} bytes of "
                        r"application/json in \d+\.\d ms, h2c, SETTINGS_MAX_CONCURRENT_STREAMS=128 "
                        r"SETTINGS_INITIAL_WINDOW_SIZE=\d+ SETTINGS_MAX_HEADER_LIST_SIZE=65536", first), first
    assert json.loads(body) == {":method": "GET", ":path": path, ":scheme": "http", ":authority": authority,
                                "user-agent": f"h2echod/{version} (probe)"}


@pytest.mark.parametrize("path, asked", [("", "/"), ("/", "/"), ("/a?b=%20\"", "/a?b=%20\""), ("?q", "/?q")])
def test_url(daemon: Daemon, version: str, path: str, asked: str) -> None:
    url = f"http://127.0.0.1:{daemon.port}{path}"
    assert_probed(run("--probe", url), url.replace('"', '\\"'), version, f"127.0.0.1:{daemon.port}", asked)


def test_ipv6(start: Start, version: str) -> None:
    url = f"http://[::1]:{start(listen=['--port=0', '--address=::1']).port}/"
    assert_probed(run("--probe", url), url, version, url[7:-1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_localhost_tries_both_families(start: Start, version: str, host: str) -> None:
    url = f"http://localhost:{start(listen=['--port=0', f'--address={host}']).port}/"
    assert_probed(run("--probe", url), url, version, url[7:-1])


def test_unix_socket(start: Start, tmp_path: Path, version: str) -> None:
    path = tmp_path / "socket"
    start(f"--unix={path}")
    assert_probed(run("--probe", f"unix:{path}"), f"unix:{path}", version, "localhost")


def test_default_url_is_that_of_the_configuration_file(start: Start, tmp_path: Path, version: str) -> None:
    config = tmp_path / "h2echod.conf"
    port = start().port
    config.write_text(f"port = {port}\naddress = 127.0.0.1\naddress = 192.0.2.1\npretty = on\n")
    url = f"http://127.0.0.1:{port}/"
    assert_probed(run("--config", config, "--probe"), url, version, url[7:-1])


@pytest.mark.parametrize("address, host", [(None, "localhost"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"),
                                           ("0::0", "[::1]"), ("localhost", "localhost")])
def test_default_url_is_that_of_the_options(start: Start, version: str, address: str | None, host: str) -> None:
    options = [f"--address={address}"] if address else []
    port = start(listen=["--port=0", *options]).port
    assert_probed(run(f"--port={port}", *options, "--probe"), f"http://{host}:{port}/", version, f"{host}:{port}")


def test_link_local_address_keeps_its_zone(daemon: Daemon) -> None:
    """Connecting fails; the error shows that the zone was parsed."""
    done = run("--address=fe80::1%lo", f"--port={daemon.port}", "--probe")
    assert done.status == 1
    assert re.fullmatch(rf"http://\[fe80::1%lo\]:{daemon.port}/: cannot connect: .+", done.error())


def test_answer_with_pretty_is_printed_as_it_is(start: Start) -> None:
    daemon = start("--pretty")
    done = run("--probe", daemon.url())
    assert done.status == 0 and done.out.partition("\n")[2].startswith('{\n  ":method": "GET",\n')
    assert done.out.endswith("}\n") and not done.out.endswith("\n\n")


def test_service_manager_is_not_notified(daemon: Daemon, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        done = run("--probe", daemon.url(), prefix=["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=1"])
        assert done.status == 0
        with pytest.raises(BlockingIOError):
            manager.recv(1)


def test_write_error_on_standard_output(daemon: Daemon) -> None:
    done = run("--probe", daemon.url(), prefix=["sh", "-c", 'exec "$@" >/dev/full', "sh"])
    assert done.status == 1 and done.error().startswith("cannot write to standard output: ")


def test_draining_daemon_refuses_the_connection(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    stream = client.send_request(fields("/last", "POST"), end=False)
    client.ping()
    daemon.signal()
    client.read_until(lambda: len(client.goaways) == 2, "the final GOAWAY")
    done = run("--probe", daemon.url())
    assert done.status == 1
    assert done.error() == f"{daemon.url()}: cannot connect: Connection refused"
    client.send_body(stream, b"")
    client.wait(stream)


# --- URLs without a server ---

@pytest.mark.parametrize("url, words", [
    ("https://127.0.0.1/", "https://127.0.0.1/: --probe cannot use TLS: give a URL with http:// or unix:"),
    ("unix:/nowhere/socket", "unix:/nowhere/socket: cannot connect: No such file or directory"),
    ("http://a..b/", "http://a..b/: cannot look up the host: Name or service not known"),
    ("http://[::1%nowhere]/", "http://[::1%nowhere]/: cannot look up the host: Name or service not known"),
])
def test_url_that_cannot_be_connected_to(url: str, words: str) -> None:
    done = run("--probe", url)
    assert (done.status, done.out, done.error()) == (1, "", words)


def test_port_0_is_an_error() -> None:
    done = run("--port=0", "--probe")
    assert (done.status, done.error()) == (1, "--probe: port 0 means any free port: give the daemon's URL")


@pytest.mark.parametrize("url", ["localhost:8080", "http://h/#x", "http://h/\r\nx: y", "unix:", "\x1b[31m"])
def test_invalid_url_exits_with_64(url: str) -> None:
    done = run("--probe", url)
    assert (done.status, done.out) == (USAGE, "")
    shown = url.replace("\r\n", r"\x0d\x0a").replace("\x1b", r"\x1b")
    assert done.error() == f"--probe: '{shown}' is not http://HOST[:PORT][/PATH] or unix:PATH"


def test_address_that_cannot_be_part_of_a_url() -> None:
    done = run("--address=a b", "--probe")
    assert done.status == USAGE and "'http://a b:8080/'" in done.error()


@pytest.mark.parametrize("arguments", [["a", "b", "--probe"], ["--probe", ""], ["http://localhost/"]])
def test_too_many_operands_exit_with_64(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.status == USAGE and done.error().startswith("unexpected argument ")


def test_invalid_configuration_file_exits_with_78(tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("prot = 80\n")
    assert run("-c", tmp_path / "wrong", "--probe").status == 78


# --- other servers ---

class Server:
    """Accepts one connection, sends these pieces whatever it receives, then closes as `close` does.

    Its receive buffer is small, so that a client that sends while the server does not read has to wait."""

    def __init__(self, pieces: Pieces, close: CloseServer, address: str | None) -> None:
        self.listener = socket.socket(socket.AF_INET if address is None else socket.AF_UNIX)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.listener.bind(("127.0.0.1", 0) if address is None else address)
        self.listener.listen()
        self.pieces, self.close_connection = pieces, close
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        name = self.listener.getsockname()
        return f"unix:@{name[1:].decode()}" if isinstance(name, bytes) else "http://%s:%d/" % name

    def _serve(self) -> None:
        connection = self.listener.accept()[0]
        with connection:
            connection.settimeout(20 * SLOW)
            try:
                connection.recv(65536)  # the request arrives in one segment
                for piece in self.pieces:
                    connection.sendall(piece)
                self.close_connection(connection)
            except (ConnectionError, TimeoutError):
                pass  # the client has closed, which it may

    def close(self) -> None:
        self.listener.close()
        self.thread.join(30 * SLOW)
        assert not self.thread.is_alive()


def wait_for_client_to_close(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def send_fin(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    wait_for_client_to_close(connection)


def send_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(pieces): the URL of a server that sends them."""
    servers: list[Server] = []

    def start_server(pieces: Pieces, close: CloseServer = wait_for_client_to_close, address: str | None = None) -> str:
        servers.append(Server(pieces, close, address))
        return servers[-1].url
    yield start_server
    for server in servers:
        server.close()


def answer_block(*more: tuple[str, str], status: str = "200") -> bytes:
    return hpack.Encoder().encode([(":status", status), *more], huffman=False)


def answer_head(*more: tuple[str, str], status: str = "200", flags: Iterable[str] = ("END_HEADERS",)) -> bytes:
    return HeadersFrame(1, answer_block(*more, status=status), flags=list(flags)).serialize()


def answer_data(body: bytes, end: bool = True) -> bytes:
    return DataFrame(1, body, flags=["END_STREAM"] if end else []).serialize()


def answer(body: bytes = GOOD, kind: str = "application/json", length: str | None = None, status: str = "200") -> bytes:
    more = [("content-type", kind), ("content-length", length or str(len(body)))]
    return answer_head(*more, status=status) + answer_data(body)


def goaway_of(code: int, last: int, reason: bytes = b"") -> bytes:
    return GoAwayFrame(0, last, code, reason).serialize()


def assert_succeeds(done: Finished, url: str) -> None:
    assert (done.status, done.errors) == (0, []), done
    first, body = done.out.splitlines()
    assert re.fullmatch(rf"{re.escape(url)}: 200, no server field, 32 bytes of application/json in \d+\.\d ms, h2c, "
                        r"SETTINGS_MAX_CONCURRENT_STREAMS=7 0x00f0=9", first), first
    assert body == GOOD.decode()


@pytest.mark.parametrize("pieces", [
    [SETTINGS, answer()],
    [bytes([byte]) for byte in SETTINGS + answer()],
    [SETTINGS + answer_head(("link", "x"), status="103") + answer()],
    [SETTINGS, goaway_of(0, 2**31 - 1), goaway_of(0, 1), answer()],
], ids=["whole", "by-byte", "interim", "goaway-before-the-answer"])
def test_valid_answers(serve: Serve, pieces: Pieces) -> None:
    url = serve(pieces)
    assert_succeeds(run("--probe", url), url)


def test_abstract_unix_socket(serve: Serve) -> None:
    url = serve([SETTINGS, answer()], address="")  # the kernel chooses a name
    assert_succeeds(run("--probe", url), url)


def test_probe_sends_goaway(serve: Serve) -> None:
    received = bytearray()

    def receive_all(connection: socket.socket) -> None:
        while piece := connection.recv(65536):
            received.extend(piece)
    assert run("--probe", serve([SETTINGS, answer()], receive_all)).status == 0
    poll(lambda: received.endswith(goaway_of(0, 0)), "GOAWAY")
    assert received == SettingsFrame(0, flags=["ACK"]).serialize() + goaway_of(0, 0)


def test_server_with_empty_settings(serve: Serve) -> None:
    done = run("--probe", serve([SettingsFrame(0).serialize(), answer()]))
    assert done.status == 0 and done.out.splitlines()[0].endswith(" ms, h2c")


def test_control_characters_are_escaped(serve: Serve) -> None:
    body = b'{":path": "/", "x": "\x7f\xc2\x9b31m"}'
    fields_ = (("server", "\x9b31m"), ("content-type", "application/json"), ("content-length", str(len(body))))
    done = run("--probe", serve([SETTINGS, answer_head(*fields_) + answer_data(body)]))
    assert done.status == 0
    assert r": 200, \xc2\x9b31m, " in done.out and done.out.endswith('{":path": "/", "x": "\\x7f\\xc2\\x9b31m"}\n')


def continuations(count: int) -> bytes:
    frames: list[Frame] = [HeadersFrame(1, answer_block())]
    frames += [ContinuationFrame(1, b"") for _ in range(count)]
    return b"".join(frame.serialize() for frame in frames)


WRONG: dict[str, tuple[Pieces, str]] = {
    "http1": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"],
              r'not HTTP/2, it begins with "HTTP/1.1 400 Bad Request\x0d\x0a\x0d\x0a"'),
    "garbage": ([b"220 mail.example ESMTP \x1b[31m\r\n"],
                r'not HTTP/2, it begins with "220 mail.example ESMTP \x1b[31m'),
    "tls-alert": ([b"\x15\x03\x03\0\2\2\x0a" + bytes(9)], r'not HTTP/2, it begins with "\x15\x03\x03'),
    "no-settings-first": ([answer()], "not HTTP/2, it begins with "),
    "goaway": ([SETTINGS, goaway_of(ENHANCE_YOUR_CALM, 0, b"too\x1b \"many\"")],
               r'the server sent GOAWAY ENHANCE_YOUR_CALM, last stream 0, "too\x1b \"many\""'),
    "goaway-of-a-draining-server": ([SETTINGS, goaway_of(0, 0)], 'the server sent GOAWAY NO_ERROR, last stream 0, ""'),
    "reset": ([SETTINGS, RstStreamFrame(1, REFUSED_STREAM).serialize()], "the server sent RST_STREAM REFUSED_STREAM"),
    "reset-midway": ([SETTINGS, answer_head(), answer_data(b"{", end=False), RstStreamFrame(1, 0).serialize()],
                     "the server sent RST_STREAM NO_ERROR"),
    "status": ([SETTINGS, answer(b"over\x1b loaded", "text/plain", status="503")],
               r'status 503, not 200: "over\x1b loaded"'),
    "type": ([SETTINGS, answer(kind="text/html")], 'content-type "text/html", not "application/json"'),
    "no-type": ([SETTINGS, answer_head(("content-length", "32")), answer_data(GOOD)],
                'content-type "", not "application/json"'),
    "no-length": ([SETTINGS, answer_head(("content-type", "application/json")), answer_data(GOOD)],
                  'content-length "", but 32 bytes received'),
    "length-too-long": ([SETTINGS, answer(length="33")],
                        'the response is malformed (PROTOCOL_ERROR): content-length "33", 32 bytes received'),
    "length-too-short": ([SETTINGS, answer(length="31")],
                         'the response is malformed (PROTOCOL_ERROR): content-length "31"'),
    "length-with-a-leading-zero": ([SETTINGS, answer(length="032")], 'content-length "032", but 32 bytes received'),
    "not-an-object": ([SETTINGS, answer(b"[1, 2]")],
                      'the body is not a JSON object with the requested :path: "[1, 2]"'),
    "other-path": ([SETTINGS, answer(b'{":path": "/x"}')], "the body is not a JSON object with the requested :path"),
    "no-body": ([SETTINGS, answer(b"")], "the body is not a JSON object"),
    "malformed": ([SETTINGS, answer_head(("Server", "x"), flags=("END_HEADERS", "END_STREAM"))],
                  "the response is malformed (PROTOCOL_ERROR)"),
    "huge-settings": ([SettingsFrame(0, settings={identifier: 0 for identifier in range(100, 133)}).serialize()],
                      "invalid data from the server (ENHANCE_YOUR_CALM)"),
    "long-frame": ([SETTINGS, PingFrame(0, bytes(8)).serialize(), b"\0\x40\1\0\0\0\0\0\1" + bytes(16385)],
                   "invalid data from the server (FRAME_SIZE_ERROR)"),
    "bad-hpack": ([SETTINGS, HeadersFrame(1, b"\x80", flags=["END_HEADERS"]).serialize()],
                  "invalid data from the server (COMPRESSION_ERROR)"),
    "endless-body": ([SETTINGS, answer_head(), *[answer_data(bytes(4096), end=False)] * 17],
                     "the body has more than 65536 bytes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_answers(serve: Serve, case: str) -> None:
    pieces, words = WRONG[case]
    url = serve(pieces)
    done = run("--probe", url)
    assert (done.status, done.out) == (1, "")
    assert done.error().startswith(f"{url}: {words}"), done.error()


@pytest.mark.parametrize("pieces, stage", [([], "SETTINGS"), ([SETTINGS], "the response"),
                                           ([SETTINGS, answer_head(status="100")], "the response"),
                                           ([SETTINGS, answer_head(), answer_data(GOOD, end=False)],
                                            "the end of the body")])
def test_server_that_closes_early(serve: Serve, pieces: Pieces, stage: str) -> None:
    url = serve(pieces, send_fin)
    done = run("--probe", url)
    assert (done.status, done.error()) == (1, f"{url}: the server closed the connection while waiting for {stage}")


@pytest.mark.parametrize("pieces, stage", [([], "SETTINGS"), ([SETTINGS], "the response")])
def test_server_that_resets_the_connection(serve: Serve, pieces: Pieces, stage: str) -> None:
    """If the error occurred in a write, the next read only sees the end of the connection."""
    done = run("--probe", serve(pieces, send_reset))
    assert done.status == 1
    assert re.search(rf": (Connection reset by peer|the server closed the connection) while waiting for {stage}$",
                     done.error())


def test_port_that_nothing_listens_on() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = "http://%s:%d/" % bound.getsockname()
        done = run("--probe", url)
    assert (done.status, done.error()) == (1, f"{url}: cannot connect: Connection refused")


# --- time limit ---

def repeat(piece: bytes, seconds: float = 0) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(seconds)


@pytest.fixture
def url_with_full_backlog() -> Iterator[str]:
    """The URL of a Unix socket whose backlog is full."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind("")
        listener.listen(0)
        waiting.connect(listener.getsockname())
        yield f"unix:@{listener.getsockname()[1:].decode()}"


def timed_probe(url: str) -> tuple[Finished, float]:
    began = time.monotonic()
    return run("--probe", url), time.monotonic() - began


def test_probe_ends_after_five_seconds(start: Start, serve: Serve, url_with_full_backlog: str) -> None:
    """The probes run at the same time, since each takes 5 seconds."""
    full = start("--max-connections=1")
    full.connect().assert_answered()
    expected = {
        url_with_full_backlog: "timed out after 5 s while connecting",
        full.url(): "timed out after 5 s while waiting for SETTINGS",
        serve([]): "timed out after 5 s while waiting for SETTINGS",
        serve([b"hello"]): 'not HTTP/2, it begins with "hello"',
        serve([SETTINGS]): "timed out after 5 s while waiting for the response",
        serve(repeat(answer_head(status="103"))): 'not HTTP/2, it begins with ',
        serve(chain([SETTINGS], repeat(answer_head(status="103")))):
            "timed out after 5 s while waiting for the response",
        serve(chain([SETTINGS], repeat(500 * PingFrame(0, bytes(8)).serialize()))):
            "timed out after 5 s while waiting for the response",
        serve(chain([SETTINGS, answer_head()], repeat(answer_data(b" ", end=False), 0.05))):
            "timed out after 5 s while waiting for the end of the body",
    }
    with ThreadPoolExecutor(len(expected)) as pool:
        results = dict(zip(expected, pool.map(timed_probe, expected)))
    for url, words in expected.items():
        done, took = results[url]
        assert (done.status, done.out) == (1, "")
        assert done.error().startswith(f"{url}: {words}"), done.error()
        if "timed out" in words:
            assert LIMIT <= took < LIMIT + 3 * SLOW, f"{words}: {took} s"


def test_endless_header_block(serve: Serve) -> None:
    """Which limit of nghttp2 is reached first depends on its version; the last one is the probe's time limit."""
    done = run("--probe", serve(chain([SETTINGS], [continuations(0)], repeat(ContinuationFrame(1, b"").serialize()))))
    assert (done.status, done.out) == (1, "") and done.error()
