"""The daemon with everything that it serves, and what its access log says of who asked."""
from __future__ import annotations

import json
from typing import Any

from asking import Bench
from daemon import Daemon
from rows import TLS, Transport, served
from waiting import poll

Record = dict[str, Any]


class Echo(Daemon):
    """On every loopback address, as localhost may mean any; one port for plain requests, one for TLS."""

    def __init__(self, bench: Bench) -> None:
        tls = ["--tls-port=0", f"--tls-cert={bench.certificate}", f"--tls-key={bench.key}"] if TLS in served() else []
        super().__init__("--access-log=json", *tls, listen=["--port=0", "-a", "127.0.0.1", "-a", "::1"])

    def origin(self, transport: Transport) -> str:
        ports = {bool(match[2]): int(match[1]) for match in self.log(r"info listening on .*:(\d+)(, TLS)?$")}
        return transport.origin(ports[False], ports.get(True, 0))

    def records(self, prefix: str, count: int) -> list[Record]:
        """The access log's lines about paths that begin so, once there are that many."""
        def ask() -> list[Record]:
            every = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
            return [record for record in every if record["path"].startswith(prefix)]
        found = poll(lambda: len(got := ask()) >= count and got, f"{count} lines of the access log about {prefix}")
        assert len(found) == count
        return found
