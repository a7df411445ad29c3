"""The servers that are measured: how each is set up, started, seen to answer rightly, and looked at from outside."""
from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from asking import WrongAnswer, ask

HERE = Path(__file__).resolve().parent
CORES = len(os.sched_getaffinity(0))  # that we, and whom we start, may use
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
FILE = b"A static file of 130 bytes: about what the echo of a small request takes".ljust(129, b".") + b"\n"
CONNECTIONS = 11000
H2LOAD_US = 9  # of processor time that h2load takes for a request more than the floor's client does
PACED = f"floor+{H2LOAD_US}us"
START_SECONDS = 10
RATES = ("requests_per_s",)  # of the figures, the more the better; of all others, the less
OURS_TLS, NGHTTPD_TLS = "h2echod+tls", "nghttpd+tls"


class Missing(Exception):
    """Something that the bench needs is not installed."""


def is_installed(name: str) -> bool:
    return shutil.which(name, path=PATH) is not None


def tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if not found:
        raise Missing(f"{name} is not installed: `make deps-bench` installs it")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Setups: each writes what its server needs into the directory and returns the command -------------------

def h2echod(binaries: Path, _: Path, port: int) -> list[str]:
    return [str(binaries / "h2echod"), f"--port={port}", "--address=127.0.0.1", f"--max-connections={CONNECTIONS}",
            "--idle-timeout=1h", "--quiet"]


def nghttpd(_: Path, directory: Path, port: int) -> list[str]:
    return [tool("nghttpd"), "--no-tls", "--address=127.0.0.1", f"--workers={CORES}",
            f"--htdocs={directory}", str(port)]


def identity(directory: Path) -> tuple[Path, Path]:
    """A key and its certificate, for those who speak TLS: the same kind for all."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run([tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return key, certificate


def h2echod_tls(binaries: Path, directory: Path, port: int) -> list[str]:
    key, certificate = identity(directory)
    return [*h2echod(binaries, directory, 0), f"--tls-port={port}", f"--tls-key={key}", f"--tls-cert={certificate}"]


def nghttpd_tls(_: Path, directory: Path, port: int) -> list[str]:
    return [tool("nghttpd"), "--address=127.0.0.1", f"--workers={CORES}", f"--htdocs={directory}", str(port),
            *map(str, identity(directory))]


def h2o(_: Path, directory: Path, port: int) -> list[str]:
    (directory / "h2o.conf").write_text(f"""\
listen:
  host: 127.0.0.1
  port: {port}
num-threads: {CORES}
max-connections: {CONNECTIONS}
http2-idle-timeout: 3600
error-log: {directory}/h2o.log
hosts:
  default:
    paths:
      /:
        file.dir: {directory}
""", encoding="ascii")
    return [tool("h2o"), "-c", str(directory / "h2o.conf")]


def nginx(_: Path, directory: Path, port: int) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"    {kind}_temp_path {directory}/{kind};" for kind in kinds)
    (directory / "nginx.conf").write_text(f"""\
worker_processes {CORES};
worker_rlimit_nofile {CONNECTIONS + 100};
pid {directory}/nginx.pid;
error_log stderr error;
daemon off;
events {{
    worker_connections {CONNECTIONS};
}}
http {{
    access_log off;
{paths}
    open_file_cache max=16;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    http2_max_concurrent_streams 128;
    server {{
        listen 127.0.0.1:{port} http2 backlog=4096;
        root {directory};
    }}
}}
""", encoding="ascii")
    return [tool("nginx"), "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]


def node(_: Path, __: Path, port: int) -> list[str]:
    return [tool("node"), str(HERE / "echo.js"), str(port)]


def floor(binaries: Path, _: Path, port: int) -> list[str]:
    return [str(binaries / "tests/bench/floor"), str(port)]


# --- Checks: what has to be true of the answer to this path -------------------------------------------------

def is_echo(body: bytes, path: str) -> bool:
    return bool(json.loads(body)[":path"] == path)


def is_file(body: bytes, _: str) -> bool:
    return body == FILE


def asks_once(port: int, right: Callable[[bytes, str], bool], over_tls: bool = False) -> None:
    path = "/file?the=first"
    body = ask(port, path, over_tls)
    if not right(body, path):
        raise WrongAnswer(f"{path} was answered with {body!r}")


def floor_answers(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), START_SECONDS) as connection:
        connection.sendall(bytes(40))
        got = 0
        while got < 180:
            piece = connection.recv(1024)
            if not piece:
                raise WrongAnswer("the floor closed the connection")
            got += len(piece)
        if got != 180:
            raise WrongAnswer(f"the floor sent {got} bytes")


@dataclass(frozen=True)
class Kind:
    """One of the servers."""

    name: str
    setup: Callable[[Path, Path, int], list[str]]
    check: Callable[[int], None]
    version: tuple[str, ...]  # what to ask, nothing if it has no version
    words: str                # how it is set up
    work: float = 1.0         # of a case's requests: so that a slow one takes no more time than the others
    echo: str = ""            # how well an echo is known: see varied.c
    scheme: str = "http"

    @property
    def program(self) -> str:
        """What has to be installed for it; nothing if it is built here."""
        return "" if not self.version or self.version[0] == "h2echod" else self.version[0]


def echoes(port: int) -> None:
    asks_once(port, is_echo)


def serves_file(port: int) -> None:
    asks_once(port, is_file)


def echoes_over_tls(port: int) -> None:
    asks_once(port, is_echo, over_tls=True)


def serves_file_over_tls(port: int) -> None:
    asks_once(port, is_file, over_tls=True)


KINDS = {kind.name: kind for kind in (
    Kind("h2echod", h2echod, echoes, ("h2echod", "--version"), "echo; a thread for each connection", echo="same"),
    Kind(OURS_TLS, h2echod_tls, echoes_over_tls, ("h2echod", "--version"),
         "the same over TLS; a certificate with a P-256 key", scheme="https"),
    Kind("h2o", h2o, serves_file, ("h2o", "--version"),
         f"a file of {len(FILE)} bytes; {CORES} threads, no access log"),
    Kind("nghttpd", nghttpd, serves_file, ("nghttpd", "--version"),
         f"a file of {len(FILE)} bytes; {CORES} workers, no log"),
    Kind(NGHTTPD_TLS, nghttpd_tls, serves_file_over_tls, ("nghttpd", "--version"),
         "the same over TLS; a certificate with a P-256 key", scheme="https"),
    Kind("nginx", nginx, serves_file, ("nginx", "-v"),
         f"a file of {len(FILE)} bytes; {CORES} workers, no access log, open_file_cache, no limit on requests", 0.5),
    Kind("node", node, echoes, ("node", "--version"), "echo by node:http2 (echo.js); one process", 0.05, "echo"),
    Kind("floor", floor, floor_answers, (),
         "40 raw bytes in, 180 out, no HTTP/2 (floor.c); a thread for each connection"),
    Kind(PACED, floor, floor_answers, (),
         f"the same; its client is busy for {H2LOAD_US} us before each message, about as long as h2load is"),
)}


def version(name: str, *options: str) -> str:
    """The number in a program's own words about its version."""
    done = subprocess.run([name, *options], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


def server_version(kind: Kind, binaries: Path) -> str:
    """Empty if it has none."""
    if not kind.version:
        return ""
    name, *options = kind.version
    return version(str(binaries / name) if name == "h2echod" else tool(name), *options)


class Server:
    """A running server, with its whole process tree."""

    def __init__(self, kind: Kind, binaries: Path, directory: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.log = directory / f"{kind.name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(kind.setup(binaries, directory, self.port), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def _await(self) -> None:
        """Until it answers, and rightly."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.kind.check(self.port)
                return
            except ConnectionRefusedError as refused:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise WrongAnswer(f"{self.kind.name} does not start: {self.report()}") from refused
                time.sleep(0.02)
            except (OSError, ValueError, KeyError) as error:
                raise WrongAnswer(f"{self.kind.name} does not answer: {error} {self.report()}") from error

    def report(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-1000:]

    def pids(self) -> list[int]:
        """Its process and the children; none of them forks from another thread than its first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [self.process.pid, *map(int, children.split())]

    def cpu_seconds(self) -> float:
        """User and system time of the whole tree, ended threads included, to the nanosecond: each process's clock."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())  # clock_getcpuclockid(3)

    def resident(self) -> int:
        """KiB of memory of the whole tree."""
        sizes = (Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in self.pids())
        return sum(int(size) for text in sizes for size in re.findall(r"^Rss: +(\d+) kB$", text, re.MULTILINE))

    def stop(self) -> None:
        """End it, and what it has started."""
        pids = self.pids() if self.process.poll() is None else []
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            self.process.wait()
