"""Fixtures for the tests under a real systemd: `machine`, with h2echod installed, and h2echod's units on it."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from machine import TOOLS, TOP, Machine, why_it_cannot_boot
from unit import CONFIG, Unit

LEFT_OUT = 77  # the exit status by which tests/run.py knows that the suite cannot run here


def pytest_sessionstart() -> None:
    """Fail if a tool is missing. Leave the suite out if no systemd can be booted here; in CI, fail then too."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check")
    if (reason := why_it_cannot_boot()) and os.environ.get("CI"):
        raise pytest.UsageError(f"a systemd cannot be booted here: {reason}")
    if reason:
        pytest.exit(f"LEFT OUT: a systemd cannot be booted here: {reason}", LEFT_OUT)


def install(root: Path) -> None:
    make = ["make", "--no-print-directory", "-C", TOP, "install", f"DESTDIR={root}", "prefix=/usr"]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def booted() -> Iterator[Machine]:
    """One booted systemd for all tests. The tests run in its network namespace."""
    machine = Machine()
    try:
        install(machine.path("/"))
        machine.systemctl("daemon-reload")
        machine.join_network()
        yield machine
    finally:
        machine.close()


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine as after the installation: no unit runs, no file is changed, the journal is empty."""
    booted.empty_journal()
    yield booted
    booted.run("systemctl", "kill", "--signal=KILL", "h2echod*.service", check=False)
    booted.systemctl("stop", "h2echod*")
    for changed in booted.path("/etc/systemd/system").iterdir():
        shutil.rmtree(changed)
    shutil.copy(TOP / "conf/h2echod.conf", booted.path(CONFIG))
    booted.systemctl("daemon-reload")
    booted.systemctl("reset-failed")


@pytest.fixture
def service(machine: Machine) -> Unit:
    return Unit(machine, "h2echod.service")


@pytest.fixture
def socket(machine: Machine) -> Unit:
    return Unit(machine, "h2echod.socket")


@pytest.fixture
def instances(machine: Machine) -> list[Unit]:
    return [Unit(machine, f"h2echod@{name}.service") for name in ("one", "two")]
