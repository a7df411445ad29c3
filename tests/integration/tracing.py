"""Parsing of the trace, and two sources to compare it with.

The log's lines are parsed into frames. The same frames are made from the bytes themselves by hyperframe and hpack, and
from the output of nghttpd -v. All fields of a header block are attributed to the frame that begins the block."""
from __future__ import annotations

import os
import re
import select
import shutil
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, Sequence

import hpack
from hyperframe.frame import (ContinuationFrame, DataFrame, ExtensionFrame, Frame, GoAwayFrame, HeadersFrame,
                              PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

import needs
from clients import SEARCH_PATH
from daemon import LOG_LINE, Daemon
from waiting import Deadline, poll
from wire import MAGIC, Address

ERRORS = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
          "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")
SETTINGS = ("UNKNOWN", "SETTINGS_HEADER_TABLE_SIZE", "SETTINGS_ENABLE_PUSH", "SETTINGS_MAX_CONCURRENT_STREAMS",
            "SETTINGS_INITIAL_WINDOW_SIZE", "SETTINGS_MAX_FRAME_SIZE", "SETTINGS_MAX_HEADER_LIST_SIZE", "UNKNOWN",
            "SETTINGS_ENABLE_CONNECT_PROTOCOL")
FLAG_ORDER = ("END_STREAM", "END_HEADERS", "PADDED", "PRIORITY")

# The grammar of a line after "connection N ".
DIRECTION = r"(recv|send) "
FRAME_LINE = re.compile(
    r"(?P<kind>[A-Z_]+|UNKNOWN\(0x[0-9a-f]{2}\)) frame "
    r"<length=(?P<length>\d+), flags=0x(?P<flags>[0-9a-f]{2}), stream_id=(?P<stream>\d+)(?P<reserved>, reserved=1)?>"
    r"(?: ; (?P<names>[A-Z_]+(?: \| [A-Z_]+)*))?"
    r"(?: \((?P<details>(?:[^\\\"]|\\.)*)\))?"
    r"(?P<settings>(?: \[[A-Z0-9_]+\(0x[0-9a-f]{2,4}\):\d+\])*)"
    r"(?: ; (?P<fault>malformed: [a-z0-9 ]+|ended after \d+ bytes))?")
FIELD_LINE = re.compile(r"\(stream_id=(?P<stream>\d+)(?P<sensitive>, sensitive)?\) "
                        r"(?P<name>:?(?:[^ :\\\"]|\\.)*)(?:: (?P<value>(?:[^\\\"]|\\.)*))?")
NOTE_LINE = re.compile(r"\(stream_id=\d+\) \[([a-z', ]+)\]|frame ; (ended after \d bytes of its header)")
DETAIL = re.compile(r"(\w+(?:\(\d+\))?)=(\[.*\]|[^,\[]*)")
SETTING = re.compile(r"\[(\w+)\(0x([0-9a-f]+)\):(\d+)\]")
PEER_LINE = re.compile(r"connection (\d+) from (\S+): frames follow")

Field = tuple[bytes, bytes, bool]  # name, value, whether it is never indexed


@dataclass
class TracedFrame:
    """A frame with its fields, as the trace shows it."""

    kind: str
    length: int
    flags: int
    stream: int
    names: list[str] = field(default_factory=list)  # names of the flags
    details: dict[str, str] = field(default_factory=dict)
    settings: list[tuple[str, int, int]] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    fault: str | None = None


@dataclass
class Trace:
    """The trace of one connection."""

    peer: str
    received: list[TracedFrame] = field(default_factory=list)
    sent: list[TracedFrame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# --- parsing the log ---

def unescape(text: str) -> bytes:
    return re.sub(r"\\(?:x([0-9a-f]{2})|(.))", lambda match: chr(int(match[1], 16)) if match[1] else match[2],
                  text).encode("latin-1")


def frame_from_match(match: re.Match[str]) -> TracedFrame:
    """The frame of a line of the trace, or of several lines of nghttpd joined."""
    details = match["details"]
    settings = [(name, int(number, 16), int(value)) for name, number, value in SETTING.findall(match["settings"])]
    return TracedFrame(match["kind"], int(match["length"]), int(match["flags"], 16), int(match["stream"]),
                       match["names"].split(" | ") if match["names"] else [],
                       dict(DETAIL.findall(details)) if details else {}, settings, fault=match["fault"])


def add_line(trace: Trace, frames: list[TracedFrame], text: str) -> None:
    """Add what a line says to the frames of its direction; fails if it matches no known form."""
    if match := FRAME_LINE.fullmatch(text):
        frames.append(frame_from_match(match))
    elif match := NOTE_LINE.fullmatch(text):
        trace.notes.append(match[1] or match[2])
    else:
        match = FIELD_LINE.fullmatch(text)
        assert match and int(match["stream"]) == frames[-1].stream, text
        first = next(frame for frame in reversed(frames) if frame.kind != "CONTINUATION")
        first.fields.append((unescape(match["name"]), unescape(match["value"] or ""), bool(match["sensitive"])))


def traces_of(lines: Sequence[str]) -> dict[str, Trace]:
    """The traces in the log, by the peer's name."""
    by_number: dict[str, Trace] = {}
    for line in lines:
        match = LOG_LINE.fullmatch(line)
        assert match, line
        if peer := PEER_LINE.fullmatch(match[3]):
            assert peer[1] not in by_number
            by_number[peer[1]] = Trace(peer[2])
        elif frame_line := re.fullmatch(rf"connection (\d+) {DIRECTION}(.*)", match[3]):
            assert match[2] == "info"
            trace = by_number[frame_line[1]]
            add_line(trace, trace.received if frame_line[2] == "recv" else trace.sent, frame_line[3])
    return {trace.peer: trace for trace in by_number.values()}


def complete_traces(daemon: Daemon) -> dict[str, Trace]:
    """The traces of all connections, once they are closed: everything about them is logged before the stats."""
    daemon.wait_for_stats(connections=0)
    return traces_of(daemon.lines)


# --- expected frames ---

KINDS = {DataFrame: "DATA", HeadersFrame: "HEADERS", PriorityFrame: "PRIORITY", RstStreamFrame: "RST_STREAM",
         SettingsFrame: "SETTINGS", PingFrame: "PING", GoAwayFrame: "GOAWAY", WindowUpdateFrame: "WINDOW_UPDATE",
         ContinuationFrame: "CONTINUATION"}


def error_of(code: int) -> str:
    return f"{ERRORS[code] if code < len(ERRORS) else 'unknown'}(0x{code:02x})"


def dependency(frame: HeadersFrame | PriorityFrame) -> dict[str, str]:
    return {"dep_stream_id": str(frame.depends_on), "weight": str(frame.stream_weight + 1),
            "exclusive": str(int(frame.exclusive))}


def details_of(frame: Frame, payload: bytes) -> dict[str, str]:
    """What must be shown in parentheses."""
    if isinstance(frame, DataFrame):
        return {"padlen": str(frame.pad_length)} if "PADDED" in frame.flags else {}
    if isinstance(frame, HeadersFrame):
        return {"padlen": str(frame.pad_length)} | (dependency(frame) if "PRIORITY" in frame.flags else {})
    if isinstance(frame, PriorityFrame):
        return dependency(frame)
    if isinstance(frame, RstStreamFrame):
        return {"error_code": error_of(frame.error_code)}
    if isinstance(frame, SettingsFrame):
        return {"niv": str(len(payload) // 6)}
    if isinstance(frame, PingFrame):
        return {"opaque_data": frame.opaque_data.hex()}
    if isinstance(frame, WindowUpdateFrame):
        return {"window_size_increment": str(frame.window_increment)}
    if isinstance(frame, GoAwayFrame):
        text = frame.additional_data.decode("ascii")
        return {"last_stream_id": str(frame.last_stream_id), "error_code": error_of(frame.error_code),
                f"opaque_data({len(text)})": f"[{text}]"}
    return {"payload": payload.hex()} if isinstance(frame, ExtensionFrame) and payload else {}


def settings_of(frame: Frame, payload: bytes) -> list[tuple[str, int, int]]:
    if not isinstance(frame, SettingsFrame):
        return []
    return [(SETTINGS[number] if number < len(SETTINGS) else "UNKNOWN", number, value)
            for number, value in struct.iter_unpack(">HI", payload)]


def frames_in(data: bytes) -> Iterator[tuple[Frame, int, bytes]]:
    """The frames in these bytes, with their flags and payloads as sent."""
    at = 0
    while at < len(data):
        frame, length = Frame.parse_frame_header(memoryview(data[at:at + 9]))
        payload = data[at + 9:at + 9 + length]
        frame.parse_body(memoryview(payload))
        yield frame, data[at + 4], payload
        at += 9 + length


def expected_frames(data: bytes) -> list[TracedFrame]:
    """How a trace must show these bytes."""
    decoder, block = hpack.Decoder(), b""
    frames: list[TracedFrame] = []
    for frame, flags, payload in frames_in(data.removeprefix(MAGIC)):
        names = [flag.name for flag in frame.defined_flags if flag.name in frame.flags]
        frames.append(TracedFrame(KINDS.get(type(frame)) or f"UNKNOWN(0x{frame.type:02x})", len(payload), flags,
                                  frame.stream_id, names, details_of(frame, payload), settings_of(frame, payload)))
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            block += frame.data
            if "END_HEADERS" in frame.flags:
                first = next(shown for shown in reversed(frames) if shown.kind == "HEADERS")
                first.fields = [(pair[0], pair[1], not pair.indexable) for pair in decoder.decode(block, raw=True)]
                block = b""
    return frames


# --- recording a client, and comparing with nghttpd ---

def record_client(address: Address, send_requests: Callable[[int], None]) -> bytes:
    """The bytes that a client sends to the daemon: `send_requests` gets the port of a proxy that records them."""
    sent = bytearray()
    deadline = Deadline(10)
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        done = pool.submit(send_requests, listener.getsockname()[1])
        listener.settimeout(deadline.left())
        with listener.accept()[0] as client, socket.create_connection(address) as server:
            while True:
                ready, _, _ = select.select([client, server], [], [], deadline.left())
                if server in ready:
                    client.sendall(server.recv(65536))
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        break
                    sent += data
                    server.sendall(data)
        done.result()
    return bytes(sent)


def replay(address: Address, sent: bytes) -> None:
    """Send recorded bytes to a server, and read until it closes."""
    deadline = Deadline(10)
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(deadline.left())
        while connection.recv(65536):
            pass


def listening_port(process: subprocess.Popen[bytes]) -> int | None:
    """The TCP port that a process listens on, if it does."""
    inodes = set()
    for link in needs.proc(f"{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            inodes.add(os.readlink(link))
    for line in needs.proc("net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            return int(words[1].rpartition(":")[2], 16)
    return None


def nghttpd_output(sent: bytes, directory: Path) -> str:
    """The output of nghttpd -v for one connection on which these bytes are sent."""
    program = shutil.which("nghttpd", path=SEARCH_PATH)
    assert program
    # Later versions of nghttpd buffer their output if it is a pipe.
    words = ["stdbuf", "--output=L", program, "-v", "--no-tls", "--address=127.0.0.1", f"--htdocs={directory}", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        try:
            replay(("127.0.0.1", poll(lambda: listening_port(process), "nghttpd's port")), sent)
            return read_until(process, "[id=1]", "closed\n").decode("latin-1")
        finally:
            process.kill()


def nghttpd_shows_priorities() -> bool:
    """Whether nghttpd shows PRIORITY frames: later versions of its library ignore them."""
    program = shutil.which("nghttpd", path=SEARCH_PATH)
    assert program
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10)
    match = re.search(r"nghttp2/(\d+)\.(\d+)", done.stdout)
    assert match, done.stdout
    return (int(match[1]), int(match[2])) < (1, 65)


def read_until(process: subprocess.Popen[bytes], begin: str, end: str) -> bytes:
    """The output of a process up to a line with this beginning and end."""
    output, deadline = bytearray(), Deadline(10)
    assert process.stdout
    while not re.search(rf"^{re.escape(begin)}.*\] {end}".encode(), output, re.MULTILINE):
        assert select.select([process.stdout], [], [], deadline.left())[0]
        data = os.read(process.stdout.fileno(), 65536)
        assert data, bytes(output)
        output += data
    return bytes(output)


def nghttpd_frames(output: str) -> list[TracedFrame]:
    """The frames received, from its output; it prints fields before their frame, and a block as one frame."""
    entries = re.findall(r"^\[id=1\] \[ *\d+\.\d+\] recv (.*(?:\n +.*)*)", output, re.MULTILINE)
    frames, fields = [], []
    for entry in entries:
        if match := re.fullmatch(r"\(stream_id=\d+(, sensitive)?\) (:?[^:]*): (.*)", entry):
            fields.append((match[2].encode("latin-1"), match[3].encode("latin-1"), bool(match[1])))
            continue
        text = re.sub(r" ; (Open|First|Last) .*", "", " ".join(line.strip() for line in entry.split("\n")))
        match = FRAME_LINE.fullmatch(text)
        assert match, text
        frames.append(frame_from_match(match))
        if frames[-1].kind == "HEADERS":
            frames[-1].fields, fields = fields, []
    assert not fields
    return frames


def as_nghttpd_shows(frames: Sequence[TracedFrame]) -> list[TracedFrame]:
    """The daemon's frames, changed to how nghttpd shows them: CONTINUATION is part of HEADERS, padding includes its
    length byte, reserved bits and unknown frames are omitted, and bytes that cannot be printed are dots."""
    merged: list[TracedFrame] = []
    unknown = ("UNKNOWN", "PRIORITY_UPDATE") if nghttpd_shows_priorities() else ("UNKNOWN", "PRIORITY")
    for frame in frames:
        if frame.kind == "CONTINUATION":
            merged[-1].length += frame.length
            merged[-1].flags |= frame.flags
            merged[-1].names = sorted({*merged[-1].names, *frame.names}, key=FLAG_ORDER.index)
        elif not frame.kind.startswith(unknown):
            merged.append(frame)
    for frame in merged:
        frame.details.pop("reserved", None)
        if "PADDED" in frame.names:
            frame.details["padlen"] = str(int(frame.details["padlen"]) + 1)
        for name in [name for name in frame.details if name.startswith("opaque_data(")]:
            data = unescape(frame.details[name][1:-1])
            frame.details[name] = "[" + "".join(chr(byte) if 0x20 <= byte < 0x7f else "." for byte in data) + "]"
    return merged
