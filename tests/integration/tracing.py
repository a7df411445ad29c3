"""The trace as a reader sees it: its lines parsed back into frames, and what these are held against.

That is what hyperframe and hpack read in the bytes themselves, and what nghttpd shows of the same bytes. The fields
of a block are all counted to the frame that begins it.
"""
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

# The grammar of a line, behind "connection N ".
WAY = r"(recv|send) "
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
class Shown:
    """A frame with its fields, as it is shown."""

    kind: str
    length: int
    flags: int
    stream: int
    names: list[str] = field(default_factory=list)  # of the flags
    details: dict[str, str] = field(default_factory=dict)
    settings: list[tuple[str, int, int]] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    fault: str | None = None


@dataclass
class Trace:
    """What is told of one connection."""

    peer: str
    received: list[Shown] = field(default_factory=list)
    sent: list[Shown] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# --- The daemon's lines ---

def unescape(text: str) -> bytes:
    return re.sub(r"\\(?:x([0-9a-f]{2})|(.))", lambda match: chr(int(match[1], 16)) if match[1] else match[2],
                  text).encode("latin-1")


def shown_frame(match: re.Match[str]) -> Shown:
    """The frame of a line, or of what nghttpd has in several."""
    details = match["details"]
    settings = [(name, int(number, 16), int(value)) for name, number, value in SETTING.findall(match["settings"])]
    return Shown(match["kind"], int(match["length"]), int(match["flags"], 16), int(match["stream"]),
                 match["names"].split(" | ") if match["names"] else [],
                 dict(DETAIL.findall(details)) if details else {}, settings, fault=match["fault"])


def add_line(trace: Trace, frames: list[Shown], text: str) -> None:
    """Take a line of one way into its frames. It has one of the forms that there are, or this fails."""
    if match := FRAME_LINE.fullmatch(text):
        frames.append(shown_frame(match))
    elif match := NOTE_LINE.fullmatch(text):
        trace.notes.append(match[1] or match[2])
    else:
        match = FIELD_LINE.fullmatch(text)
        assert match and int(match["stream"]) == frames[-1].stream, text
        first = next(frame for frame in reversed(frames) if frame.kind != "CONTINUATION")
        first.fields.append((unescape(match["name"]), unescape(match["value"] or ""), bool(match["sensitive"])))


def traces_of(lines: Sequence[str]) -> dict[str, Trace]:
    """What the log tells of each connection, by the client's name."""
    by_number: dict[str, Trace] = {}
    for line in lines:
        match = LOG_LINE.fullmatch(line)
        assert match, line
        if begun := PEER_LINE.fullmatch(match[3]):
            assert begun[1] not in by_number
            by_number[begun[1]] = Trace(begun[2])
        elif told := re.fullmatch(rf"connection (\d+) {WAY}(.*)", match[3]):
            assert match[2] == "info"
            trace = by_number[told[1]]
            add_line(trace, trace.received if told[2] == "recv" else trace.sent, told[3])
    return {trace.peer: trace for trace in by_number.values()}


def whole_traces(daemon: Daemon) -> dict[str, Trace]:
    """The same once no connection is left; what was logged before the figures is in the log by then."""
    daemon.wait_for_stats(connections=0)
    return traces_of(daemon.lines)


# --- The bytes themselves ---

KINDS = {DataFrame: "DATA", HeadersFrame: "HEADERS", PriorityFrame: "PRIORITY", RstStreamFrame: "RST_STREAM",
         SettingsFrame: "SETTINGS", PingFrame: "PING", GoAwayFrame: "GOAWAY", WindowUpdateFrame: "WINDOW_UPDATE",
         ContinuationFrame: "CONTINUATION"}


def error_of(code: int) -> str:
    return f"{ERRORS[code] if code < len(ERRORS) else 'unknown'}(0x{code:02x})"


def dependency(frame: HeadersFrame | PriorityFrame) -> dict[str, str]:
    return {"dep_stream_id": str(frame.depends_on), "weight": str(frame.stream_weight + 1),
            "exclusive": str(int(frame.exclusive))}


def details_of(frame: Frame, payload: bytes) -> dict[str, str]:
    """What is to be shown in parentheses."""
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
    """Each frame, with its flags and payload as they came."""
    at = 0
    while at < len(data):
        frame, length = Frame.parse_frame_header(memoryview(data[at:at + 9]))
        payload = data[at + 9:at + 9 + length]
        frame.parse_body(memoryview(payload))
        yield frame, data[at + 4], payload
        at += 9 + length


def shown_in(data: bytes) -> list[Shown]:
    """How a trace has to show these bytes."""
    decoder, block = hpack.Decoder(), b""
    frames: list[Shown] = []
    for frame, flags, payload in frames_in(data.removeprefix(MAGIC)):
        names = [flag.name for flag in frame.defined_flags if flag.name in frame.flags]
        frames.append(Shown(KINDS.get(type(frame)) or f"UNKNOWN(0x{frame.type:02x})", len(payload), flags,
                            frame.stream_id, names, details_of(frame, payload), settings_of(frame, payload)))
        if isinstance(frame, (HeadersFrame, ContinuationFrame)):
            block += frame.data
            if "END_HEADERS" in frame.flags:
                first = next(shown for shown in reversed(frames) if shown.kind == "HEADERS")
                first.fields = [(pair[0], pair[1], not pair.indexable) for pair in decoder.decode(block, raw=True)]
                block = b""
    return frames


# --- What others show, and what was said to them ---

def record(address: Address, talk: Callable[[int], None]) -> bytes:
    """What a client says to the daemon: it is given the port of one who passes it on, both ways."""
    said = bytearray()
    deadline = Deadline(10)
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        done = pool.submit(talk, listener.getsockname()[1])
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
                    said += data
                    server.sendall(data)
        done.result()
    return bytes(said)


def replay(address: Address, said: bytes) -> None:
    """Say it again, and hear what comes until the other side has closed."""
    deadline = Deadline(10)
    with socket.create_connection(address) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(deadline.left())
        while connection.recv(65536):
            pass


def listening_port(process: subprocess.Popen[bytes]) -> int | None:
    """The TCP port that a process listens on, for one that doesn't say which it took."""
    inodes = set()
    for link in needs.proc(f"{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            inodes.add(os.readlink(link))
    for line in needs.proc("net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
            return int(words[1].rpartition(":")[2], 16)
    return None


def nghttpd_output(said: bytes, directory: Path) -> str:
    """What nghttpd -v tells of one connection on which this is said."""
    program = shutil.which("nghttpd", path=SEARCH_PATH)
    assert program
    # What is written to a pipe stays in the buffer of later versions.
    words = ["stdbuf", "--output=L", program, "-v", "--no-tls", "--address=127.0.0.1", f"--htdocs={directory}", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as process:
        try:
            replay(("127.0.0.1", poll(lambda: listening_port(process), "nghttpd's port")), said)
            return read_until(process, "[id=1]", "closed\n").decode("latin-1")
        finally:
            process.kill()


def nghttpd_shows_priorities() -> bool:
    """Whether its library tells of PRIORITY frames: later ones drop them."""
    program = shutil.which("nghttpd", path=SEARCH_PATH)
    assert program
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10)
    match = re.search(r"nghttp2/(\d+)\.(\d+)", done.stdout)
    assert match, done.stdout
    return (int(match[1]), int(match[2])) < (1, 65)


def read_until(process: subprocess.Popen[bytes], begin: str, end: str) -> bytes:
    """Its output up to a line that begins and ends like this."""
    output, deadline = bytearray(), Deadline(10)
    assert process.stdout
    while not re.search(rf"^{re.escape(begin)}.*\] {end}".encode(), output, re.MULTILINE):
        assert select.select([process.stdout], [], [], deadline.left())[0]
        data = os.read(process.stdout.fileno(), 65536)
        assert data, bytes(output)
        output += data
    return bytes(output)


def nghttpd_frames(output: str) -> list[Shown]:
    """What it shows of what it received. Fields stand before their frame there, and a block is one frame."""
    entries = re.findall(r"^\[id=1\] \[ *\d+\.\d+\] recv (.*(?:\n +.*)*)", output, re.MULTILINE)
    frames, fields = [], []
    for entry in entries:
        if match := re.fullmatch(r"\(stream_id=\d+(, sensitive)?\) (:?[^:]*): (.*)", entry):
            fields.append((match[2].encode("latin-1"), match[3].encode("latin-1"), bool(match[1])))
            continue
        text = re.sub(r" ; (Open|First|Last) .*", "", " ".join(line.strip() for line in entry.split("\n")))
        match = FRAME_LINE.fullmatch(text)
        assert match, text
        frames.append(shown_frame(match))
        if frames[-1].kind == "HEADERS":
            frames[-1].fields, fields = fields, []
    assert not fields
    return frames


def as_nghttpd_shows(frames: Sequence[Shown]) -> list[Shown]:
    """Ours in its way: CONTINUATION is part of HEADERS, padding counts its length byte, reserved bits and frames of
    types that it doesn't know are nothing, what can't be printed is a dot."""
    merged: list[Shown] = []
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
