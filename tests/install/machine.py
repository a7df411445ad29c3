"""A machine of which a test says what is on it: make sees these programs alone, some of them made up."""
from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from package import TOP, run

BASIC = ("awk", "cat", "chown", "cmp", "env", "grep", "head", "make", "mkdir", "mv", "rm", "sed", "sh", "sleep", "tail", "true")
LIBRARIES = {"libnghttp2": "1.52.0", "jansson": "2.14", "openssl": "3.0.2", "cmocka": "1.1.5"}

# pkg-config's answers come from files that hold the versions; its comparison is that of dpkg.
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
# What Python finds of modules, without those that a file names.
SITE = """
import importlib.util, os
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in os.environ["NO_MODULES"].split() else find_spec(name)
"""


@dataclass
class Machine:
    """Everything below one directory: bin/ is the whole PATH, clone/ has the sources."""

    root: Path
    no_modules: str = ""

    def __post_init__(self) -> None:
        for name in ("bin", "clone", "libraries", "packages", "site"):
            (self.root / name).mkdir()
        for name in (*BASIC, "dpkg"):
            self.link(name)
        for name in ("Makefile", "src", "tests"):
            (self.clone / name).symlink_to(TOP / name)
        (self.root / "site/sitecustomize.py").write_text(SITE)
        self.program("dpkg-query", 'for word; do :; done; [ -e "$PACKAGES/$word" ] && echo install ok installed')

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    def link(self, name: str, target: str = "") -> None:
        (self.root / "bin" / name).symlink_to(shutil.which(target or name) or "/nonexistent")

    def program(self, name: str, script: str) -> None:
        """It writes down each call of it."""
        path = self.root / "bin" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >>"$CALLS"\n{script}\n')
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        (self.root / "bin" / name).unlink()

    def be(self, user: int) -> None:
        self.program("id", f"echo {user}")

    def add_compiler(self) -> None:
        self.link("cc")
        self.link("gcc")
        self.link("as")
        self.link("ld")

    def add_libraries(self, **versions: str) -> None:
        """Those that are named with an empty version are not there."""
        self.program("pkg-config", PKG_CONFIG)
        for name, version in {**LIBRARIES, **versions}.items():
            if version:
                (self.root / "libraries" / name).write_text(version)

    def add_package(self, *names: str) -> None:
        for name in names:
            (self.root / "packages" / name).touch()

    def variables(self) -> dict[str, str]:
        return {"PATH": str(self.root / "bin"), "CALLS": str(self.root / "calls"), "PACKAGES": str(self.root / "packages"),
                "LIBRARIES": str(self.root / "libraries"), "PYTHONPATH": str(self.root / "site"),
                "NO_MODULES": self.no_modules, "HOME": str(self.root)}

    def make(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run(["make", "--no-print-directory", *words], self.clone, check=False, **{**self.variables(), **variables})

    def calls(self, name: str) -> list[str]:
        """How a program was called, without its name."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.split()[0] == name]


def own_words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of a make that failed, but for make's last one, which says that it failed."""
    assert done.returncode != 0, done.stdout
    *lines, last = done.stdout.splitlines()
    assert last.startswith("make: *** "), done.stdout
    return lines

