"""Fixtures for the tests of other projects' clients: `echo`, the daemon, and `workspace`, where clients run."""
from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Iterator

import pytest

from clients import SEARCH_PATH
from daemon import BINARY
from echo import Echo
from rows import TLS, Transport, served
from senders import Workspace

TOOLS = ("bash", "chromium", "curl", "go", "h2load", "haproxy", "java", "keytool", "nghttp", "nginx", "node", "openssl")
MODULES = ("h2", "httpx")
left_out: dict[Transport, list[pytest.Item]] = {}


def pytest_sessionstart() -> None:
    """Fail if a client is missing, rather than skip its tests."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=SEARCH_PATH)]
    missing += [f"Python's {module}" for module in MODULES if not importlib.util.find_spec(module)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check-clients")
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} is not built: run make")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests over a transport that this daemon was built without."""
    supported = served()
    for item in list(items):
        mark = item.get_closest_marker("over")
        if mark and mark.args[0] not in supported:
            left_out.setdefault(mark.args[0], []).append(item)
            items.remove(item)
    config.hook.pytest_deselected(items=[item for deselected in left_out.values() for item in deselected])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for transport, deselected in left_out.items():
        names = ", ".join(item.name for item in deselected)
        terminalreporter.write_line(f"LEFT OUT, since this daemon has no {transport.option}: {names}")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("clients"))
    if TLS in served():
        workspace.certify()
    return workspace


@pytest.fixture(scope="session")
def shared(workspace: Workspace) -> Iterator[Echo]:
    daemon = Echo(workspace)
    yield daemon
    daemon.stop()


@pytest.fixture
def echo(shared: Echo) -> Iterator[Echo]:
    """The daemon, which must still run after each test."""
    yield shared
    assert shared.alive(), shared.report()
