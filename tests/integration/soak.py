"""The soak test: many clients of all kinds (correct, slow, aborting, flooding) at once, while daemons are reloaded,
drained and replaced.

Every answer is compared with its request. A request may be unanswered only if a GOAWAY excludes its stream, or if a
stopping daemon closed the connection without sending a byte. `make soak` runs it for minutes, test_soak.py for
seconds."""
from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Callable, Sequence

from hyperframe.frame import DataFrame, PingFrame, RstStreamFrame, SettingsFrame

from daemon import BINARY, LOG_LINE, TOP, TRANSPORTS, Daemon
from waiting import SLOW, Deadline
from wire import CANCEL, LAST_STREAM, MAGIC, NO_ERROR, PROTOCOL_ERROR, Address, Client, Fields, fields, unverified_tls

PROCESSES = 4       # the clients run in so many processes
PATIENCE = 30       # seconds that a client waits for anything
DRAIN_TIMEOUT = 30  # seconds; the test fails if a daemon has to abort a connection
IDLE_TIMEOUT = 1    # seconds; some clients pause for longer
LARGE = ("x", "v" * 16000)
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
FLOOD = 11000  # PING frames; 10,000 are tolerated

GOOD_FILES = ("pretty = on\n", "pretty = off\nmax-concurrent-streams = 100\n", "access-log = json\n",
              "access-log = text\n", "log-level = debug\n", "max-header-list-size = 32KiB\n", "trace = fields\n")
BAD_FILES = ("nonsense\n", "max-concurrent-streams = many\n", "pretty = on\nunknown = 1\n")


class Endpoint:
    """The addresses of one daemon, and whether it is stopping; in memory shared with the client processes."""

    def __init__(self, directory: Path, number: int) -> None:
        self.config, self.socket = directory / f"{number}.conf", directory / f"{number}.sock"
        self._port, self._tls_port, self._stopping = RawValue("i", 0), RawValue("i", 0), RawValue("b", 0)

    @property
    def open(self) -> bool:
        return self._port.value != 0 and not self.stopping

    @property
    def stopping(self) -> bool:
        """The daemon has been or is about to be told to stop: it may refuse clients."""
        return bool(self._stopping.value)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.value

    @property
    def tls_address(self) -> tuple[str, int]:
        return "127.0.0.1", self._tls_port.value

    def start(self) -> Daemon:
        self.config.write_text("")
        daemon = Daemon(f"--config={self.config}", f"--unix={self.socket}", f"--idle-timeout={IDLE_TIMEOUT}s",
                        f"--drain-timeout={DRAIN_TIMEOUT}s", f"--header-timeout={PATIENCE * SLOW:.0f}s",
                        f"--stream-timeout={PATIENCE * SLOW:.0f}s", *TRANSPORTS["tls"])
        self._tls_port.value = daemon.addresses("tls")[0][1]
        self._port.value = daemon.port
        return daemon

    def reload(self, daemon: Daemon, text: str, outcome: str) -> None:
        """Rewrite the configuration file, reload it, and wait until this is logged."""
        since = daemon.log_position()
        draft = self.config.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log(outcome, since, PATIENCE)

    def end(self, daemon: Daemon) -> None:
        """Drain the daemon: it must answer all open requests, and must not have printed anything but log lines."""
        self._stopping.value = 1  # set before the signal is sent
        daemon.signal()
        daemon.signal(signal.SIGHUP)
        daemon.wait(0, DRAIN_TIMEOUT)
        assert daemon.log("notice stopped: all open requests were answered$"), daemon.report()
        strange = [line for line in daemon.lines if not LOG_LINE.match(line) and not line.startswith("{")]
        assert not strange, strange[:20]


class ClientConnection:
    """One connection of a client, with the requests sent on it."""

    def __init__(self, endpoint: Endpoint, rng: random.Random, counts: Counter[str], stop: threading.Event) -> None:
        self.endpoint, self.rng, self.counts, self.stop = endpoint, rng, counts, stop
        self.began = time.monotonic()
        self.transport, = rng.choices(("unix", "tls", "tcp"), (2, 3, 5))
        # A source address other than the daemon's: a client that connects to a free port could connect to itself.
        self.client = Client(self._address(), source=None if self.transport == "unix" else "127.0.0.2",
                             receive_buffer=4096 if rng.random() < 0.2 else None,
                             tls=unverified_tls("h2") if self.transport == "tls" else None)
        self.requests: dict[int, Fields] = {}
        self.reset_streams: set[int] = set()
        self.pretty: bool | None = None

    def _address(self) -> Address:
        endpoint = self.endpoint
        return {"unix": endpoint.socket, "tls": endpoint.tls_address, "tcp": endpoint.address}[self.transport]

    # --- sending ---

    def send_preface(self, settings: dict[int, int] | None = None) -> ClientConnection:
        self.client.send_if_open(MAGIC, SettingsFrame(0, settings=settings or {}))
        return self

    def prepare(self, *more: tuple[str, str], method: str = "GET") -> tuple[int, bytes]:
        """The stream and the bytes of a new request, whose answer is going to be awaited."""
        stream = self.client.new_stream()
        self.requests[stream] = fields(f"/{self.rng.random()}", method, *more)
        return stream, self.client.headers(self.requests[stream], method == "GET", stream)

    def send_requests(self, count: int, *more: tuple[str, str]) -> None:
        self.client.send_if_open(*(self.prepare(*more)[1] for _ in range(count)))

    def send_open_request(self) -> int:
        """Send a request without END_STREAM."""
        stream, data = self.prepare(method="POST")
        self.client.send_if_open(data)
        return stream

    def pause(self, most: float) -> None:
        self.stop.wait(self.rng.random() * most)

    def abort(self) -> None:
        self.client.abort()
        self.counts["aborted"] += 1

    # --- receiving ---

    def last_stream(self) -> int:
        """The last stream that the daemon is going to answer, according to its GOAWAY frames."""
        return self.client.goaways[-1].last_stream_id if self.client.goaways else LAST_STREAM

    def was_refused(self) -> bool:
        """The connection was closed by a stopping daemon without a byte."""
        return self.client.closed is not None and not self.client.received and self.endpoint.stopping

    def may_be_unanswered(self, stream: int) -> bool:
        return stream > self.last_stream() or self.was_refused()

    def read_until(self, happened: Callable[[], bool]) -> None:
        """Read until this has happened, or until the connection ends."""
        deadline = Deadline(PATIENCE)
        while not happened() and self.client.read_frame(deadline):
            pass

    def read_to_end(self) -> None:
        self.read_until(lambda: False)

    def wait_for_answers(self) -> bool:
        """Wait for the answers of all requests that must be answered. Return whether further requests can be sent."""
        for stream, request in self.requests.items():
            if stream not in self.reset_streams:
                self.wait_for_answer(stream, request)
        self.requests.clear()
        if self.client.goaways:
            self.check_goaway()
        return not self.client.goaways and not self.client.closed

    def wait_for_answer(self, stream: int, request: Fields) -> None:
        answer = self.client.answer(stream)
        self.read_until(lambda: answer.finished or stream > self.last_stream())
        if self.may_be_unanswered(stream):
            assert not answer.fields, answer
            return
        assert answer.ended, f"stream {stream}: {len(answer.body)} bytes, reset {answer.reset}; {self}"
        pretty = answer.body.endswith(b"\n")
        assert self.pretty in (None, pretty), "the settings of a connection have changed"
        self.pretty = pretty
        answer.assert_echo(request, pretty)
        self.counts["answered"] += 1

    def __str__(self) -> str:
        age = time.monotonic() - self.began
        return (f"closed: {self.client.closed}, received {self.client.received}, goaways {self.client.goaways}, "
                f"stopping: {self.endpoint.stopping}, after {age:.3f} s")

    def check_goaway(self) -> None:
        """The daemon has sent GOAWAY: it must have had a reason, and must close the connection."""
        assert all(goaway.error_code == NO_ERROR for goaway in self.client.goaways), self.client.goaways
        assert self.endpoint.stopping or time.monotonic() - self.began >= IDLE_TIMEOUT, "GOAWAY without a reason"
        self.read_to_end()
        self.counts["goaways"] += 1


# --- what clients do ---

def send_requests_with_pauses(connection: ClientConnection) -> None:
    connection.send_preface().send_requests(1)
    while connection.wait_for_answers() and connection.rng.random() < 0.8:
        connection.pause(0.1)
        connection.send_requests(connection.rng.randint(1, 3))


def send_many_requests(connection: ClientConnection) -> None:
    connection.send_preface().send_requests(connection.rng.randint(2, 100))
    connection.wait_for_answers()


def idle(connection: ClientConnection) -> None:
    """Pause long enough for the daemon to release memory, or to close the connection."""
    connection.send_preface().send_requests(1)
    if connection.wait_for_answers():
        connection.pause(3 * IDLE_TIMEOUT)
        connection.send_requests(1)
        connection.wait_for_answers()


def upload(connection: ClientConnection) -> None:
    stream = connection.send_preface().send_open_request()
    try:
        connection.client.send_body(stream, bytes(connection.rng.randrange(200000)), seconds=PATIENCE)
    except (AssertionError, BrokenPipeError, ConnectionResetError):
        connection.read_to_end()
        if not connection.may_be_unanswered(stream):
            raise
    connection.wait_for_answers()


def read_slowly(connection: ClientConnection) -> None:
    settings = {SettingsFrame.INITIAL_WINDOW_SIZE: connection.rng.randint(1000, 40000)}
    connection.send_preface(settings).send_requests(5, LARGE)
    for _ in range(10):  # at least so many frames arrive
        if not connection.client.read_frame(Deadline(PATIENCE)):
            break
        connection.pause(0.05)
    connection.wait_for_answers()


def send_in_small_pieces(connection: ClientConnection) -> None:
    data = MAGIC + SettingsFrame(0).serialize() + connection.prepare()[1]
    step = connection.rng.randint(1, 5)
    for start in range(0, len(data), step):
        connection.client.send_if_open(data[start:start + step])
    connection.wait_for_answers()


def shut_down_writes(connection: ClientConnection) -> None:
    """A client that has sent FIN gets all its answers."""
    connection.send_preface().send_requests(connection.rng.randint(1, 50))
    _shut_down(connection.client)
    connection.wait_for_answers()
    connection.read_to_end()


def _shut_down(client: Client) -> None:
    try:
        client.shut_down_writes()
    except OSError:  # the daemon has closed already; `wait_for_answers` checks that it was allowed to
        pass


def reset_some(connection: ClientConnection) -> None:
    connection.send_preface()
    for stream in [connection.send_open_request() for _ in range(connection.rng.randint(2, 50))]:
        if connection.rng.random() < 0.5:
            connection.reset_streams.add(stream)
            connection.client.send_if_open(RstStreamFrame(stream, CANCEL))
        else:
            connection.client.send_if_open(DataFrame(stream, b"data", flags=["END_STREAM"]))
    connection.wait_for_answers()


def send_malformed(connection: ClientConnection) -> None:
    stream, data = connection.send_preface().prepare(("connection", "close"))
    connection.client.send_if_open(data)
    answer = connection.client.answer(stream)
    connection.read_until(lambda: answer.finished)
    assert answer.reset == PROTOCOL_ERROR or connection.may_be_unanswered(stream), answer
    del connection.requests[stream]
    connection.send_requests(1)
    connection.wait_for_answers()


def abort_at_any_byte(connection: ClientConnection) -> None:
    """Reset the connection inside a frame, or while answers are sent."""
    data = MAGIC + SettingsFrame(0).serialize()
    data += b"".join(connection.prepare(LARGE)[1] for _ in range(connection.rng.randint(1, 20)))
    connection.client.send_if_open(data[:connection.rng.randint(1, len(data))])
    if connection.rng.random() < 0.5:
        connection.pause(0.05)
    connection.abort()


def abort_upload(connection: ClientConnection) -> None:
    stream = connection.send_preface().send_open_request()
    connection.client.send_if_open(DataFrame(stream, b"the beginning"))
    connection.pause(1)
    connection.abort()


def close_without_reading(connection: ClientConnection) -> None:
    connection.send_preface().send_requests(connection.rng.randint(1, 100))
    connection.counts["closed early"] += 1


def send_incomplete_preface(connection: ClientConnection) -> None:
    connection.client.send_if_open(MAGIC[:connection.rng.randrange(len(MAGIC))])
    connection.pause(0.5)


def upgrade_to_h2c(connection: ClientConnection) -> None:
    """Upgrade a cleartext connection to h2c, with the preface sent right after the request."""
    if connection.transport == "tls":
        connection.send_preface().send_requests(1)
        connection.wait_for_answers()
        return
    stream = connection.client.new_stream()
    connection.requests[stream] = fields(f"/{connection.rng.random()}", "GET")
    path = connection.requests[stream][1][1]
    connection.client.send_if_open(f"GET {path} HTTP/1.1\r\nHost: test.example\r\n".encode() + UPGRADE)
    connection.send_preface()
    accepted = connection.client.read_bytes(len(ACCEPTED), Deadline(PATIENCE))
    assert accepted == ACCEPTED or not accepted and connection.endpoint.stopping, accepted
    connection.wait_for_answers()


def send_another_protocol(connection: ClientConnection) -> None:
    refusal = b"HTTP/1.1 505 " if connection.transport == "tls" else b"HTTP/1.1 426 "
    words, answer = connection.rng.choice([(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", refusal),
                                           (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x15\x03\x01"),
                                           (b"an unknown protocol\r\n\r\n", b"\0\0")])
    connection.client.send_if_open(words)
    got = _read_unparsed(connection.client)
    assert got.startswith(answer) or not got and connection.endpoint.stopping, got
    connection.counts["other protocols"] += 1


def flood(connection: ClientConnection) -> None:
    """Of the many frames that are received only GOAWAY is looked for."""
    connection.send_preface().client.send_if_open(PingFrame(0, b"to and f").serialize() * FLOOD)
    got = _read_unparsed(connection.client)
    assert b"\x07\0\0\0\0\0" in got[-100:] or not got and connection.endpoint.stopping, got[-100:]
    connection.counts["floods"] += 1


def _read_unparsed(client: Client) -> bytes:
    """Everything that is received until the connection ends or is reset."""
    data = bytearray()
    deadline = Deadline(PATIENCE)
    try:
        while True:
            client.socket.settimeout(deadline.left())
            piece = client.socket.recv(65536)
            if not piece:
                return bytes(data)
            data += piece
    except ConnectionResetError:
        return bytes(data)


# The actions, with their weights.
ACTIONS: dict[Callable[[ClientConnection], None], int] = {
    send_requests_with_pauses: 15, send_many_requests: 15, idle: 10, upload: 8, read_slowly: 8, send_in_small_pieces: 6,
    shut_down_writes: 6, reset_some: 8, send_malformed: 4, abort_at_any_byte: 15, abort_upload: 8,
    close_without_reading: 8, send_incomplete_preface: 6, upgrade_to_h2c: 6, send_another_protocol: 4,
    flood: 1}


class ClientProcess:
    """Some of the clients, as the threads of one process: several processes use several CPUs."""

    def __init__(self, endpoints: Sequence[Endpoint], numbers: range) -> None:
        self.endpoints, self.numbers = endpoints, numbers
        self.stop = threading.Event()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.pipe, other_end = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(other_end,))
        self.process.start()
        other_end.close()

    def failed(self) -> bool:
        return self.pipe.poll()

    def end(self) -> tuple[Counter[str], list[str]]:
        """Stop the clients; return the counters and the failures."""
        try:
            if not self.failed():
                self.pipe.send("over")
            return self.pipe.recv()
        except (EOFError, OSError):
            return Counter(), [f"the process of the clients {self.numbers} has died"]
        finally:
            self.process.join()

    # --- in the new process ---

    def _run(self, pipe: Connection) -> None:
        self.pipe.close()
        threads = [threading.Thread(target=self._run_client, args=(number,)) for number in self.numbers]
        for thread in threads:
            thread.start()
        while not pipe.poll(0.1) and not self.failures:
            pass
        self.stop.set()
        for thread in threads:
            thread.join()
        pipe.send((self.counts, self.failures))

    def _run_client(self, number: int) -> None:
        rng, counts = random.Random(number), Counter[str]()
        action = list(ACTIONS)[number % len(ACTIONS)]  # so that each action occurs
        while not self.stop.is_set():
            endpoint = next((endpoint for endpoint in self.endpoints if endpoint.open), None)
            try:
                if endpoint and self._connect_and_act(endpoint, action, rng, counts):
                    action, = rng.choices(list(ACTIONS), list(ACTIONS.values()))
                else:
                    self.stop.wait(0.05)
            except BaseException:  # reported by Soak.run
                self.failures.append(f"client {number}: {action.__name__}: {traceback.format_exc(limit=-6)[-3000:]}")
                return
        self.counts.update(counts)

    def _connect_and_act(self, endpoint: Endpoint, action: Callable[[ClientConnection], None], rng: random.Random,
                         counts: Counter[str]) -> bool:
        """Connect, do this, and close. Return False if the daemon is not reachable any more."""
        try:
            connection = ClientConnection(endpoint, rng, counts, self.stop)
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
            if not endpoint.stopping:
                raise
            return False
        with connection.client:
            action(connection)
        counts.update(["connections", action.__name__])
        return True


class Soak:
    """The daemons, which follow one another, and the clients of all of them."""

    def __init__(self, directory: Path, clients: int, seconds: float, daemon_seconds: float) -> None:
        self.clients, self.seconds, self.daemon_seconds = clients, seconds, daemon_seconds
        self.endpoints = [Endpoint(directory, number) for number in range(2 + int(2 * seconds / daemon_seconds))]
        self.rng = random.Random(0)
        self.counts: Counter[str] = Counter(clients=clients)
        self.processes: list[ClientProcess] = []

    def run(self) -> Counter[str]:
        """Run the test; return the counters. Raises AssertionError if anything failed."""
        share = -(-self.clients // PROCESSES)
        failures: list[str] = []
        try:
            for first in range(0, self.clients, share):
                self.processes.append(ClientProcess(self.endpoints, range(first, min(first + share, self.clients))))
            self._run_daemons()
        except AssertionError as error:
            failures.append(f"the daemons: {error}")
        finally:
            for counts, wrong in [process.end() for process in self.processes]:
                self.counts.update(counts)
                failures += wrong
        assert not failures, "\n".join(failures[:3])
        never = [action.__name__ for action in ACTIONS if not self.counts[action.__name__]]
        assert not never, f"actions that did not occur: {never}"
        return self.counts

    def _failed(self) -> bool:
        return any(process.failed() for process in self.processes)

    def _run_daemons(self) -> None:
        """Start each daemon before the previous one ends, so that clients always have one to connect to. At least two
        daemons run, and clients are connected when the last one ends, too."""
        end = time.monotonic() + self.seconds
        running: list[tuple[Endpoint, Daemon]] = []
        try:
            for endpoint in self.endpoints:
                running.append((endpoint, endpoint.start()))
                if len(running) > 1:
                    self._end_oldest(running)
                self._reload_until(*running[0], min(end, time.monotonic() + self._daemon_lifetime()))
                if time.monotonic() >= end and self.counts["drains"] or self._failed():
                    break
            self._end_oldest(running)
        finally:
            for _, daemon in running:
                daemon.kill()

    def _daemon_lifetime(self) -> float:
        return self.daemon_seconds * (0.5 + self.rng.random())

    def _end_oldest(self, running: list[tuple[Endpoint, Daemon]]) -> None:
        endpoint, daemon = running[0]
        endpoint.end(daemon)
        running.pop(0)
        self.counts["drains"] += 1

    def _reload_until(self, endpoint: Endpoint, daemon: Daemon, end: float) -> None:
        """Reload valid and invalid files, and read the stats, repeatedly and at least once."""
        while not self._failed():
            endpoint.reload(daemon, self.rng.choice(GOOD_FILES), rf"notice reloaded {endpoint.config}$")
            endpoint.reload(daemon, self.rng.choice(BAD_FILES),
                            "error reload failed: the previous settings remain in force$")
            stats = daemon.stats()
            assert stats["connections"] <= stats["accepted"], stats
            self.counts.update(["reloads", "bad reloads"])
            if time.monotonic() >= end:
                return
            time.sleep(0.1)


def summary(counts: Counter[str]) -> str:
    return ("{clients} clients, {connections} connections, {answered} correct answers, {aborted} aborted, "
            "{goaways} ended by GOAWAY, {floods} floods; {drains} daemons drained and exited with 0, "
            "{reloads} valid and {bad reloads} invalid files reloaded; no sanitizer report"
            ).format_map(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="h2echod-") as directory:
        try:
            counts = Soak(Path(directory), arguments.clients, arguments.seconds, daemon_seconds=5).run()
        except AssertionError as error:
            sys.exit(f"soak: failed: {error}")
    print(f"soak of {os.path.relpath(BINARY, TOP)}: {summary(counts)}")


if __name__ == "__main__":
    main()
