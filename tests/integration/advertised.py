#!/usr/bin/python3
"""Print a table of what curl, nghttp, Python's h2 and node advertise about themselves, as a daemon's detailed
representation reports it: advertised.py http://localhost:8080/"""
from __future__ import annotations

import json
import re
import socket
import sys
from typing import Any, Callable
from urllib.parse import urlsplit

try:
    import h2
    import h2.connection
    import h2.events
except ImportError:
    sys.exit(f"advertised.py: {sys.executable} has no module h2: `make deps check` installs it for /usr/bin/python3")

from clients import run_tool, curl_h2, curl_version, node

TYPE = "application/vnd.h2echod+json"
Detail = dict[str, Any]


def by_curl(url: str) -> bytes:
    return curl_h2("-b", "a=1", "-H", f"accept: {TYPE}", url).stdout


def by_nghttp(url: str) -> bytes:
    return run_tool(["nghttp", "-H", "cookie: a=1", "-H", f"accept: {TYPE}", url]).stdout


def by_node(url: str) -> bytes:
    request = {"fields": {":path": urlsplit(url).path, "cookie": "a=1", "accept": TYPE}}
    return node(url, [request])[0]["body"].encode()


def by_h2(url: str) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "GET"), (":path", parts.path), (":scheme", "http"),
                                (":authority", parts.netloc), ("cookie", "a=1"), ("accept", TYPE)], end_stream=True)
    body = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as stream:
        stream.sendall(connection.data_to_send())
        while data := stream.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded):
                    return body
            stream.sendall(connection.data_to_send())
    raise SystemExit("h2: no answer")


def tool_version(*words: str) -> str:
    found = re.search(r"\d+(\.\d+)+", run_tool(words).stdout.decode())
    assert found, words
    return found[0]


CLIENTS: dict[str, tuple[Callable[[str], bytes], Callable[[], str]]] = {
    "curl": (by_curl, curl_version),
    "nghttp": (by_nghttp, lambda: tool_version("nghttp", "--version")),
    "Python's h2": (by_h2, lambda: str(h2.__version__)),
    "node": (by_node, lambda: tool_version("node", "--version")),
}


def shown_settings(detail: Detail) -> str:
    return ", ".join(f"{entry['name'] or entry['id']}={entry['value']}" for entry in detail["client"]["settings"])


def dependency_of(detail: Detail) -> str:
    found = detail["stream"]["dependency"]
    return f"on {found['depends_on']}, weight {found['weight']}" if found else "none"


def marked_of(detail: Detail) -> str:
    return ", ".join(field[0] for field in detail["fields"] if len(field) > 2) or "none"


ROWS: dict[str, Callable[[Detail], object]] = {
    "fields": lambda detail: ", ".join(field[0] for field in detail["fields"]),
    "never indexed": marked_of,
    "SETTINGS": shown_settings,
    "WINDOW_UPDATE": lambda detail: detail["client"]["window_update"],
    "PRIORITY frames": lambda detail: len(detail["client"]["priority_frames"]),
    "dependency": dependency_of,
    "fingerprint": lambda detail: "`" + detail["client"]["fingerprint"].replace("|", "\\|") + "`",
}


def markdown_table(url: str) -> list[str]:
    """The table, as lines of Markdown."""
    details = [json.loads(ask(url)) for ask, _ in CLIENTS.values()]
    heads = [f"{name} {version_of()}" for name, (_, version_of) in CLIENTS.items()]
    rows = [[f"**{name}**", *(str(show(detail)) for detail in details)] for name, show in ROWS.items()]
    return ["| " + " | ".join(row) + " |" for row in (["", *heads], ["---"] * (len(heads) + 1), *rows)]


def parse_url(words: list[str]) -> str:
    """The URL on the command line; its path may be omitted."""
    try:
        (url,) = words
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port:
            return parts._replace(path=parts.path or "/").geturl()
    except ValueError:
        pass
    sys.exit("usage: advertised.py http://localhost:8080/")


if __name__ == "__main__":
    url = parse_url(sys.argv[1:])
    try:
        print("\n".join(markdown_table(url)))
    except FileNotFoundError as missing:
        sys.exit(f"advertised.py: {missing.filename} is not installed: `make deps check` installs it")
    except (AssertionError, OSError) as failed:
        sys.exit(f"advertised.py: {failed}")
    except (ValueError, LookupError, TypeError):
        sys.exit(f"advertised.py: {url} does not answer with the detailed representation of h2echod")
