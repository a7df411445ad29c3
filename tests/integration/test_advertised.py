"""The script advertised.py, run as tests/clients/README.md shows."""
from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clients import environment_without_proxies
from daemon import Daemon

SCRIPT = Path(__file__).with_name("advertised.py")


def run_script(*words: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    variables = environment_without_proxies() if path is None else {**environment_without_proxies(), "PATH": path}
    return subprocess.run([str(word) for word in words], env=variables, capture_output=True, text=True, check=False)


def assert_error_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode != 0 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and all(part in done.stderr for part in parts), done.stderr


def test_script_does_not_use_another_python_in_path(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    done = run_script(SCRIPT, daemon.url("/"), path=f"{tmp_path}:{environment_without_proxies()['PATH']}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("|  | curl ")


def test_missing_python_module_is_reported() -> None:
    """With -S, Python does not find the modules that the distribution installs."""
    assert_error_line(run_script(sys.executable, "-S", SCRIPT, "http://localhost:1/"), "no module h2", "make deps check")


def test_missing_tool_is_reported(daemon: Daemon, tmp_path: Path) -> None:
    assert_error_line(run_script(SCRIPT, daemon.url("/"), path=str(tmp_path)), "curl is not installed", "make deps check")


def test_missing_server_is_reported() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert_error_line(run_script(SCRIPT, f"http://127.0.0.1:{bound.getsockname()[1]}/"), "advertised.py: ", "curl")


@pytest.mark.parametrize("words", [[], ["localhost:8080"], ["https://localhost:8443/"], ["http://localhost:x/"],
                                   ["http://localhost/"], ["--help"], [""], ["http://localhost:1/", "x"]])
def test_wrong_arguments_print_the_usage(words: list[str]) -> None:
    assert_error_line(run_script(SCRIPT, *words), "usage: advertised.py http")


def test_path_may_be_omitted(daemon: Daemon) -> None:
    assert run_script(SCRIPT, daemon.url("")).stdout == run_script(SCRIPT, daemon.url("/")).stdout != ""


@pytest.mark.parametrize("answer", ["plain text", "", "{}", "[]", "1"])
def test_other_server_is_reported(daemon: Daemon, tmp_path: Path, answer: str) -> None:
    """A curl that prints another server's answer."""
    script = f"#!/bin/sh\ncase $* in *--version) echo curl 8.14.1 ;; *) echo '{answer}' ;; esac\n"
    (tmp_path / "curl").write_text(script)
    (tmp_path / "curl").chmod(0o755)
    done = run_script(SCRIPT, daemon.url("/"), path=f"{tmp_path}:{environment_without_proxies()['PATH']}")
    assert_error_line(done, f"{daemon.url('/')} does not answer with the detailed representation")
