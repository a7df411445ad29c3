"""A client without libraries: just enough HTTP/2 to ask a server once and see that its answer is right."""
from __future__ import annotations

import socket
import ssl
import struct

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
STATUS_200 = 0x88  # the static table's ":status: 200" (RFC 7541 appendix A): what every server sends first
SILENCE = 20.0     # seconds


class WrongAnswer(Exception):
    """A server does not do what it is measured for."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def literal(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def get(path: str) -> bytes:
    """GET as a block: method, scheme, path, authority, user-agent. Both ends are to keep the last three in their
    tables, as with most clients (RFC 7541 section 6.2.1)."""
    return b"\x82\x86\x44" + literal(path) + b"\x41" + literal("localhost") + b"\x7a" + literal("bench")


def trusting() -> ssl.SSLContext:
    """TLS that believes whatever certificate it is shown: it is about what that costs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Caller:
    """One connection, which asks: `send`, then `read` for each answer. So many of them can wait at once."""

    def __init__(self, port: int, over_tls: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SILENCE)
        if over_tls:
            self.socket = trusting().wrap_socket(self.socket)
        self.buffer = b""

    def send(self, path: str, count: int = 1) -> None:
        """Ask so many times at once, behind the preface."""
        requests = (frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, get(path)) for number in range(count))
        self.socket.sendall(MAGIC + frame(SETTINGS, 0, 0) + b"".join(requests))

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            piece = self.socket.recv(65536)
            if not piece:
                raise WrongAnswer("the connection was closed instead of an answer")
            self.buffer += piece
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _frame(self) -> tuple[int, int, bytes]:
        high, low, kind, flags, _ = struct.unpack(">HBBBI", self._take(9))
        return kind, flags, self._take(high << 8 | low)

    def read(self) -> bytes:
        """The content of the next answer, which has the status 200. Answers come one after the other."""
        body, ended = b"", False
        while not ended:
            kind, flags, payload = self._frame()
            if kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and STATUS_200 not in payload[:6]):
                raise WrongAnswer(f"a frame of type {kind}: {payload!r}")
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
            if kind == DATA:
                body += payload
            ended = kind in (DATA, HEADERS) and bool(flags & END_STREAM)
        return body

    def close(self) -> None:
        self.socket.close()


def ask(port: int, path: str, over_tls: bool = False) -> bytes:
    caller = Caller(port, over_tls)
    try:
        caller.send(path)
        return caller.read()
    finally:
        caller.close()
