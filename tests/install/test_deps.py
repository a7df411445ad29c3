"""make deps: what it installs, as whom, and what it says, above all where it can't."""
from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from machine import Machine, own_words
from package import environment

TO_BUILD = "gcc libc6-dev libjansson-dev libnghttp2-dev libssl-dev pkg-config"
INSTALL = "install -qq -y --no-install-recommends"
NOISE = "for line in 1 2 3 4 5 6 7 8 9; do echo out $1 $line; echo err $1 $line >&2; done\n"
RUN_IT = 'exec "$@"'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Debian with no package installed; its apt-get does nothing, in many words. One is root on it."""
    machine = Machine(tmp_path)
    machine.be(0)
    machine.program("apt-get", NOISE * 20)
    return machine


def log_of(machine: Machine) -> str:
    return (machine.clone / "build/deps.log").read_text()


def test_says_what_it_installs_and_nothing_else(machine: Machine) -> None:
    done = machine.make("deps")
    assert done.returncode == 0
    assert done.stdout == f"installing 6 packages with apt-get (its output goes to build/deps.log): {TO_BUILD}\n"
    assert machine.calls("apt-get") == ["update -qq", f"{INSTALL} {TO_BUILD}"]
    assert log_of(machine).count("out update 9") == 20 and log_of(machine).count("err install 9") == 20


def test_does_nothing_where_all_is_installed(machine: Machine) -> None:
    machine.add_package(*TO_BUILD.split())
    done = machine.make("deps")
    assert (done.returncode, done.stdout, machine.calls("apt-get")) == (0, "", [])
    assert not (machine.clone / "build").exists()


def test_installs_what_is_missing(machine: Machine) -> None:
    machine.add_package("gcc", "libc6-dev", "pkg-config", "libssl-dev")
    assert machine.make("deps").returncode == 0
    assert machine.calls("apt-get")[-1] == f"{INSTALL} libjansson-dev libnghttp2-dev"
    machine.add_package("libnghttp2-dev")
    assert machine.make("deps").stdout.startswith("installing 1 package with apt-get ")


@pytest.mark.parametrize("value, there", [("0", False), ("no", False), ("1", True), ("yes", True), ("", True)])
def test_installs_openssl_unless_told_not_to(machine: Machine, value: str, there: bool) -> None:
    assert machine.make("deps", f"WITH_TLS={value}").returncode == 0
    assert ("libssl-dev" in machine.calls("apt-get")[-1].split()) == there


def test_installs_what_the_tests_need_beside_check(machine: Machine) -> None:
    machine.make("deps", "check")
    installed = machine.calls("apt-get")[-1].split()
    assert {"libcmocka-dev", "python3", "python3-pytest", "python3-pytest-xdist", "nghttp2-server", "gcc"} <= {*installed}
    assert len(installed) == len({*installed})


def test_run_as_root_it_leaves_a_build_directory_to_the_owner_of_the_clone(machine: Machine) -> None:
    machine.remove("chown")
    machine.program("chown", "")
    machine.make("deps")
    assert machine.calls("chown") == ["--reference=. build"]


# --- as an ordinary user ---

def test_without_sudo_it_says_what_to_install_and_how(machine: Machine) -> None:
    machine.be(1000)
    (line,) = own_words(machine.make("deps"))
    assert line.endswith(f"; as root: apt-get update && apt-get install {TO_BUILD}")
    assert "there is no sudo" in line
    assert machine.calls("apt-get") == []


def test_with_sudo_it_is_used(machine: Machine) -> None:
    machine.be(1000)
    machine.program("sudo", RUN_IT)
    assert machine.make("deps").returncode == 0
    assert machine.calls("sudo")[-2:] == ["env DEBIAN_FRONTEND=noninteractive apt-get update -qq",
                                          f"env DEBIAN_FRONTEND=noninteractive apt-get {INSTALL} {TO_BUILD}"]
    assert machine.calls("apt-get") == ["update -qq", f"{INSTALL} {TO_BUILD}"]


@pytest.mark.parametrize("words", ["sudo: a password is required", "somebody is not in the sudoers file."])
def test_with_a_sudo_that_refuses_it_says_so(machine: Machine, words: str) -> None:
    machine.be(1000)
    machine.program("sudo", f"echo 'sudo: other words' >&2; echo '{words}' >&2; exit 1")
    (line,) = own_words(machine.make("deps"))
    assert f"sudo refuses ({words}); as root: " in line and line.endswith(f"apt-get install {TO_BUILD}")
    assert machine.calls("apt-get") == []


def test_root_needs_no_sudo(machine: Machine) -> None:
    machine.program("sudo", "exit 1")
    assert machine.make("deps").returncode == 0
    assert machine.calls("sudo") == []


# --- where it fails ---

def test_without_apt_get_it_names_the_packages(machine: Machine) -> None:
    for user in (0, 1000):
        machine.be(user)
        if user == 0:
            machine.remove("apt-get")
        (line,) = own_words(machine.make("deps"))
        assert TO_BUILD in line and "package manager" in line


@pytest.mark.parametrize("verb, called", [("update", 1), ("install", 2)])
def test_the_end_of_what_apt_get_said_is_shown_if_it_fails(machine: Machine, verb: str, called: int) -> None:
    machine.program("apt-get", NOISE * 20 + f"[ $1 != {verb} ] || {{ echo E: no such mirror >&2; exit 100; }}")
    *log, reason, last = own_words(machine.make("deps"))[1:]
    assert reason == "E: no such mirror"
    assert 0 < len(log) < 20
    assert last.startswith(f"apt-get {verb} failed") and "network" in last and "build/deps.log" in last
    assert last.endswith(f"as root: apt-get update && apt-get install {TO_BUILD}")
    assert len(machine.calls("apt-get")) == called
    assert "out update 1" in log_of(machine)


def test_what_was_to_follow_does_not_after_a_failure(machine: Machine) -> None:
    machine.program("apt-get", "exit 100")
    done = machine.make("deps", "all", "-j2")
    assert done.returncode != 0 and "needs packages" not in done.stdout


def test_a_log_of_an_earlier_run_is_not_shown(machine: Machine) -> None:
    machine.program("apt-get", "echo earlier; exit 100")
    machine.make("deps")
    machine.program("apt-get", "echo later; exit 100")
    assert "earlier" not in machine.make("deps").stdout


# --- at a terminal ---

def test_counts_the_seconds_at_a_terminal(machine: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    machine.program("apt-get", f'read -r word <"{tmp_path}/go"')
    ours, theirs = pty.openpty()
    with subprocess.Popen(["make", "deps"], cwd=machine.clone, stdin=theirs, stdout=theirs, stderr=theirs,
                          env=environment(**machine.variables())) as process:
        os.close(theirs)
        seen = b""
        for verb in (b"update", b"install"):
            while b"apt-get " + verb + b": 1 s" not in seen:
                seen += os.read(ours, 4096)
            (tmp_path / "go").write_text("go\n")
        assert process.wait() == 0
    os.close(ours)
