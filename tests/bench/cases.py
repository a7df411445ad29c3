"""The cases of the benchmark: the load on a server, and what is measured under it."""
from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from http2_client import Connection, WrongResponse
from servers import CONNECTIONS, H2LOAD_US, HERE, NGHTTPD_TLS, OURS_TLS, PACED, Server, tool

LOAD_SECONDS = 600
WARM_UP = 0.25  # share of the requests of a case that are sent before those that count
TIMED = 0.25    # share of the requests that are sent again to measure latencies
BATCH = 100     # connections that are opened at once in the case idle
SETTLE = 3.0    # seconds for a server to release memory before it is measured
UPLOAD = 2**20  # bytes of content
FIXED = ("h2echod", "h2o", "nghttpd", "nginx", "node")
FLOORS = ("floor", PACED)

Measurements = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What is the same for every case."""

    binaries: Path
    directory: Path
    scale: float  # factor for every number of requests


@dataclass(frozen=True)
class Run:
    """The result of one load on one server."""

    requests: int
    seconds: float
    latencies: list[int] | None = None  # the median and the 99th percentile in microseconds


@dataclass(frozen=True)
class Case:
    """One kind of load."""

    name: str
    words: str
    connections: int
    streams: int
    requests: int  # for a server whose `work` is 1
    load: Callable[[Bench, Case, Server, int, bool], Run]
    servers: tuple[str, ...] = FIXED
    options: tuple[str, ...] = ()
    unit: str = "cpu_us"  # the figure that servers are compared by

    def count(self, bench: Bench, server: Server, share: float = 1.0) -> int:
        """How many requests to send: at least one for each stream."""
        return max(self.connections * self.streams, int(self.requests * server.kind.work * bench.scale * share))


# --- Loads --------------------------------------------------------------------------------------------------

def run_program(words: list[str]) -> str:
    """Run a load generator. Return its output."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise WrongResponse(f"{words[0]} does not end") from late
    if done.returncode != 0:
        raise WrongResponse(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def percentiles(log: Path) -> list[int]:
    times = sorted(int(line.split("\t")[2]) for line in log.read_text(encoding="ascii").splitlines())
    return [times[len(times) // 2], times[len(times) * 99 // 100]]


def h2load(bench: Bench, case: Case, server: Server, count: int, timed: bool) -> Run:
    """Send requests with h2load. It logs times only if `timed` is set, since that takes time itself."""
    log = bench.directory / "h2load.log"
    log.unlink(missing_ok=True)
    options = [option.replace("@upload", str(bench.directory / "upload")) for option in case.options]
    if timed:
        options.append(f"--log-file={log}")
    output = run_program([tool("h2load"), "-n", str(count), "-c", str(case.connections), "-m", str(case.streams),
                          *options, f"{server.kind.scheme}://127.0.0.1:{server.port}/file"])
    good = [int(number) for number in re.findall(r"(\d+) (?:succeeded|2xx)", output)]
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s)", output)
    if good != [count, count] or not seconds:
        counts = re.findall(r"^(?:requests|status codes): .*", output, re.MULTILINE)
        raise WrongResponse(f"not every request was answered with 200: {'; '.join(counts)}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}[seconds[2]]
    return Run(count, float(seconds[1]) * unit, percentiles(log) if timed else None)


def h2load_new_connections(bench: Bench, case: Case, server: Server, count: int, timed: bool) -> Run:
    """Send each request on a connection of its own, the case's number of connections at once."""
    runs = [h2load(bench, case, server, case.connections, timed)
            for _ in range(max(1, count // case.connections))]
    return Run(sum(run.requests for run in runs), sum(run.seconds for run in runs), runs[-1].latencies)


def own_load(words: list[str]) -> Run:
    """Run one of our own load generators, which prints its measurements as JSON."""
    measurements = json.loads(run_program(words))
    return Run(measurements["requests"], measurements["seconds"], [measurements["p50_us"], measurements["p99_us"]])


def varied(bench: Bench, case: Case, server: Server, count: int, _: bool) -> Run:
    return own_load([str(bench.binaries / "tests/bench/varied"), str(server.port), str(case.connections),
                     str(case.streams), str(count), *server.kind.echo.split()])


def h2load_or_floor(bench: Bench, case: Case, server: Server, count: int, timed: bool) -> Run:
    if server.kind.name not in FLOORS:
        return h2load(bench, case, server, count, timed)
    return own_load([str(bench.binaries / "tests/bench/floor_client"), str(server.port), str(case.connections),
                     str(count), *([str(H2LOAD_US)] if server.kind.name == PACED else [])])


def idle_load(*_: object) -> Run:
    raise NotImplementedError("the case idle has no load")


def browser_options() -> tuple[str, ...]:
    fields = (HERE / "browser.txt").read_text(encoding="ascii").splitlines()
    return tuple(f"--header={field}" for field in fields)


CASES = {case.name: case for case in (
    Case("mux", "8 connections, 100 streams each", 8, 100, 400000, h2load),
    Case("serial", "8 connections, 1 stream each", 8, 1, 100000, h2load_or_floor, (*FIXED, *FLOORS)),
    Case("many", "1,000 connections, 1 stream each", 1000, 1, 100000, h2load_or_floor, (*FIXED, *FLOORS)),
    Case("browser", "8 connections, 32 streams each; a browser's 20 fields, 1 KB", 8, 32, 150000, h2load,
         options=browser_options()),
    Case("varied", "8 connections, 100 streams each; every path and value is new", 8, 100, 150000, varied),
    Case("connect", "2,000 new connections at once, one request each", 2000, 1, 20000, h2load_new_connections),
    Case("tls", "as mux, over TLS 1.3", 8, 100, 400000, h2load, ("h2echod", OURS_TLS, NGHTTPD_TLS)),
    Case("handshake", "200 new connections over TLS at once, one request each", 200, 1, 4000, h2load_new_connections,
         (OURS_TLS, NGHTTPD_TLS), unit="requests_per_s"),
    Case("upload", "8 connections, POST of 1 MiB each", 8, 1, 800, h2load, ("h2echod", "nghttpd", "node"),
         ("--data=@upload",)),
    Case("idle", "10,000 idle connections after one response each", 10000, 1, 10000, idle_load,
         unit="kib_per_connection"),
)}


# --- Measuring ----------------------------------------------------------------------------------------------

def measure(bench: Bench, case: Case, server: Server) -> Measurements:
    """Run a case on a server and return its measurements. A request that fails raises WrongResponse."""
    if case.load is idle_load:
        return measure_idle(case, server)
    case.load(bench, case, server, case.count(bench, server, WARM_UP), False)
    before = server.cpu_seconds()
    run = case.load(bench, case, server, case.count(bench, server), False)
    cpu = server.cpu_seconds() - before
    if not run.latencies:
        timed = case.load(bench, case, server, case.count(bench, server, TIMED), True)
        run = Run(run.requests, run.seconds, timed.latencies)
    assert run.latencies
    return {"cpu_us": cpu * 1e6 / run.requests, "requests_per_s": run.requests / run.seconds,
            "p50_us": run.latencies[0], "p99_us": run.latencies[1], "rss_kib": server.resident()}


def measure_idle(case: Case, server: Server) -> Measurements:
    before = server.resident()
    connections: list[Connection] = []
    try:
        while len(connections) < case.connections:
            batch = [Connection(server.port) for _ in range(BATCH)]
            connections += batch
            for connection in batch:
                connection.send("/file", case.streams)
            for connection in batch:
                for _ in range(case.streams):
                    connection.read()
        time.sleep(SETTLE)
        after = server.resident()
        for connection in connections:
            assert_open(connection)
    except OSError as error:
        raise WrongResponse(f"connection {len(connections)}: {error}") from error
    finally:
        for connection in connections:
            connection.close()
    return {"kib_per_connection": (after - before) / len(connections), "rss_kib": after}


def assert_open(connection: Connection) -> None:
    """Raise WrongResponse if the server has closed the connection."""
    connection.socket.setblocking(False)
    try:
        if not connection.socket.recv(1, socket.MSG_PEEK):
            raise WrongResponse("an idle connection was closed")
    except BlockingIOError:
        pass


def prepare(directory: Path) -> None:
    """Write the files that the loads need into the directory."""
    (directory / "upload").write_bytes(os.urandom(UPLOAD))
    assert all(case.connections < CONNECTIONS for case in CASES.values())
