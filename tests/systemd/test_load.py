"""The service under load: stop, restart and reload lose no request, and the unit's limits allow 10,000 connections."""
from __future__ import annotations

import os
import re
import select

from light_client import LightClient, connect_light_clients, raise_descriptor_limit
from load import NewConnections, OneConnection, OnlyConnection, load, wait_for_more
from unit import ADDRESS, Unit, assert_answers, assert_ended_well
from waiting import poll

RESTARTS = 10
CONNECTIONS = 10000  # the default of max-connections
SPARE = 500          # descriptors for everything else
FULL = f"^max-connections: {CONNECTIONS} connections are open; new ones wait in the backlog until one of them ends$"


def test_restart_fails_no_request(socket: Unit, service: Unit) -> None:
    socket.control("start")
    pids = set()
    with load(*[NewConnections] * 4, *[OneConnection] * 2) as loads:
        for _ in range(RESTARTS):
            service.control("restart")
            service.control("reset-failed")  # or systemd's limit on starts would be reached
            pids.add(service.main_pid())
            wait_for_more(loads)
    assert len(pids) == RESTARTS
    assert not service.entries("--priority=warning")


def test_reload_fails_no_request(service: Unit) -> None:
    service.control("start")
    with load(*[NewConnections] * 2, *[OneConnection] * 2) as loads:
        for _ in range(3):
            service.control("reload")
            wait_for_more(loads)
    assert not service.entries("--priority=warning")


def test_stop_answers_open_requests(service: Unit) -> None:
    service.control("start")
    with load(*[OnlyConnection] * 6) as loads:
        service.control("stop")
        poll(lambda: not any(one.is_alive() for one in loads), "the end of every connection")
    assert_ended_well(service)


def has_bytes(client: LightClient) -> bool:
    poller = select.poll()
    poller.register(client.socket, select.POLLIN)
    return bool(poller.poll(0))


def test_ten_thousand_connections(service: Unit) -> None:
    """The unit's limits on descriptors and tasks allow them. One more waits until another is closed."""
    service.control("start")
    with raise_descriptor_limit(CONNECTIONS + SPARE):
        clients = connect_light_clients(ADDRESS, CONNECTIONS)
        service.wait_for_message(FULL)
        # systemd counts tasks only where there is a controller for them, so they are counted here.
        assert CONNECTIONS < len(os.listdir(service.process("task"))) <= int(service.show("TasksMax")["TasksMax"])
        late = LightClient(ADDRESS)
        late.send(CONNECTIONS)
        clients[0].ask(1)
        assert not has_bytes(late)
        clients.pop().socket.close()
        late.read()
        for client in [*clients, late]:
            client.socket.close()
    assert_answers("/afterwards")
    [warning] = service.entries("--priority=warning")  # no other limit was reached
    assert re.search(FULL, warning["MESSAGE"])
