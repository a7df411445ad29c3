"""The fixtures of all integration tests: `daemon` is shared by a module's tests, `start` starts others."""
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import pytest

from certificates import Authority, Identity
from clients import SEARCH_PATH, TOOLS
from daemon import BINARY, Daemon, run
from rules import Rule
from wire import Client

Start = Callable[..., Daemon]


def pytest_sessionstart() -> None:
    """A missing tool is an error, so that no test is skipped unnoticed."""
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=SEARCH_PATH)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check")
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} does not exist: make")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module with TRANSPORTS = (...) has its tests run over each of them, except tests marked `plain`."""
    transports = getattr(metafunc.module, "TRANSPORTS", None)
    if transports and not metafunc.definition.get_closest_marker("plain") and "transport" in metafunc.fixturenames:
        metafunc.parametrize("transport", transports, indirect=True, scope="module")


@pytest.fixture(scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    """The transport to connect to the daemon by: a name in daemon.TRANSPORTS."""
    return getattr(request, "param", "plain")


@pytest.fixture
def start(transport: str) -> Iterator[Start]:
    """start(argument, ...): a daemon with these arguments, which is stopped after the test."""
    daemons: list[Daemon] = []

    def start_daemon(*arguments: object, **options: object) -> Daemon:
        options.setdefault("transport", transport)
        daemons.append(Daemon(*arguments, **options))
        return daemons[-1]
    yield start_daemon
    _stop_all(daemons)


def _stop_all(daemons: list[Daemon]) -> None:
    """Stop them all, even if some do not exit cleanly, then raise the first error."""
    errors = []
    for daemon in daemons:
        try:
            daemon.stop()
        except AssertionError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture(scope="module")
def shared(transport: str) -> Iterator[list[Daemon]]:
    """The module's current daemon (the last), preceded by those that died during a test."""
    daemons = [Daemon("--log-level=debug", transport=transport)]
    yield daemons
    daemons[-1].stop()


@pytest.fixture
def daemon(shared: list[Daemon]) -> Iterator[Daemon]:
    """A daemon with default settings and log level debug; it must still run after the test."""
    if not shared[-1].alive():
        shared.append(Daemon("--log-level=debug", transport=shared[-1].transport))
    yield shared[-1]
    shared[-1].close_clients()
    if not shared[-1].alive():
        shared[-1].wait()


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """A connection to `daemon` with the preface sent."""
    return daemon.connect()


@pytest.fixture(scope="module")
def other_client(shared: list[Daemon]) -> Iterator[Client]:
    """A connection that stays open during all tests of a module, and must always be answered."""
    client = shared[0].connect()
    shared[0].clients.remove(client)  # so that the end of a test does not close it
    with client:
        yield client


@pytest.fixture(params=[None, 1], ids=["whole", "by-byte"])
def try_rule(daemon: Daemon, other_client: Client, request: pytest.FixtureRequest) -> Callable[[Rule], None]:
    """try_rule(rule): run it on a new connection, and check that another connection still works."""
    def run_rule(rule: Rule) -> None:
        rule.run(daemon.open_connection(refill=False), request.param)
        other_client.assert_answered(f"/{rule}")
    return run_rule


@pytest.fixture(scope="session")
def version() -> str:
    """The daemon's version, as it prints it."""
    words = run("--version").out.split()
    assert words[0] == "h2echod"
    return words[1]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """An empty directory that every user may enter (only their owner may enter pytest's own)."""
    with tempfile.TemporaryDirectory(prefix="h2echod-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    """A certificate for localhost that `authority` signed."""
    return authority.issue("localhost")
