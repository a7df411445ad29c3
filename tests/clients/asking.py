"""The ways in which a row's client is made to ask for a URL: each gives the text that the daemon answered."""
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
FRONT = "front.example"  # what clients of a proxy call it
INTERPRETERS = {".py": [sys.executable], ".js": ["node"], ".java": ["java"]}
# Debian's packages of Go's modules, found as before there were modules.
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}


class Bench:
    """A directory in which clients run, with cert.pem where TLS is served, and how they are told to trust that."""

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
        """Start a program in a process group of its own, for what it starts in turn."""
        given = environment_without_proxies() | self.variables | dict(variables or {})
        return subprocess.Popen([str(word) for word in words], cwd=self.directory, env=given, start_new_session=True,
                                stdin=subprocess.DEVNULL, **options)

    def run(self, words: Sequence[object], variables: Mapping[str, str] | None = None, seconds: float = 30) -> bytes:
        """What it writes to stdout; an AssertionError unless it ends well and in time."""
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
    """End it and what it started, unless it was waited for: its number may be another's then."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Target:
    """What is asked, and where."""

    line: str
    program: str
    url: str
    bench: Bench

    def here(self) -> str:
        """The line for this target."""
        return self.line.replace("URL", self.url).replace("HOST", urlsplit(self.url).netloc)


Ask = Callable[[Target], bytes]


def by_command(target: Target) -> bytes:
    return target.bench.run(shlex.split(target.here()))


def by_program(target: Target) -> bytes:
    source = PROGRAMS / target.program
    words = [*INTERPRETERS[source.suffix], source] if source.suffix != ".go" else [build(source, target.bench)]
    return target.bench.run([*words, target.url])


def build(source: Path, bench: Bench) -> Path:
    made = bench.directory / source.stem
    if not made.exists():
        bench.run(["go", "build", "-o", made, source], GO, seconds=120)
    return made


def by_h2load(target: Target) -> bytes:
    """It keeps the answers to itself, but counts them."""
    counts = h2load_counts(by_command(target).decode())
    assert counts["total"] == counts["succeeded"] == counts["2xx"], counts
    return b""


def by_chromium(target: Target) -> bytes:
    """The text of the page that it makes of JSON."""
    program, *words = shlex.split(target.here())
    page = target.bench.run([program, *chromium_options(target.bench), *words]).decode()
    text = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert text, page
    return html.unescape(text[1]).encode()


def chromium_options(bench: Bench) -> list[str]:
    """A new user, who trusts our key and reaches nothing but this machine."""
    return ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
            "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
            "--disable-sync", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
            f"--user-data-dir={bench.directory}/chromium", f"--ignore-certificate-errors-spki-list={key_hash(bench)}"]


def key_hash(bench: Bench) -> str:
    """The SHA-256 of the certificate's public key, in base64."""
    script = "set -o pipefail; openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | " \
             "openssl dgst -sha256 -binary | openssl base64"
    return bench.run(["bash", "-c", script]).decode().strip()


# --- Proxies: curl asks them ---

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
    with proxy(target, HAPROXY, ["haproxy", "-db", "-f", "haproxy.conf"]):
        return ask_front(target, "haproxy.sock")


def through_nginx(target: Target) -> bytes:
    directory = target.bench.directory
    with proxy(target, NGINX, ["nginx", "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]):
        return ask_front(target, "nginx.sock")


@contextmanager
def proxy(target: Target, form: str, words: Sequence[object]) -> Iterator[None]:
    """A proxy with this configuration, for as long as it is asked."""
    name = str(words[0])
    directory = target.bench.directory
    (directory / f"{name}.conf").write_text(form.format(directory=directory, line=target.here()))
    front = directory / f"{name}.sock"
    with open(directory / f"{name}.log", "w+", encoding="utf-8") as log:
        process = target.bench.begin(words, stdout=log, stderr=log)
        try:
            poll(lambda: process.poll() is not None or takes_connections(front), f"{name} is ready", seconds=10)
            assert process.poll() is None, (directory / f"{name}.log").read_text()
            yield
        finally:
            end_group(process)
            front.unlink(missing_ok=True)


def takes_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(path)) == 0


def ask_front(target: Target, front: str) -> bytes:
    """HTTP/1.1, which the proxy makes HTTP/2 of."""
    return target.bench.run(["curl", "-q", "-sS", "--fail", "--unix-socket", front,
                             f"http://{FRONT}{urlsplit(target.url).path}"])
