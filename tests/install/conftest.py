"""Fixtures: the archive, a tree that was built from it, and installations of that."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from package import TOOLS, TOP, Installed, dist, extract, make


def pytest_sessionstart() -> None:
    """A tool that is missing is an error, never a test that is left out."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make dist` of the sources at hand."""
    return Path(shutil.copy(dist(TOP), tmp_path_factory.mktemp("archive")))


@pytest.fixture(scope="session")
def tree(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked and built: no test changes it."""
    unpacked = extract(archive, tmp_path_factory.mktemp("tree"))
    make(unpacked)
    return unpacked


@pytest.fixture(scope="session", params=["/usr", "/usr/local", "/opt/h2echod-0"])
def installed(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installed below each of these prefixes: no test changes it."""
    return Installed(tree, tmp_path_factory.mktemp("installed"), request.param).install()


@pytest.fixture
def own(tree: Path, tmp_path: Path) -> Installed:
    """Installed for one test; there is a space in DESTDIR."""
    (tmp_path / "a root").mkdir()
    return Installed(tree, tmp_path / "a root", "/usr").install()
