"""A systemd booted in namespaces, on a copy of this machine's files: boot.sh starts it, `Machine` controls it."""
from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
from pathlib import Path

from waiting import SLOW, poll

TOP = Path(__file__).resolve().parents[2]
BOOT = Path(__file__).with_name("boot.sh")
TOOLS = ("chroot", "curl", "findmnt", "groupadd", "ip", "journalctl", "kill", "make", "nsenter", "openssl", "setpriv",
         "strace", "systemctl", "unshare")
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net")
CLONE_NEWNET = 0x40000000


def why_it_cannot_boot() -> str | None:
    """Why no systemd can be booted in namespaces on this machine, or None if it can."""
    if os.geteuid() != 0:
        return "only root may boot a systemd"
    done = subprocess.run(["unshare", "--fork", *NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    return None if any(os.access(path, os.W_OK) for path in cgroup_hierarchies()) else "no cgroup can be made here"


def cgroup_hierarchies() -> list[str]:
    listed = subprocess.run(["findmnt", "--raw", "--noheadings", "--types", "cgroup,cgroup2", "--output", "TARGET"],
                            capture_output=True, text=True, check=False)
    return listed.stdout.split()


class Machine:
    """One booted systemd. `path` gives access to its files, `run` runs a command in its namespaces."""

    def __init__(self) -> None:
        # In a session of its own, so that ^C ends only the tests: their end then closes its standard input.
        self.holder = subprocess.Popen([BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.holder.stdout
        try:
            select.select([self.holder.stdout], [], [], 30 * SLOW)
            os.set_blocking(self.holder.stdout.fileno(), False)
            self.pid = int(self.holder.stdout.readline() or "0")
            assert self.pid, "systemd doesn't boot"
            poll(lambda: self.systemctl("is-active", "basic.target", check=False) == "active", "the boot", seconds=30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._end()}") from None

    def close(self) -> None:
        """End all of its processes and remove what boot.sh made."""
        errors = self._end()
        assert self.holder.returncode == 0, errors

    def _end(self) -> str:
        return self.holder.communicate(timeout=30 * SLOW)[1]

    def path(self, path: str) -> Path:
        """The path by which we can open a file of the machine."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(self, *command: object, check: bool = True, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        words = ["nsenter", f"--target={self.pid}", *NAMESPACES, "--root", "--wd", *map(str, command)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=seconds * SLOW)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def add_host_name(self, name: str) -> None:
        """Let this name resolve to 127.0.0.1."""
        self.path("/etc/hosts").write_text(f"127.0.0.1 localhost {name}\n::1 localhost\n", encoding="ascii")

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.run("systemctl", *words, check=check).stdout.strip()

    def journal(self, *options: str) -> list[dict[str, str]]:
        """The journal's entries since it was last emptied, oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--output=json", "--all", *options).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def empty_journal(self) -> None:
        self.run("journalctl", "--rotate", "--vacuum-size=1")

    def join_network(self) -> None:
        """Move this thread into the machine's network namespace, and so the threads and processes that it starts."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{self.pid}/ns/net", "rb") as network:
            assert libc.setns(network.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
