"""Other HTTP/2 clients, run as processes: curl, nghttp, h2load, node."""
from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Sequence

from waiting import SLOW

TOOLS = ("curl", "nghttp", "nghttpd", "h2load", "node", "prlimit", "openssl", "setpriv", "systemd-socket-activate")
SEARCH_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # a user's PATH may lack /usr/sbin, nghttpd's place
NODE_SCRIPT = Path(__file__).with_name("node_client.js")


def environment_without_proxies() -> dict[str, str]:
    """The environment of the tests, without proxies: all connections are local."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def run_tool(words: Sequence[object], seconds: float = 20, check: bool = True,
             stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, check=False,
                          timeout=seconds * SLOW, env=environment_without_proxies())
    assert not check or done.returncode == 0, f"{done.args}: {done.returncode}: {done.stderr!r}"
    return done


def curl(*arguments: object, check: bool = True, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run curl without the user's configuration, printing only errors."""
    return run_tool(["curl", "-q", "-sS", "--max-time", 15 * SLOW, *arguments], check=check, stdin=stdin)


def curl_h2(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run curl with HTTP/2 over TCP or TLS as the URL demands, accepting a self-signed certificate."""
    return curl("--http2-prior-knowledge", "--insecure", *arguments, stdin=stdin)


def curl_version() -> str:
    return run_tool(["curl", "--version"]).stdout.decode().split()[1]


def node(url: str, requests: Sequence[dict[str, object]]) -> list[dict[str, str]]:
    """Send requests ({"fields": {...}, "bodySize": N}) on one connection; return their statuses and bodies."""
    return json.loads(run_tool(["node", NODE_SCRIPT, url], stdin=json.dumps(requests).encode()).stdout)


def h2load_counts(output: str) -> dict[str, int]:
    """The numbers in h2load's lines "requests:" and "status codes:", by the word that follows each."""
    found = re.findall(r"(\d+) (total|started|done|succeeded|failed|errored|timeout|2xx|[345]xx)", output)
    return {word: int(number) for number, word in found}
