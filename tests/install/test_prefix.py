"""Where people install: directories with spaces and worse in their names, and their homes."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from package import Installed, make, run

NAMES = ("a b", "a  b", " a ", "o'brien", 'a "b"', "R&D", "a|b", "a;b", "50%n", "a,b", "back\\slash", "(a) {b}", "[a]*?")
REFUSED = {*"\"'\\*?["}  # by systemd, in the path of a program
ENABLE = "systemctl daemon-reload && systemctl enable --now h2echod.socket h2echod.service"


def verify(root: Path, prefix: str) -> tuple[int, str]:
    """What systemd finds wrong with the service, where `root` is /; it has to find /bin/kill there."""
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy("/bin/kill", root / "bin/kill")
    (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
    shutil.copy(root / prefix.lstrip("/") / "lib/systemd/system/h2echod.service", root / "etc/systemd/system")
    done = run(["systemd-analyze", "verify", f"--root={root}", "--recursive-errors=no", "--man=no", "h2echod.service"],
               check=False, SYSTEMD_UNIT_PATH="/etc/systemd/system")
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_any_prefix_can_be_installed_to_and_is_left_empty(tree: Path, tmp_path: Path, name: str) -> None:
    plain = Installed(tree, tmp_path / "plain", "/opt/plain").install()
    odd = Installed(tree, tmp_path / name / "root", f"/opt/{name}/h2echod").install()
    here = {path.replace("/opt/plain", f"/opt/{name}/h2echod"): mode for path, mode in plain.paths().items()}
    assert odd.paths() == here
    page = odd.text(f"{odd.prefix}/share/man/man8/h2echod.8").replace("\\e", "\\")
    assert odd.config in page
    odd.uninstall()
    assert odd.paths() == {}


@pytest.mark.parametrize("name", [name for name in NAMES if not REFUSED & {*name}])
def test_systemd_understands_the_unit(tree: Path, tmp_path: Path, name: str) -> None:
    odd = Installed(tree, tmp_path / "root", f"/opt/{name}").install()
    assert verify(odd.root, odd.prefix) == (0, "")
    odd.below(odd.binary).unlink()
    status, said = verify(odd.root, odd.prefix)
    assert status != 0 and odd.binary in said


@pytest.mark.parametrize("prefix", ["/opt/x/", "/opt/x y/"])
def test_a_slash_at_its_end_is_dropped(tree: Path, tmp_path: Path, prefix: str) -> None:
    slashed = Installed(tree, tmp_path / "root", prefix).install()
    unit = slashed.text(f"{prefix}lib/systemd/system/h2echod.service")
    assert "//" not in unit


@pytest.mark.parametrize("goal", ["install", "uninstall"])
@pytest.mark.parametrize("word", ["prefix=~/x", "prefix=x y", "bindir=bin", "docdir=."])
def test_a_directory_that_does_not_begin_at_the_root_is_refused(tree: Path, tmp_path: Path, goal: str, word: str) -> None:
    done = run(["make", "--no-print-directory", goal, f"DESTDIR={tmp_path}", word], tree, check=False)
    name, _, value = word.partition("=")
    (line,) = done.stdout.splitlines()
    assert done.returncode != 0 and f"{name} is '{value}': it has to begin with /" in line
    assert list(tmp_path.iterdir()) == []


# --- what install says last ---

def said_of(tree: Path, *words: str, home: str = "/home/somebody") -> tuple[str, str]:
    """The last line of install, without installing, and that of uninstall."""
    says = (run(["make", "-n", goal, *words], tree, HOME=home).stdout for goal in ("install", "uninstall"))
    install, uninstall = ("".join(re.findall(r"'(next: .*)'$", text, re.MULTILINE)) for text in says)
    return install, uninstall


def test_next_line_can_be_typed(tree: Path, tmp_path: Path) -> None:
    """With a systemctl that shows its words."""
    there = Installed(tree, tmp_path, "/opt/(R&D)").install()
    last = run(["make", "-n", "install", f"prefix={there.prefix}"], tree).stdout.splitlines()[-1]
    command, _, rest = run(["sh", "-c", last]).stdout.removeprefix("next: ").partition(" && ")
    assert command.startswith("systemctl link '") and rest == f"{ENABLE}\n"
    words = run(["bash", "-c", f"systemctl() {{ printf '%s\\n' \"$@\"; }}\n{command}"]).stdout.splitlines()
    assert words == ["link", *(f"{there.units}/{name}" for name in ("h2echod.service", "h2echod@.service",
                                                                   "h2echod.socket", "h2echod-tls.socket"))]
    assert all(there.below(word).is_file() for word in words[1:])


# --- homes and directories for temporary files: ProtectHome=yes and PrivateTmp=yes hide them from the service ---

@pytest.mark.parametrize("prefix, home", [
    ("/home/somebody/.local", "/home/somebody"), ("/home/other/x y", "/root"), ("/root/h2echod", "/root"),
    ("/run/user/1000/h2echod", "/"), ("/data/people/me/.local", "/data/people/me"), ("/data/me/x", "/data/me/"),
    ("/data/p q/x", "/data/p q")])
def test_no_system_unit_is_advised_for_a_home(tree: Path, prefix: str, home: str) -> None:
    install, uninstall = said_of(tree, f"prefix={prefix}", home=home)
    assert f"{prefix}/bin/h2echod" in install and " -p 8080 (it cannot be a service there" in install
    assert "systemctl" not in install and "/usr/local" in install and "home" in install
    assert uninstall == ""


@pytest.mark.parametrize("words", [["bindir=/home/x/bin"], ["prefix=/opt/x", "sysconfdir=/root/etc"]])
def test_nor_where_part_of_it_is_in_a_home(tree: Path, words: list[str]) -> None:
    assert "systemctl" not in said_of(tree, *words)[0]


@pytest.mark.parametrize("words", [["prefix=/tmp/h2echod"], ["prefix=/tmp"], ["prefix=/var/tmp/x y"],
                                   ["prefix=/opt/x", "bindir=/tmp"], ["prefix=/opt/x", "sysconfdir=/var/tmp/etc"]])
def test_nor_where_the_service_has_temporary_files_of_its_own(tree: Path, words: list[str]) -> None:
    install, uninstall = said_of(tree, *words)
    assert "systemctl" not in install and "the service has a /tmp and a /var/tmp of its own" in install
    assert "/usr/local" in install and uninstall == ""


@pytest.mark.parametrize("prefix", ["//home/x", "/home//x", "/./tmp/x", "/opt/../home/x", "/opt/nonesuch/../../tmp/x y",
                                    "/var/run/user/1000/x"])  # a symbolic link to /run
def test_nor_where_it_is_so_in_other_words(tree: Path, prefix: str) -> None:
    assert "systemctl" not in said_of(tree, f"prefix={prefix}")[0]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_nor_where_systemd_takes_no_such_path(tree: Path, name: str) -> None:
    install, uninstall = said_of(tree, f"prefix=/opt/{name}")
    assert "systemctl" not in install and "neither quotes nor" in install and uninstall == ""


@pytest.mark.parametrize("prefix, home", [
    ("/usr/local", "/root"), ("/usr", "/"), ("/opt/x", "/"), ("/opt/x", ""), ("/homework/x", "/home/somebody"),
    ("/opt/home/x", "/home/x"), ("/data/mean", "/data/me"), ("/opt/tmp/x", "/home/x"), ("/tmpfs/x", "/home/x"),
    ("/var/tmpfs", "/home/x"), ("/home/../opt/x", "/home/x")])
def test_it_is_elsewhere(tree: Path, prefix: str, home: str) -> None:
    install, uninstall = said_of(tree, f"prefix={prefix}", home=home)
    assert install.endswith(ENABLE)
    assert uninstall.startswith("next: systemctl disable --now ")


# --- where systemd's units are ---

@pytest.mark.parametrize("answer, directory", [("/x y/units", "/x y/units"), (None, "/usr/lib/systemd/system")])
def test_units_of_the_system_are_where_systemd_says_if_it_does(tree: Path, tmp_path: Path, answer: str | None,
                                                               directory: str) -> None:
    """Its systemd.pc is in a package of its own since Debian 13, which need not be there."""
    real = shutil.which("pkg-config")
    tool = tmp_path / "pkg-config"
    tool.write_text(f"#!/bin/sh\ncase $* in *systemd) {f'echo {answer}' if answer else 'exit 1'} ;; *) exec {real} \"$@\" ;; esac\n")
    tool.chmod(0o755)
    root = tmp_path / "root"
    make(tree, "install", "prefix=/usr", f"DESTDIR={root}", f"PKG_CONFIG={tool}")
    assert (root / directory.lstrip("/") / "h2echod.service").is_file()
