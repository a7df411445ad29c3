"""Signals: drain (SIGTERM, SIGINT, SIGQUIT), reload (SIGHUP), stats (SIGUSR1), and ignored ones."""
from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, PingFrame, SettingsFrame, WindowUpdateFrame

import needs
from clients import environment_without_proxies, h2load_counts
from conftest import Start
from daemon import Daemon
from waiting import SLOW, Deadline, Stopwatch, poll
from wire import LAST_STREAM, MAGIC, NO_ERROR, Client, fields

TRANSPORTS = ("plain", "tls")

STOPPING = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
AT_ONCE = 5 * SLOW  # seconds, on a busy machine; the drain timeout is 10 s
LARGE = fields("/large", "GET", ("x", "v" * 40000))


# --- drain ---

@STOPPING
def test_idle_daemon_exits_at_once(start: Start, number: signal.Signals) -> None:
    daemon = start()
    watch = Stopwatch()
    daemon.signal(number)
    daemon.wait(0)
    assert watch.seconds() < AT_ONCE
    assert daemon.log(rf"notice {number.name}: draining 0 connections within 10s$")
    assert daemon.log("notice stopped: ")


@STOPPING
def test_idle_connection_gets_two_goaways(start: Start, number: signal.Signals) -> None:
    daemon = start()
    client = daemon.connect()
    client.assert_answered()
    client.assert_answered()
    watch = Stopwatch()
    daemon.signal(number)
    assert client.read_to_end() == "end"
    assert [(goaway.last_stream_id, goaway.error_code) for goaway in client.goaways] == \
        [(LAST_STREAM, NO_ERROR), (3, NO_ERROR)]
    client.close()
    daemon.wait(0)
    assert watch.seconds() < AT_ONCE
    assert daemon.log(rf"notice {number.name}: draining 1 connections? within 10s$")


def start_with_open_request(start: Start, *arguments: object) -> tuple[Daemon, Client]:
    """A daemon, and a client whose request is open: a drain waits for the rest of its body."""
    daemon = start(*arguments)
    client = daemon.connect()
    client.send_request(fields("/open", "POST"), end=False)
    client.ping()
    return daemon, client


def wait_for_goaway(client: Client, count: int = 1) -> None:
    client.read_until(lambda: len(client.goaways) >= count, f"GOAWAY number {count}")


def test_request_with_half_of_its_body_sent_is_answered(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    request = fields("/upload", "POST", ("content-length", "200000"))
    stream = client.send_request(request, end=False)
    client.send_body(stream, bytes(100000), end=False)
    daemon.signal(signal.SIGTERM)
    wait_for_goaway(client, 2)
    client.send_body(stream, bytes(100000))
    client.wait(stream).assert_echo(request)
    assert client.read_to_end() == "end"
    assert client.goaways[-1].last_stream_id == stream
    daemon.wait(0)


def test_answer_that_waits_for_its_window_is_finished(start: Start) -> None:
    daemon = start()
    client = daemon.connect({SettingsFrame.INITIAL_WINDOW_SIZE: 10}, refill=False)
    stream = client.send_request(LARGE)
    client.read_until(lambda: len(client.answer(stream).body) == 10, "the first 10 bytes")
    daemon.signal(signal.SIGTERM)
    wait_for_goaway(client, 2)
    client.refill = True
    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535}))
    client.wait(stream).assert_echo(LARGE)
    client.read_to_end()
    daemon.wait(0)


def test_slowly_read_answers_are_finished(start: Start) -> None:
    """The answers are in the kernel's send buffer: closing with a reset would discard what is not read yet."""
    daemon = start()
    client = daemon.connect({SettingsFrame.INITIAL_WINDOW_SIZE: 2**20}, receive_buffer=4096)
    client.send(WindowUpdateFrame(0, 2**20))
    streams = [client.send_request(LARGE) for _ in range(20)]
    poll(lambda: daemon.stats()["sent"] > len(streams) * 40000, "everything to be sent")
    daemon.signal(signal.SIGTERM)
    watch = Stopwatch()
    while watch.seconds() < 2.5:
        client.receive_unparsed(4096, Deadline(5))
        client.send(PingFrame(0, bytes(8)))
        time.sleep(0.05)
    for stream in streams:
        client.wait(stream).assert_echo(LARGE)
    assert client.read_to_end() == "end"
    daemon.wait(0)


def test_request_sent_before_the_goaway_arrived_is_answered(start: Start) -> None:
    """The first GOAWAY allows requests that the client sends before it has seen it (RFC 9113 section 6.8)."""
    daemon = start()
    client = daemon.connect()
    client.assert_answered()
    daemon.signal(signal.SIGTERM)
    client.acknowledge = False
    client.read_until(lambda: bool(client.pings and client.goaways), "GOAWAY and PING")
    assert [goaway.last_stream_id for goaway in client.goaways] == [LAST_STREAM]
    stream = client.send_request(fields("/late"))
    client.send(PingFrame(0, client.pings[0], flags=["ACK"]))
    client.wait(stream).assert_echo(fields("/late"))
    client.read_to_end()
    assert client.goaways[-1].last_stream_id == stream
    daemon.wait(0)


def test_final_goaway_does_not_need_the_pings_ack(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    client.assert_answered()
    daemon.signal(signal.SIGTERM)
    client.acknowledge = False
    client.read_to_end()
    assert [goaway.last_stream_id for goaway in client.goaways] == [LAST_STREAM, 1]
    daemon.wait(0)


def test_request_after_the_final_goaway_is_not_answered(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    open_stream = client.send_request(fields("/open", "POST"), end=False)
    client.ping()
    daemon.signal(signal.SIGTERM)
    wait_for_goaway(client, 2)
    late = client.send_request(fields("/late"))
    client.send_body(open_stream, b"")
    client.wait(open_stream).assert_echo(fields("/open", "POST"))
    client.read_to_end()
    assert not client.answer(late).fields
    daemon.wait(0)


@pytest.mark.heavy
@pytest.mark.plain
def test_clients_in_the_backlog_are_answered(start: Start) -> None:
    """They have connected and sent a request, but the daemon has not accepted them yet."""
    daemon = start()
    daemon.signal(signal.SIGSTOP)
    clients = [daemon.open_connection().send_preface() for _ in range(200)]
    streams = [client.send_request(fields(f"/{number}")) for number, client in enumerate(clients)]
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    for number, client in enumerate(clients):
        client.wait(streams[number]).assert_echo(fields(f"/{number}"))
        client.close()
    daemon.wait(0)


@pytest.mark.parametrize("first", [b"", b"PRI * HT"], ids=["silent", "preface"])
def test_new_connection_may_still_send_a_request(start: Start, first: bytes) -> None:
    """A client that connected just before the drain has probably sent a request already."""
    daemon = start("--log-level=debug")
    client = daemon.open_connection()
    client.send(first)
    daemon.wait_for_log("connection 1 from .*: open")
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_log("draining 1 connection ")
    client.send(MAGIC[len(first):], SettingsFrame(0))
    client.request(fields("/asked-late")).assert_echo(fields("/asked-late"))
    client.close()
    daemon.wait(0)


def test_connections_are_refused_while_draining(start: Start) -> None:
    daemon, client = start_with_open_request(start)
    daemon.signal(signal.SIGTERM)
    wait_for_goaway(client)

    def is_refused() -> bool:
        try:
            daemon.open_connection().close()
            return False
        except ConnectionRefusedError:
            return True
    poll(is_refused, "a refused connection")


@pytest.mark.parametrize("first", [b"", b"PRI * HT", b"GET / HT"], ids=["silent", "preface", "http1"])
def test_connection_without_a_request_does_not_delay_the_exit(start: Start, first: bytes) -> None:
    daemon = start()
    client = daemon.open_connection()
    client.send(first)
    daemon.wait_for_stats(connections=1)
    watch = Stopwatch()
    daemon.signal(signal.SIGTERM)
    daemon.wait(0)
    assert watch.seconds() < AT_ONCE


def test_drain_timeout_closes_open_connections(start: Start) -> None:
    daemon, client = start_with_open_request(start, "--drain-timeout=500ms")
    watch = Stopwatch()
    daemon.signal(signal.SIGTERM)
    client.read_to_end()
    daemon.wait(0)
    watch.assert_between(0.45)  # they are closed a little earlier, so that the daemon exits in time


@pytest.mark.plain
def test_drain_timeout_closes_a_connection_that_is_not_read(start: Start) -> None:
    daemon = start("--drain-timeout=500ms")
    client = daemon.connect({SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}, receive_buffer=4096)
    client.send(WindowUpdateFrame(0, 2**31 - 1 - 65535))
    client.send(*(client.headers(fields("/", "GET", *[("x", "y" * 3000)] * 20)) for _ in range(100)))
    assert client.socket.recv(1, socket.MSG_PEEK)
    watch = Stopwatch()
    daemon.signal(signal.SIGTERM)
    daemon.wait(0)
    watch.assert_between(0.45)  # it is closed a little earlier, so that the daemon exits in time


def test_second_signal_ends_the_drain_with_status_1(start: Start) -> None:
    daemon, _ = start_with_open_request(start)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_log("SIGTERM: draining")
    watch = Stopwatch()
    daemon.signal(signal.SIGINT)
    daemon.wait(1)
    assert watch.seconds() < AT_ONCE


@pytest.mark.plain
@pytest.mark.parametrize("number, words", [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C"),
                                           (signal.SIGQUIT, "SIGQUIT")])
def test_long_drain_logs_how_to_end_it(start: Start, number: signal.Signals, words: str) -> None:
    daemon, _ = start_with_open_request(start)
    daemon.signal(number)
    daemon.wait_for_log(f"notice still draining 1 connection: a second {words} ends the drain at once$")
    daemon.signal(number)
    daemon.wait(1)
    assert len(daemon.log("still draining")) == 1


@pytest.mark.plain
def test_short_drain_logs_it_in_time(start: Start) -> None:
    daemon, _ = start_with_open_request(start, "--drain-timeout=500ms")
    daemon.signal(signal.SIGTERM)
    daemon.wait(0)
    assert len(daemon.log("still draining 1 connection: ")) == 1


# --- drain under load ---

class Loader(threading.Thread):
    """Sends requests on one connection until that is closed; `check` verifies the answers."""

    def __init__(self, daemon: Daemon, width: int = 50) -> None:
        super().__init__()
        self.client = daemon.connect({SettingsFrame.INITIAL_WINDOW_SIZE: 2**20})
        self.width = width
        self.asked = 0
        self.started_up = threading.Event()  # set once the first answers are there
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.client.closed:
                self._one_round()
        except BaseException as error:  # raised again by `check`
            self.failure = error

    def _one_round(self) -> None:
        if len(self.client.goaways) < 2:
            self._ask()
        deadline = Deadline(10)
        oldest = self.client.answer(self.client.next_stream - 2 * self.width)
        while not oldest.finished and self.client.read_frame(deadline):
            pass
        if len(self.client.goaways) == 2:
            self.client.read_to_end(10)
        self.started_up.set()

    def _ask(self) -> None:
        requests = [self.client.headers(fields(f"/{self.client.next_stream}")) for _ in range(self.width)]
        self.asked += self.width
        self.client.send_if_open(*requests)

    def check(self) -> int:
        """Streams up to the last one of the final GOAWAY have a whole answer, later ones none. Return how many have."""
        if self.failure:
            raise self.failure
        last = self.client.goaways[-1].last_stream_id
        assert last < LAST_STREAM and self.client.closed
        for stream in range(1, self.client.next_stream, 2):
            answer = self.client.answer(stream)
            if stream <= last:
                answer.assert_echo(fields(f"/{stream}"))
            else:
                assert not answer.fields
        return (last + 1) // 2


@pytest.mark.heavy
def test_drain_under_load_answers_all_accepted_requests(start: Start) -> None:
    daemon = start()
    loaders = [Loader(daemon) for _ in range(6)]
    for loader in loaders:
        loader.start()
    for loader in loaders:
        assert loader.started_up.wait(10 * SLOW)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_log("notice stopped: ", seconds=15)
    for loader in loaders:
        loader.join(15 * SLOW)
        assert not loader.is_alive()
    assert sum(loader.check() for loader in loaders) >= 6 * 50
    daemon.wait(0)


@pytest.mark.heavy
def test_drain_under_h2load_answers_all_accepted_requests(start: Start) -> None:
    """h2load has received as many whole answers as the access log has lines."""
    daemon = start("--access-log=json")
    load = subprocess.Popen(["h2load", "-n", "1000000", "-c", "8", "-m", "50", daemon.url()],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment_without_proxies())
    poll(lambda: len(daemon.lines) > 5000, "load", seconds=20)
    daemon.signal(signal.SIGTERM)
    daemon.wait(0)
    counts = h2load_counts(load.communicate(timeout=30 * SLOW)[0].decode())
    records = [json.loads(line) for line in daemon.lines if line.startswith("{")]
    assert all(record["status"] == 200 and "reset" not in record for record in records)
    assert counts["succeeded"] == counts["2xx"] == len(records)


# --- reload ---

@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "h2echod.conf"
    path.write_text("max-concurrent-streams = 10\npretty = off\n")
    return path


def stream_limit(client: Client) -> int:
    client.ping()
    return client.settings[SettingsFrame.MAX_CONCURRENT_STREAMS]


def rewrite_and_reload(daemon: Daemon, config: Path, text: str, outcome: str = "notice reloaded") -> int:
    """Write the configuration file, and reload it; return where the log ended before."""
    config.write_text(text)
    return daemon.reload(outcome)


def test_reload_applies_to_new_connections(start: Start, config: Path) -> None:
    daemon = start("-c", config)
    old = daemon.connect()
    assert stream_limit(old) == 10
    rewrite_and_reload(daemon, config, "max-concurrent-streams = 20\npretty = on\n",
                       rf"notice reloaded.*{re.escape(str(config))}")
    new = daemon.connect()
    assert stream_limit(new) == 20
    new.request(fields()).assert_echo(fields(), pretty=True)
    old.request(fields()).assert_echo(fields(), pretty=False)
    assert stream_limit(old) == 10


def test_reload_without_a_file_changes_nothing(start: Start) -> None:
    daemon = start("--max-concurrent-streams=10")
    daemon.reload()
    assert stream_limit(daemon.connect()) == 10


def test_command_line_overrides_the_file_after_a_reload(start: Start, config: Path) -> None:
    daemon = start("-c", config, "--max-concurrent-streams=11")
    rewrite_and_reload(daemon, config, "max-concurrent-streams = 20\npretty = on\n", "notice reloaded")
    client = daemon.connect()
    assert stream_limit(client) == 11
    client.request(fields()).assert_echo(fields(), pretty=True)


def test_reload_of_the_log_level(start: Start, config: Path) -> None:
    daemon = start("-c", config)
    daemon.connect().assert_answered()
    since = rewrite_and_reload(daemon, config, "log-level = debug\n", "notice reloaded")
    daemon.connect().assert_answered()
    daemon.wait_for_log(r"debug connection 2 from \S+: open", since)


@pytest.mark.parametrize("text, errors", [
    ("max-concurrent-streams = 20\nnonsense\n", [2]),
    ("max-concurrent-streams = many\npretty = on\npretty = perhaps\n", [1, 3]),
])
def test_bad_file_leaves_the_settings_in_force(start: Start, config: Path, text: str,
                                               errors: list[int]) -> None:
    daemon = start("-c", config)
    since = rewrite_and_reload(daemon, config, text, "error reload failed: the previous settings remain in force")
    lines = daemon.log(rf"error {re.escape(str(config))}:(\d+): ", since)
    assert [int(match[1]) for match in lines] == errors
    client = daemon.connect()
    assert stream_limit(client) == 10
    client.request(fields()).assert_echo(fields(), pretty=False)


def test_missing_file_leaves_the_settings_in_force(start: Start, config: Path) -> None:
    daemon = start("-c", config)
    config.unlink()
    daemon.reload("error reload failed: the previous settings remain in force")
    assert stream_limit(daemon.connect()) == 10
    rewrite_and_reload(daemon, config, "max-concurrent-streams = 20\n", "notice reloaded")
    assert stream_limit(daemon.connect()) == 20


def test_port_cannot_change_but_other_settings_do(start: Start, config: Path) -> None:
    config.write_text("port = 0\naddress = 127.0.0.1\nmax-concurrent-streams = 10\n")
    daemon = start("-c", config, listen=[])
    since = rewrite_and_reload(daemon, config, "port = 1\naddress = 127.0.0.1\nmax-concurrent-streams = 20\n",
                               "notice reloaded")
    [warning] = daemon.log(r"warning .*\bport\b.*", since)
    assert "address" not in warning[0]
    assert stream_limit(daemon.connect()) == 20


@pytest.mark.heavy
def test_reloads_do_not_disturb_connections(start: Start, config: Path) -> None:
    daemon = start("-c", config)
    client = daemon.connect()
    for number in range(200):
        daemon.signal(signal.SIGHUP)
        client.assert_answered(f"/{number}")
        if number % 10 == 0:
            daemon.connect().assert_answered()
    assert not daemon.log("error|warning")


# --- stats and other signals ---

def test_stats(start: Start) -> None:
    daemon = start()
    assert daemon.stats() == {"connections": 0, "accepted": 0, "requests": 0, "resets": 0, "received": 0,
                              "sent": 0, "refused": 0, "timed-out": 0}
    clients = [daemon.connect() for _ in range(3)]
    for client in clients:
        client.assert_answered()
    assert clients[0].request(fields("/", "GET", ("Bad", "x"))).reset is not None
    clients[1].request(LARGE).assert_echo(LARGE)
    for client in clients:
        client.ping()
    received, sent = sum(client.sent for client in clients), sum(client.received for client in clients)
    clients[2].close()
    stats = daemon.wait_for_stats(connections=2, received=received, sent=sent)
    assert (stats["accepted"], stats["requests"]) == (3, 5)
    assert (stats["resets"], stats["refused"], stats["timed-out"]) == (1, 0, 0)


def test_stats_while_a_stream_is_open(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    stream = client.send_request(fields("/", "POST"), end=False)
    client.send(DataFrame(stream, b"x"))
    client.ping()
    stats = daemon.wait_for_stats(connections=1, received=client.sent)
    assert stats["sent"] == client.received


def test_sigpipe_is_ignored(start: Start) -> None:
    daemon = start()
    ignored = re.search(r"^SigIgn:\s*([0-9a-f]+)$", needs.proc(f"{daemon.pid}/status").read_text(), re.M)
    assert ignored and int(ignored[1], 16) & 1 << (signal.SIGPIPE - 1)
    daemon.signal(signal.SIGPIPE)
    daemon.connect().assert_answered()
