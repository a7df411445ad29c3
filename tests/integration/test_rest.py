"""A connection that has nothing to do gives memory back to the system, and works on as before."""
from __future__ import annotations

import re

import pytest

import needs
from conftest import Start
from daemon import Daemon
from wire import Client, fields

TRANSPORTS = ("plain", "tls")

LARGE = fields("/", "GET", *[("x", "y" * 3000)] * 10)  # its answer fills the buffer it goes through
GIVEN_BACK = 16  # KiB of a connection at least: that buffer
REGIONS = (544, 288, 2336)  # KiB of a thread, its stack and buffers: release, with ASan, with TSan


def resident_in_regions(daemon: Daemon) -> int:
    """KiB that are resident of what the threads have for stacks and buffers."""
    total = size = 0
    with needs.proc(f"{daemon.pid}/smaps").open(encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            if match := re.match(r"(Size|Rss): +(\d+) kB", line):
                size = int(match[2]) if match[1] == "Size" else size
                total += int(match[2]) if match[1] == "Rss" and size in REGIONS else 0
    return total


def used_client(daemon: Daemon) -> Client:
    client = daemon.connect()
    client.request(LARGE).assert_echo(LARGE)
    return client


def test_memory_is_given_back_and_had_again(start: Start) -> None:
    daemon = start("--log-level=debug")
    clients = [used_client(daemon) for _ in range(50)]
    before = resident_in_regions(daemon)
    for number in range(1, 51):
        daemon.wait_for_log(rf"debug connection {number} from \S+: idle: memory released")
    assert resident_in_regions(daemon) <= before - len(clients) * GIVEN_BACK
    for number, client in enumerate(clients):
        client.assert_answered(f"/{number}")


@pytest.mark.heavy
def test_rest_wherever_the_stack_lies_in_its_page(start: Start) -> None:
    """What is given back ends below the frames in use, wherever in a page these are.

    The C library's room for thread-local storage moves them, here by 64 bytes from daemon to daemon."""
    resting = []
    for shift in range(64):
        room = f"GLIBC_TUNABLES=glibc.rtld.optional_static_tls={512 + 64 * shift}"
        daemon = start("--log-level=debug", prefix=["env", room])
        resting.append((daemon, used_client(daemon)))
    for daemon, client in resting:
        daemon.wait_for_log("idle: memory released")
        client.assert_answered("/after")
