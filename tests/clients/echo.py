"""The daemon with a port for each transport that it supports, and the records of its access log."""
from __future__ import annotations

import json
from typing import Any

from daemon import Daemon
from rows import TLS, Transport, served
from senders import Workspace
from waiting import poll

Record = dict[str, Any]


class Echo(Daemon):
    """Listens on both loopback addresses, since localhost may be either; one port is for cleartext, one for TLS."""

    def __init__(self, workspace: Workspace) -> None:
        tls = ["--tls-port=0", f"--tls-cert={workspace.certificate}", f"--tls-key={workspace.key}"] \
            if TLS in served() else []
        super().__init__("--access-log=json", *tls, listen=["--port=0", "-a", "127.0.0.1", "-a", "::1"])

    def origin(self, transport: Transport) -> str:
        ports = {bool(match[2]): int(match[1]) for match in self.log(r"info listening on .*:(\d+)(, TLS)?$")}
        return transport.origin(ports[False], ports.get(True, 0))

    def records(self, prefix: str, count: int) -> list[Record]:
        """The access log's records of paths with this prefix, once there are that many."""
        def find() -> list[Record]:
            records = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
            return [record for record in records if record["path"].startswith(prefix)]
        found = poll(lambda: len(got := find()) >= count and got, f"{count} lines of the access log about {prefix}")
        assert len(found) == count
        return found
