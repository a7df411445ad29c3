"""The daemon as a child process: starting it, reading its log, connecting to it, measuring it, stopping it."""
from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping, Sequence

import needs
from waiting import SLOW, Deadline, poll
from wire import Address, Client, unverified_tls

TOP = Path(__file__).resolve().parents[2]
BINARY = TOP / (os.environ.get("H2ECHOD") or "build/release/h2echod")
WRAPPER = shlex.split(os.environ.get("H2ECHOD_WRAPPER") or "")
# Whether its memory use can be measured: sanitizers and valgrind add their own, and keep what is freed.
PLAIN_MEMORY = not WRAPPER and BINARY.exists() and not re.search(rb"__[at]san_init", BINARY.read_bytes())

LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (error|warning|notice|info|debug) (.*)")
SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error|WARNING: ThreadSanitizer|LeakSanitizer")
VALGRIND_LINE = re.compile(r"==\d+==|--\d+--")


def environment_without_systemd() -> dict[str, str]:
    """The environment of the tests, without the variables that systemd sets for a service."""
    foreign = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
               "JOURNAL_STREAM")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def command(arguments: Sequence[object], prefix: Sequence[str] = (), binary: Path = BINARY) -> list[str]:
    return [*prefix, *WRAPPER, str(binary), *map(str, arguments)]


def without_valgrind_lines(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not VALGRIND_LINE.match(line)]


def as_user(number: int) -> list[str]:
    """A command prefix that runs a command as this unprivileged user; empty unless the tests run as root."""
    words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    return words if os.geteuid() == 0 else []


@dataclass
class Finished:
    """The result of a run of the daemon that exits by itself."""

    status: int
    out: str
    errors: list[str]

    def error(self) -> str:
        """The text of the only line on stderr, without timestamp and level if it has them."""
        assert len(self.errors) == 1, f"expected exactly one line: {self.errors}"
        match = LOG_LINE.fullmatch(self.errors[0])
        return match[3] if match else self.errors[0]


def run(*arguments: object, prefix: Sequence[str] = (), binary: Path = BINARY,
        pass_fds: Sequence[int] = ()) -> Finished:
    """Run the daemon with arguments that make it exit by itself."""
    done = subprocess.run(command(arguments, prefix, binary), env=environment_without_systemd(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10 * SLOW, check=False,
                          pass_fds=pass_fds)
    assert not SANITIZER.search(done.stderr), done.stderr
    return Finished(done.returncode, done.stdout, without_valgrind_lines(done.stderr.splitlines()))


def parse_dump(text: str) -> dict[str, list[str]]:
    """The output of --dump-config: the values of each key; none if the key is commented out."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(#?)\s*([a-z-]+) = ?(.*)", line):
            values.setdefault(match[2], []).extend([] if match[1] else [match[3]])
    return values


# The arguments that make the daemon listen on another transport besides plain TCP, by the transport's name.
TRANSPORTS: dict[str, tuple[str, ...]] = {"plain": (), "tls": ("--tls-port=0", "--tls-self-signed")}


class Daemon:
    """One running daemon, on 127.0.0.1 and a free port unless the arguments say otherwise."""

    def __init__(self, *arguments: object, listen: Sequence[str] = ("--port=0", "--address=127.0.0.1"),
                 prefix: Sequence[str] = (), binary: Path = BINARY, extra: Mapping[str, str] | None = None,
                 pass_fds: Sequence[int] = (), before_ready: Callable[[Daemon], None] | None = None,
                 transport: str = "plain") -> None:
        """`extra` is added to its environment; `before_ready` is called once the process exists, before it is ready."""
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.clients: list[Client] = []
        self.stopping = self.ended = False
        self.transport = transport
        if any("::" in str(word) for word in [*listen, *arguments]):
            needs.ipv6()
        listen = [*listen, *TRANSPORTS[transport]]
        self.process = subprocess.Popen(command([*listen, *arguments], prefix, binary),
                                        env=environment_without_systemd() | dict(extra or {}), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=pass_fds)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        try:
            if before_ready:
                before_ready(self)
            self.ready = self.wait_for_log(r"notice h2echod \S+ is ready: (.*)$", seconds=10)[1]
            if "NOTIFY_SOCKET" not in (extra or {}):  # under a service manager it does not log how to stop it
                self.wait_for_log("notice to stop it: ")
        except AssertionError:
            self.kill()
            raise

    # --- the log ---

    def _read_log(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def log_position(self) -> int:
        """The current end of the log, to be passed as `since`."""
        return len(self.lines)

    def log(self, pattern: str, since: int = 0) -> list[re.Match[str]]:
        """All lines logged so far that match the pattern."""
        return [match for line in self.lines[since:] if (match := re.search(pattern, line))]

    def wait_for_log(self, pattern: str, since: int = 0, seconds: float = 5) -> re.Match[str]:
        """Wait for a line that matches the pattern."""
        deadline = Deadline(seconds)
        seen = since
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                left = deadline.end - time.monotonic()
                assert left > 0 and self.reader.is_alive(), f"no line like {pattern!r}{self.report(since)}"
                self.changed.wait(min(left, 0.1))

    def report(self, since: int = 0) -> str:
        lines = self.lines[since:]
        return f"; exit status {self.process.poll()}; the log's end:\n" + "\n".join(lines[-40:])

    # --- addresses and clients ---

    def addresses(self, transport: str = "plain") -> list[tuple[str, int]]:
        """The TCP addresses that it listens on, from its log."""
        tls = ", TLS" if transport == "tls" else ""
        listening = self.log(rf"info listening on (.*):(\d+){tls}(?:, handed over)?$")
        return [(match[1].strip("[]"), int(match[2])) for match in listening]

    @property
    def address(self) -> tuple[str, int]:
        return self.addresses(self.transport)[0]

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def scheme(self) -> str:
        return "https" if self.transport == "tls" else "http"

    def url(self, path: str = "/") -> str:
        host, port = self.address
        return f"{self.scheme}://{host}:{port}{path}"

    def open_connection(self, address: Address | None = None, **options: object) -> Client:
        """A client that has connected and sent nothing."""
        since = self.log_position()
        if self.transport == "tls" and not address:
            options.setdefault("tls", unverified_tls("h2"))
        client = Client(address or self.address, **options)
        client.since = since
        self.clients.append(client)
        return client

    def connect(self, settings: dict[int, int] | None = None, address: Address | None = None,
                **options: object) -> Client:
        """A client that has sent its preface."""
        return self.open_connection(address, **options).send_preface(settings)

    def close_clients(self) -> None:
        """Close the clients that open_connection and connect made."""
        for client in self.clients:
            client.close()
        self.clients.clear()

    # --- the process ---

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.stopping |= number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        self.process.send_signal(number)

    def reload(self, outcome: str = "notice reloaded") -> int:
        """Send SIGHUP, and wait until this is logged; return where the log ended before."""
        since = self.log_position()
        self.signal(signal.SIGHUP)
        self.wait_for_log(outcome, since)
        return since

    def stats(self) -> dict[str, int]:
        """The counters that it logs on SIGUSR1."""
        since = self.log_position()
        self.signal(signal.SIGUSR1)
        words = self.wait_for_log(r"info stats: (.*)$", since)[1].split()
        return {name: int(value) for name, value in (word.split("=") for word in words)}

    def wait_for_stats(self, **wanted: int) -> dict[str, int]:
        """Send SIGUSR1 repeatedly until the counters named have these values."""
        def ask() -> dict[str, int] | None:
            stats.update(self.stats())
            return stats if all(stats[name] == value for name, value in wanted.items()) else None
        stats: dict[str, int] = {}
        try:
            return poll(ask, f"stats {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {stats}") from None

    def threads(self) -> int:
        return len(os.listdir(needs.proc(f"{self.pid}/task")))

    def descriptors(self) -> int:
        return len(os.listdir(needs.proc(f"{self.pid}/fd")))

    def memory(self) -> int:
        """Resident memory in KiB, from smaps_rollup (VmRSS is only an estimate)."""
        rollup = needs.proc(f"{self.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss: +(\d+) kB", rollup, re.MULTILINE)[1])

    def cpu_seconds(self) -> float:
        """The exact CPU time it has used, user and system, including that of ended threads."""
        return time.clock_gettime(~self.pid << 3 | 2)  # clock_getcpuclockid(3)

    def accept_loop_seconds(self) -> float:
        """The exact CPU time of the main thread alone."""
        return int(needs.proc(f"{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait(self, status: int = 0, seconds: float = 15) -> None:
        """Wait until it exits, with this status and without a sanitizer's report."""
        try:
            got = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not exit{self.report()}") from None
        self._clean_up()
        assert got == status, f"exit status {got}, not {status}{self.report()}"
        reports = [line for line in self.lines if SANITIZER.search(line)]
        assert not reports, f"{reports}{self.report()}"

    def stop(self) -> None:
        """Send SIGTERM unless a signal was sent before, and wait for a clean exit unless a test already did."""
        if not self.ended:
            self.close_clients()
            if not self.stopping:
                self.signal()
            self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._clean_up()

    def _clean_up(self) -> None:
        self.ended = True
        self.close_clients()
        self.reader.join()
        assert self.process.stderr
        self.process.stderr.close()
