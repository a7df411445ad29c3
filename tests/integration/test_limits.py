"""Limits: of the settings, and of the system: descriptors and threads that can't be had."""
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

PLAIN_USER = 54321  # nobody's, so that nobody else's threads count


def assert_waits(client: Client) -> None:
    """Nothing has come, and the connection is neither closed nor refused."""
    assert select.select([client.socket], [], [], 0.1) == ([], [], [])


def waiting_client(daemon: Daemon) -> Client:
    """A connection that has asked already, though nobody may have accepted it."""
    client = daemon.connect(handshake_later=True)
    client.send_request(fields("/waiting"))
    return client


def assert_served(client: Client) -> None:
    client.wait(1).assert_echo(fields("/waiting"))


def readable(clients: list[Client]) -> list[object]:
    return select.select([client.socket for client in clients], [], [], 0)[0]


# --- of the settings ---

def test_connections_past_the_limit_wait_in_the_backlog(start: Start) -> None:
    daemon = start("--max-connections=2")
    inside = [daemon.connect(), daemon.connect()]
    for client in inside:
        client.assert_answered()
    outside = [waiting_client(daemon), waiting_client(daemon)]
    figures = daemon.stats()
    assert (figures["connections"], figures["accepted"], figures["refused"]) == (2, 2, 0)
    for client in outside:
        assert_waits(client)
    for client in inside:
        client.assert_answered()
    inside[0].close()
    poll(lambda: readable(outside), "one to be served")
    assert daemon.stats()["connections"] == 2
    inside[1].close()
    for client in outside:
        assert_served(client)


def test_limit_of_one_serves_one_after_the_other(start: Start) -> None:
    daemon = start("--max-connections=1")
    for number in range(20):
        with daemon.connect() as client:
            client.assert_answered(f"/{number}")
    assert daemon.wait_for_stats(connections=0)["accepted"] == 20


def test_waiting_costs_no_processor(start: Start) -> None:
    daemon = start("--max-connections=1", "--idle-timeout=1s")
    inside = daemon.connect()
    inside.assert_answered()
    assert_little_work(daemon, [waiting_client(daemon)])


def assert_little_work(daemon: Daemon, outside: list[Client]) -> None:
    """Until those outside get in, because somebody inside was idle too long, next to nothing is done."""
    before, watch = daemon.accept_loop_seconds(), Stopwatch()
    for client in outside:
        assert_served(client)
    assert watch.seconds() > 0.5, "there was nothing to wait for"
    share = (daemon.accept_loop_seconds() - before) / watch.seconds()
    assert share < 0.01 * SLOW, f"{share:.2%} of a processor while there was nothing to do"


def test_one_address_has_a_limit_of_its_own(start: Start) -> None:
    daemon = start("--max-connections-per-address=2")
    inside = [daemon.connect(), daemon.connect()]
    for client in inside:
        client.assert_answered()
    daemon.open_connection().read_to_end()
    assert daemon.stats()["refused"] == 1
    daemon.connect(source="127.0.0.2").assert_answered()
    inside[0].close()
    daemon.wait_for_stats(connections=2)
    daemon.connect().assert_answered()
    inside[1].assert_answered()


def test_unix_peers_are_not_one_address(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    daemon = start("--max-connections-per-address=1", f"--unix={path}")
    clients = [daemon.connect(address=path) for _ in range(3)]
    for client in clients:
        client.assert_answered()


# --- of the system ---

def set_limit(daemon: Daemon, limit: str, user: Sequence[str] = ()) -> None:
    """Change a soft limit of the running daemon, as its own user: root may lack the capability for others."""
    run_tool([*user, "prlimit", f"--pid={daemon.pid}", limit])


@pytest.mark.heavy
def test_descriptors_that_cannot_be_had(start: Start) -> None:
    daemon = start("--idle-timeout=1500ms")
    inside = [daemon.connect() for _ in range(3)]
    for client in inside:
        client.assert_answered()
    set_limit(daemon, f"--nofile={daemon.descriptors()}:")
    outside = [waiting_client(daemon), waiting_client(daemon)]
    daemon.wait_for_log(r"(error|warning) .*Too many open files")
    for client in inside:
        client.assert_answered()
    for client in outside:
        assert_waits(client)
    assert_little_work(daemon, outside)
    assert len(daemon.log("Too many open files")) == 1


@pytest.mark.heavy
def test_few_descriptors_from_the_start(start: Start) -> None:
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
def test_start_without_what_it_needs_is_71(open_directory: Path, limit: str) -> None:
    binary = open_directory / "h2echod"
    shutil.copy(BINARY, binary)
    prefix = ["env", "ASAN_OPTIONS=detect_leaks=0",  # the search for leaks would want a thread, too
              *as_user(PLAIN_USER), "prlimit", limit]
    done = run("--port=0", "-a", "127.0.0.1", prefix=prefix, binary=binary)
    assert done.status == 71
    assert len([line for line in done.errors if re.match(r"\S+Z error ", line)]) == 1, done.errors


@pytest.mark.heavy
def test_threads_that_cannot_be_had(start: Start, open_directory: Path) -> None:
    binary = open_directory / "h2echod"
    shutil.copy(BINARY, binary)
    user = as_user(PLAIN_USER)  # root's threads have no limit
    daemon = start(prefix=user, binary=binary)
    baseline = daemon.descriptors()
    inside = daemon.connect()
    inside.assert_answered()
    set_limit(daemon, "--nproc=1:", user)
    outside = [daemon.connect(handshake_later=True) for _ in range(3)]
    daemon.wait_for_log(r"(error|warning) .*thread.*Resource temporarily unavailable")
    for number in range(10):
        inside.assert_answered(f"/{number}")
    assert len(daemon.log("Resource temporarily unavailable")) == 1
    set_limit(daemon, "--nproc=1000:", user)
    for client in outside:
        client.close()
    daemon.connect().assert_answered()
    daemon.wait_for_stats(connections=2)
    assert poll(lambda: daemon.descriptors() == baseline + 2, "the descriptors of two connections")
