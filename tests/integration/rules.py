"""What the tables of rules are written in: frames as bytes, right or wrong, and what they have to lead to."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence, Union

from wire import (CANCEL, COMPRESSION_ERROR, DEFAULT_WINDOW, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
                  FRAME_SIZE_ERROR, MAGIC, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, Client, Fields,
                  Text, fields)

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 0x1, 0x4, 0x8, 0x20, 0x1
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
NO_RFC7540_PRIORITIES = 9
NAMES = {PROTOCOL_ERROR: "PROTOCOL_ERROR", FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
         FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR", STREAM_CLOSED: "STREAM_CLOSED", CANCEL: "CANCEL",
         COMPRESSION_ERROR: "COMPRESSION_ERROR", ENHANCE_YOUR_CALM: "ENHANCE_YOUR_CALM",
         REFUSED_STREAM: "REFUSED_STREAM"}
AFTERWARDS = 2**20 + 1  # the stream of the request that shows that a connection lives on

# --- HPACK, without the dynamic table and without a state ---


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1, behind the bits of `first`."""
    limit = 2**prefix - 1
    if value < limit:
        return bytes([first | value])
    out, value = bytearray([first | limit]), value - limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def string(text: Text) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return integer(len(data), 7) + data


def literal(name: Text | int, value: Text, first: int = 0x00, prefix: int = 4) -> bytes:
    """A literal field, its name by index or by itself; not indexed, unless `first` and `prefix` say so."""
    start = integer(name, prefix, first) if isinstance(name, int) else bytes([first]) + string(name)
    return start + string(value)


def indexing(name: Text | int, value: Text) -> bytes:
    """A literal field that goes into the dynamic table."""
    return literal(name, value, 0x40, 6)


def never_indexed(name: Text | int, value: Text) -> bytes:
    return literal(name, value, 0x10)


def indexed(index: int) -> bytes:
    return integer(index, 7, 0x80)


def table_size(size: int) -> bytes:
    return integer(size, 5, 0x20)


def block(request: Fields) -> bytes:
    return b"".join(literal(name, value) for name, value in request)


# --- frames ---

def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def data(stream: int, payload: bytes, flags: int = END_STREAM) -> bytes:
    return frame(DATA, flags, stream, payload)


def headers(stream: int, request: Fields | bytes, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, request if isinstance(request, bytes) else block(request))


def continuation(stream: int, fragment: bytes, flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, fragment)


def priority(stream: int, depends_on: int, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, number(depends_on) + bytes([weight]))


def reset_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, number(code))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(key.to_bytes(2, "big") + number(value) for key, value in pairs))


def ping(opaque: bytes, flags: int = 0) -> bytes:
    return frame(PING, flags, 0, opaque)


def goaway(last: int, code: int) -> bytes:
    return frame(GOAWAY, 0, 0, number(last) + number(code))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


GET = fields("/rule")
POST = fields("/rule", "POST")


def get(stream: int) -> bytes:
    return headers(stream, GET)


def post(stream: int) -> bytes:
    """A request whose content is to come."""
    return headers(stream, POST, END_HEADERS)


# --- what they have to lead to ---

@dataclass
class Seen:
    """A check in the middle of a script or at its end, when all that was sent is dealt with."""

    words: str
    holds: Callable[[Client], bool]

    def check(self, client: Client) -> None:
        settle(client)
        assert self.holds(client), f"not so: {self.words}; {client}"


def body(stream: int, length: int) -> Seen:
    """So much of the answer's content has come, and not more."""
    def holds(client: Client) -> bool:
        return bool(client.answer(stream).fields) and len(client.answer(stream).body) == length
    return Seen(f"{length} bytes of content on stream {stream}", holds)


def settle(client: Client) -> None:
    """Everything sent has been read, and its answers, too: these go out before the second PING is read."""
    client.ping()
    client.ping()


@dataclass
class Reaction:
    """What a script leads to; the table's last column."""

    words: str
    check: Callable[[Client], None]

    def __or__(self, other: Reaction) -> Reaction:
        """Either will do: this one where the peer closes, the other one where it doesn't."""
        def check(client: Client) -> None:
            (self if ended(client) else other).check(client)
        return Reaction(f"{self.words}; or {other.words}", check)


def ended(client: Client) -> bool:
    client.send_if_open(ping(b"anybody?"))
    client.read_until(lambda: bool(client.goaways) or b"anybody?" in client.ping_acks, "GOAWAY or a PING's ACK")
    return bool(client.goaways)


def named(codes: Sequence[int]) -> str:
    return " or ".join(NAMES[code] for code in codes)


def ends(*codes: int, last: int | tuple[int, ...] = 0) -> Reaction:
    """A connection error: GOAWAY with one of these codes and last streams, then the connection is closed."""
    lasts = last if isinstance(last, tuple) else (last,)

    def check(client: Client) -> None:
        client.read_to_end()
        assert len(client.goaways) == 1, client
        assert client.goaways[0].error_code in codes, client
        assert client.goaways[0].last_stream_id in lasts, client
    return Reaction(f"GOAWAY {named(codes)}, last stream {' or '.join(map(str, lasts))}, closed", check)


def resets(*codes: int, stream: int = 1) -> Reaction:
    """A stream error, and nothing else."""
    def check(client: Client) -> None:
        client.read_until(lambda: client.answer(stream).reset is not None, f"RST_STREAM on stream {stream}")
        assert client.answer(stream).reset in codes, client
        lives_on(client)
    return Reaction(f"RST_STREAM {named(codes)}, the connection lives on", check)


def answers(stream: int = 1, request: Fields = GET) -> Reaction:
    def check(client: Client) -> None:
        client.wait(stream).assert_echo(request)
        assert client.answer(stream).reset is None
        lives_on(client)
    return Reaction("answered, the connection lives on", check)


def answers_at_least(stream: int, request: Fields = GET) -> Reaction:
    return Reaction("answered, and it may be closed then",
                    lambda client: client.wait(stream).assert_echo(request))


def shows(words: str, holds: Callable[[Client], bool]) -> Reaction:
    def check(client: Client) -> None:
        Seen(words, holds).check(client)
        lives_on(client)
    return Reaction(f"{words}, the connection lives on", check)


def lives_on(client: Client) -> None:
    """A request is answered, after all windows that a script may have closed are opened."""
    client.send(settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)), headers(AFTERWARDS, fields("/afterwards")))
    client.wait(AFTERWARDS).assert_echo(fields("/afterwards"))
    assert not client.goaways, client


def is_silent(client: Client) -> bool:
    return not client.answers and not client.goaways


IGNORED = shows("ignored", is_silent)

# --- the table ---

PREFACE = MAGIC + settings()
Step = Union[bytes, Seen]


@dataclass
class Rule:
    """A rule of an RFC, bytes that exercise or break it, and what they have to lead to."""

    section: str
    name: str
    must: str
    script: Sequence[Step]
    reaction: Reaction
    preface: bytes | None = PREFACE

    def __str__(self) -> str:
        return f"{self.section}-{self.name}"

    def run(self, client: Client, piece: int | None) -> None:
        """Go through the script on a new connection, sending in pieces of so many bytes."""
        if self.preface is not None:
            client.send(self.preface)
            client.ping()
        for step in self.script:
            if isinstance(step, bytes):
                client.send(step, piece=piece)
            else:
                step.check(client)
        self.reaction.check(client)


BLOCK = block(GET)
LARGEST = 2**31 - 1
ANSWERED_1 = Seen("stream 1 answered", lambda client: client.answer(1).ended)
# Stream 1 is half-closed (remote): the answer waits for its window.
HALF_CLOSED = [settings((INITIAL_WINDOW_SIZE, 0)), get(1), body(1, 0)]
OPEN_WINDOW = window_update(1, DEFAULT_WINDOW)
