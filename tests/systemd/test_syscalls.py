"""The unit's filter of system calls: a whole life that is traced without it makes no call that it would refuse."""
from __future__ import annotations

import re
from typing import Iterator

import pytest

from load import LastConnection, load
from machine import Machine
from unit import ADDRESS, CONFIG, Unit, assert_answers, assert_ended_well
from waiting import poll
from wire import Client, fields, unverified_tls

UNIT_FILE = "/lib/systemd/system/h2echod.service"
TRACES = "/run/h2echod-traces"
EXPECTED = {"accept4", "bind", "chmod", "execve", "getsockopt", "kill", "listen", "madvise", "recvfrom", "sendto",
            "signalfd4", "unlink"}  # some of what a life is made of: the traces are of one
PROBED = ("", "http://echo.test:8080/")  # after each start


def traced(unit_file: str) -> Iterator[str]:
    """The unit's commands, each with strace in front, and without the filter, which would not let strace through."""
    yield from ("[Service]", "SystemCallFilter=", "RuntimeDirectory=h2echod-traces", "RuntimeDirectoryPreserve=yes")
    commands = re.findall(r"^(Exec\w+)=(.*)$", unit_file, re.M)
    commands += [("ExecStartPost", f"/usr/bin/h2echod --config {CONFIG} --probe {url}".rstrip()) for url in PROBED]
    yield from (f"{name}=" for name in dict(commands))
    yield from (f"{name}=/usr/bin/strace -D -ff -qq -o {TRACES}/trace {words}" for name, words in commands)


@pytest.fixture
def allowed(service: Unit) -> set[str]:
    """The calls that the unit as it is installed allows, as systemd has understood it."""
    return set(service.show("SystemCallFilter")["SystemCallFilter"].split())


@pytest.fixture
def traced_service(machine: Machine, service: Unit, allowed: set[str]) -> Unit:
    machine.name("echo.test")
    service.drop_in(*traced(machine.path(UNIT_FILE).read_text()))
    return service


def calls(machine: Machine) -> dict[str, str]:
    """Every system call that was made, with one line that shows it."""
    text = "".join(path.read_text() for path in machine.path(TRACES).iterdir())
    return {match[1]: match[0] for match in re.finditer(r"^(\w+)\(.*$", text, re.M)}


def test_no_call_is_outside_the_filter(machine: Machine, traced_service: Unit, socket: Unit,
                                       allowed: set[str]) -> None:
    live_alone(traced_service)
    live_behind(socket, traced_service)
    made = calls(machine)
    assert EXPECTED <= set(made)
    assert not {name: line for name, line in made.items() if name not in allowed}


def live_alone(service: Unit) -> None:
    """With sockets of its own, whatever clients and the administrator do."""
    service.configure("header-timeout = 200ms", "log-level = debug", "unix = /tmp/h2echod.sock", "address = 127.0.0.1",
                      "address = ::1", "max-connections-per-address = 100", "access-log = json", "tls-port = 8443",
                      "tls-self-signed = on")
    service.control("start")
    assert_answers("/four")
    assert_answers("/six", host="[::1]")
    talk_over_the_unix_socket(service)
    talk_over_tls()
    talk_wrongly(service)
    talk_much_and_rest(service)
    service.control("reload")
    service.wait_for_message("^reloaded")
    service.configure("nonsense")
    assert service.control("reload", check=False) != 0
    service.signal("HUP")
    service.wait_for_message("^reload failed")
    service.signal("USR1")
    service.wait_for_message("^stats: ")
    with load(LastConnection) as loads:
        service.control("stop")
        poll(lambda: not loads[0].is_alive(), "the connection's end")
    assert_ended_well(service)


def live_behind(socket: Unit, service: Unit) -> None:
    """With a socket that it is handed, and a watchdog."""
    service.configure()
    socket.control("start")
    assert_answers("/inherited")
    service.wait(ActiveState="active")  # so the probes are over
    service.control("stop")
    assert_ended_well(service)


def talk_over_the_unix_socket(service: Unit) -> None:
    with Client(service.process("root/tmp/h2echod.sock")) as client:
        client.send_preface().assert_answered("/unix")


def talk_over_tls() -> None:
    """With a session that is resumed, too."""
    context, session = unverified_tls("h2"), None
    for path in ("/tls", "/resumed"):
        with Client((ADDRESS[0], 8443), tls=context, session=session) as client:
            client.send_preface().assert_answered(path)
            session = client.socket.session


def talk_wrongly(service: Unit) -> None:
    """With other protocols, and not at all."""
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello, world\r\n"):
        with Client(ADDRESS) as client:
            client.send(words)
            client.socket.recv(1)
    with Client(ADDRESS):
        service.wait_for_message("header-timeout")


def talk_much_and_rest(service: Unit) -> None:
    """More than a connection's own memory has room for; then nothing, until it gives that back."""
    request = fields("/much", "POST", *[("x", "y" * 2000)] * 20)
    with Client(ADDRESS) as client:
        client.send_preface()
        streams = [client.send_request(request, end=False) for _ in range(50)]
        for stream in streams:
            client.send_body(stream, bytes(1000))
        for stream in streams:
            client.wait(stream).assert_echo(request)
        service.wait_for_message("idle: memory released")
