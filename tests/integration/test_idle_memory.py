"""Idle connections release memory to the system, and keep working."""
from __future__ import annotations

import re
from statistics import median

import pytest

import needs
from conftest import Start
from daemon import Daemon
from wire import Client, fields

TRANSPORTS = ("plain", "tls")

LARGE = fields("/", "GET", *[("x", "y" * 3000)] * 10)  # its answer fills the output buffer
RELEASED = 16  # KiB that each connection releases at least: the output buffer
REGIONS = (544, 288, 2336)  # KiB of a thread's stack and buffers: in a release build, with ASan, with TSan


def resident_in_regions(daemon: Daemon) -> int:
    """Resident memory of the threads' stacks and buffers, in KiB."""
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


def test_memory_is_released_and_used_again(start: Start) -> None:
    daemon = start("--log-level=debug")
    clients, totals = [], [resident_in_regions(daemon)]
    for _ in range(50):
        clients.append(used_client(daemon))
        totals.append(resident_in_regions(daemon))
    # On a slow machine the first connections are idle before the last ones are used.
    used = median(after - before for before, after in zip(totals, totals[1:]))
    for number in range(1, 51):
        daemon.wait_for_log(rf"debug connection {number} from \S+: idle: memory released")
    assert resident_in_regions(daemon) - totals[0] <= len(clients) * (used - RELEASED)
    for number, client in enumerate(clients):
        client.assert_answered(f"/{number}")


@pytest.mark.heavy
def test_release_with_any_alignment_of_the_stack(start: Start) -> None:
    """The memory released ends below the stack frames in use, wherever in a page they are.

    The C library's space for thread-local storage shifts the frames, here by 64 bytes from daemon to daemon."""
    idle = []
    for shift in range(64):
        space = f"GLIBC_TUNABLES=glibc.rtld.optional_static_tls={512 + 64 * shift}"
        daemon = start("--log-level=debug", prefix=["env", space])
        idle.append((daemon, used_client(daemon)))
    for daemon, client in idle:
        daemon.wait_for_log("idle: memory released")
        client.assert_answered("/after")
