"""The servers that are measured: how each is configured, started and checked, and how its time and memory are read."""
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

from http2_client import WrongResponse, get_once

HERE = Path(__file__).resolve().parent
CORES = len(os.sched_getaffinity(0))  # that we and the servers may use
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
FILE = b"A static file of 130 bytes: about what the echo of a small request takes".ljust(129, b".") + b"\n"
CONNECTIONS = 11000
H2LOAD_US = 9  # microseconds of processor time per request that h2load takes more than floor_client
PACED = f"floor+{H2LOAD_US}us"
START_SECONDS = 10
RATES = ("requests_per_s",)  # measurements of which more is better; of all others less is better
OURS_TLS, NGHTTPD_TLS = "h2echod+tls", "nghttpd+tls"


class Missing(Exception):
    """A program that the benchmark needs is not installed."""


def is_installed(name: str) -> bool:
    return shutil.which(name, path=PATH) is not None


def tool(name: str) -> str:
    """The path of a program. Raises Missing if it is not installed."""
    found = shutil.which(name, path=PATH)
    if not found:
        raise Missing(f"{name} is not installed: `make deps-bench` installs it")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- Setups: each writes its server's files into the directory and returns the server's command ---------------

def h2echod(binaries: Path, _: Path, port: int) -> list[str]:
    return [str(binaries / "h2echod"), f"--port={port}", "--address=127.0.0.1", f"--max-connections={CONNECTIONS}",
            "--idle-timeout=1h", "--quiet"]


def nghttpd(_: Path, directory: Path, port: int) -> list[str]:
    return [tool("nghttpd"), "--no-tls", "--address=127.0.0.1", f"--workers={CORES}",
            f"--htdocs={directory}", str(port)]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a key and its certificate, of the same kind for all servers with TLS. Return their paths."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run([tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return key, certificate


def h2echod_tls(binaries: Path, directory: Path, port: int) -> list[str]:
    key, certificate = make_certificate(directory)
    return [*h2echod(binaries, directory, 0), f"--tls-port={port}", f"--tls-key={key}", f"--tls-cert={certificate}"]


def nghttpd_tls(_: Path, directory: Path, port: int) -> list[str]:
    return [tool("nghttpd"), "--address=127.0.0.1", f"--workers={CORES}", f"--htdocs={directory}", str(port),
            *map(str, make_certificate(directory))]


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


# --- Checks: whether the content of a response is right for the path of its request --------------------------

def is_echo(body: bytes, path: str) -> bool:
    return bool(json.loads(body)[":path"] == path)


def is_file(body: bytes, _: str) -> bool:
    return body == FILE


def check_response(port: int, is_right: Callable[[bytes, str], bool], over_tls: bool = False) -> None:
    """Send one request. Raise WrongResponse if the response is not right."""
    path = "/file?the=first"
    body = get_once(port, path, over_tls)
    if not is_right(body, path):
        raise WrongResponse(f"{path} was answered with {body!r}")


def check_floor(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), START_SECONDS) as connection:
        connection.sendall(bytes(40))
        got = 0
        while got < 180:
            piece = connection.recv(1024)
            if not piece:
                raise WrongResponse("floor closed the connection")
            got += len(piece)
        if got != 180:
            raise WrongResponse(f"floor sent {got} bytes")


@dataclass(frozen=True)
class Kind:
    """One of the servers."""

    name: str
    setup: Callable[[Path, Path, int], list[str]]
    check: Callable[[int], None]
    version: tuple[str, ...]  # the command that prints its version; empty if it has none
    words: str                # how it is configured
    work: float = 1.0         # factor for the numbers of requests, so that a slow server does not take longer
    echo: str = ""            # how varied checks its responses: see varied.c
    scheme: str = "http"

    @property
    def program(self) -> str:
        """The program that has to be installed, or an empty string if it is built here."""
        return "" if not self.version or self.version[0] == "h2echod" else self.version[0]


def check_echo(port: int) -> None:
    check_response(port, is_echo)


def check_file(port: int) -> None:
    check_response(port, is_file)


def check_echo_over_tls(port: int) -> None:
    check_response(port, is_echo, over_tls=True)


def check_file_over_tls(port: int) -> None:
    check_response(port, is_file, over_tls=True)


KINDS = {kind.name: kind for kind in (
    Kind("h2echod", h2echod, check_echo, ("h2echod", "--version"), "echo; a thread for each connection", echo="same"),
    Kind(OURS_TLS, h2echod_tls, check_echo_over_tls, ("h2echod", "--version"),
         "the same over TLS; a certificate with a P-256 key", scheme="https"),
    Kind("h2o", h2o, check_file, ("h2o", "--version"),
         f"a file of {len(FILE)} bytes; {CORES} threads, no access log"),
    Kind("nghttpd", nghttpd, check_file, ("nghttpd", "--version"),
         f"a file of {len(FILE)} bytes; {CORES} workers, no log"),
    Kind(NGHTTPD_TLS, nghttpd_tls, check_file_over_tls, ("nghttpd", "--version"),
         "the same over TLS; a certificate with a P-256 key", scheme="https"),
    Kind("nginx", nginx, check_file, ("nginx", "-v"),
         f"a file of {len(FILE)} bytes; {CORES} workers, no access log, open_file_cache, no limit on requests", 0.5),
    Kind("node", node, check_echo, ("node", "--version"), "echo by node:http2 (echo.js); one process", 0.05, "echo"),
    Kind("floor", floor, check_floor, (),
         "40 raw bytes in, 180 out, no HTTP/2 (floor.c); a thread for each connection"),
    Kind(PACED, floor, check_floor, (),
         f"the same; its client is busy for {H2LOAD_US} us before each message, about as long as h2load"),
)}


def version(name: str, *options: str) -> str:
    """The number in what a program prints about its version."""
    done = subprocess.run([name, *options], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


def server_version(kind: Kind, binaries: Path) -> str:
    """The server's version, or an empty string if it has none."""
    if not kind.version:
        return ""
    name, *options = kind.version
    return version(str(binaries / name) if name == "h2echod" else tool(name), *options)


class Server:
    """A running server and its child processes."""

    def __init__(self, kind: Kind, binaries: Path, directory: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.log = directory / f"{kind.name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(kind.setup(binaries, directory, self.port), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        """Wait until the server's check succeeds."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.kind.check(self.port)
                return
            except ConnectionRefusedError as refused:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise WrongResponse(f"{self.kind.name} does not start: {self.report()}") from refused
                time.sleep(0.02)
            except (OSError, ValueError, KeyError) as error:
                raise WrongResponse(f"{self.kind.name} does not answer: {error} {self.report()}") from error

    def report(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-1000:]

    def pids(self) -> list[int]:
        """Its process and the children of its main thread: no server here forks from another thread."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [self.process.pid, *map(int, children.split())]

    def cpu_seconds(self) -> float:
        """User and system time of all processes, ended threads included, in nanosecond resolution."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())  # clock_getcpuclockid(3)

    def resident(self) -> int:
        """Resident memory of all processes, in KiB."""
        sizes = (Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in self.pids())
        return sum(int(size) for text in sizes for size in re.findall(r"^Rss: +(\d+) kB$", text, re.MULTILINE))

    def stop(self) -> None:
        """Terminate the server; kill all of its processes if that takes too long."""
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
