"""Run make as on a machine that has only the programs, libraries and packages that a test adds.

PATH holds one directory. Programs such as apt-get and pkg-config are replaced by scripts that record their calls.
"""
from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from package import TOP, run_command

BASIC_PROGRAMS = ("awk", "cat", "chown", "cmp", "env", "grep", "head", "make", "mkdir", "mv", "rm", "sed",
                  "sh", "sleep", "tail", "true")
LIBRARIES = {"libnghttp2": "1.52.0", "jansson": "2.14", "openssl": "3.0.2", "cmocka": "1.1.5"}

# A pkg-config that reads each library's version from a file of that name. dpkg compares the versions.
PKG_CONFIG = """
while [ $# -gt 0 ]; do
    case $1 in
    --modversion) verb=version ;;
    --exists) verb=exists ;;
    -*) ;;
    *) for name in ${1%% *}; do
        [ -e "$LIBRARIES/$name" ] || exit 1
        version=$(cat "$LIBRARIES/$name")
        if [ "$verb" = version ]; then echo "$version"; fi
        case $1 in *' >= '*) dpkg --compare-versions "$version" ge "${1##* }" || exit 1 ;; esac
    done ;;
    esac
    shift
done
"""
# Makes Python not find the modules that NO_MODULES names.
SITE = """
import importlib.util, os
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in os.environ["NO_MODULES"].split() else find_spec(name)
"""


@dataclass
class FakeMachine:
    """A directory that make takes for the machine: bin/ is the whole PATH, clone/ has the sources."""

    root: Path
    no_modules: str = ""

    def __post_init__(self) -> None:
        for name in ("bin", "clone", "libraries", "packages", "site"):
            (self.root / name).mkdir()
        for name in (*BASIC_PROGRAMS, "dpkg"):
            self.link_program(name)
        for name in ("Makefile", "src", "tests"):
            (self.clone / name).symlink_to(TOP / name)
        (self.root / "site/sitecustomize.py").write_text(SITE)
        self.add_script("dpkg-query", 'for word; do :; done; [ -e "$PACKAGES/$word" ] && echo install ok installed')

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    def link_program(self, name: str, target: str = "") -> None:
        """Add a program of the real machine: the one with the same name, or `target`."""
        (self.root / "bin" / name).symlink_to(shutil.which(target or name) or "/nonexistent")

    def add_script(self, name: str, script: str) -> None:
        """Add a program that records each of its calls, then runs this shell script."""
        path = self.root / "bin" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>"$CALLS"\n{script}\n')
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.root / "bin" / name).unlink()

    def set_user(self, user: int) -> None:
        """Let make believe that this user runs it."""
        self.add_script("id", f"echo {user}")

    def add_compiler(self) -> None:
        for name in ("cc", "gcc", "as", "ld"):
            self.link_program(name)

    def add_libraries(self, **versions: str) -> None:
        """Add pkg-config and LIBRARIES, with these versions instead. A library with an empty version is left out."""
        self.add_script("pkg-config", PKG_CONFIG)
        for name, version in {**LIBRARIES, **versions}.items():
            if version:
                (self.root / "libraries" / name).write_text(version)

    def add_packages(self, *names: str) -> None:
        """Let dpkg-query report these packages as installed."""
        for name in names:
            (self.root / "packages" / name).touch()

    def variables(self) -> dict[str, str]:
        return {"PATH": str(self.root / "bin"), "CALLS": str(self.root / "calls"), "PACKAGES": str(self.root / "packages"),
                "LIBRARIES": str(self.root / "libraries"), "PYTHONPATH": str(self.root / "site"),
                "NO_MODULES": self.no_modules, "HOME": str(self.root)}

    def make(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_command(["make", "--no-print-directory", *words], self.clone, check=False,
                           **{**self.variables(), **variables})

    def calls(self, name: str) -> list[str]:
        """The arguments of each call of a program that `add_script` added."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split()[0] == name]


def failure_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a make that failed printed, without make's own last line about the failure."""
    assert done.returncode != 0, done.stdout
    *lines, last = done.stdout.splitlines()
    assert last.startswith("make: *** "), done.stdout
    return lines

