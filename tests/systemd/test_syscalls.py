"""The unit's SystemCallFilter=: strace without the filter shows no system call that the filter would refuse."""
from __future__ import annotations

import re
from typing import Iterator

import pytest

from load import OnlyConnection, load
from machine import Machine
from unit import ADDRESS, CONFIG, Unit, assert_answers, assert_ended_well
from waiting import poll
from wire import Client, fields, unverified_tls

UNIT_FILE = "/lib/systemd/system/h2echod.service"
TRACES = "/run/h2echod-traces"
EXPECTED = {"accept4", "bind", "chmod", "execve", "getsockopt", "kill", "listen", "madvise", "recvfrom", "sendto",
            "signalfd4", "unlink"}  # calls that must be in the traces, or these do not cover what they should
PROBED_URLS = ("", "http://echo.test:8080/")  # after each start


def drop_in_lines(unit_file: str) -> Iterator[str]:
    """A drop-in that runs the unit's commands under strace, and without the filter, which would not allow strace."""
    yield from ("[Service]", "SystemCallFilter=", "RuntimeDirectory=h2echod-traces", "RuntimeDirectoryPreserve=yes")
    commands = re.findall(r"^(Exec\w+)=(.*)$", unit_file, re.M)
    commands += [("ExecStartPost", f"/usr/bin/h2echod --config {CONFIG} --probe {url}".rstrip()) for url in PROBED_URLS]
    yield from (f"{name}=" for name in dict(commands))
    yield from (f"{name}=/usr/bin/strace -D -ff -qq -o {TRACES}/trace {words}" for name, words in commands)


@pytest.fixture
def allowed(service: Unit) -> set[str]:
    """The calls that the installed unit allows, as systemd shows them."""
    return set(service.show("SystemCallFilter")["SystemCallFilter"].split())


@pytest.fixture
def traced_service(machine: Machine, service: Unit, allowed: set[str]) -> Unit:
    machine.add_host_name("echo.test")
    service.drop_in(*drop_in_lines(machine.path(UNIT_FILE).read_text()))
    return service


def traced_calls(machine: Machine) -> dict[str, str]:
    """Every system call in the traces, with one line that shows it."""
    text = "".join(path.read_text() for path in machine.path(TRACES).iterdir())
    return {match[1]: match[0] for match in re.finditer(r"^(\w+)\(.*$", text, re.M)}


def test_no_call_is_outside_the_filter(machine: Machine, traced_service: Unit, socket: Unit,
                                       allowed: set[str]) -> None:
    use_without_a_socket_unit(traced_service)
    use_with_a_socket_unit(socket, traced_service)
    calls = traced_calls(machine)
    assert EXPECTED <= set(calls)
    assert not {name: line for name, line in calls.items() if name not in allowed}


def use_without_a_socket_unit(service: Unit) -> None:
    """Start, all kinds of clients, reload, statistics and stop, with sockets that the daemon opens."""
    service.configure("header-timeout = 200ms", "log-level = debug", "unix = /tmp/h2echod.sock", "address = 127.0.0.1",
                      "address = ::1", "max-connections-per-address = 100", "access-log = json", "tls-port = 8443",
                      "tls-self-signed = on")
    service.control("start")
    assert_answers("/four")
    assert_answers("/six", host="[::1]")
    use_the_unix_socket(service)
    use_tls()
    use_other_protocols(service)
    use_much_memory_then_idle(service)
    service.control("reload")
    service.wait_for_message("^reloaded")
    service.configure("nonsense")
    assert service.control("reload", check=False) != 0
    service.signal("HUP")
    service.wait_for_message("^reload failed")
    service.signal("USR1")
    service.wait_for_message("^stats: ")
    with load(OnlyConnection) as loads:
        service.control("stop")
        poll(lambda: not loads[0].is_alive(), "the connection's end")
    assert_ended_well(service)


def use_with_a_socket_unit(socket: Unit, service: Unit) -> None:
    """Start and stop with a socket from systemd, and a watchdog."""
    service.configure()
    socket.control("start")
    assert_answers("/inherited")
    service.wait(ActiveState="active")  # the probes have ended
    service.control("stop")
    assert_ended_well(service)


def use_the_unix_socket(service: Unit) -> None:
    with Client(service.process("root/tmp/h2echod.sock")) as client:
        client.send_preface().assert_answered("/unix")


def use_tls() -> None:
    """With a new session and with a resumed one."""
    context, session = unverified_tls("h2"), None
    for path in ("/tls", "/resumed"):
        with Client((ADDRESS[0], 8443), tls=context, session=session) as client:
            client.send_preface().assert_answered(path)
            session = client.socket.session


def use_other_protocols(service: Unit) -> None:
    """Send HTTP/1.1, TLS without a handshake, text, and nothing at all."""
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello, world\r\n"):
        with Client(ADDRESS) as client:
            client.send(data)
            client.socket.recv(1)
    with Client(ADDRESS):
        service.wait_for_message("header-timeout")


def use_much_memory_then_idle(service: Unit) -> None:
    """Send more than fits into a connection's arenas, then nothing until the daemon releases memory."""
    request = fields("/much", "POST", *[("x", "y" * 2000)] * 20)
    with Client(ADDRESS) as client:
        client.send_preface()
        streams = [client.send_request(request, end=False) for _ in range(50)]
        for stream in streams:
            client.send_body(stream, bytes(1000))
        for stream in streams:
            client.wait(stream).assert_echo(request)
        service.wait_for_message("idle: memory released")
