"""Fixtures: `echo`, a daemon with all that it serves, and `bench`, where clients run."""
from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Iterator

import pytest

from asking import Bench
from clients import SEARCH_PATH
from daemon import BINARY
from echo import Echo
from rows import TLS, Transport, served

TOOLS = ("bash", "chromium", "curl", "go", "h2load", "haproxy", "java", "keytool", "nghttp", "nginx", "node", "openssl")
MODULES = ("h2", "httpx")
waiting: dict[Transport, list[pytest.Item]] = {}


def pytest_sessionstart() -> None:
    """A client that is missing is an error, never a test that is left out."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=SEARCH_PATH)]
    missing += [f"Python's {module}" for module in MODULES if not importlib.util.find_spec(module)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check-clients")
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} is not there: make")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the daemon doesn't serve is not asked for; whatever it does serve is tested, without a word from here."""
    there = served()
    for item in list(items):
        mark = item.get_closest_marker("over")
        if mark and mark.args[0] not in there:
            waiting.setdefault(mark.args[0], []).append(item)
            items.remove(item)
    config.hook.pytest_deselected(items=[item for left in waiting.values() for item in left])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for transport, left in waiting.items():
        names = ", ".join(item.name for item in left)
        terminalreporter.write_line(f"WAITING for {transport.option}, which this daemon hasn't: {names}")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("bench"))
    if TLS in served():
        made.certify()
    return made


@pytest.fixture(scope="session")
def shared(bench: Bench) -> Iterator[Echo]:
    daemon = Echo(bench)
    yield daemon
    daemon.stop()


@pytest.fixture
def echo(shared: Echo) -> Iterator[Echo]:
    """The daemon, which must be alive after each test."""
    yield shared
    assert shared.alive(), shared.report()
