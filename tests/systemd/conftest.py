"""Fixtures: `machine`, on which h2echod is installed as it is shipped, and its units."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from machine import TOOLS, TOP, Machine, why_not
from unit import CONFIG, Unit

LEFT_OUT = 77  # the exit status that tells run.py so


def pytest_sessionstart() -> None:
    """What is missing is an error; but who runs this by hand may lack the rights."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check")
    if (reason := why_not()) and os.environ.get("CI"):
        raise pytest.UsageError(f"a systemd cannot be booted here: {reason}")
    if reason:
        pytest.exit(f"LEFT OUT: a systemd cannot be booted here: {reason}", LEFT_OUT)


def install(root: Path) -> None:
    make = ["make", "--no-print-directory", "-C", TOP, "install", f"DESTDIR={root}", "prefix=/usr"]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def booted() -> Iterator[Machine]:
    """A machine for all tests, whose network is also ours."""
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
    """The machine as after the installation: nothing is started, changed or in the journal."""
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
