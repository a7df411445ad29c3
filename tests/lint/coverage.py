"""Print which share of the lines and branches of each file and folder of src/ the tests reached: coverage.py BUILD"""
from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

COUNTS = ("line_covered", "line_total", "branch_covered", "branch_total")


def count_by_file(build: str) -> list[dict[str, str]]:
    """gcovr's counts, one row for each file of src/."""
    words = ["gcovr", f"{build}/src", "--root=.", f"--object-directory={build}", "--filter=src/", "--csv"]
    return list(csv.DictReader(io.StringIO(subprocess.run(words, check=True, capture_output=True, text=True).stdout)))


def percent(covered: int, total: int) -> str:
    return f"{100 * covered / total:6.1f} %" if total else "       -"


def print_row(name: str, counts: list[int]) -> None:
    lines, all_lines, branches, all_branches = counts
    print(f"{name:30} {all_lines:6} lines {percent(lines, all_lines)} {all_branches:6} branches "
          f"{percent(branches, all_branches)}")


def main() -> None:
    folders: dict[str, list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    files = {}
    for row in count_by_file(sys.argv[1]):
        files[row["filename"]] = [int(row[name] or 0) for name in COUNTS]
    for name, counts in files.items():
        for key in (str(Path(name).parent), "all"):
            folders[key] = [a + b for a, b in zip(folders[key], counts)]
    for table in (files, folders):
        for name in sorted(table, key=lambda key: (key == "all", key)):
            print_row(name, table[name])
        print()


if __name__ == "__main__":
    main()
