"""Measure what a request costs h2echod and other servers, its peers.

Every case is run in rounds. In each round the servers take turns, in another order each time, so that other load on the
machine affects all of them. Each is started, its response is checked, and it is warmed up and measured. The results
are medians over the rounds. A request that fails ends its case, and the exit status is 1. A slow server is no failure.
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

from http2_client import WrongResponse
from cases import CASES, Bench, Case, Measurements, measure, prepare
from chart import chart
from servers import (CONNECTIONS, CORES, FILE, KINDS, OURS_TLS, RATES, Missing, Server, is_installed, server_version,
                     tool, version)

MEASUREMENTS = {"cpu_us": ("CPU us", 2), "requests_per_s": ("requests/s", 0), "p50_us": ("p50 us", 0),
           "p99_us": ("p99 us", 0), "rss_kib": ("RSS KiB", 0), "kib_per_connection": ("KiB/connection", 1)}

# The ratios to reach: a peer's cost divided by h2echod's, or h2echod's rate divided by the peer's, is at least this.
TARGETS = (("mux", "h2o", 1.15), ("mux", "nghttpd", 2.2), ("browser", "h2o", 0.8), ("browser", "nghttpd", 1.2),
           ("varied", "nghttpd", 1.3), ("serial", "nghttpd", 0.9), ("serial", "h2o", 0.9), ("many", "nghttpd", 0.75),
           ("serial", "floor", 0.8), ("many", "floor", 0.8), ("connect", "nghttpd", 0.9), ("upload", "node", 2.5),
           ("idle", "nghttpd", 2.0), ("tls", "h2echod", 1 / 1.5), ("handshake", "nghttpd+tls", 1.0))

Results = dict[str, dict[str, list[Measurements]]]  # by case, then by server: the rounds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--binaries", type=Path, required=True, help="the directory of h2echod and the load generators")
    parser.add_argument("--out", type=Path, required=True, help="directory of results.json and results.svg")
    parser.add_argument("--cases", default="", help="some of: " + " ".join(CASES))
    parser.add_argument("--servers", default="", help="some of: " + " ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the numbers of requests")
    parser.add_argument("--command", default=shlex.join(sys.argv), help="the command to name in the results")
    options = parser.parse_args()
    options.chosen = options.servers.split()
    for key, known in (("cases", CASES), ("servers", KINDS)):
        words = getattr(options, key).split() or list(known)
        unknown = [word for word in words if word not in known]
        if unknown or options.rounds < 1 or options.scale <= 0:
            parser.error(f"not among the {key}: {' '.join(unknown)}" if unknown else "rounds and scale are positive")
        setattr(options, key, [word for word in known if word in words])
    return options


# --- Versions and machine ------------------------------------------------------------------------------------

def versions(options: argparse.Namespace) -> dict[str, str]:
    """The versions of the servers and of h2load. Raises Missing before anything is measured if one is not installed."""
    wanted = {name for case in options.cases for name in CASES[case].servers if name in options.servers}
    found = {name: server_version(kind, options.binaries) for name, kind in KINDS.items() if name in wanted}
    return {**found, "h2load": version(tool("h2load"), "--version")}


def leave_out_peers(options: argparse.Namespace) -> list[str]:
    """Leave out peers that are not installed, since not every release has a package of each; return their names.
    Servers that were chosen by name are never left out."""
    missing = [name for name, kind in KINDS.items() if name in options.servers and kind.program
               and name not in options.chosen and not is_installed(kind.program)]
    options.servers = [name for name in options.servers if name not in missing]
    return missing


def print_left_out(names: list[str]) -> None:
    for name in names:
        print(f"LEFT OUT {name}: {KINDS[name].program} is not installed, so it is not compared",
              file=sys.stderr, flush=True)


def describe_machine() -> dict[str, Any]:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return {"cpu": found[1] if found else platform.machine(), "cores": os.cpu_count(),
            "cores_used": CORES, "kernel": platform.release(), "load_before": os.getloadavg()[0]}


def raise_descriptors() -> None:
    """Raise the limit on descriptors to what 10,000 connections need, for us and the servers that we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


# --- Rounds ---------------------------------------------------------------------------------------------------

def servers_of(case: Case, options: argparse.Namespace, turn: int) -> list[str]:
    """The servers to measure in this case, in the order of this round."""
    names = [name for name in case.servers if name in options.servers]
    turn %= max(1, len(names))
    return names[turn:] + names[:turn]


def measure_one(options: argparse.Namespace, case: Case, name: str) -> Measurements:
    directory = Path(tempfile.mkdtemp(prefix="h2echod-bench-"))
    try:
        directory.chmod(0o755)  # some servers drop their privileges and still have to read it
        (directory / "file").write_bytes(FILE)
        prepare(directory)
        server = Server(KINDS[name], options.binaries, directory)
        try:
            return measure(Bench(options.binaries, directory, options.scale), case, server)
        except OSError as error:
            raise WrongResponse(f"{error} {server.report()}") from error
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def run_rounds(options: argparse.Namespace) -> tuple[Results, dict[str, str]]:
    """Run all rounds. Return the results, and for each case that failed the reason."""
    results: Results = {name: {} for name in options.cases}
    failures: dict[str, str] = {}
    for turn in range(options.rounds):
        for case in map(CASES.__getitem__, options.cases):
            for name in servers_of(case, options, turn):
                if case.name in failures:
                    continue
                try:
                    measurements = measure_one(options, case, name)
                except WrongResponse as wrong:
                    failures[case.name] = f"{name}: {wrong}"
                    print(f"FAILED {case.name}: {failures[case.name]}", file=sys.stderr, flush=True)
                    continue
                results[case.name].setdefault(name, []).append(measurements)
                print(f"round {turn + 1} of {options.rounds}: {case.name:8} {name:8} "
                      f"{with_unit(case.unit, measurements)}",
                      file=sys.stderr, flush=True)
    return {case: found for case, found in results.items() if case not in failures and found}, failures


# --- Results --------------------------------------------------------------------------------------------------

def with_unit(key: str, measurements: Measurements) -> str:
    """A figure with its unit, or an empty string if it was not measured."""
    words, digits = MEASUREMENTS[key]
    return f"{measurements[key]:,.{digits}f} {words}" if key in measurements else ""


def medians(rounds: list[Measurements]) -> Measurements:
    return {key: median(measurements[key] for measurements in rounds) for key in rounds[0]}


def table(results: Results) -> str:
    lines = []
    for case, servers in results.items():
        found = {name: medians(rounds) for name, rounds in servers.items()}
        keys = [key for key in MEASUREMENTS if any(key in measurements for measurements in found.values())]
        lines += ["", f"{case}: {CASES[case].words}",
                  " " * 10 + "".join(f"{MEASUREMENTS[key][0]:>16}" for key in keys)]
        unit = CASES[case].unit
        for name in sorted(found, key=lambda name: found[name][unit], reverse=unit in RATES):
            values = (f"{found[name][key]:,.{MEASUREMENTS[key][1]}f}" for key in keys)
            lines.append(f"{name:10}" + "".join(f"{value:>16}" for value in values))
    return "\n".join(lines)


def ratios(results: Results) -> list[dict[str, Any]]:
    """For each target that was measured: the peer's cost divided by h2echod's, or h2echod's rate by the peer's."""
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
    """The content of results.json."""
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
    options.machine = describe_machine()
    raise_descriptors()
    left_out = leave_out_peers(options)
    print_left_out(left_out)
    try:
        options.versions = versions(options)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    results, failures = run_rounds(options)
    found = document(options, results, failures)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (options.out / "results.svg").write_text(chart(found), encoding="utf-8")
    print(f"{found['machine']['cpu']}, {CORES} cores, Linux {found['machine']['kernel']}; {options.command}")
    for name, server in found["servers"].items():
        print(f"  {name} {server['version']}: {server['setup']}")
    print(table(results))
    if found["ratios"]:
        print(ratio_table(found["ratios"]))
    for case, reason in failures.items():
        print(f"FAILED {case}: {reason}")
    print_left_out(left_out)
    print(f"\nwritten: {options.out}/results.json, {options.out}/results.svg")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
