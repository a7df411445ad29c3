"""Pack, build and install h2echod with make, as a user would."""
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

# Variables that would change the build, set by the make that runs the tests or by its caller.
FOREIGN = re.compile(r"(GNU)?MAKE(FLAGS|LEVEL|OVERRIDES|FILES)|MFLAGS|CC|(C|CPP|LD)FLAGS|LDLIBS|VARIANT|VERSION|B|V|CI"
                     r"|DESTDIR|[a-z]*prefix|[a-z]+dir|INSTALL|SOURCE_DATE_EPOCH|GIT_.*|SYSTEMD_.*|PWD")


def environment(**more: str) -> dict[str, str]:
    """Our environment without the variables that would change the build, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return {**kept, "LC_ALL": "C.UTF-8", **more}


def run_command(words: Sequence[object], cwd: Path = TOP, check: bool = True, umask: int = 0o022,
        **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command; its stderr is in stdout. With `check`, a failure fails the test."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=environment(**variables), text=True, umask=umask,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=SECONDS)
    assert not check or done.returncode == 0, f"{done.args}: {done.returncode}:\n{done.stdout}"
    return done


def make(tree: Path, *words: object, umask: int = 0o022, **variables: str) -> str:
    """Run make in a tree. Return its output."""
    jobs = f"-j{os.cpu_count()}"
    return run_command(["make", "--no-print-directory", jobs, *words], tree, umask=umask, **variables).stdout


def dist(tree: Path, **variables: str) -> Path:
    """Run `make dist` in a tree. Return the path of the archive."""
    return tree / make(tree, "dist", **variables).split()[-1]


def extract(archive: Path, into: Path) -> Path:
    """Unpack an archive. Return the directory that was in it."""
    into.mkdir(exist_ok=True)
    run_command(["tar", "-xzf", archive, "-C", into])
    (tree,) = into.iterdir()
    return tree


@dataclass
class Installed:
    """What `make install` installed from a tree, with `root` as DESTDIR."""

    tree: Path
    root: Path
    prefix: str
    output: str = ""  # of the last install or uninstall

    def variables(self) -> list[str]:
        return [f"DESTDIR={self.root}", f"prefix={self.prefix}"]

    def install(self) -> Installed:
        """Install with a strict umask, which must not make the installed files unreadable."""
        self.output = make(self.tree, "install", *self.variables(), umask=0o077)
        return self

    def uninstall(self) -> None:
        self.output = make(self.tree, "uninstall", *self.variables())

    @property
    def config(self) -> str:
        """The path of the configuration, which the unit and the man pages name."""
        return f"{'' if self.prefix in ('/usr', '/usr/local') else self.prefix}/etc/h2echod/h2echod.conf"

    @property
    def binary(self) -> str:
        return f"{self.prefix}/bin/h2echod"

    @property
    def completion(self) -> str:
        return f"{self.prefix}/share/bash-completion/completions/h2echod"

    @property
    def units(self) -> str:
        """The directory of the units: for the prefix /usr the one that systemd.pc names, if it is installed."""
        done = run_command(["pkg-config", "--variable=systemdsystemunitdir", "systemd"], check=False)
        if self.prefix == "/usr" and done.returncode == 0:
            return done.stdout.strip()
        return f"{self.prefix}/lib/systemd/system"

    def below(self, path: str) -> Path:
        """Where an installed path is, below `root`."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        return self.below(path).read_text()

    def paths(self, directories: bool = False) -> dict[str, int]:
        """Every installed file, or every directory, with its permissions."""
        return {f"/{path.relative_to(self.root)}": path.stat().st_mode & 0o7777
                for path in self.root.rglob("*") if path.is_dir() == directories}
