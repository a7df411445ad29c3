"""The installed bash completion, which asks the program for its options and their values."""
from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path
from typing import Callable

import pytest

import needs
from package import Installed, environment, run_command

# Calls the function registered for h2echod as bash would, with the words typed. The cursor is at the last word.
SCRIPT = """
source "$1" && shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
read -ra registered <<<"$(complete -p h2echod)"
"${registered[2]}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
for word in "${COMPREPLY[@]}"; do echo "$word"; done
"""
PLAIN_BASH = ("bash", "--norc", "--noprofile")
Complete = Callable[..., "list[str]"]


@pytest.fixture(autouse=True)
def needs_dev_fd() -> None:
    """The completion reads from `<(command)`, which bash opens below /dev/fd."""
    if not os.path.exists("/dev/fd/0"):
        needs.skip("/dev/fd does not work, since /proc is not mounted")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The current directory, with a file and a directory in it."""
    (tmp_path / "file one.conf").touch()
    (tmp_path / "files").mkdir()
    return tmp_path


@pytest.fixture
def complete(installed: Installed, directory: Path) -> Complete:
    """complete(word, ...): the completions that are offered for the last word."""
    def complete_last(*words: str, program: Path = installed.below(installed.binary)) -> list[str]:
        script = installed.below(installed.completion)
        return run_command([*PLAIN_BASH, "-c", SCRIPT, "bash", script, program, *words], directory).stdout.splitlines()
    return complete_last


def test_every_option_is_offered(installed: Installed, complete: Complete) -> None:
    text = run_command([installed.below(installed.binary), "--help"]).stdout
    listed = [option for line in text.splitlines() if line.startswith("  ")
              for option in re.findall(r"(?<!\S)(-\w\b|--[a-z-]+)", line[:38])]
    assert len(listed) > 25 and {"-p", "--port", "--pretty", "--config", "-h", "--help"} <= set(listed)
    assert complete("") == listed
    assert complete("--max-con") == ["--max-connections", "--max-connections-per-address", "--max-concurrent-streams"]
    assert complete("--verb") == ["--verbose"]
    assert complete("--pretty", "--unix-") == ["--unix-mode"]
    assert complete("--nothing-like-it") == []


@pytest.mark.parametrize("words, offered", [
    (["--access-log", ""], ["off", "text", "json"]),
    (["--access-log", "="], ["off", "text", "json"]),
    (["--access-log", "=", "j"], ["json"]),
    (["--log-level", ""], ["error", "warning", "notice", "info", "debug"]),
    (["--log-level", "x"], []),
    (["--pretty", "="], ["on", "off"]),
    (["--pretty", "=", "of"], ["off"]),
    (["--port", ""], []),
    (["-p", ""], []),
    (["--idle-timeout", "="], []),
    (["--max-header-list-size", "6"], []),
], ids=" ".join)
def test_values(complete: Complete, words: list[str], offered: list[str]) -> None:
    assert complete(*words) == offered


@pytest.mark.parametrize("words", [["-c", "fil"], ["--config", "fil"], ["--config", "=", "fil"], ["--unix", "fil"]],
                         ids=" ".join)
def test_files(complete: Complete, words: list[str]) -> None:
    assert sorted(complete(*words)) == ["file one.conf", "files"]


def test_nothing_is_offered_for_a_program_that_does_not_answer(complete: Complete, directory: Path) -> None:
    assert complete("--", program=directory / "h2echod") == []
    assert complete("--access-log", "", program=directory / "h2echod") == []


class InteractiveBash:
    """An interactive bash at a pseudoterminal."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.fd, terminal = pty.openpty()
        self.output = ""  # since the last text was typed
        self.process = subprocess.Popen(
            [*PLAIN_BASH, "-i"], cwd=directory, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True, env=environment(PATH=f"{programs}:{os.environ['PATH']}", PS1="prompt> ",
                                                    TERM="dumb", INPUTRC="/dev/null", HISTFILE=""))
        os.close(terminal)
        self.wait_for("prompt> ")

    def type(self, text: str) -> None:
        self.output = ""
        os.write(self.fd, text.encode())

    def wait_for(self, pattern: str, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.output):
            ready, _, _ = select.select([self.fd], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no {pattern!r} in {self.output!r}"
            self.output += os.read(self.fd, 4096).decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.mark.parametrize("typed, completed", [
    ("--acc\tj\t", ["--access-log", "json"]),
    ("--log-level=w\t", ["--log-level=warning"]),
    ("-c file\\ o\t", ["-c", "file one.conf"]),
])
def test_at_a_terminal(own: Installed, directory: Path, typed: str, completed: list[str]) -> None:
    bash = InteractiveBash(directory, own.below(own.binary).parent)
    try:
        bash.type(f"source '{own.below(own.completion)}'\n")
        bash.wait_for("\nprompt> ")
        start_of_line = "\x01"
        bash.type(f"h2echod {typed}{start_of_line}printf '<%s>' \n")
        bash.wait_for(re.escape("".join(f"<{word}>" for word in ["h2echod", *completed])))
    finally:
        bash.close()
