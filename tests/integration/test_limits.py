"""Limits on connections: those of the settings, and those of the system on descriptors and threads."""
from __future__ import annotations

import re
import select
import shutil
from pathlib import Path
from typing import Sequence

import pytest

from clients import run_tool
from conftest import Start
from daemon import BINARY, Daemon, as_user, run
from waiting import SLOW, Stopwatch, poll
from wire import Client, fields

TRANSPORTS = ("plain", "tls")

UNUSED_USER = 54321  # has no other processes, whose threads would count towards the limit


def assert_waits(client: Client) -> None:
    """The connection is open, and nothing has been received."""
    assert select.select([client.socket], [], [], 0.1) == ([], [], [])


def waiting_client(daemon: Daemon) -> Client:
    """A connection that has sent a request before the daemon has accepted it."""
    client = daemon.connect(handshake_later=True)
    client.send_request(fields("/waiting"))
    return client


def assert_served(client: Client) -> None:
    client.wait(1).assert_echo(fields("/waiting"))


def readable(clients: list[Client]) -> list[object]:
    return select.select([client.socket for client in clients], [], [], 0)[0]


# --- limits of the settings ---

def test_connections_above_the_limit_wait_in_the_backlog(start: Start) -> None:
    daemon = start("--max-connections=2")
    open_ = [daemon.connect(), daemon.connect()]
    for client in open_:
        client.assert_answered()
    waiting = [waiting_client(daemon), waiting_client(daemon)]
    stats = daemon.stats()
    assert (stats["connections"], stats["accepted"], stats["refused"]) == (2, 2, 0)
    for client in waiting:
        assert_waits(client)
    for client in open_:
        client.assert_answered()
    open_[0].close()
    poll(lambda: readable(waiting), "one of the waiting clients to be answered")
    assert daemon.stats()["connections"] == 2
    open_[1].close()
    for client in waiting:
        assert_served(client)


def test_limit_of_one_connection(start: Start) -> None:
    daemon = start("--max-connections=1")
    for number in range(20):
        with daemon.connect() as client:
            client.assert_answered(f"/{number}")
    assert daemon.wait_for_stats(connections=0)["accepted"] == 20


def test_waiting_connections_use_no_cpu(start: Start) -> None:
    daemon = start("--max-connections=1", "--idle-timeout=1s")
    open_ = daemon.connect()
    open_.assert_answered()
    assert_little_cpu_time(daemon, [waiting_client(daemon)])


def assert_little_cpu_time(daemon: Daemon, waiting: list[Client]) -> None:
    """The daemon uses hardly any CPU time until the idle timeout makes room for the waiting clients."""
    before, watch = daemon.accept_loop_seconds(), Stopwatch()
    for client in waiting:
        assert_served(client)
    assert watch.seconds() > 0.5, "the clients did not have to wait"
    share = (daemon.accept_loop_seconds() - before) / watch.seconds()
    assert share < 0.01 * SLOW, f"{share:.2%} of the CPU time while there was nothing to do"


def test_limit_per_address(start: Start) -> None:
    daemon = start("--max-connections-per-address=2")
    open_ = [daemon.connect(), daemon.connect()]
    for client in open_:
        client.assert_answered()
    daemon.open_connection().read_to_end()
    assert daemon.stats()["refused"] == 1
    daemon.connect(source="127.0.0.2").assert_answered()
    open_[0].close()
    daemon.wait_for_stats(connections=2)
    daemon.connect().assert_answered()
    open_[1].assert_answered()


def test_limit_per_address_does_not_apply_to_unix_sockets(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    daemon = start("--max-connections-per-address=1", f"--unix={path}")
    clients = [daemon.connect(address=path) for _ in range(3)]
    for client in clients:
        client.assert_answered()


# --- limits of the system ---

def set_limit(daemon: Daemon, limit: str, user: Sequence[str] = ()) -> None:
    """Change a soft limit of the running daemon, as its own user: root may lack the capability to do it for others."""
    run_tool([*user, "prlimit", f"--pid={daemon.pid}", limit])


@pytest.mark.heavy
def test_no_descriptor_for_new_connections(start: Start) -> None:
    daemon = start("--idle-timeout=1500ms")
    open_ = [daemon.connect() for _ in range(3)]
    for client in open_:
        client.assert_answered()
    set_limit(daemon, f"--nofile={daemon.descriptors()}:")
    waiting = [waiting_client(daemon), waiting_client(daemon)]
    daemon.wait_for_log(r"(error|warning) .*Too many open files")
    for client in open_:
        client.assert_answered()
    for client in waiting:
        assert_waits(client)
    assert_little_cpu_time(daemon, waiting)
    assert len(daemon.log("Too many open files")) == 1


@pytest.mark.heavy
def test_low_limit_on_descriptors_at_start(start: Start) -> None:
    daemon = start(prefix=["prlimit", "--nofile=24:24"])
    daemon.wait_for_log("warning max-connections is 10000, but the limit on descriptors is 24")
    clients = [waiting_client(daemon) for _ in range(40)]
    daemon.wait_for_log("warning .*accepting is paused.*Too many open files")
    assert_served(clients[0])
    for client in clients:
        assert_served(client)
        client.close()
    assert len(daemon.log("(error|warning)")) == 2


@pytest.mark.heavy
@pytest.mark.parametrize("limit", ["--nproc=1:1", "--nofile=4:4"], ids=["threads", "descriptors"])
def test_start_without_resources_exits_with_71(open_directory: Path, limit: str) -> None:
    binary = open_directory / "h2echod"
    shutil.copy(BINARY, binary)
    prefix = ["env", "ASAN_OPTIONS=detect_leaks=0",  # LeakSanitizer would need a thread, too
              *as_user(UNUSED_USER), "prlimit", limit]
    done = run("--port=0", "-a", "127.0.0.1", prefix=prefix, binary=binary)
    assert done.status == 71
    assert len([line for line in done.errors if re.match(r"\S+Z error ", line)]) == 1, done.errors


@pytest.mark.heavy
def test_no_thread_for_new_connections(start: Start, open_directory: Path) -> None:
    binary = open_directory / "h2echod"
    shutil.copy(BINARY, binary)
    user = as_user(UNUSED_USER)  # the limit does not apply to root
    daemon = start(prefix=user, binary=binary)
    baseline = daemon.descriptors()
    open_ = daemon.connect()
    open_.assert_answered()
    set_limit(daemon, "--nproc=1:", user)
    waiting = [daemon.connect(handshake_later=True) for _ in range(3)]
    daemon.wait_for_log(r"(error|warning) .*thread.*Resource temporarily unavailable")
    for number in range(10):
        open_.assert_answered(f"/{number}")
    assert len(daemon.log("Resource temporarily unavailable")) == 1
    set_limit(daemon, "--nproc=1000:", user)
    for client in waiting:
        client.close()
    daemon.connect().assert_answered()
    daemon.wait_for_stats(connections=2)
    assert poll(lambda: daemon.descriptors() == baseline + 2, "the descriptors of two connections")
