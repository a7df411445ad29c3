"""What is packed, built and installed, by make as a user would call it."""
from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

TOP = Path(__file__).resolve().parents[2]
TOOLS = ("make", "pkg-config", "tar", "gzip", "git", "bash", "systemd-analyze")
SECONDS = 120  # a build on a busy machine

# What would make this another release than a user's: the words of the make that runs the tests, and of its caller.
FOREIGN = re.compile(r"(GNU)?MAKE(FLAGS|LEVEL|OVERRIDES|FILES)|MFLAGS|CC|(C|CPP|LD)FLAGS|LDLIBS|VARIANT|VERSION|B|V|CI"
                     r"|DESTDIR|[a-z]*prefix|[a-z]+dir|INSTALL|SOURCE_DATE_EPOCH|GIT_.*|SYSTEMD_.*|PWD")


def environment(**more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return {**ours, "LC_ALL": "C.UTF-8", **more}


def run(words: Sequence[object], cwd: Path = TOP, check: bool = True, umask: int = 0o022,
        **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=environment(**variables), text=True, umask=umask,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=SECONDS)
    assert not check or done.returncode == 0, f"{done.args}: {done.returncode}:\n{done.stdout}"
    return done


def make(tree: Path, *words: object, umask: int = 0o022, **variables: str) -> str:
    """What make said."""
    jobs = f"-j{os.cpu_count()}"
    return run(["make", "--no-print-directory", jobs, *words], tree, umask=umask, **variables).stdout


def dist(tree: Path, **variables: str) -> Path:
    """The archive that `make dist` made of a tree."""
    return tree / make(tree, "dist", **variables).split()[-1]


def extract(archive: Path, into: Path) -> Path:
    """The tree that was in the archive."""
    into.mkdir(exist_ok=True)
    run(["tar", "-xzf", archive, "-C", into])
    (tree,) = into.iterdir()
    return tree


@dataclass
class Installed:
    """What `make install` made of a tree, as if `root` were /."""

    tree: Path
    root: Path
    prefix: str
    said: str = ""

    def words(self) -> list[str]:
        return [f"DESTDIR={self.root}", f"prefix={self.prefix}"]

    def install(self) -> Installed:
        """As root does who keeps new files to himself: what is installed is for everybody all the same."""
        self.said = make(self.tree, "install", *self.words(), umask=0o077)
        return self

    def uninstall(self) -> None:
        self.said = make(self.tree, "uninstall", *self.words())

    @property
    def config(self) -> str:
        """Where the unit and the man pages are to say that the configuration is."""
        return f"{'' if self.prefix in ('/usr', '/usr/local') else self.prefix}/etc/h2echod/h2echod.conf"

    @property
    def binary(self) -> str:
        return f"{self.prefix}/bin/h2echod"

    @property
    def completion(self) -> str:
        return f"{self.prefix}/share/bash-completion/completions/h2echod"

    @property
    def units(self) -> str:
        """The directory of the units: systemd's own, where the prefix is the system's and systemd.pc is there."""
        asked = run(["pkg-config", "--variable=systemdsystemunitdir", "systemd"], check=False)
        if self.prefix == "/usr" and asked.returncode == 0:
            return asked.stdout.strip()
        return f"{self.prefix}/lib/systemd/system"

    def below(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        return self.below(path).read_text()

    def paths(self, directories: bool = False) -> dict[str, int]:
        """Every file, or every directory, with its permissions."""
        return {f"/{path.relative_to(self.root)}": path.stat().st_mode & 0o7777
                for path in self.root.rglob("*") if path.is_dir() == directories}
