"""Certificates and keys, made for a test with the openssl command."""
from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from clients import run_tool


@dataclass
class Identity:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path

    def options(self) -> list[str]:
        return [f"--tls-cert={self.certificate}", f"--tls-key={self.key}"]

    def install(self, place: Identity) -> None:
        """Copy it into another one's files, which keep their owners and modes."""
        place.certificate.write_bytes(self.certificate.read_bytes())
        place.key.write_bytes(self.key.read_bytes())

    def der(self) -> bytes:
        """The certificate in DER, as it is sent in a handshake."""
        text = re.search("-----BEGIN.*?END CERTIFICATE-----\n", self.certificate.read_text(), re.DOTALL)
        return ssl.PEM_cert_to_DER_cert(text[0])


class Authority:
    """A certificate authority, in a directory of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.own = Identity(directory / f"{name}.pem", directory / f"{name}.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                "-subj", f"/CN={name}", "-keyout", self.own.key, "-out", self.own.certificate)

    def issue(self, name: str, *key: str, subject: str | None = None) -> Identity:
        made = Identity(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        openssl("req", "-x509", "-utf8", "-CA", self.own.certificate, "-CAkey", self.own.key, "-nodes", "-days", 30,
                *(key or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")), "-subj", subject or f"/CN={name}",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                "-keyout", made.key, "-out", made.certificate)
        return made


def openssl(*words: object, stdin: bytes = b"") -> str:
    return run_tool(["openssl", *words], stdin=stdin).stdout.decode()
