"""The service's life cycle under systemd: start, status, probe, reload, restart after failures, stop."""
from __future__ import annotations

import os
import re
import socket as sockets
import time

from unit import ADDRESS, CONFIG, Unit, assert_answers, assert_ended_well, curl_get
from waiting import Stopwatch, poll
from wire import Client, fields

DYNAMIC_USERS = range(61184, 65520)  # systemd.exec(5), DynamicUser=


# --- start ---

def test_start(service: Unit) -> None:
    service.control("start")
    assert_answers("/hello")
    assert service.show("ActiveState", "SubState", "Result", "NRestarts") == \
        {"ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "0"}
    assert service.process("comm").read_text() == "h2echod\n"


def test_status_has_the_counts(service: Unit) -> None:
    service.drop_in("[Service]", "WatchdogSec=2s")
    service.control("start")
    assert 'Status: "serving: 0 connections, 0 accepted, 0 requests"' in \
        service.machine.systemctl("status", service.name)
    with Client(ADDRESS) as client:
        client.send_preface().assert_answered()
        service.wait_for_status("^serving: 1 connection, 1 accepted, 1 request$")


def test_process_has_a_dynamic_user_and_no_capabilities(service: Unit) -> None:
    service.control("start")
    assert service.show("User", "DynamicUser") == {"User": "h2echod", "DynamicUser": "yes"}
    words = dict(re.findall(r"^(\w+):\t(.*)$", service.process("status").read_text(), re.M))
    for name in ("Uid", "Gid"):
        [number] = set(words[name].split())
        assert int(number) in DYNAMIC_USERS
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(words[name], 16) == 0, name
    assert (words["NoNewPrivs"], words["Seccomp"]) == ("1", "2")


def test_limits_of_the_unit_suffice_for_the_default_settings(service: Unit) -> None:
    service.control("start")
    assert not service.entries("--priority=warning")


def test_journal_has_the_log_levels(service: Unit) -> None:
    service.control("start")
    service.configure("port = 1")
    service.signal("HUP")
    service.wait_for_message("reloaded")  # the daemon reads the file some time after the signal
    service.configure("nonsense")
    service.signal("HUP")
    service.wait_for_message("reload failed")
    levels = {"3": "^reload failed: ", "4": r"\bport\b", "5": "^h2echod .* is ready: ", "6": "^listening on "}
    for priority, pattern in levels.items():
        found = [entry for entry in service.entries() if re.search(pattern, entry["MESSAGE"])]
        assert found and {entry["PRIORITY"] for entry in found} == {priority}, pattern
    assert {entry["PRIORITY"] for entry in service.entries("--priority=warning")} == {"3", "4"}


# --- a probe in ExecStartPost= ---

def probe_after_start(service: Unit, *arguments: str) -> None:
    words = " ".join(("/usr/bin/h2echod", "--config", CONFIG, "--probe", *arguments))
    service.drop_in("[Service]", f"ExecStartPost={words}")


def assert_start_probes(service: Unit, url: str) -> None:
    service.control("start")
    assert service.show("ActiveState", "Result") == {"ActiveState": "active", "Result": "success"}
    assert any(text.startswith(f"{url}: 200, h2echod/") for text in service.messages()), service.messages()
    assert not service.entries("--priority=warning")


def test_probe(service: Unit) -> None:
    probe_after_start(service)
    assert_start_probes(service, "http://localhost:8080/")


def test_probe_of_a_host_name(service: Unit) -> None:
    """The unit's SystemCallFilter= and RestrictAddressFamilies= allow the name to be resolved."""
    service.machine.add_host_name("echo.test")
    probe_after_start(service, "http://echo.test:8080/")
    assert_start_probes(service, "http://echo.test:8080/")


def test_probe_of_a_unix_socket(service: Unit) -> None:
    service.configure("unix = /tmp/h2echod.sock")
    probe_after_start(service, "unix:/tmp/h2echod.sock")
    assert_start_probes(service, "unix:/tmp/h2echod.sock")


def test_probe_of_a_service_with_a_socket_unit(socket: Unit, service: Unit) -> None:
    socket.control("start")
    probe_after_start(service)
    assert_start_probes(service, "http://localhost:8080/")


def test_failing_probe_makes_the_start_fail(service: Unit) -> None:
    service.drop_in("[Service]", "Restart=no", "ExecStartPost=/usr/bin/h2echod --probe http://127.0.0.1:8081/")
    assert service.control("start", check=False) != 0
    service.wait(ActiveState="failed")
    [failure] = service.entries("--priority=err")
    assert failure["MESSAGE"] == "http://127.0.0.1:8081/: cannot connect: Connection refused"


# --- reload ---

def test_reload(service: Unit) -> None:
    service.control("start")
    pid = service.main_pid()
    assert "\n" not in curl_get()
    service.configure("pretty = on")
    service.control("reload")
    poll(lambda: curl_get().startswith("{\n"), "the new setting")
    service.wait_for_status("^serving: ")
    assert service.main_pid() == pid


def test_reload_of_a_bad_file_fails(service: Unit) -> None:
    service.control("start")
    service.configure("pretty = on", "pretty = perhaps")
    assert service.control("reload", check=False) != 0
    service.wait(ActiveState="active", SubState="running")
    assert "\n" not in curl_get()
    service.wait_for_message(f"^{CONFIG}:2: ")
    assert not [text for text in service.messages() if "reload failed" in text]  # the daemon got no SIGHUP


def test_bad_file_is_reported_in_the_status(service: Unit) -> None:
    service.control("start")
    service.configure("pretty = perhaps")
    service.signal("HUP")
    service.wait_for_status("reload failed")
    service.wait(ActiveState="active", SubState="running")
    assert "\n" not in curl_get()
    service.configure("pretty = on")
    service.control("reload")
    poll(lambda: curl_get().startswith("{\n"), "the new setting")
    poll(lambda: "failed" not in service.show("StatusText")["StatusText"], "a status without the failure")


# --- which failures systemd restarts it after ---

def assert_restarted(service: Unit, before: int) -> None:
    service.wait(NRestarts="1", ActiveState="active", SubState="running")
    assert service.main_pid() != before
    assert_answers("/again")


def test_watchdog_restarts_a_daemon_that_hangs(service: Unit) -> None:
    service.drop_in("[Service]", "WatchdogSec=1s")
    service.control("start")
    pid = service.main_pid()
    service.signal("STOP")
    assert_restarted(service, pid)
    assert [entry for entry in service.machine.journal() if "Watchdog timeout" in entry["MESSAGE"]]


def test_watchdog_is_notified(service: Unit) -> None:
    service.drop_in("[Service]", "WatchdogSec=2s")
    service.control("start")
    since = service.show("WatchdogTimestampMonotonic")
    poll(lambda: service.show("WatchdogTimestampMonotonic") != since, "the next watchdog notification")
    assert service.show("ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}


def test_restarted_after_a_crash(service: Unit) -> None:
    service.control("start")
    pid = service.main_pid()
    service.signal("KILL")
    assert_restarted(service, pid)


def test_started_again_if_the_port_was_in_use(service: Unit) -> None:
    with sockets.create_server(ADDRESS):
        assert service.control("start", check=False) != 0
        assert service.show("ExecMainStatus")["ExecMainStatus"] == str(os.EX_UNAVAILABLE)
    service.wait(ActiveState="active", SubState="running")
    assert_answers("/at-last")


def assert_fails_without_restart(service: Unit, status: int) -> None:
    assert service.control("start", check=False) != 0
    assert service.show("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts") == \
        {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": str(status),
         "NRestarts": "0"}


def test_not_restarted_with_a_bad_file(service: Unit) -> None:
    service.configure("pretty = perhaps")
    assert_fails_without_restart(service, os.EX_CONFIG)
    service.wait_for_message(f"^{CONFIG}:1: ")


def test_not_restarted_with_a_bad_option(service: Unit) -> None:
    service.drop_in("[Service]", "ExecStart=", "ExecStart=/usr/bin/h2echod --nonsense")
    assert_fails_without_restart(service, os.EX_USAGE)


# --- stop ---

def test_stop(service: Unit) -> None:
    service.control("start")
    service.control("stop")
    assert_ended_well(service)


def test_drain_may_take_longer_than_timeoutstopsec(service: Unit) -> None:
    """The daemon extends systemd's timeout by its own drain-timeout."""
    service.drop_in("[Service]", "TimeoutStopSec=1s")
    service.configure("drain-timeout = 10s")
    service.control("start")
    request = fields("/upload", "POST", ("content-length", "5"))
    with Client(ADDRESS) as client:
        stream = client.send_preface().send_request(request, end=False)
        client.ping()
        watch = Stopwatch()
        service.control("stop", "--no-block")
        service.wait_for_status("^draining: 1 connection, ")
        while watch.seconds() < 3:
            time.sleep(0.1)
        client.send_body(stream, b"hello")
        client.wait(stream).assert_echo(request)
        assert client.read_to_end() == "end"
    assert_ended_well(service)
