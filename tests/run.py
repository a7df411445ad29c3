"""Run every test and count: the cmocka programs that are named, then the suites of pytest.

Ends with one line, "check: N passed, N failed", and with status 1 unless all passed. A program that
crashes or runs no test counts as one that failed; a skipped test counts as failed too, since what
was not run was not seen to hold. A suite alone may say that it cannot run on this machine, and is
left out then, loudly; in CI none may.
"""

import argparse
import glob
import os
import re
import shlex
import subprocess
import sys


LEFT_OUT = 77  # the exit status of a suite that cannot run here
PROGRAM_SECONDS = 600  # none takes more than seconds, under valgrind a minute: it hangs


def corpus_of(program):
    """The files for a program that replays what a fuzz target was fed; none for any other."""
    name = os.path.basename(program).partition("replay_")[2]
    return sorted(glob.glob(f"tests/fuzz/corpus/{name}/*")) if name else []


def run_program(program, wrapper):
    """Run one cmocka program; return how many of its tests passed and failed."""
    try:
        done = subprocess.run([*wrapper, program, *corpus_of(program)], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired as hung:
        print(hung.stdout.decode(errors="replace") if hung.stdout else "", f"{program}: hangs", sep="\n", flush=True)
        return [0, 1]
    output = done.stdout.decode(errors="replace")
    passed = re.search(r"\[  PASSED  \] (\d+) test", output)
    failed = re.search(r"\[  FAILED  \] (\d+) test", output)
    counts = [int(found.group(1)) if found else 0 for found in (passed, failed)]
    if done.returncode != 0 or counts[0] == 0:
        counts[1] = max(counts[1], 1)
        print(output)
    print(f"{program}: {counts[0]} passed, {counts[1]} failed", flush=True)
    return counts


def run_pytest(suite, daemon, wrapper, light):
    """Run the tests of one directory; return how many of them passed and failed."""
    environment = dict(os.environ, H2ECHOD=os.path.abspath(daemon), H2ECHOD_WRAPPER=shlex.join(wrapper))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite]
    if light:
        command += ["-m", "not heavy"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    last = ""
    for line in process.stdout:
        last = line.decode(errors="replace")
        print(last, end="", flush=True)
    status = process.wait()
    if status == LEFT_OUT:
        print(f"{suite}: LEFT OUT, nothing of it was tested", flush=True)
        return [0, 0]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
    passed = counts.pop("passed", 0)
    failed = sum(counts.values())
    return [passed, max(failed, 1) if status != 0 or passed == 0 else failed]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--daemon", required=True)
    parser.add_argument("--wrapper", default="", help="words before every program: valgrind and friends")
    parser.add_argument("--suite", action="append", default=[], help="a directory of tests for pytest")
    parser.add_argument("--light", action="store_true", help="leave out the tests marked heavy")
    parser.add_argument("programs", nargs="*")
    arguments = parser.parse_args()
    wrapper = shlex.split(arguments.wrapper)
    results = [run_program(program, wrapper) for program in arguments.programs]
    results += [run_pytest(suite, arguments.daemon, wrapper, arguments.light) for suite in arguments.suite]
    passed, failed = (sum(column) for column in zip(*results))
    print(f"check: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
