"""The soak: clients that ask, dawdle, abort and flood, all at once, while daemons are reloaded, drained and replaced.

Every answer is compared with what was asked. A client may miss one only if a GOAWAY excepts its stream, or if it
came to a daemon that was told to stop and got no byte. `make soak` runs it for minutes, test_soak.py for seconds.
"""
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

CROWDS = 4          # processes that the clients are in
PATIENCE = 30       # seconds for whatever a client waits for
DRAIN_TIMEOUT = 30  # seconds; a daemon that has to cut somebody then fails the soak
IDLE_TIMEOUT = 1    # seconds; clients that pause for longer come to feel it
LARGE = ("x", "v" * 16000)
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
FLOOD = 11000  # frames that bring nothing; 10,000 are borne

GOOD_FILES = ("pretty = on\n", "pretty = off\nmax-concurrent-streams = 100\n", "access-log = json\n",
              "access-log = text\n", "log-level = debug\n", "max-header-list-size = 32KiB\n", "trace = fields\n")
BAD_FILES = ("nonsense\n", "max-concurrent-streams = many\n", "pretty = on\nunknown = 1\n")


class Place:
    """Where one of the daemons that follow each other is reached; shared by the processes that this one forks."""

    def __init__(self, directory: Path, number: int) -> None:
        self.config, self.socket = directory / f"{number}.conf", directory / f"{number}.sock"
        self._port, self._secure_port, self._stopping = RawValue("i", 0), RawValue("i", 0), RawValue("b", 0)

    @property
    def open(self) -> bool:
        return self._port.value != 0 and not self.stopping

    @property
    def stopping(self) -> bool:
        """From here on clients may be turned away."""
        return bool(self._stopping.value)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._port.value

    @property
    def secure_address(self) -> tuple[str, int]:
        return "127.0.0.1", self._secure_port.value

    def start(self) -> Daemon:
        self.config.write_text("")
        daemon = Daemon(f"--config={self.config}", f"--unix={self.socket}", f"--idle-timeout={IDLE_TIMEOUT}s",
                        f"--drain-timeout={DRAIN_TIMEOUT}s", f"--header-timeout={PATIENCE * SLOW:.0f}s",
                        f"--stream-timeout={PATIENCE * SLOW:.0f}s", *TRANSPORTS["tls"])
        self._secure_port.value = daemon.addresses("tls")[0][1]
        self._port.value = daemon.port
        return daemon

    def reload(self, daemon: Daemon, text: str, words: str) -> None:
        """Have it read this file, and wait until it says in these words how that went."""
        since = daemon.log_position()
        draft = self.config.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_log(words, since, PATIENCE)

    def end(self, daemon: Daemon) -> None:
        """Drain it: it has to answer everything that was begun, and to have said nothing strange in its life."""
        self._stopping.value = 1  # before the signal
        daemon.signal()
        daemon.signal(signal.SIGHUP)
        daemon.wait(0, DRAIN_TIMEOUT)
        assert daemon.log("notice stopped: all open requests were answered$"), daemon.report()
        strange = [line for line in daemon.lines if not LOG_LINE.match(line) and not line.startswith("{")]
        assert not strange, strange[:20]


class Visit:
    """One connection of a client: what it has asked, and what it may expect."""

    def __init__(self, place: Place, dice: random.Random, counts: Counter[str], over: threading.Event) -> None:
        self.place, self.dice, self.counts, self.over = place, dice, counts, over
        self.began = time.monotonic()
        self.way, = dice.choices(("unix", "tls", "tcp"), (2, 3, 5))
        # From another address than the daemon's: where nobody listens, a socket could connect to itself.
        self.client = Client(self._address(), source=None if self.way == "unix" else "127.0.0.2",
                             receive_buffer=4096 if dice.random() < 0.2 else None,
                             tls=unverified_tls("h2") if self.way == "tls" else None)
        self.asked: dict[int, Fields] = {}
        self.given_up: set[int] = set()
        self.pretty: bool | None = None

    def _address(self) -> Address:
        return {"unix": self.place.socket, "tls": self.place.secure_address, "tcp": self.place.address}[self.way]

    # --- what it says ---

    def greet(self, settings: dict[int, int] | None = None) -> Visit:
        self.client.send_if_open(MAGIC, SettingsFrame(0, settings=settings or {}))
        return self

    def prepare(self, *more: tuple[str, str], method: str = "GET") -> tuple[int, bytes]:
        """The stream and the bytes of a new request, which is booked as asked."""
        stream = self.client.new_stream()
        self.asked[stream] = fields(f"/{self.dice.random()}", method, *more)
        return stream, self.client.headers(self.asked[stream], method == "GET", stream)

    def ask(self, count: int, *more: tuple[str, str]) -> None:
        self.client.send_if_open(*(self.prepare(*more)[1] for _ in range(count)))

    def begin(self) -> int:
        """Ask without END_STREAM: a body is to come."""
        stream, data = self.prepare(method="POST")
        self.client.send_if_open(data)
        return stream

    def pause(self, most: float) -> None:
        self.over.wait(self.dice.random() * most)

    def abort(self) -> None:
        self.client.abort()
        self.counts["aborted"] += 1

    # --- what it hears ---

    def last_stream(self) -> int:
        """The last stream that the daemon answers, for all it has said."""
        return self.client.goaways[-1].last_stream_id if self.client.goaways else LAST_STREAM

    def turned_away(self) -> bool:
        """It came to a daemon that was stopping, and got no byte."""
        return self.client.closed is not None and not self.client.received and self.place.stopping

    def excused(self, stream: int) -> bool:
        return stream > self.last_stream() or self.turned_away()

    def read_until(self, happened: Callable[[], bool]) -> None:
        """Read until it has happened, or the connection is over."""
        deadline = Deadline(PATIENCE)
        while not happened() and self.client.read_frame(deadline):
            pass

    def read_to_end(self) -> None:
        self.read_until(lambda: False)

    def settle(self) -> bool:
        """Everything that was asked is answered, but what is excused. May one ask for more?"""
        for stream, request in self.asked.items():
            if stream not in self.given_up:
                self.settle_one(stream, request)
        self.asked.clear()
        if self.client.goaways:
            self.part()
        return not self.client.goaways and not self.client.closed

    def settle_one(self, stream: int, request: Fields) -> None:
        answer = self.client.answer(stream)
        self.read_until(lambda: answer.finished or stream > self.last_stream())
        if self.excused(stream):
            assert not answer.fields, answer
            return
        assert answer.ended, f"stream {stream}: {len(answer.body)} bytes, reset {answer.reset}; {self}"
        pretty = answer.body.endswith(b"\n")
        assert self.pretty in (None, pretty), "the settings of a connection have changed"
        self.pretty = pretty
        answer.assert_echo(request, pretty)
        self.counts["answered"] += 1

    def __str__(self) -> str:
        return (f"closed: {self.client.closed}, received {self.client.received}, goaways "
                f"{self.client.goaways}, stopping: {self.place.stopping}, after {time.monotonic() - self.began:.3f} s")

    def part(self) -> None:
        """A GOAWAY came: with good reason, and with the end of the connection behind it."""
        assert all(goaway.error_code == NO_ERROR for goaway in self.client.goaways), self.client.goaways
        assert self.place.stopping or time.monotonic() - self.began >= IDLE_TIMEOUT, "sent away without a reason"
        self.read_to_end()
        self.counts["sent away"] += 1


# --- What clients do ---

def ask_now_and_then(visit: Visit) -> None:
    visit.greet().ask(1)
    while visit.settle() and visit.dice.random() < 0.8:
        visit.pause(0.1)
        visit.ask(visit.dice.randint(1, 3))


def ask_much_at_once(visit: Visit) -> None:
    visit.greet().ask(visit.dice.randint(2, 100))
    visit.settle()


def idle(visit: Visit) -> None:
    """Long enough for the connection to rest or to be over, or for a drain to come."""
    visit.greet().ask(1)
    if visit.settle():
        visit.pause(3 * IDLE_TIMEOUT)
        visit.ask(1)
        visit.settle()


def upload(visit: Visit) -> None:
    stream = visit.greet().send_request()
    try:
        visit.client.send_body(stream, bytes(visit.dice.randrange(200000)), seconds=PATIENCE)
    except (AssertionError, BrokenPipeError, ConnectionResetError):
        visit.read_to_end()
        if not visit.excused(stream):
            raise
    visit.settle()


def read_slowly(visit: Visit) -> None:
    visit.greet({SettingsFrame.INITIAL_WINDOW_SIZE: visit.dice.randint(1000, 40000)}).ask(5, LARGE)
    for _ in range(10):  # at least so many frames come
        if not visit.client.read_frame(Deadline(PATIENCE)):
            break
        visit.pause(0.05)
    visit.settle()


def speak_byte_by_byte(visit: Visit) -> None:
    data = MAGIC + SettingsFrame(0).serialize() + visit.prepare()[1]
    step = visit.dice.randint(1, 5)
    for start in range(0, len(data), step):
        visit.client.send_if_open(data[start:start + step])
    visit.settle()


def speak_no_more(visit: Visit) -> None:
    """A client that has sent FIN gets everything it asked for."""
    visit.greet().ask(visit.dice.randint(1, 50))
    _shut_down(visit.client)
    visit.settle()
    visit.read_to_end()


def _shut_down(client: Client) -> None:
    try:
        client.shut_down_writes()
    except OSError:  # the daemon was quicker; that it may be is seen to by `settle`
        pass


def reset_some(visit: Visit) -> None:
    visit.greet()
    for stream in [visit.send_request() for _ in range(visit.dice.randint(2, 50))]:
        if visit.dice.random() < 0.5:
            visit.given_up.add(stream)
            visit.client.send_if_open(RstStreamFrame(stream, CANCEL))
        else:
            visit.client.send_if_open(DataFrame(stream, b"data", flags=["END_STREAM"]))
    visit.settle()


def send_malformed(visit: Visit) -> None:
    stream, data = visit.greet().prepare(("connection", "close"))
    visit.client.send_if_open(data)
    answer = visit.client.answer(stream)
    visit.read_until(lambda: answer.finished)
    assert answer.reset == PROTOCOL_ERROR or visit.excused(stream), answer
    del visit.asked[stream]
    visit.ask(1)
    visit.settle()


def abort_anywhere(visit: Visit) -> None:
    """Stop in the middle of a word, or of the answers."""
    data = MAGIC + SettingsFrame(0).serialize()
    data += b"".join(visit.prepare(LARGE)[1] for _ in range(visit.dice.randint(1, 20)))
    visit.client.send_if_open(data[:visit.dice.randint(1, len(data))])
    if visit.dice.random() < 0.5:
        visit.pause(0.05)
    visit.abort()


def abort_upload(visit: Visit) -> None:
    stream = visit.greet().send_request()
    visit.client.send_if_open(DataFrame(stream, b"the beginning"))
    visit.pause(1)
    visit.abort()


def leave_without_reading(visit: Visit) -> None:
    visit.greet().ask(visit.dice.randint(1, 100))
    visit.counts["left early"] += 1


def say_nothing(visit: Visit) -> None:
    visit.client.send_if_open(MAGIC[:visit.dice.randrange(len(MAGIC))])
    visit.pause(0.5)


def upgrade(visit: Visit) -> None:
    """Where it is taken; what stands behind the request waits meanwhile."""
    if visit.way == "tls":
        visit.greet().ask(1)
        visit.settle()
        return
    stream = visit.client.new_stream()
    visit.asked[stream] = fields(f"/{visit.dice.random()}", "GET")
    visit.client.send_if_open(f"GET {visit.asked[stream][1][1]} HTTP/1.1\r\nHost: test.example\r\n".encode() + UPGRADE)
    visit.greet()
    accepted = visit.client.read_bytes(len(ACCEPTED), Deadline(PATIENCE))
    assert accepted == ACCEPTED or not accepted and visit.place.stopping, accepted
    visit.settle()


def speak_otherwise(visit: Visit) -> None:
    refusal = b"HTTP/1.1 505 " if visit.way == "tls" else b"HTTP/1.1 426 "
    words, answer = visit.dice.choice([(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", refusal),
                                       (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x15\x03\x01"),
                                       (b"nobody knows this protocol\r\n\r\n", b"\0\0")])
    visit.client.send_if_open(words)
    got = _read_raw(visit.client)
    assert got.startswith(answer) or not got and visit.place.stopping, got
    visit.counts["told off"] += 1


def flood(visit: Visit) -> None:
    """What comes back is many frames, of which only one is looked for: GOAWAY."""
    visit.greet().client.send_if_open(PingFrame(0, b"to and f").serialize() * FLOOD)
    got = _read_raw(visit.client)
    assert b"\x07\0\0\0\0\0" in got[-100:] or not got and visit.place.stopping, got[-100:]
    visit.counts["floods"] += 1


def _read_raw(client: Client) -> bytes:
    """What comes until the end or a reset."""
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


# Each with its weight.
ACTIONS: dict[Callable[[Visit], None], int] = {
    ask_now_and_then: 15, ask_much_at_once: 15, idle: 10, upload: 8, read_slowly: 8, speak_byte_by_byte: 6,
    speak_no_more: 6, reset_some: 8, send_malformed: 4, abort_anywhere: 15, abort_upload: 8,
    leave_without_reading: 8, say_nothing: 6, upgrade: 6, speak_otherwise: 4,
    flood: 1}


class Crowd:
    """Some of the clients: a process with a thread for each, so that one process does not have to do it all."""

    def __init__(self, places: Sequence[Place], numbers: range) -> None:
        self.places, self.numbers = places, numbers
        self.over = threading.Event()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(theirs,))
        self.process.start()
        theirs.close()

    def failed(self) -> bool:
        return self.pipe.poll()

    def end(self) -> tuple[Counter[str], list[str]]:
        """Let them go home; return what they have done, and what went wrong."""
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
        threads = [threading.Thread(target=self._be_client, args=(number,)) for number in self.numbers]
        for thread in threads:
            thread.start()
        while not pipe.poll(0.1) and not self.failures:
            pass
        self.over.set()
        for thread in threads:
            thread.join()
        pipe.send((self.counts, self.failures))

    def _be_client(self, number: int) -> None:
        dice, counts = random.Random(number), Counter[str]()
        action = list(ACTIONS)[number % len(ACTIONS)]  # so that each is done
        while not self.over.is_set():
            place = next((place for place in self.places if place.open), None)
            try:
                if place and self._visit(place, action, dice, counts):
                    action, = dice.choices(list(ACTIONS), list(ACTIONS.values()))
                else:
                    self.over.wait(0.05)
            except BaseException:  # told by Soak.run
                self.failures.append(f"client {number}: {action.__name__}: {traceback.format_exc(limit=-6)[-3000:]}")
                return
        self.counts.update(counts)

    def _visit(self, place: Place, action: Callable[[Visit], None], dice: random.Random,
               counts: Counter[str]) -> bool:
        """Connect, do this and leave. False if the daemon is not there any more."""
        try:
            visit = Visit(place, dice, counts, self.over)
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
            if not place.stopping:
                raise
            return False
        with visit.client:
            action(visit)
        counts.update(["connections", action.__name__])
        return True


class Soak:
    """Daemons that follow each other, and the clients of them all."""

    def __init__(self, directory: Path, clients: int, seconds: float, life_seconds: float) -> None:
        self.clients, self.seconds, self.life_seconds = clients, seconds, life_seconds
        self.places = [Place(directory, number) for number in range(2 + int(2 * seconds / life_seconds))]
        self.dice = random.Random(0)
        self.counts: Counter[str] = Counter(clients=clients)
        self.crowds: list[Crowd] = []

    def run(self) -> Counter[str]:
        """Do it all, and return what was done; an AssertionError if anything was not as it should be."""
        share = -(-self.clients // CROWDS)
        failures: list[str] = []
        try:
            for first in range(0, self.clients, share):
                self.crowds.append(Crowd(self.places, range(first, min(first + share, self.clients))))
            self._be_administrator()
        except AssertionError as error:
            failures.append(f"the administrator: {error}")
        finally:
            for counts, wrong in [crowd.end() for crowd in self.crowds]:
                self.counts.update(counts)
                failures += wrong
        assert not failures, "\n".join(failures[:3])
        never = [action.__name__ for action in ACTIONS if not self.counts[action.__name__]]
        assert not never, f"never done: {never}"
        return self.counts

    def _failed(self) -> bool:
        return any(crowd.failed() for crowd in self.crowds)

    def _be_administrator(self) -> None:
        """Start a daemon before the one before it ends, so that clients have one to go to; the last one's end too
        comes while they are there. At least two do."""
        end = time.monotonic() + self.seconds
        running: list[tuple[Place, Daemon]] = []
        try:
            for place in self.places:
                running.append((place, place.start()))
                if len(running) > 1:
                    self._end_one(running)
                self._look_after(*running[0], min(end, time.monotonic() + self._lifetime()))
                if time.monotonic() >= end and self.counts["drains"] or self._failed():
                    break
            self._end_one(running)
        finally:
            for _, daemon in running:
                daemon.kill()

    def _lifetime(self) -> float:
        return self.life_seconds * (0.5 + self.dice.random())

    def _end_one(self, running: list[tuple[Place, Daemon]]) -> None:
        place, daemon = running[0]
        place.end(daemon)
        running.pop(0)
        self.counts["drains"] += 1

    def _look_after(self, place: Place, daemon: Daemon, end: float) -> None:
        """Reload and ask for figures, all the time and at least once."""
        while not self._failed():
            place.reload(daemon, self.dice.choice(GOOD_FILES), rf"notice reloaded {place.config}$")
            place.reload(daemon, self.dice.choice(BAD_FILES), "error reload failed: the previous settings remain in force$")
            figures = daemon.stats()
            assert figures["connections"] <= figures["accepted"], figures
            self.counts.update(["reloads", "bad reloads"])
            if time.monotonic() >= end:
                return
            time.sleep(0.1)


def summary(counts: Counter[str]) -> str:
    return ("{clients} clients, {connections} connections, {answered} answers as asked, {aborted} aborted, "
            "{sent away} sent away by GOAWAY, {floods} floods; {drains} daemons drained and ended with 0, "
            "{reloads} good and {bad reloads} bad files reloaded; no sanitizer report"
            ).format_map(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="h2echod-") as directory:
        try:
            counts = Soak(Path(directory), arguments.clients, arguments.seconds, life_seconds=5).run()
        except AssertionError as error:
            sys.exit(f"soak: failed: {error}")
    print(f"soak of {os.path.relpath(BINARY, TOP)}: {summary(counts)}")


if __name__ == "__main__":
    main()
