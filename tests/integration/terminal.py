"""A pseudo-terminal, and a program that runs in a session of its own with it as the controlling terminal."""
from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Sequence

import needs
from daemon import BINARY, command, environment_without_systemd
from waiting import SLOW, poll


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (the state) on; empty if there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def is_alive(pid: int) -> bool:
    return stat(pid)[:1] not in ([], ["Z"], ["X"])


def is_stopped(pid: int) -> bool:
    """Whether all its threads are stopped."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def command_line(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def variables() -> dict[str, str]:
    """The environment of a program in a terminal. LeakSanitizer is off: it stops the process with ptrace at exit, and
    retries without end if a SIGCONT is pending, which closing a terminal may cause."""
    options = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "detect_leaks=0")))
    return {**environment_without_systemd(), "TERM": "dumb", "PS1": "$ ", "HISTFILE": "", "ASAN_OPTIONS": options}


class Terminal:
    """A terminal in which `program` runs; everything it prints is collected in `text`."""

    def __init__(self, program: Sequence[str]) -> None:
        needs.proc("self")  # to find the daemon's process
        self.text = ""
        self.pids: set[int] = set()
        self.fd, other = os.openpty()
        # Signals that are ignored in the process that runs the tests must not be ignored here.
        words = ["env", "--default-signal=HUP,INT,QUIT", "setsid", "--ctty", *program]
        self.process = subprocess.Popen(words, stdin=other, stdout=other, stderr=other, env=variables())
        os.close(other)
        self.leader = self.process.pid

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def run(self, line: str) -> None:
        self.type(line + "\n")

    def read_until(self, pattern: str, seconds: float = 10) -> re.Match[str]:
        """Read until the pattern matches in everything printed since the start."""
        deadline = time.monotonic() + seconds * SLOW
        while not (match := re.search(pattern, self.text, re.MULTILINE)):
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {pattern!r} in {self.text!r}"
            try:
                self.text += os.read(self.fd, 65536).decode(errors="backslashreplace").replace("\r\n", "\n")
            except OSError:  # EIO: no process has the other side open any more
                raise AssertionError(f"no {pattern!r} before the end of {self.text!r}") from None
        return match

    def daemon(self) -> int:
        """The process id of the daemon in this session, once it runs."""
        def find() -> int:
            for name in os.listdir("/proc"):
                pid = int(name) if name.isdigit() else 0
                if pid and stat(pid)[3:4] == [str(self.leader)] and str(BINARY) in command_line(pid):
                    return pid
            return 0
        self.pids.add(pid := poll(find, "the daemon's process", seconds=10))
        return pid

    def foreground(self) -> int:
        """The terminal's foreground process group."""
        return os.tcgetpgrp(self.fd)

    def close(self) -> None:
        """Hang up, as closing a terminal window does."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def end(self) -> None:
        """Close it, and kill everything that ran in it."""
        for pid in self.pids - {self.leader}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.close()
        self.process.wait()

    def wait(self, seconds: float = 10) -> int:
        """The exit status of the session leader, once it has ended."""
        return self.process.wait(seconds * SLOW)


def daemon_line(log: Path, *arguments: object) -> str:
    """A shell command that starts a daemon, with its log in a file."""
    return " ".join([*command(["--port=0", "--address=127.0.0.1", *arguments]), f"2>>{log}"])
