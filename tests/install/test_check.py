"""tests/run.py, which `make check` runs: its last lines and its exit status."""
from __future__ import annotations

import sys
from pathlib import Path

from package import TOP, run_command


def program(path: Path, *lines: str, seconds: int = 0) -> Path:
    """Make a test program that prints these lines after so many seconds."""
    path.write_text(f"#!/bin/sh\nsleep {seconds}\ncat <<end\n" + "\n".join(lines) + "\nend\n")
    path.chmod(0o755)
    return path


def check(*words: object) -> tuple[int, list[str]]:
    """Run tests/run.py. Return its exit status and its output without the line about the time."""
    done = run_command([sys.executable, "tests/run.py", "--daemon", "h2echod", *words], TOP, check=False)
    return done.returncode, [line for line in done.stdout.splitlines() if not line.endswith(" seconds")]


def test_counts_come_last(tmp_path: Path) -> None:
    good = program(tmp_path / "good", "1..2", "ok 1 - a", "ok 2 - b # SKIP")
    assert check(good)[1][-1] == "check: 1 passed, 0 failed, 1 skipped"
    bad = program(tmp_path / "bad", "1..2", "ok 1 - a")
    status, lines = check(good, bad)
    assert status == 1 and lines[-1] == "check: 2 passed, 1 failed, 1 skipped"


def test_suite_that_is_left_out_is_named_before_the_counts(tmp_path: Path) -> None:
    """The reason is printed when the suite starts, which may be many lines before."""
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text("import pytest\ndef pytest_configure(): pytest.exit('no such machine', 77)\n")
    status, lines = check("--suite", suite, program(tmp_path / "good", "1..1", "ok 1 - a", seconds=2))
    assert lines[-2:] == [f"{suite}: LEFT OUT, none of its tests was run", "check: 1 passed, 0 failed"]
    assert status == 0 and any("no such machine" in line for line in lines[:-2])
