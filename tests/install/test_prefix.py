"""`make install` with unusual prefixes: special characters, home directories, /tmp; and the command it suggests."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from package import Installed, make, run_command

NAMES = ("a b", "a  b", " a ", "o'brien", 'a "b"', "R&D", "a|b", "a;b", "50%n", "a,b", "back\\slash", "(a) {b}", "[a]*?")
REFUSED_BY_SYSTEMD = {*"\"'\\*?["}  # in the path of a program
ENABLE = "systemctl daemon-reload && systemctl enable --now h2echod.socket h2echod.service"


def verify_service(root: Path, prefix: str) -> tuple[int, str]:
    """The exit status and output of `systemd-analyze verify`, with `root` as /. It looks for /bin/kill there."""
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy("/bin/kill", root / "bin/kill")
    (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    shutil.copy(root / prefix.lstrip("/") / "lib/systemd/system/h2echod.service", root / "etc/systemd/system")
    done = run_command(["systemd-analyze", "verify", f"--root={root}", "--recursive-errors=no", "--man=no",
                        "h2echod.service"], check=False, SYSTEMD_UNIT_PATH="/etc/systemd/system")
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_installs_to_any_prefix_and_uninstalls_completely(tree: Path, tmp_path: Path, name: str) -> None:
    plain = Installed(tree, tmp_path / "plain", "/opt/plain").install()
    odd = Installed(tree, tmp_path / name / "root", f"/opt/{name}/h2echod").install()
    expected = {path.replace("/opt/plain", f"/opt/{name}/h2echod"): mode for path, mode in plain.paths().items()}
    assert odd.paths() == expected
    page = odd.text(f"{odd.prefix}/share/man/man8/h2echod.8").replace("\\e", "\\")
    assert odd.config in page
    odd.uninstall()
    assert odd.paths() == {}


@pytest.mark.parametrize("name", [name for name in NAMES if not REFUSED_BY_SYSTEMD & {*name}])
def test_systemd_accepts_the_unit(tree: Path, tmp_path: Path, name: str) -> None:
    odd = Installed(tree, tmp_path / "root", f"/opt/{name}").install()
    assert verify_service(odd.root, odd.prefix) == (0, "")
    odd.below(odd.binary).unlink()
    status, output = verify_service(odd.root, odd.prefix)
    assert status != 0 and odd.binary in output


@pytest.mark.parametrize("prefix", ["/opt/x/", "/opt/x y/"])
def test_slash_at_the_end_is_dropped(tree: Path, tmp_path: Path, prefix: str) -> None:
    slashed = Installed(tree, tmp_path / "root", prefix).install()
    unit = slashed.text(f"{prefix}lib/systemd/system/h2echod.service")
    assert "//" not in unit


@pytest.mark.parametrize("goal", ["install", "uninstall"])
@pytest.mark.parametrize("word", ["prefix=~/x", "prefix=x y", "bindir=bin", "docdir=."])
def test_relative_directory_is_refused(tree: Path, tmp_path: Path, goal: str, word: str) -> None:
    done = run_command(["make", "--no-print-directory", goal, f"DESTDIR={tmp_path}", word], tree, check=False)
    name, _, value = word.partition("=")
    (line,) = done.stdout.splitlines()
    assert done.returncode != 0 and f"{name} is '{value}': it has to begin with /" in line
    assert list(tmp_path.iterdir()) == []


# --- the last line of install and uninstall ---

def next_lines(tree: Path, *words: str, home: str = "/home/user") -> tuple[str, str]:
    """The lines "next: ..." that install and uninstall would print; nothing is installed."""
    texts = (run_command(["make", "-n", goal, *words], tree, HOME=home).stdout for goal in ("install", "uninstall"))
    install, uninstall = ("".join(re.findall(r"'(next: .*)'$", text, re.MULTILINE)) for text in texts)
    return install, uninstall


def test_next_line_can_be_typed(tree: Path, tmp_path: Path) -> None:
    """bash runs it with a systemctl that prints its arguments."""
    odd = Installed(tree, tmp_path, "/opt/(R&D)").install()
    last = run_command(["make", "-n", "install", f"prefix={odd.prefix}"], tree).stdout.splitlines()[-1]
    command, _, rest = run_command(["sh", "-c", last]).stdout.removeprefix("next: ").partition(" && ")
    assert command.startswith("systemctl link '") and rest == f"{ENABLE}\n"
    words = run_command(["bash", "-c", f"systemctl() {{ printf '%s\\n' \"$@\"; }}\n{command}"]).stdout.splitlines()
    assert words == ["link", *(f"{odd.units}/{name}" for name in ("h2echod.service", "h2echod@.service",
                                                                   "h2echod.socket", "h2echod-tls.socket"))]
    assert all(odd.below(word).is_file() for word in words[1:])


# --- homes and directories for temporary files: ProtectHome=yes and PrivateTmp=yes hide them from the service ---

@pytest.mark.parametrize("prefix, home", [
    ("/home/user/.local", "/home/user"), ("/home/other/x y", "/root"), ("/root/h2echod", "/root"),
    ("/run/user/1000/h2echod", "/"), ("/data/people/me/.local", "/data/people/me"), ("/data/me/x", "/data/me/"),
    ("/data/p q/x", "/data/p q")])
def test_no_service_is_suggested_below_a_home_directory(tree: Path, prefix: str, home: str) -> None:
    install, uninstall = next_lines(tree, f"prefix={prefix}", home=home)
    assert f"{prefix}/bin/h2echod" in install and " -p 8080 (it cannot be a service there" in install
    assert "systemctl" not in install and "/usr/local" in install and "home" in install
    assert uninstall == ""


@pytest.mark.parametrize("words", [["bindir=/home/x/bin"], ["prefix=/opt/x", "sysconfdir=/root/etc"]])
def test_no_service_is_suggested_if_one_of_its_files_is_below_home(tree: Path, words: list[str]) -> None:
    assert "systemctl" not in next_lines(tree, *words)[0]


@pytest.mark.parametrize("words", [["prefix=/tmp/h2echod"], ["prefix=/tmp"], ["prefix=/var/tmp/x y"],
                                   ["prefix=/opt/x", "bindir=/tmp"], ["prefix=/opt/x", "sysconfdir=/var/tmp/etc"]])
def test_no_service_is_suggested_below_tmp(tree: Path, words: list[str]) -> None:
    install, uninstall = next_lines(tree, *words)
    assert "systemctl" not in install and "the service has a /tmp and a /var/tmp of its own" in install
    assert "/usr/local" in install and uninstall == ""


@pytest.mark.parametrize("prefix", ["//home/x", "/home//x", "/./tmp/x", "/opt/../home/x", "/opt/nonesuch/../../tmp/x y",
                                    "/var/run/user/1000/x"])  # a symbolic link to /run
def test_no_service_is_suggested_if_the_path_leads_to_such_a_directory(tree: Path, prefix: str) -> None:
    assert "systemctl" not in next_lines(tree, f"prefix={prefix}")[0]


@pytest.mark.parametrize("name", sorted(REFUSED_BY_SYSTEMD))
def test_no_service_is_suggested_if_systemd_refuses_the_path(tree: Path, name: str) -> None:
    install, uninstall = next_lines(tree, f"prefix=/opt/{name}")
    assert "systemctl" not in install and "neither quotes nor" in install and uninstall == ""


@pytest.mark.parametrize("prefix, home", [
    ("/usr/local", "/root"), ("/usr", "/"), ("/opt/x", "/"), ("/opt/x", ""), ("/homework/x", "/home/user"),
    ("/opt/home/x", "/home/x"), ("/data/mean", "/data/me"), ("/opt/tmp/x", "/home/x"), ("/tmpfs/x", "/home/x"),
    ("/var/tmpfs", "/home/x"), ("/home/../opt/x", "/home/x")])
def test_service_is_suggested_elsewhere(tree: Path, prefix: str, home: str) -> None:
    install, uninstall = next_lines(tree, f"prefix={prefix}", home=home)
    assert install.endswith(ENABLE)
    assert uninstall.startswith("next: systemctl disable --now ")


# --- the directory of the units ---

@pytest.mark.parametrize("answer, directory", [("/x y/units", "/x y/units"), (None, "/usr/lib/systemd/system")])
def test_units_for_usr_go_where_pkg_config_says(tree: Path, tmp_path: Path, answer: str | None, directory: str) -> None:
    """systemd.pc need not be installed: since Debian 13 it is in a package of its own."""
    real = shutil.which("pkg-config")
    tool = tmp_path / "pkg-config"
    tool.write_text(f"#!/bin/sh\ncase $* in *systemd) {f'echo {answer}' if answer else 'exit 1'} ;; *) exec {real} \"$@\" ;; esac\n")
    tool.chmod(0o755)
    root = tmp_path / "root"
    make(tree, "install", "prefix=/usr", f"DESTDIR={root}", f"PKG_CONFIG={tool}")
    assert (root / directory.lstrip("/") / "h2echod.service").is_file()
