"""The units as systemd reads them: it ignores nothing in them, and rates the services as little exposed."""
from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from package import Installed, run_command

UNITS = ("h2echod.service", "h2echod@one.service", "h2echod.socket", "h2echod-tls.socket")


@pytest.fixture(scope="module")
def system(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The installation with /bin/kill, which the unit runs: systemd 254 and later look for it below the root."""
    root = tmp_path_factory.mktemp("system") / "root"
    shutil.copytree(installed.root, root)
    return add_kill(replace(installed, root=root))


@pytest.fixture
def own(own: Installed) -> Installed:
    """An installation with /bin/kill for one test."""
    return add_kill(own)


def add_kill(installed: Installed) -> Installed:
    kill = installed.below("/bin/kill")
    kill.parent.mkdir(exist_ok=True)
    shutil.copy("/bin/kill", kill)
    return installed


def analyze(installed: Installed, *words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze with the installation's root as /."""
    verb, *rest = words
    return run_command(["systemd-analyze", verb, f"--root={installed.root}", *rest], check=False,
                       SYSTEMD_UNIT_PATH=f"/etc/systemd/system:{installed.units}")


def verify(installed: Installed, unit: str) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze verify`. Without --recursive-errors it would only warn of values that it ignores.
    Without --man it would look for man pages outside of the root."""
    return analyze(installed, "verify", "--recursive-errors=no", "--man=no", unit)


def add_drop_in(installed: Installed, unit: str, text: str) -> None:
    directory = installed.below(f"/etc/systemd/system/{unit}.d")
    directory.mkdir(parents=True)
    (directory / "test.conf").write_text(text)


@pytest.fixture
def socket_only(own: Installed) -> Installed:
    """An installation with the example drop-in socket-only.conf in use."""
    add_drop_in(own, "h2echod.service", own.text("/usr/share/doc/h2echod/socket-only.conf"))
    return own


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(system: Installed, unit: str) -> None:
    done = verify(system, unit)
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_finds_nothing_wrong_with_the_drop_in(socket_only: Installed) -> None:
    done = verify(socket_only, "h2echod.service")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("line", ["TimeoutStopSec=soon", "SystemCallFilter=@no-such-set", "Nonsense=yes"])
def test_verify_reports_a_wrong_line(own: Installed, line: str) -> None:
    add_drop_in(own, "h2echod.service", f"[Service]\n{line}\n")
    done = verify(own, "h2echod.service")
    assert done.returncode != 0
    assert "test.conf:2: " in done.stdout


def test_verify_reports_a_missing_program(own: Installed) -> None:
    own.below(own.binary).unlink()
    done = verify(own, "h2echod.service")
    assert done.returncode != 0
    assert own.binary in done.stdout


def exposure(installed: Installed, unit: str, threshold: int) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze security`. It fails if the exposure, 0.0 to 10.0, is above a tenth of the threshold."""
    return analyze(installed, "security", "--offline=yes", "--no-pager", f"--threshold={threshold}", unit)


@pytest.mark.parametrize("unit", ["h2echod.service", "h2echod@one.service"])
def test_exposure_of_the_services(installed: Installed, unit: str) -> None:
    done = exposure(installed, unit, 11)
    assert done.returncode == 0, done.stdout


def test_exposure_with_the_drop_in(socket_only: Installed) -> None:
    done = exposure(socket_only, "h2echod.service", 2)
    assert done.returncode == 0, done.stdout


def test_higher_exposure_is_reported(own: Installed) -> None:
    add_drop_in(own, "h2echod.service", "[Service]\nPrivateDevices=no\n")
    assert exposure(own, "h2echod.service", 11).returncode != 0
