"""A client that needs little memory and CPU, for tests that open thousands of connections."""
from __future__ import annotations

import resource
import socket
import time
from contextlib import contextmanager
from typing import Iterator

import hpack
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from waiting import Deadline
from wire import MAGIC, echo, fields

NUMBER = "/00000"
GET = hpack.Encoder().encode(fields(NUMBER), huffman=False)
ECHO = echo(fields(NUMBER))
SOURCES = 20  # source addresses used, since each has a limited number of ports


def with_number(data: bytes, number: int) -> bytes:
    return data.replace(NUMBER.encode(), b"/%05d" % number)


class LightClient:
    """It sends frames encoded in advance, and compares only the end of the response."""

    def __init__(self, address: tuple[str, int], source: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((f"127.0.0.{2 + source}", 0))
        self.socket.settimeout(Deadline(10).left())
        self.socket.connect(address)
        self.stream = -1
        self.number = 0

    def send(self, number: int) -> None:
        """Send a request whose path has this number; the first one after the connection preface."""
        preface = MAGIC + SettingsFrame(0).serialize() if self.stream < 0 else b""
        self.stream += 2
        self.number = number
        request = HeadersFrame(self.stream, with_number(GET, number), flags=["END_STREAM", "END_HEADERS"])
        self.socket.sendall(preface + request.serialize())

    def read(self) -> None:
        """Read up to the end of the response, which must be the echo of the last request."""
        end = DataFrame(self.stream, with_number(ECHO, self.number), flags=["END_STREAM"]).serialize()
        data = b""
        while not data.endswith(end):
            piece = self.socket.recv(65536)
            assert piece and len(data) < 1000, data
            data += piece
        if self.stream == 1:
            self.socket.sendall(SettingsFrame(0, flags=["ACK"]).serialize())

    def ask(self, number: int) -> float:
        """Send a request and read its response; return the seconds that took."""
        began = time.perf_counter()
        self.send(number)
        self.read()
        return time.perf_counter() - began


def connect_light_clients(address: tuple[str, int], count: int) -> list[LightClient]:
    """Open `count` connections, each of which has had one request answered."""
    clients: list[LightClient] = []
    try:
        while len(clients) < count:
            fresh = [LightClient(address, number % SOURCES) for number in range(min(100, count - len(clients)))]
            for number, client in enumerate(fresh, len(clients)):
                client.send(number)
            for client in fresh:
                client.read()
            clients += fresh
    except OSError as error:
        raise AssertionError(f"connection {len(clients)} or one of the next 100: {error}") from None
    return clients


@contextmanager
def raise_descriptor_limit(wanted: int) -> Iterator[None]:
    """Raise the limit on descriptors of this process and of the daemons that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except ValueError:
        raise AssertionError(f"this test needs {wanted} descriptors, but the hard limit is {hard}: raise it") from None
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
