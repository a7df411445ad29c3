"""Measure h2echod and its peers side by side: what a request costs each of them.

Every case is run in rounds. In each round the servers take turns, in another order each time, so that whatever else
the machine does falls upon all of them; each is started anew, seen to answer rightly, warmed up and measured. What
is told are medians over the rounds. A request that fails ends its case, and the status is 1. No figure does:
whether a machine is quick is for its reader to judge.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from asking import WrongAnswer
from cases import CASES, Bench, Case, Figures, measure, prepare
from chart import chart
from servers import (CONNECTIONS, CORES, FILE, KINDS, OURS_TLS, RATES, Missing, Server, is_installed, server_version,
                     tool, version)

FIGURES = {"cpu_us": ("CPU us", 2), "requests_per_s": ("requests/s", 0), "p50_us": ("p50 us", 0),
           "p99_us": ("p99 us", 0), "rss_kib": ("RSS KiB", 0), "kib_per_connection": ("KiB/connection", 1)}

# What is to be reached: by how much a peer costs more than h2echod, or serves less, at least.
TARGETS = (("mux", "h2o", 1.15), ("mux", "nghttpd", 2.2), ("browser", "h2o", 0.8), ("browser", "nghttpd", 1.2),
           ("varied", "nghttpd", 1.3), ("serial", "nghttpd", 0.9), ("serial", "h2o", 0.9), ("many", "nghttpd", 0.75),
           ("serial", "floor", 0.8), ("many", "floor", 0.8), ("connect", "nghttpd", 0.9), ("upload", "node", 2.5),
           ("idle", "nghttpd", 2.0), ("tls", "h2echod", 1 / 1.5), ("handshake", "nghttpd+tls", 1.0))

Results = dict[str, dict[str, list[Figures]]]  # by case, then by server: the rounds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--binaries", type=Path, required=True, help="where h2echod and the load generators are")
    parser.add_argument("--out", type=Path, required=True, help="directory of results.json and results.svg")
    parser.add_argument("--cases", default="", help="some of: " + " ".join(CASES))
    parser.add_argument("--servers", default="", help="some of: " + " ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests")
    parser.add_argument("--command", default=shlex.join(sys.argv), help="what to say that this was made by")
    options = parser.parse_args()
    options.chosen = options.servers.split()
    for key, known in (("cases", CASES), ("servers", KINDS)):
        words = getattr(options, key).split() or list(known)
        unknown = [word for word in words if word not in known]
        if unknown or options.rounds < 1 or options.scale <= 0:
            parser.error(f"not among the {key}: {' '.join(unknown)}" if unknown else "rounds and scale are positive")
        setattr(options, key, [word for word in known if word in words])
    return options


# --- What was measured on ------------------------------------------------------------------------------------

def versions(options: argparse.Namespace) -> dict[str, str]:
    """Of the servers and of h2load; whatever is not installed is missed here, before anything is measured."""
    wanted = {name for case in options.cases for name in CASES[case].servers if name in options.servers}
    found = {name: server_version(kind, options.binaries) for name, kind in KINDS.items() if name in wanted}
    return {**found, "h2load": version(tool("h2load"), "--version")}


def leave_out_peers(options: argparse.Namespace) -> list[str]:
    """Take those off that are not installed, since not every release has a package of each; the names of these.
    What SERVERS names has to be there."""
    missing = [name for name, kind in KINDS.items() if name in options.servers and kind.program
               and name not in options.chosen and not is_installed(kind.program)]
    options.servers = [name for name in options.servers if name not in missing]
    return missing


def tell_left_out(names: list[str]) -> None:
    for name in names:
        print(f"LEFT OUT {name}: {KINDS[name].program} is not installed, so nothing is compared with it",
              file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return {"cpu": found[1] if found else platform.machine(), "cores": os.cpu_count(),
            "cores_used": CORES, "kernel": platform.release(), "load_before": os.getloadavg()[0]}


def raise_descriptors() -> None:
    """As many as 10,000 connections take, for us and those whom we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


# --- Rounds ---------------------------------------------------------------------------------------------------

def servers_of(case: Case, options: argparse.Namespace, turn: int) -> list[str]:
    """Those that the case has and that are wanted, in the order of this round."""
    names = [name for name in case.servers if name in options.servers]
    turn %= max(1, len(names))
    return names[turn:] + names[:turn]


def measure_one(options: argparse.Namespace, case: Case, name: str) -> Figures:
    directory = Path(tempfile.mkdtemp(prefix="h2echod-bench-"))
    try:
        directory.chmod(0o755)  # some of the servers give up their privileges
        (directory / "file").write_bytes(FILE)
        prepare(directory)
        server = Server(KINDS[name], options.binaries, directory)
        try:
            return measure(Bench(options.binaries, directory, options.scale), case, server)
        except OSError as error:
            raise WrongAnswer(f"{error} {server.report()}") from error
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def run_rounds(options: argparse.Namespace) -> tuple[Results, dict[str, str]]:
    """What came out, and which cases failed, each with the reason."""
    results: Results = {name: {} for name in options.cases}
    failures: dict[str, str] = {}
    for turn in range(options.rounds):
        for case in map(CASES.__getitem__, options.cases):
            for name in servers_of(case, options, turn):
                if case.name in failures:
                    continue
                try:
                    figures = measure_one(options, case, name)
                except WrongAnswer as wrong:
                    failures[case.name] = f"{name}: {wrong}"
                    print(f"FAILED {case.name}: {failures[case.name]}", file=sys.stderr, flush=True)
                    continue
                results[case.name].setdefault(name, []).append(figures)
                print(f"round {turn + 1} of {options.rounds}: {case.name:8} {name:8} {shown(case.unit, figures)}",
                      file=sys.stderr, flush=True)
    return {case: found for case, found in results.items() if case not in failures and found}, failures


# --- Telling --------------------------------------------------------------------------------------------------

def shown(key: str, figures: Figures) -> str:
    """A figure with its unit, or nothing where it is not known."""
    words, digits = FIGURES[key]
    return f"{figures[key]:,.{digits}f} {words}" if key in figures else ""


def medians(rounds: list[Figures]) -> Figures:
    return {key: median(figures[key] for figures in rounds) for key in rounds[0]}


def table(results: Results) -> str:
    lines = []
    for case, servers in results.items():
        found = {name: medians(rounds) for name, rounds in servers.items()}
        keys = [key for key in FIGURES if any(key in figures for figures in found.values())]
        lines += ["", f"{case}: {CASES[case].words}",
                  " " * 10 + "".join(f"{FIGURES[key][0]:>16}" for key in keys)]
        unit = CASES[case].unit
        for name in sorted(found, key=lambda name: found[name][unit], reverse=unit in RATES):
            values = (f"{found[name][key]:,.{FIGURES[key][1]}f}" for key in keys)
            lines.append(f"{name:10}" + "".join(f"{value:>16}" for value in values))
    return "\n".join(lines)


def ratios(results: Results) -> list[dict[str, Any]]:
    """Of each target that was measured: how many times what h2echod costs the peer costs; of a rate, the inverse."""
    rows = []
    for case, peer, target in TARGETS:
        servers, unit = results.get(case, {}), CASES[case].unit
        judged = OURS_TLS if OURS_TLS in CASES[case].servers else "h2echod"
        if peer in servers and judged in servers:
            ours, theirs = (medians(servers[name])[unit] for name in (judged, peer))
            ratio = ours / theirs if unit in RATES else theirs / ours
            rows.append({"case": case, "peer": peer, "figure": unit, "target": round(target, 2),
                         "ratio": round(ratio, 3), "reached": ratio >= target})
    return rows


def ratio_table(rows: list[dict[str, Any]]) -> str:
    lines = ["", f"{'case':10}{'peer':10}{'target':>8}{'peer / h2echod':>16}"]
    for row in rows:
        verdict = "" if row["reached"] else "  not reached"
        lines.append(f"{row['case']:10}{row['peer']:10}{row['target']:>8.2f}{row['ratio']:>16.2f}{verdict}")
    return "\n".join(lines)


def document(options: argparse.Namespace, results: Results, failures: dict[str, str]) -> dict[str, Any]:
    """All that is known, for results.json."""
    used = {name for servers in results.values() for name in servers}
    return {
        "command": options.command,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rounds": options.rounds,
        "scale": options.scale,
        "machine": options.machine,
        "h2load": options.versions["h2load"],
        "servers": {name: {"version": options.versions[name], "setup": kind.words}
                    for name, kind in KINDS.items() if name in used},
        "cases": {case: {"what": CASES[case].words, "judged_by": CASES[case].unit,
                         "servers": {name: {"median": medians(rounds), "rounds": rounds}
                                     for name, rounds in servers.items()}}
                  for case, servers in results.items()},
        "ratios": ratios(results),
        "failed": failures,
    }


def main() -> int:
    options = arguments()
    options.machine = machine()
    raise_descriptors()
    left_out = leave_out_peers(options)
    tell_left_out(left_out)
    try:
        options.versions = versions(options)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    results, failures = run_rounds(options)
    told = document(options, results, failures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (options.out / "results.svg").write_text(chart(told), encoding="utf-8")
    print(f"{told['machine']['cpu']}, {CORES} cores, Linux {told['machine']['kernel']}; {options.command}")
    for name, server in told["servers"].items():
        print(f"  {name} {server['version']}: {server['setup']}")
    print(table(results))
    if told["ratios"]:
        print(ratio_table(told["ratios"]))
    for case, reason in failures.items():
        print(f"FAILED {case}: {reason}")
    tell_left_out(left_out)
    print(f"\nwritten: {options.out}/results.json, {options.out}/results.svg")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
