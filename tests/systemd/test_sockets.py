"""The socket unit h2echod.socket, and the instances h2echod@NAME that share a port."""
from __future__ import annotations

import os
import re
import shutil

import pytest

from machine import Machine
from unit import ADDRESS, CONFIG, Unit, assert_answers, curl_get
from waiting import poll
from wire import Client

START_LIMIT = 5  # systemd's default: starts within ten seconds


# --- h2echod.socket ---

@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_first_connection_starts_the_service(socket: Unit, service: Unit, host: str) -> None:
    socket.control("start")
    assert service.show("ActiveState") == {"ActiveState": "inactive"}
    assert_answers("/first", host=host)
    assert service.show("ActiveState") == {"ActiveState": "active"}
    service.wait_for_message(r"^listening on \[::\]:8080\b")


def test_port_below_1024(socket: Unit, service: Unit) -> None:
    """As h2echod(8) describes it, from a running service."""
    socket.control("start")
    service.control("start")
    assert_answers("/high")
    socket.drop_in("[Socket]", "ListenStream=", "ListenStream=80")
    service.control("stop")
    socket.control("restart")
    assert_answers("/low", port=80)
    assert not service.entries("--priority=warning")


def test_socket_stays_when_the_service_stops(socket: Unit, service: Unit) -> None:
    socket.control("start")
    for path in ("/one", "/two"):
        assert_answers(path)
        service.control("stop")
        assert socket.show("ActiveState", "Result") == {"ActiveState": "active", "Result": "success"}


def test_bad_file_does_not_start_the_service_for_ever(socket: Unit, service: Unit) -> None:
    """The waiting connection starts the service again and again, until systemd's limit on starts is reached."""
    service.configure("pretty = perhaps")
    socket.control("start")
    with Client(ADDRESS):
        socket.wait(ActiveState="failed", Result="service-start-limit-hit")
    assert len([text for text in service.messages() if text.startswith(f"{CONFIG}:1: ")]) <= START_LIMIT
    service.configure()
    service.machine.systemctl("reset-failed")
    socket.control("start")
    assert_answers("/repaired")


def test_socket_only(machine: Machine, socket: Unit, service: Unit) -> None:
    directory = machine.path(f"/etc/systemd/system/{service.name}.d")
    directory.mkdir()
    shutil.copy(machine.path("/usr/share/doc/h2echod/socket-only.conf"), directory)
    machine.systemctl("daemon-reload")
    service.control("start")  # which starts the socket
    assert_answers("/alone")
    assert service.show("PrivateNetwork", "RestrictAddressFamilies") == \
        {"PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX"}
    assert os.readlink(service.process("ns/net")) != os.readlink(f"/proc/{machine.pid}/ns/net")
    assert not service.entries("--priority=warning")
    service.configure("pretty = on")
    service.control("reload")
    poll(lambda: curl_get().startswith("{\n"), "the new setting")


# --- h2echod@ ---

def accepted(instance: Unit) -> int:
    """How many connections an instance has accepted, from its answer to SIGUSR1."""
    before = len(instance.messages())
    instance.signal("USR1")
    stats = r"^stats: .*\baccepted=(\d+)"

    def find() -> re.Match[str] | None:
        return next((match for text in instance.messages()[before:] if (match := re.search(stats, text))), None)
    return int(poll(find, "the statistics")[1])


def assert_all_answered(count: int = 100) -> None:
    for _ in range(count):
        with Client(ADDRESS) as client:
            client.send_preface().assert_answered()


def test_instances_share_a_port(instances: list[Unit]) -> None:
    for instance in instances:
        instance.control("start")
    assert_all_answered()
    one, two = (accepted(instance) for instance in instances)
    assert one > 0 and two > 0 and one + two == 100
    assert len({instance.process("status").read_text().split("Uid:")[1].split()[0] for instance in instances}) == 1


def test_other_instance_takes_over(instances: list[Unit]) -> None:
    for instance in instances:
        instance.control("start")
    assert_all_answered()
    instances[0].control("stop")
    assert_all_answered()
    assert accepted(instances[1]) >= 100
