"""Run the given C test programs and pytest suites, and count their results. `make check` calls this.

Several tests run at once, since most of the time they wait. Tests that measure are marked `alone` and run after all
others. The last line is "check: N passed, N failed"; the status is 1 unless all passed. If a program crashes, the
tests that it did not reach count as failed. A program or suite that runs no test fails.

A test that cannot run on this machine is counted as skipped; if CI is set, as failed. A suite that cannot run here
prints the reason when it starts, and is named again at the end.
"""
from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from selection import TOP, VARIABLE, compile_pattern

LEFT_OUT = 77  # the exit status of a suite that cannot run here
NO_TESTS = 5   # pytest's exit status if no test was selected
PROGRAM_SECONDS = 600  # a program that takes longer hangs; under valgrind the slowest takes minutes
CORES = len(os.sched_getaffinity(0))
WORKERS = min(3 * CORES, 16)  # processes of pytest for one suite
SLOWDOWN = 2   # factor for the times that tests wait, since many run at once
PARALLEL_SUITES = ("tests/integration",)  # their tests share nothing; those of other suites share an installation

print_lock = threading.Lock()


def print_lines(*lines: str) -> None:
    with print_lock:
        print(*lines, sep="\n", flush=True)


@dataclass
class Counts:
    """Counts of tests. All are 0 if no test was selected, which is a failure unless there is a pattern."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"

    def strict(self) -> Counts:
        """With CI set, count skipped tests as failed."""
        return Counts(self.passed, self.failed + self.skipped) if os.environ.get("CI") else self


def count_tap(output: str, status: int) -> Counts:
    """Count the results of a C program from its output in TAP, as written by any version of cmocka."""
    results = re.findall(r"^(ok|not ok) [1-9]\d*\b(.*)$", output, re.MULTILINE)
    skipped = sum("# SKIP" in rest for _, rest in results)
    passed = sum(word == "ok" and "# SKIP" not in rest for word, rest in results)
    plan = re.search(r"^1\.\.(\d+)$", output, re.MULTILINE)
    failed = max(int(plan[1]) if plan else 0, len(results)) - passed - skipped
    return Counts(passed, max(failed, 1) if status != 0 else failed, skipped)


class Check:
    """One run of the tests, with its options."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.wrapper = shlex.split(arguments.wrapper)
        self.pattern = arguments.tests
        self.light = arguments.light
        self.left_out: list[str] = []  # suites that cannot run on this machine
        self.environment = dict(os.environ, H2ECHOD=os.path.abspath(arguments.daemon), **{VARIABLE: self.pattern},
                                H2ECHOD_WRAPPER=arguments.wrapper, CMOCKA_MESSAGE_OUTPUT="TAP",
                                PYTHONPATH=str(Path(__file__).parent))
        self.environment.setdefault("H2ECHOD_SLOW", str(SLOWDOWN))
        self.environment.pop("H2ECHOD_TEST_FILTER", None)

    # --- C programs ---

    def filter_of(self, program: str) -> str | None:
        """The pattern by which the program selects its tests: * for all of them, None if it need not run."""
        file = f"tests/{program.partition('/tests/')[2]}.c"
        part, colons, test = self.pattern.partition("::")
        if compile_pattern(part).match(file):
            return f"*{test}*" if colons else "*"
        return None if colons or "/" in self.pattern else f"*{self.pattern}*"

    def run_program(self, program: str) -> Counts:
        names = self.filter_of(program)
        corpus = sorted(map(str, (TOP / "tests/fuzz/corpus" / program.partition("/replay_")[2]).glob("*")))
        if names is None or ("/replay_" in program and names != "*"):
            return Counts()
        environment = dict(self.environment, H2ECHOD_TEST_FILTER=names) if names != "*" else self.environment
        try:
            done = subprocess.run([*self.wrapper, program, *(corpus if "/replay_" in program else ())],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  check=False, timeout=PROGRAM_SECONDS, env=environment)
        except subprocess.TimeoutExpired as hung:
            print_lines((hung.stdout or b"").decode(errors="replace"), f"{program}: hangs")
            return Counts(failed=1)
        output = done.stdout.decode(errors="replace")
        counts = count_tap(output, done.returncode)
        if names == "*" and counts == Counts():
            counts.failed = 1
        if counts.failed or counts.skipped:
            print_lines(output.rstrip(), *([f"{program}: exit status {done.returncode}"] if done.returncode else []))
        if counts != Counts():
            print_lines(f"{program}: {counts}")
        return counts

    # --- pytest ---

    def run_suite(self, suite: str, marks: str = "") -> Counts:
        """Run the tests of a suite whose marks match this expression of pytest."""
        marks = " and ".join(filter(None, (marks, "not heavy" if self.light else "")))
        parallel = suite in PARALLEL_SUITES and marks != "alone"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "selection", suite,
                   *(["-n", str(WORKERS), "--max-worker-restart=0"] if parallel else ["-p", "no:xdist"]),
                   *(["-m", marks] if marks else [])]
        process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        report, failed = [], 0
        assert process.stdout
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if progress := re.fullmatch(r"([.FEsxX]+) *\[ *(\d+)%\]", line):
                failed += sum(progress[1].count(letter) for letter in "FE")
                print_lines(f"{suite}: {progress[2]} %{f', {failed} failed' if failed else ''}")
            else:
                report.append(line)
        return self.count_suite(suite, process.wait(), report)

    def count_suite(self, suite: str, status: int, report: list[str]) -> Counts:
        if status == LEFT_OUT:
            print_lines(*report)
            self.left_out.append(suite)
            return Counts()
        if status == NO_TESTS and (self.pattern or "deselected" in report[-1]):
            return Counts()
        words = re.findall(r"(\d+) (passed|failed|error|skipped)", report[-1] if report else "")
        found = {word: int(number) for number, word in words}
        counts = Counts(found.get("passed", 0), found.get("failed", 0) + found.get("error", 0), found.get("skipped", 0))
        if status != 0 or counts == Counts():
            counts.failed = max(counts.failed, 1)
        print_lines(*(report if counts.failed or counts.skipped else []), f"{suite}: {counts}")
        return counts

    # --- both ---

    def run(self, programs: list[str], suites: list[str]) -> Counts:
        parallel = [suite for suite in suites if suite in PARALLEL_SUITES]
        others = [suite for suite in suites if suite not in PARALLEL_SUITES]
        with ThreadPoolExecutor(1 + CORES) as pool:
            runs = [pool.submit(self.run_suite, suite, "not alone") for suite in parallel]
            runs += [pool.submit(self.run_suite, suite) for suite in others]
            runs += [pool.submit(self.run_program, program) for program in programs]
            results = [run.result() for run in runs]
        results += [self.run_suite(suite, "alone") for suite in parallel]
        return sum(results, Counts())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--daemon", required=True)
    parser.add_argument("--wrapper", default="", help="command that runs every program: valgrind and its options")
    parser.add_argument("--suite", action="append", default=[], help="a directory with tests for pytest")
    parser.add_argument("--light", action="store_true", help="leave out the tests marked heavy")
    parser.add_argument("--tests", default="", help="run only the tests whose names match, see selection.py")
    parser.add_argument("programs", nargs="*")
    arguments = parser.parse_args()
    began = time.monotonic()
    check = Check(arguments)
    counts = check.run(arguments.programs, arguments.suite).strict()
    if counts == Counts():
        print_lines(f"no test's name matches {arguments.tests!r}")
    print_lines(*(f"{suite}: LEFT OUT, none of its tests was run" for suite in check.left_out),
                f"{time.monotonic() - began:.0f} seconds", f"check: {counts}")
    sys.exit(0 if counts.passed and not counts.failed else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    main()
