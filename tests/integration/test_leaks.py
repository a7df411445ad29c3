"""Nothing is left behind: threads and descriptors come back to where they were."""
from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, SettingsFrame

from conftest import Start
from daemon import Daemon
from waiting import poll
from wire import CANCEL, MAGIC, Client, fields

TRANSPORTS = ("plain", "tls")

ROUNDS = 1000
WORKERS_LINGER = 20  # seconds after which a worker without a connection must have ended, with room to spare


def wait_for_baseline(daemon: Daemon, threads: int, descriptors: int) -> None:
    daemon.wait_for_stats(connections=0)
    poll(lambda: daemon.descriptors() == descriptors, f"{descriptors} descriptors")
    poll(lambda: daemon.threads() <= threads, f"{threads} threads", WORKERS_LINGER)


def abort_somewhere(client: Client, number: int) -> None:
    """Send the beginning of a conversation, cut at a point that moves with the number; then a TCP reset."""
    words = b"".join([
        MAGIC, SettingsFrame(0).serialize(), client.headers(fields("/", "GET", ("x", "y" * 50))),
        client.headers(fields("/", "POST"), end=False), DataFrame(3, b"data").serialize(),
        RstStreamFrame(3, CANCEL).serialize()])
    client.send(words[:number * 7 % (len(words) + 1)])
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
def test_a_hundred_at_once_aborted_while_answers_are_on_their_way(start: Start) -> None:
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
def test_connections_one_after_the_other_share_a_worker(start: Start) -> None:
    """A worker whose connection is over takes the next one: there are not as many threads as connections."""
    daemon = start()
    for number in range(50):
        with daemon.connect() as client:
            client.assert_answered(f"/{number}")
        daemon.wait_for_stats(connections=0)
    assert daemon.threads() <= 5
