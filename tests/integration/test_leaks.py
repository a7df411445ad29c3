"""Leaks: after many connections, the daemon has as many threads and descriptors as before."""
from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame

from conftest import Start
from daemon import Daemon
from waiting import poll
from wire import CANCEL, MAGIC, Client, fields

TRANSPORTS = ("plain", "tls")

ROUNDS = 1000
WORKERS_LINGER = 20  # seconds within which an idle worker thread must have ended, with a margin


def wait_for_baseline(daemon: Daemon, threads: int, descriptors: int) -> None:
    daemon.wait_for_stats(connections=0)
    poll(lambda: daemon.descriptors() == descriptors, f"{descriptors} descriptors")
    poll(lambda: daemon.threads() <= threads, f"{threads} threads", WORKERS_LINGER)


def abort_somewhere(client: Client, number: int) -> None:
    """Send the beginning of a connection's data, cut off at a point that depends on the number; then a TCP reset."""
    data = b"".join([
        MAGIC, SettingsFrame(0).serialize(), client.headers(fields("/", "GET", ("x", "y" * 50))),
        client.headers(fields("/", "POST"), end=False), DataFrame(3, b"data").serialize(),
        RstStreamFrame(3, CANCEL).serialize()])
    client.send(data[:number * 7 % (len(data) + 1)])
    client.abort()


@pytest.mark.heavy
def test_a_thousand_connections_half_of_them_aborted(start: Start) -> None:
    daemon = start()
    threads, descriptors = daemon.threads(), daemon.descriptors()
    for number in range(ROUNDS):
        with daemon.open_connection() as client:
            if number % 2:
                abort_somewhere(client, number)
            else:
                client.send_preface().assert_answered()
        daemon.clients.clear()
    daemon.connect().assert_answered()
    daemon.close_clients()
    assert daemon.wait_for_stats(connections=0)["accepted"] == ROUNDS + 1
    wait_for_baseline(daemon, threads, descriptors)


@pytest.mark.heavy
def test_a_hundred_connections_aborted_while_answers_are_sent(start: Start) -> None:
    daemon = start()
    threads, descriptors = daemon.threads(), daemon.descriptors()
    clients = [daemon.connect(receive_buffer=4096) for _ in range(100)]
    for client in clients:
        client.send(*(client.headers(fields("/", "GET", ("x", "y" * 10000))) for _ in range(50)))
    assert daemon.threads() > threads
    for client in clients:
        client.abort()
    wait_for_baseline(daemon, threads, descriptors)
    daemon.connect().assert_answered()


@pytest.mark.heavy
def test_successive_connections_share_a_worker(start: Start) -> None:
    """A worker thread takes the next connection when its own is closed, so few threads are created."""
    daemon = start()
    for number in range(50):
        with daemon.connect() as client:
            client.assert_answered(f"/{number}")
        daemon.wait_for_stats(connections=0)
    assert daemon.threads() <= 5
