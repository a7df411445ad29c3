"""Show with perf where h2echod spends its time under a load: samples by library and function, with the kernel's."""
from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from http2_client import WrongResponse
from cases import CASES, Bench, Case, idle_load, prepare
from servers import KINDS, Missing, Server, tool

SHOWN = 40  # lines of the report
INSTALL = "perf is not installed: `make deps profile` installs it (Debian: linux-perf, Ubuntu: linux-tools-generic)"
REFUSED = """\
perf cannot take samples here. Without root, kernel.perf_event_paranoid has to be at most 1, for the kernel's functions
at most 0 (it is {level}). A container needs CAP_PERFMON and a seccomp profile that allows perf_event_open.
perf printed: {words}"""


def perf() -> str:
    try:
        return tool("perf")
    except Missing as missing:
        raise Missing(INSTALL) from missing


def perf_refused(words: str) -> Missing:
    level = Path("/proc/sys/kernel/perf_event_paranoid")
    return Missing(REFUSED.format(level=level.read_text(encoding="ascii").strip() if level.exists() else "?",
                                  words=words.strip()))


def record(bench: Bench, case: Case, server: Server, data: Path) -> None:
    """Sample the server under the case's load, after a load to warm it up, and write the samples."""
    count = case.count(bench, server)
    case.load(bench, case, server, count, False)
    recorder = subprocess.Popen([perf(), "record", "-q", "-F", "1999", "-p", str(server.process.pid), "-o", str(data)],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        case.load(bench, case, server, count, False)
    finally:
        recorder.send_signal(signal.SIGINT)
        words = recorder.communicate()[1]
    if recorder.returncode not in (0, -signal.SIGINT) or not data.exists():
        raise perf_refused(words)


def report(data: Path, sort: str) -> str:
    """The samples by library or by function, without functions whose names a stripped library does not have."""
    done = subprocess.run([perf(), "report", "--stdio", "--no-children", "--sort", sort, "-i", str(data)],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise perf_refused(done.stderr)
    rows = re.findall(r"^ +([\d.]+%) +(.*?)[ -]*$", done.stdout, re.MULTILINE)
    named = [f"{share:>7}  {words}" for share, words in rows if not words.startswith("[.] 0x")]
    return "\n".join(named[:SHOWN])


def profile(binaries: Path, out: Path, case: Case) -> None:
    with tempfile.TemporaryDirectory(prefix="h2echod-profile-") as name:
        directory = Path(name)
        prepare(directory)
        data = out / f"perf.{case.name}"
        data.unlink(missing_ok=True)
        server = Server(KINDS["h2echod"], binaries, directory)
        try:
            record(Bench(binaries, directory, 1.0), case, server, data)
        finally:
            server.stop()
    print(f"{case.name}: {case.words}", report(data, "dso"), report(data, "symbol,dso"),
          f"more: perf report -i {data}", sep="\n\n", end="\n\n", flush=True)


def main() -> int:
    loads = [case.name for case in CASES.values() if case.load is not idle_load]
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="directory of perf's files")
    parser.add_argument("--cases", default="", help="some of: " + " ".join(loads))
    options = parser.parse_args()
    names = options.cases.split() or ["mux", "browser"]
    if not set(names) <= set(loads):
        parser.error("cases are: " + " ".join(loads))
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["PERF_CONFIG"] = os.devnull
    try:
        for name in names:
            profile(options.binaries, options.out, CASES[name])
    except (Missing, WrongResponse) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
