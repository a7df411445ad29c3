"""Fixtures for the tests of the installation: the source archive, a tree built from it, and installations of it."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from package import TOOLS, TOP, Installed, dist, extract, make


def pytest_sessionstart() -> None:
    """Fail if a tool is missing, rather than skip its tests."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise pytest.UsageError(f"not installed: {', '.join(missing)}: make deps check")


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` packs from this working tree."""
    return Path(shutil.copy(dist(TOP), tmp_path_factory.mktemp("archive")))


@pytest.fixture(scope="session")
def tree(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked and built. Tests share it and must not change it."""
    unpacked = extract(archive, tmp_path_factory.mktemp("tree"))
    make(unpacked)
    return unpacked


@pytest.fixture(scope="session", params=["/usr", "/usr/local", "/opt/h2echod-0"])
def installed(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An installation below each of these prefixes. Tests share it and must not change it."""
    return Installed(tree, tmp_path_factory.mktemp("installed"), request.param).install()


@pytest.fixture
def own(tree: Path, tmp_path: Path) -> Installed:
    """An installation for one test, which may change it. DESTDIR has a space."""
    (tmp_path / "a root").mkdir()
    return Installed(tree, tmp_path / "a root", "/usr").install()
