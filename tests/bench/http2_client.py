"""A minimal HTTP/2 client without libraries: enough to send requests to a server and check its responses."""
from __future__ import annotations

import socket
import ssl
import struct

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
STATUS_200 = 0x88  # ":status: 200" in the static table (RFC 7541, appendix A), which every server sends first
TIMEOUT = 20.0     # seconds


class WrongResponse(Exception):
    """A server does not respond as it has to for the measurement to count."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def string_literal(text: str) -> bytes:
    """RFC 7541, section 5.2, without Huffman encoding."""
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def get_fields(path: str) -> bytes:
    """The encoded fields of a GET: method, scheme, path, authority, user-agent. The last three are added to the dynamic
    table, as by most clients (RFC 7541, section 6.2.1)."""
    return b"\x82\x86\x44" + string_literal(path) + b"\x41" + string_literal("localhost") + \
        b"\x7a" + string_literal("bench")


def unverified_tls() -> ssl.SSLContext:
    """TLS that accepts any certificate: only its cost matters here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Connection:
    """One connection: `send`, then `read` for each response. Many connections can wait for responses at once."""

    def __init__(self, port: int, over_tls: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if over_tls:
            self.socket = unverified_tls().wrap_socket(self.socket)
        self.buffer = b""

    def send(self, path: str, count: int = 1) -> None:
        """Send the preface and so many requests at once."""
        requests = (frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, get_fields(path))
                    for number in range(count))
        self.socket.sendall(MAGIC + frame(SETTINGS, 0, 0) + b"".join(requests))

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            piece = self.socket.recv(65536)
            if not piece:
                raise WrongResponse("the connection was closed before the response")
            self.buffer += piece
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def _frame(self) -> tuple[int, int, bytes]:
        high, low, kind, flags, _ = struct.unpack(">HBBBI", self._take(9))
        return kind, flags, self._take(high << 8 | low)

    def read(self) -> bytes:
        """Read the next response and return its content. Its status must be 200, and no other response may be between
        its frames."""
        body, ended = b"", False
        while not ended:
            kind, flags, payload = self._frame()
            if kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and STATUS_200 not in payload[:6]):
                raise WrongResponse(f"a frame of type {kind}: {payload!r}")
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
            if kind == DATA:
                body += payload
            ended = kind in (DATA, HEADERS) and bool(flags & END_STREAM)
        return body

    def close(self) -> None:
        self.socket.close()


def get_once(port: int, path: str, over_tls: bool = False) -> bytes:
    """Send one GET on a connection of its own. Return the content of the response."""
    connection = Connection(port, over_tls)
    try:
        connection.send(path)
        return connection.read()
    finally:
        connection.close()
