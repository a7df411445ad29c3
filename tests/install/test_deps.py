"""`make deps`: which packages it installs, with or without sudo, and what it prints, above all when it fails."""
from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from fake_machine import FakeMachine, failure_lines
from package import environment

BUILD_PACKAGES = "gcc libc6-dev libjansson-dev libnghttp2-dev libssl-dev pkg-config"
INSTALL = "install -qq -y --no-install-recommends"
NOISE = "for line in 1 2 3 4 5 6 7 8 9; do echo out $1 $line; echo err $1 $line >&2; done\n"
RUN_ARGUMENTS = 'exec "$@"'


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """Debian with no package installed. Its apt-get prints much and does nothing. make runs as root."""
    machine = FakeMachine(tmp_path)
    machine.set_user(0)
    machine.add_script("apt-get", NOISE * 20)
    return machine


def read_log(machine: FakeMachine) -> str:
    return (machine.clone / "build/deps.log").read_text()


def test_prints_what_it_installs_and_nothing_else(machine: FakeMachine) -> None:
    done = machine.make("deps")
    assert done.returncode == 0
    assert done.stdout == f"installing 6 packages with apt-get (its output goes to build/deps.log): {BUILD_PACKAGES}\n"
    assert machine.calls("apt-get") == ["update -qq", f"{INSTALL} {BUILD_PACKAGES}"]
    assert read_log(machine).count("out update 9") == 20 and read_log(machine).count("err install 9") == 20


def test_does_nothing_if_everything_is_installed(machine: FakeMachine) -> None:
    machine.add_packages(*BUILD_PACKAGES.split())
    done = machine.make("deps")
    assert (done.returncode, done.stdout, machine.calls("apt-get")) == (0, "", [])
    assert not (machine.clone / "build").exists()


def test_installs_only_missing_packages(machine: FakeMachine) -> None:
    machine.add_packages("gcc", "libc6-dev", "pkg-config", "libssl-dev")
    assert machine.make("deps").returncode == 0
    assert machine.calls("apt-get")[-1] == f"{INSTALL} libjansson-dev libnghttp2-dev"
    machine.add_packages("libnghttp2-dev")
    assert machine.make("deps").stdout.startswith("installing 1 package with apt-get ")


@pytest.mark.parametrize("value, installed", [("0", False), ("no", False), ("1", True), ("yes", True), ("", True)])
def test_installs_openssl_unless_with_tls_is_0(machine: FakeMachine, value: str, installed: bool) -> None:
    assert machine.make("deps", f"WITH_TLS={value}").returncode == 0
    assert ("libssl-dev" in machine.calls("apt-get")[-1].split()) == installed


def test_installs_the_test_tools_for_check(machine: FakeMachine) -> None:
    machine.make("deps", "check")
    installed = machine.calls("apt-get")[-1].split()
    assert {"libcmocka-dev", "python3", "python3-pytest", "python3-pytest-xdist", "nghttp2-server", "gcc"} <= {*installed}
    assert len(installed) == len({*installed})


def test_build_directory_that_root_makes_belongs_to_the_owner_of_the_clone(machine: FakeMachine) -> None:
    machine.remove("chown")
    machine.add_script("chown", "")
    machine.make("deps")
    assert machine.calls("chown") == ["--reference=. build"]


# --- as an ordinary user ---

def test_without_sudo_it_prints_the_command_for_root(machine: FakeMachine) -> None:
    machine.set_user(1000)
    (line,) = failure_lines(machine.make("deps"))
    assert line.endswith(f"; as root: apt-get update && apt-get install {BUILD_PACKAGES}")
    assert "there is no sudo" in line
    assert machine.calls("apt-get") == []


def test_uses_sudo(machine: FakeMachine) -> None:
    machine.set_user(1000)
    machine.add_script("sudo", RUN_ARGUMENTS)
    assert machine.make("deps").returncode == 0
    assert machine.calls("sudo")[-2:] == ["env DEBIAN_FRONTEND=noninteractive apt-get update -qq",
                                          f"env DEBIAN_FRONTEND=noninteractive apt-get {INSTALL} {BUILD_PACKAGES}"]
    assert machine.calls("apt-get") == ["update -qq", f"{INSTALL} {BUILD_PACKAGES}"]


@pytest.mark.parametrize("words", ["sudo: a password is required", "user is not in the sudoers file."])
def test_prints_why_sudo_failed(machine: FakeMachine, words: str) -> None:
    machine.set_user(1000)
    machine.add_script("sudo", f"echo 'sudo: other words' >&2; echo '{words}' >&2; exit 1")
    (line,) = failure_lines(machine.make("deps"))
    assert f"sudo failed ({words}); as root: " in line and line.endswith(f"apt-get install {BUILD_PACKAGES}")
    assert machine.calls("apt-get") == []


def test_root_needs_no_sudo(machine: FakeMachine) -> None:
    machine.add_script("sudo", "exit 1")
    assert machine.make("deps").returncode == 0
    assert machine.calls("sudo") == []


# --- failures ---

def test_without_apt_get_it_names_the_packages(machine: FakeMachine) -> None:
    for user in (0, 1000):
        machine.set_user(user)
        if user == 0:
            machine.remove("apt-get")
        (line,) = failure_lines(machine.make("deps"))
        assert BUILD_PACKAGES in line and "package manager" in line


@pytest.mark.parametrize("verb, called", [("update", 1), ("install", 2)])
def test_if_apt_get_fails_the_end_of_its_output_is_printed(machine: FakeMachine, verb: str, called: int) -> None:
    machine.add_script("apt-get", NOISE * 20 + f"[ $1 != {verb} ] || {{ echo E: no such mirror >&2; exit 100; }}")
    *log, reason, last = failure_lines(machine.make("deps"))[1:]
    assert reason == "E: no such mirror"
    assert 0 < len(log) < 20
    assert last.startswith(f"apt-get {verb} failed") and "network" in last and "build/deps.log" in last
    assert last.endswith(f"as root: apt-get update && apt-get install {BUILD_PACKAGES}")
    assert len(machine.calls("apt-get")) == called
    assert "out update 1" in read_log(machine)


def test_after_a_failure_no_other_goal_is_made(machine: FakeMachine) -> None:
    machine.add_script("apt-get", "exit 100")
    done = machine.make("deps", "all", "-j2")
    assert done.returncode != 0 and "needs packages" not in done.stdout


def test_log_of_an_earlier_run_is_not_printed(machine: FakeMachine) -> None:
    machine.add_script("apt-get", "echo earlier; exit 100")
    machine.make("deps")
    machine.add_script("apt-get", "echo later; exit 100")
    assert "earlier" not in machine.make("deps").stdout


# --- at a terminal ---

def test_counts_the_seconds_at_a_terminal(machine: FakeMachine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    machine.add_script("apt-get", f'read -r word <"{tmp_path}/go"')
    fd, terminal = pty.openpty()
    with subprocess.Popen(["make", "deps"], cwd=machine.clone, stdin=terminal, stdout=terminal, stderr=terminal,
                          env=environment(**machine.variables())) as process:
        os.close(terminal)
        output = b""
        for verb in (b"update", b"install"):
            while b"apt-get " + verb + b": 1 s" not in output:
                output += os.read(fd, 4096)
            (tmp_path / "go").write_text("go\n")
        assert process.wait() == 0
    os.close(fd)
