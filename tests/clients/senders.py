"""The ways to send a GET with a row's client. Each function returns the content of the daemon's response."""
from __future__ import annotations

import html
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from clients import SEARCH_PATH, environment_without_proxies, h2load_counts
from waiting import SLOW, poll

PROGRAMS = Path(__file__).parent
PROXY_NAME = "front.example"  # the authority by which curl reaches a proxy
INTERPRETERS = {".py": [sys.executable], ".js": ["node"], ".java": ["java"]}
# Debian's packages of Go's libraries are found by GOPATH, not as modules.
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}


class Workspace:
    """A directory in which clients run, with cert.pem if TLS is served, and the variables by which they trust it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "cert.pem"
        self.key = directory / "key.pem"
        self.variables = {"PATH": SEARCH_PATH, "HOME": str(directory), "SSL_CERT_FILE": str(self.certificate),
                          "NODE_EXTRA_CA_CERTS": str(self.certificate),
                          "JDK_JAVA_OPTIONS": f"-Djavax.net.ssl.trustStore={directory}/trust.p12 "
                                              "-Djavax.net.ssl.trustStorePassword=changeit",
                          "GOCACHE": str(directory / "go")}

    def certify(self) -> None:
        """Make a certificate for localhost, and a store of it for Java, which reads no PEM."""
        self.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
                  "-keyout", self.key, "-out", self.certificate, "-days", "2", "-subj", "/CN=localhost",
                  "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"])
        self.run(["keytool", "-importcert", "-noprompt", "-alias", "h2echod", "-file", self.certificate,
                  "-keystore", "trust.p12", "-storepass", "changeit"])

    def begin(self, words: Sequence[object], variables: Mapping[str, str] | None = None,
              **options: object) -> subprocess.Popen[bytes]:
        """Start a program in a process group of its own, which its children belong to."""
        env = environment_without_proxies() | self.variables | dict(variables or {})
        return subprocess.Popen([str(word) for word in words], cwd=self.directory, env=env, start_new_session=True,
                                stdin=subprocess.DEVNULL, **options)

    def run(self, words: Sequence[object], variables: Mapping[str, str] | None = None, seconds: float = 30) -> bytes:
        """Run a program and return what it writes to stdout. Assert that it succeeds in time."""
        process = self.begin(words, variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, errors = process.communicate(timeout=seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{words} doesn't end") from None
        finally:
            end_group(process)
        assert process.returncode == 0, f"{words}: {process.returncode}: {errors.decode(errors='replace')}"
        return out


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, unless it was waited for: its id may belong to another process then."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Target:
    """A URL, and how a row's client requests it."""

    line: str
    program: str
    url: str
    workspace: Workspace

    def filled_line(self) -> str:
        """The row's line with this URL and its host."""
        return self.line.replace("URL", self.url).replace("HOST", urlsplit(self.url).netloc)


Send = Callable[[Target], bytes]


def by_command(target: Target) -> bytes:
    return target.workspace.run(shlex.split(target.filled_line()))


def by_program(target: Target) -> bytes:
    source = PROGRAMS / target.program
    words = [*INTERPRETERS[source.suffix], source] if source.suffix != ".go" else [build_go(source, target.workspace)]
    return target.workspace.run([*words, target.url])


def build_go(source: Path, workspace: Workspace) -> Path:
    program = workspace.directory / source.stem
    if not program.exists():
        workspace.run(["go", "build", "-o", program, source], GO, seconds=120)
    return program


def by_h2load(target: Target) -> bytes:
    """h2load does not print the responses, but counts them."""
    counts = h2load_counts(by_command(target).decode())
    assert counts["total"] == counts["succeeded"] == counts["2xx"], counts
    return b""


def by_chromium(target: Target) -> bytes:
    """The text of the page in which Chromium shows JSON."""
    program, *words = shlex.split(target.filled_line())
    page = target.workspace.run([program, *chromium_options(target.workspace), *words]).decode()
    text = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert text, page
    return html.unescape(text[1]).encode()


def chromium_options(workspace: Workspace) -> list[str]:
    """Options for a new profile that trusts our key and resolves no name but localhost."""
    return ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
            "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
            "--disable-sync", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
            f"--user-data-dir={workspace.directory}/chromium",
            f"--ignore-certificate-errors-spki-list={key_hash(workspace)}"]


def key_hash(workspace: Workspace) -> str:
    """The SHA-256 of the certificate's public key, in base64."""
    script = "set -o pipefail; openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | " \
             "openssl dgst -sha256 -binary | openssl base64"
    return workspace.run(["bash", "-c", script]).decode().strip()


# --- Proxies: curl sends them HTTP/1.1, which they forward as HTTP/2 ---

HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 10s
    timeout server 10s
listen front
    bind unix@{directory}/haproxy.sock
    {line}
"""

NGINX = """
daemon off;
master_process off;
error_log stderr;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen unix:{directory}/nginx.sock;
        location / {{
            {line}
        }}
    }}
}}
"""


def through_haproxy(target: Target) -> bytes:
    with running_proxy(target, HAPROXY, ["haproxy", "-db", "-f", "haproxy.conf"]):
        return get_through_proxy(target, "haproxy.sock")


def through_nginx(target: Target) -> bytes:
    directory = target.workspace.directory
    with running_proxy(target, NGINX, ["nginx", "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]):
        return get_through_proxy(target, "nginx.sock")


@contextmanager
def running_proxy(target: Target, template: str, words: Sequence[object]) -> Iterator[None]:
    """Run a proxy with the configuration that this template makes of the row's line."""
    name = str(words[0])
    directory = target.workspace.directory
    (directory / f"{name}.conf").write_text(template.format(directory=directory, line=target.filled_line()))
    front = directory / f"{name}.sock"
    with open(directory / f"{name}.log", "w+", encoding="utf-8") as log:
        process = target.workspace.begin(words, stdout=log, stderr=log)
        try:
            poll(lambda: process.poll() is not None or accepts_connections(front), f"{name} is ready", seconds=10)
            assert process.poll() is None, (directory / f"{name}.log").read_text()
            yield
        finally:
            end_group(process)
            front.unlink(missing_ok=True)


def accepts_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def get_through_proxy(target: Target, front: str) -> bytes:
    return target.workspace.run(["curl", "-q", "-sS", "--fail", "--unix-socket", front,
                                 f"http://{PROXY_NAME}{urlsplit(target.url).path}"])
