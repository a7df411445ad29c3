"""The rows of the client table in README.md: how each client of another project sends a request, and which fields
have to arrive."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Mapping, Sequence

from daemon import run
from senders import (PROXY_NAME, Send, Target, Workspace, by_chromium, by_command, by_h2load, by_program,
                    through_haproxy, through_nginx)


class Transport(Enum):
    """How a request reaches the daemon: its name in the access log and in README.md, and the option that enables it."""

    PRIOR = "h2c", "prior knowledge", "--port"
    UPGRADE = "h2c by upgrade", "Upgrade", "--upgrade"
    TLS = "h2", "TLS", "--tls-port"

    def __init__(self, protocol: str, words: str, option: str) -> None:
        self.protocol = protocol
        self.words = words
        self.option = option

    def origin(self, plain: int = 8080, tls: int = 8443) -> str:
        return f"https://localhost:{tls}" if self is Transport.TLS else f"http://localhost:{plain}"


PRIOR, UPGRADE, TLS = Transport


def served() -> list[Transport]:
    """The transports that this daemon supports, by the options in its --help."""
    options = set(re.findall(r"--[a-z-]+", run("--help").out))
    return [transport for transport in Transport if transport.option in options]


@dataclass(frozen=True)
class Row:
    """One way to send a request. In its line, URL or HOST is replaced by the daemon's."""

    client: str
    line: str                        # a command, or a line of a program or of a proxy's configuration
    transports: Sequence[Transport]
    fields: str                      # the names of the fields that arrive, in order
    send: Send = by_command
    program: str = ""                # the file that has the line, with `url` for the URL
    agent: str = ""                  # how its user-agent begins
    more_fields: bool = False        # other fields arrive between these, depending on the client's version
    requests: int = 1
    others: Mapping[str, str] = field(default_factory=dict)  # values that do not follow from the URL

    def __str__(self) -> str:
        """For the names of tests."""
        return re.sub(r"\W+", "-", self.client.lower())

    def shown(self, transport: Transport) -> str:
        """The line with the ports that README.md uses."""
        origin = transport.origin()
        return self.line.replace("URL", f"{origin}/").replace("HOST", origin.partition("://")[2])

    def fields_cell(self) -> str:
        """The table's cell about the fields that arrive."""
        names = self.fields.replace(" ", ", ") + (", ..." if self.more_fields else "")
        return names or f"answers to {self.requests} requests, counted"

    def target(self, origin: str, path: str, workspace: Workspace) -> Target:
        return Target(self.line, self.program, origin + path, workspace)

    def expected(self, origin: str, path: str) -> dict[str, str]:
        """The fields whose values are known before the request is sent."""
        scheme, _, authority = origin.partition("://")
        return {":method": "GET", ":scheme": scheme, ":authority": authority, ":path": path} | dict(self.others)


CURL = ":method :path :scheme :authority user-agent accept"
PROXIED = ":method :scheme :path {} user-agent accept"
JAVA = "HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(\"URL\")).build(), BodyHandlers.ofString())"
CHROMIUM = ":method :authority :scheme :path sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform " \
    "upgrade-insecure-requests user-agent accept sec-fetch-site sec-fetch-mode sec-fetch-user sec-fetch-dest " \
    "accept-encoding accept-language priority"
GO = ":authority :method :path :scheme accept-encoding user-agent"

ROWS = [
    Row("curl", "curl --http2-prior-knowledge URL", [PRIOR], CURL, agent="curl/"),
    Row("curl", "curl --http2 URL", [UPGRADE], CURL, agent="curl/"),
    Row("curl", "curl --cacert cert.pem URL", [TLS], CURL, agent="curl/"),
    Row("nghttp", "nghttp URL", [PRIOR, TLS], ":method :path :scheme :authority accept accept-encoding user-agent",
        agent="nghttp2/"),
    Row("nghttp", "nghttp -u URL", [UPGRADE], ":method :path :scheme :authority accept user-agent", agent="nghttp2/"),
    Row("h2load", "h2load -n 1000 -c 10 -m 10 URL", [PRIOR, TLS], "", by_h2load, requests=1000),
    Row("Python's h2", "connection.send_headers(1, fields, end_stream=True)", [PRIOR, TLS],
        ":method :path :scheme :authority", by_program, "get_h2.py"),
    Row("httpx", 'httpx.Client(http1=False, http2=True).get("URL")', [PRIOR, TLS],
        ":method :authority :scheme :path accept accept-encoding user-agent", by_program, "get_httpx.py",
        agent="python-httpx/"),
    Row("node", "http2.connect('URL').request({ ':path': path })", [PRIOR, TLS], ":path :method :authority :scheme",
        by_program, "get_node.js"),
    Row("Java", JAVA, [UPGRADE], ":method :path :scheme :authority content-length user-agent", by_program, "Get.java",
        agent="Java-http-client/"),
    Row("Java", JAVA, [TLS], ":authority :method :path :scheme user-agent", by_program, "Get.java",
        agent="Java-http-client/"),
    Row("Go, net/http", 'http.Get("URL")', [TLS], GO, by_program, "get_net_http.go", agent="Go-http-client/2"),
    Row("Go, x/net/http2", "http.Client{Transport: &http2.Transport{AllowHTTP: true, DialTLS: dial}}", [PRIOR], GO,
        by_program, "get_x_net.go", agent="Go-http-client/2"),
    # HAProxy forwards the host field instead of :authority, and sets :scheme to https for such a server.
    Row("HAProxy", "server echo HOST proto h2", [PRIOR], PROXIED.format("host"), through_haproxy, agent="curl/",
        others={"host": PROXY_NAME, ":scheme": "https"}),
    Row("HAProxy", "server echo HOST ssl verify required ca-file cert.pem sni str(localhost) alpn h2", [TLS],
        PROXIED.format("host"), through_haproxy, agent="curl/", others={"host": PROXY_NAME}),
    Row("nginx", "grpc_pass grpc://HOST;", [PRIOR], PROXIED.format(":authority"), through_nginx, agent="curl/"),
    Row("nginx", "grpc_pass grpcs://HOST;", [TLS], PROXIED.format(":authority"), through_nginx, agent="curl/"),
    Row("Chromium", "chromium --headless --dump-dom URL", [TLS], CHROMIUM, by_chromium, agent="Mozilla/5.0 ",
        more_fields=True),
]


def readme_table() -> str:
    """The table in Markdown, with the rows that this daemon supports."""
    supported = served()
    lines = [["client", "command, line of code or of configuration", "by", "fields that arrive"], ["---"] * 4]
    for row in ROWS:
        if by := [transport for transport in row.transports if transport in supported]:
            lines.append([row.client, f"`{row.shown(by[0])}`", ", ".join(one.words for one in by), row.fields_cell()])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
