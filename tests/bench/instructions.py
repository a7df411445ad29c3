"""Count with callgrind the instructions of a request in src/http2 and below. Every run gives the same counts."""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS = {
    "mux": "a small request, 100 at once",
    "serial": "a small request, one at a time",
    "browser": "a browser's 20 fields, 32 at once",
    "varied": "a small request with a new path and value, 100 at once",
    "upload": "POST of 1 MiB",
    "connection": "a new session, one small request, the session's end",
}


def count(valgrind: str, program: Path, name: str, out: Path) -> float:
    """The instructions per request of this input. The environment is empty, since its length moves the stack, and some
    string functions choose their instructions by the address."""
    words = [valgrind, "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={out}",
             str(program), name, os.path.relpath(HERE / "browser.txt")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={})
    total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(encoding="utf-8") if out.exists() else "",
                      re.MULTILINE)
    if done.returncode != 0 or not total:
        sys.exit(f"{' '.join(words)}:\n{done.stderr}")
    return int(total[1]) / int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="directory of callgrind's files")
    options = parser.parse_args()
    valgrind = shutil.which("valgrind")
    if not valgrind:
        sys.exit("valgrind is not installed: `make deps bench-instructions` installs it")
    options.out.mkdir(parents=True, exist_ok=True)
    print("instructions per request, in src/http2 and below:")
    for name, words in INPUTS.items():
        out = options.out / f"callgrind.{name}"
        out.unlink(missing_ok=True)
        print(f"{name:12}{count(valgrind, options.program, name, out):>12,.1f}  {words}", flush=True)
    print(f"by function: callgrind_annotate {options.out}/callgrind.mux")


if __name__ == "__main__":
    main()
