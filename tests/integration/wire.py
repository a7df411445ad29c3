"""An HTTP/2 client that can send any frame, valid or not, whole or in pieces, over TCP, a Unix socket or TLS."""
from __future__ import annotations

import json
import os
import socket
import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence, Union

import hpack
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame,
                              RstStreamFrame, SettingsFrame, WindowUpdateFrame)

import needs
from waiting import Deadline

MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_SIZE = 16384
PIECES_MAX = 4096
DEFAULT_WINDOW = 65535
LAST_STREAM = 2**31 - 1

# Error codes (RFC 9113 section 7)
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR = 0, 1, 3, 6
STREAM_CLOSED, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = 5, 7, 8, 9, 11, 12

Text = Union[str, bytes]
Fields = Sequence[tuple[Text, Text]]
Address = Union[tuple[str, int], str, Path]


class TlsSocket(ssl.SSLSocket):
    """A TLS socket that can send before the server accepts, and that reports a reset as a plain socket does."""

    held: bytearray | None = None  # data to send once the handshake is done; None: the handshake is not deferred
    has_ended = False              # nothing more can be sent: FIN was sent, or sending failed

    def handshake_later(self) -> None:
        """Do not wait for the handshake until the first recv: before that, keep data and send only ClientHello."""
        self.held = bytearray()

    def _begin(self) -> None:
        before = self.gettimeout()
        self.settimeout(0)
        try:
            self.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        self.settimeout(before)

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ConnectionError:
            self._forget_error()
            raise

    def sendall(self, data: bytes, flags: int = 0) -> None:
        if self.held is not None:
            self.held += data
            self._begin()
            return
        if self.has_ended:  # OpenSSL would try the failed record again, and report an error if the new one is shorter
            raise BrokenPipeError
        try:
            super().sendall(data, flags)
        except OSError as error:
            self.has_ended = True
            if isinstance(error, ConnectionError):
                self._forget_error()
            if isinstance(error, ssl.SSLEOFError):
                raise ConnectionResetError from None
            if isinstance(error, ssl.SSLZeroReturnError):  # the daemon has sent close_notify
                raise BrokenPipeError from None
            raise

    def shutdown(self, how: int) -> None:
        """Send FIN without close_notify, and keep reading TLS (SSLSocket.shutdown would drop the TLS layer)."""
        self.has_ended = True
        socket.socket.shutdown(self, how)

    def recv(self, size: int = 1024, flags: int = 0) -> bytes:
        if self.held is not None:
            self.do_handshake()
            held, self.held = self.held, None
            self.sendall(held)
        try:
            return super().recv(size, flags)
        except ConnectionError:
            self._forget_error()
            raise

    def _forget_error(self) -> None:
        """Empty OpenSSL's error queue for this thread, by making a new object.

        Since OpenSSL 3.2 system errors are added to that queue too, and Python 3.13 leaves them there. The next TLS
        operation of this thread would then be reported as failed even if it succeeds."""
        self.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def unverified_tls(*protocols: str) -> ssl.SSLContext:
    """A TLS client context that offers these protocols by ALPN (none: no ALPN) and accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def fields(path: Text = "/", method: Text = "GET", *more: tuple[Text, Text],
           authority: Text = "test.example") -> list[tuple[Text, Text]]:
    """The fields of a request, in the order in which curl sends them."""
    return [(":method", method), (":path", path), (":scheme", "http"), (":authority", authority), *more]


def echo(request: Fields, pretty: bool = False) -> bytes:
    """The body that the daemon must answer with."""
    members: dict[str, str] = {}
    for name, value in ((_decoded(name), _decoded(value)) for name, value in request):
        if name in members:
            members[name] += ("; " if name == "cookie" else ", ") + value
        else:
            members[name] = value
    text = json.dumps(members, ensure_ascii=False, indent=2 if pretty else None)
    return (text + "\n" if pretty else text).encode()


def _decoded(text: Text) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


@dataclass
class Answer:
    """The response received on one stream."""

    interim: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    data_lengths: list[int] = field(default_factory=list)  # the length of each DATA frame
    ended: bool = False
    reset: int | None = None

    def add_fields(self, block: list[tuple[bytes, bytes]]) -> None:
        if self.fields:
            self.trailers = block
        elif block[0][1].startswith(b"1"):
            self.interim.append(block)
        else:
            self.fields = block

    @property
    def finished(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> int:
        return int(self["status"]) if self.fields else 0

    def __getitem__(self, name: str) -> str:
        """The value of a field that must be present exactly once; "status" stands for :status."""
        wanted = (b":status" if name == "status" else name.encode())
        values = [value for key, value in self.fields if key == wanted]
        assert len(values) == 1, f"{name}: {values} in {self.fields}"
        return values[0].decode()

    def assert_echo(self, request: Fields, pretty: bool = False) -> None:
        """The response is complete, and its body is the echo of this request."""
        assert self.ended and self.status == 200, self
        assert bytes(self.body) == echo(request, pretty)
        assert int(self["content-length"]) == len(self.body)


class Client:
    """One connection. It records every frame it reads, acknowledges SETTINGS and PING, and refills the windows."""

    def __init__(self, address: Address, *, source: str | None = None, receive_buffer: int | None = None,
                 refill: bool = True, tls: ssl.SSLContext | None = None, host: str | None = None,
                 session: ssl.SSLSession | None = None, handshake_later: bool = False) -> None:
        """With `tls`, the handshake takes place when data is first sent or awaited; with `handshake_later`, data can
        be sent (and is kept) before the server has accepted the connection."""
        if isinstance(address, tuple) and ":" in address[0]:
            needs.ipv6()
        self.socket = _connected(address, source, receive_buffer)
        if tls:
            self.socket = tls.wrap_socket(self.socket, do_handshake_on_connect=False, server_hostname=host,
                                          session=session)
            if handshake_later:
                self.socket.handshake_later()
        self.refill = refill     # send WINDOW_UPDATE for DATA received
        self.acknowledge = True  # acknowledge SETTINGS and PING
        self.since = 0           # the length of the daemon's log when this client connected: ports are reused
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.next_stream = 1
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.acknowledged = 0
        self.goaways: list[GoAwayFrame] = []
        self.pings: list[bytes] = []
        self.ping_acks: list[bytes] = []
        self.closed: str | None = None  # "end" (FIN) or "reset" (RST), once seen
        self.sent = self.received = 0
        self._reset = False
        self._window = DEFAULT_WINDOW
        self._windows: dict[int, int] = {}
        self._buffer = bytearray()
        self._block: tuple[HeadersFrame, bytearray] | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The peer's name in the daemon's log (TCP over IPv4)."""
        return "%s:%d" % self.socket.getsockname()

    def close(self) -> None:
        self.socket.close()

    def abort(self) -> None:
        """Close with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- sending ---

    def send(self, *parts: Frame | bytes, piece: int | None = None) -> None:
        """Send frames and bytes, all at once or in pieces of `piece` bytes.

        After PIECES_MAX pieces the rest is sent at once: a daemon that closes the connection because of the beginning
        does not wait until thousands of pieces have arrived."""
        data = b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)
        in_pieces = min(len(data), PIECES_MAX * piece) if piece else 0
        for start in range(0, in_pieces, piece or 1):
            self.socket.sendall(data[start:min(start + (piece or 1), in_pieces)])
        if in_pieces < len(data):
            self.socket.sendall(data[in_pieces:])
        self.sent += len(data)

    def send_preface(self, settings: dict[int, int] | None = None) -> Client:
        self.send(MAGIC, SettingsFrame(0, settings=settings or {}))
        return self

    def encode(self, request: Fields) -> bytes:
        return self.encoder.encode(request, huffman=False)  # hpack's Huffman coding is slow

    def new_stream(self) -> int:
        self.next_stream += 2
        return self.next_stream - 2

    def headers(self, request: Fields, end: bool = True, stream: int | None = None,
                piece: int = FRAME_SIZE) -> bytes:
        """A request's HEADERS frame, followed by CONTINUATION frames if the block is longer than `piece` bytes."""
        stream = stream or self.new_stream()
        block = self.encode(request)
        pieces = [block[start:start + piece] for start in range(0, len(block), piece)]
        frames: list[Frame] = [HeadersFrame(stream, pieces[0], flags=["END_STREAM"] if end else [])]
        frames += [ContinuationFrame(stream, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        return b"".join(frame.serialize() for frame in frames)

    def send_request(self, request: Fields, end: bool = True) -> int:
        """Send a request's HEADERS; return its stream id."""
        stream = self.new_stream()
        self.send(self.headers(request, end, stream))
        return stream

    def send_body(self, stream: int, body: bytes, end: bool = True, seconds: float = 5,
                  padding: int = 0) -> None:
        """Send DATA as the peer's flow-control windows allow, reading while waiting for them."""
        deadline = Deadline(seconds)
        more = memoryview(body)
        overhead = padding + 1 if padding else 0
        while True:
            room = min(self._window, self.window(stream), FRAME_SIZE) - overhead
            piece, last = more[:max(room, 0)], len(more) <= room
            if piece or last:
                self._send_data(stream, bytes(piece), last and end, padding, overhead)
                more = more[len(piece):]
            if last:
                return
            if room <= 0:
                self._read_or_fail(deadline, "a flow-control window for the body")

    def _send_data(self, stream: int, piece: bytes, end: bool, padding: int, overhead: int) -> None:
        frame = DataFrame(stream, piece, flags=["END_STREAM"] if end else [])
        if padding:
            frame.flags.add("PADDED")
            frame.pad_length = padding
        self._window -= len(piece) + overhead
        self._windows[stream] -= len(piece) + overhead
        self.send(frame)

    def window(self, stream: int) -> int:
        """The peer's flow-control window for a stream, in bytes."""
        initial = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        return self._windows.setdefault(stream, initial)

    def shut_down_writes(self) -> None:
        """Send FIN; reading is still possible."""
        self.socket.shutdown(socket.SHUT_WR)

    # --- receiving ---

    def answer(self, stream: int) -> Answer:
        return self.answers.setdefault(stream, Answer())

    def wait(self, stream: int, seconds: float = 5) -> Answer:
        """Wait until a stream has ended or been reset; return its response."""
        self.read_until(lambda: self.answer(stream).finished, f"the answer on stream {stream}", seconds)
        return self.answer(stream)

    def request(self, request: Fields, body: bytes | None = None, trailers: Fields | None = None,
                seconds: float = 5) -> Answer:
        stream = self.send_request(request, end=body is None and trailers is None)
        if body is not None:
            self.send_body(stream, body, end=trailers is None, seconds=seconds)
        if trailers is not None:
            self.send(self.headers(trailers, True, stream))
        return self.wait(stream, seconds)

    def assert_answered(self, path: str = "/still-here") -> None:
        """The connection works: a request on it is answered."""
        self.request(fields(path)).assert_echo(fields(path))

    def ping(self) -> None:
        """Wait until the daemon has processed everything sent so far and its frames sent before the ACK were read."""
        opaque = os.urandom(8)
        self.send(PingFrame(0, opaque))
        self.read_until(lambda: opaque in self.ping_acks, "the answer to a PING")

    def read_until(self, happened: Callable[[], bool], what: str, seconds: float = 5) -> None:
        deadline = Deadline(seconds)
        while not happened():
            self._read_or_fail(deadline, what)

    def _read_or_fail(self, deadline: Deadline, what: str) -> None:
        try:
            frame = self.read_frame(deadline)
        except socket.timeout:
            raise AssertionError(f"timed out waiting for {what}; {self}") from None
        assert frame, f"the connection was closed ({self.closed}) before {what}; {self}"

    def read_to_end(self, seconds: float = 5) -> str:
        """Read until the daemon closes the connection; return "end" (FIN) or "reset" (RST)."""
        deadline = Deadline(seconds)
        while self.read_frame(deadline):
            pass
        assert self.closed
        return self.closed

    def read_frame(self, deadline: Deadline) -> Frame | None:
        """Read and record the next frame; None at the end of the connection."""
        if not self._fill(9, deadline):
            return None
        frame, length = Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])))
        if not self._fill(9 + length, deadline):
            return None
        frame.parse_body(memoryview(bytes(self._buffer[9:9 + length])))
        del self._buffer[:9 + length]
        self._record(frame)
        return frame

    def read_bytes(self, size: int, deadline: Deadline) -> bytes:
        """Bytes that are not part of an HTTP/2 frame; empty at the end of the connection."""
        if not self._fill(size, deadline):
            return b""
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def receive_unparsed(self, size: int, deadline: Deadline) -> int:
        """Receive at most `size` bytes into the buffer without parsing them; return how many came."""
        self.socket.settimeout(deadline.left())
        data = self.socket.recv(size)
        self.received += len(data)
        self._buffer += data
        return len(data)

    def _fill(self, size: int, deadline: Deadline) -> bool:
        while len(self._buffer) < size:
            self.socket.settimeout(deadline.left())
            try:
                data = self.socket.recv(256 * 1024)
            except (ConnectionResetError, BrokenPipeError):
                self._reset, data = True, b""
            if not data:
                assert self._reset or not self._buffer, f"the connection ended inside a frame: {bytes(self._buffer)!r}"
                self.closed = "reset" if self._reset else "end"
                return False
            self.received += len(data)
            self._buffer += data
        return True

    def _record(self, frame: Frame) -> None:
        book = {HeadersFrame: self._record_headers, ContinuationFrame: self._record_continuation,
                DataFrame: self._record_data, RstStreamFrame: self._record_reset,
                SettingsFrame: self._record_settings, PingFrame: self._record_ping,
                GoAwayFrame: self.goaways.append, WindowUpdateFrame: self._record_window}[type(frame)]
        book(frame)

    def _record_headers(self, frame: HeadersFrame) -> None:
        self._block = (frame, bytearray(frame.data))
        self._record_block("END_HEADERS" in frame.flags)

    def _record_continuation(self, frame: ContinuationFrame) -> None:
        assert self._block
        self._block[1].extend(frame.data)
        self._record_block("END_HEADERS" in frame.flags)

    def _record_block(self, complete: bool) -> None:
        assert self._block
        if complete:
            first, block = self._block
            answer = self.answer(first.stream_id)
            answer.add_fields([tuple(pair) for pair in self.decoder.decode(bytes(block), raw=True)])
            answer.ended = "END_STREAM" in first.flags
            self._block = None

    def _record_data(self, frame: DataFrame) -> None:
        answer = self.answer(frame.stream_id)
        answer.body += frame.data
        answer.data_lengths.append(len(frame.data))
        answer.ended = "END_STREAM" in frame.flags
        if self.refill and frame.flow_controlled_length:
            grants = [WindowUpdateFrame(0, frame.flow_controlled_length)]
            if not answer.ended:
                grants.append(WindowUpdateFrame(frame.stream_id, frame.flow_controlled_length))
            self.send_if_open(*grants)

    def _record_reset(self, frame: RstStreamFrame) -> None:
        self.answer(frame.stream_id).reset = frame.error_code

    def _record_settings(self, frame: SettingsFrame) -> None:
        if "ACK" in frame.flags:
            self.acknowledged += 1
            return
        before = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        self.settings.update(frame.settings)
        more = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW) - before
        self._windows = {stream: window + more for stream, window in self._windows.items()}
        if self.acknowledge:
            self.send_if_open(SettingsFrame(0, flags=["ACK"]))

    def _record_ping(self, frame: PingFrame) -> None:
        if "ACK" in frame.flags:
            self.ping_acks.append(frame.opaque_data)
            return
        self.pings.append(frame.opaque_data)
        if self.acknowledge:
            self.send_if_open(PingFrame(0, frame.opaque_data, flags=["ACK"]))

    def _record_window(self, frame: WindowUpdateFrame) -> None:
        if frame.stream_id:
            self._windows[frame.stream_id] = self.window(frame.stream_id) + frame.window_increment
        else:
            self._window += frame.window_increment

    def send_if_open(self, *frames: Frame) -> None:
        """Send, but ignore an error because either side has already closed."""
        try:
            self.send(*frames)
        except BrokenPipeError:
            pass
        except ConnectionResetError:  # reported only once: the next read would return "end"
            self._reset = True

    def __str__(self) -> str:
        return f"answers {self.answers}, goaways {self.goaways}"


def read_all(connection: socket.socket, seconds: float = 5) -> bytes:
    """Everything that is received until the peer closes, from a socket without HTTP/2 framing."""
    deadline = Deadline(seconds)
    data = bytearray()
    while True:
        connection.settimeout(deadline.left())
        piece = connection.recv(65536)
        if not piece:
            return bytes(data)
        data += piece


def _connected(address: Address, source: str | None, receive_buffer: int | None) -> socket.socket:
    family = socket.AF_UNIX
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    connection = socket.socket(family)
    connection.settimeout(Deadline(5).left())
    if receive_buffer:  # set before connect, because it limits the TCP window that is announced
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        connection.bind((source, 0))
    connection.connect(address if isinstance(address, tuple) else str(address))
    if family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
