"""Rules of the RFCs as tables: what a client sends, valid or not, and how the daemon must react."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence, Union

from frames import GET, INITIAL_WINDOW_SIZE, block, get, headers, ping, settings, window_update
from wire import (CANCEL, COMPRESSION_ERROR, DEFAULT_WINDOW, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
                  FRAME_SIZE_ERROR, MAGIC, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, Client, Fields,
                  fields)

NAMES = {PROTOCOL_ERROR: "PROTOCOL_ERROR", FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
         FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR", STREAM_CLOSED: "STREAM_CLOSED", CANCEL: "CANCEL",
         COMPRESSION_ERROR: "COMPRESSION_ERROR", ENHANCE_YOUR_CALM: "ENHANCE_YOUR_CALM",
         REFUSED_STREAM: "REFUSED_STREAM"}
AFTERWARDS = 2**20 + 1  # the stream of a request that shows that the connection still works

# --- reactions ---

@dataclass
class Check:
    """A check inside a script or at its end, made when everything sent so far has been processed."""

    words: str
    holds: Callable[[Client], bool]

    def check(self, client: Client) -> None:
        settle(client)
        assert self.holds(client), f"expected: {self.words}; {client}"


def body(stream: int, length: int) -> Check:
    """Exactly `length` bytes of the response's content have arrived."""
    def holds(client: Client) -> bool:
        return bool(client.answer(stream).fields) and len(client.answer(stream).body) == length
    return Check(f"{length} bytes of content on stream {stream}", holds)


def settle(client: Client) -> None:
    """Wait until everything sent has been processed and answered: answers are sent before the second PING is read."""
    client.ping()
    client.ping()


@dataclass
class Reaction:
    """How the daemon must react to a script; the last column of a table."""

    words: str
    check: Callable[[Client], None]

    def __or__(self, other: Reaction) -> Reaction:
        """Either is allowed: this one if the connection is closed, the other one if not."""
        def check(client: Client) -> None:
            (self if connection_ended(client) else other).check(client)
        return Reaction(f"{self.words}; or {other.words}", check)


def connection_ended(client: Client) -> bool:
    client.send_if_open(ping(b"are-open"))
    client.read_until(lambda: bool(client.goaways) or b"are-open" in client.ping_acks, "GOAWAY or a PING's ACK")
    return bool(client.goaways)


def error_names(codes: Sequence[int]) -> str:
    return " or ".join(NAMES[code] for code in codes)


def ends(*codes: int, last: int | tuple[int, ...] = 0) -> Reaction:
    """A connection error: GOAWAY with one of these codes and last streams, then the connection is closed."""
    lasts = last if isinstance(last, tuple) else (last,)

    def check(client: Client) -> None:
        client.read_to_end()
        assert len(client.goaways) == 1, client
        assert client.goaways[0].error_code in codes, client
        assert client.goaways[0].last_stream_id in lasts, client
    return Reaction(f"GOAWAY {error_names(codes)}, last stream {' or '.join(map(str, lasts))}, closed", check)


def resets(*codes: int, stream: int = 1) -> Reaction:
    """A stream error with one of these codes; the connection goes on."""
    def check(client: Client) -> None:
        client.read_until(lambda: client.answer(stream).reset is not None, f"RST_STREAM on stream {stream}")
        assert client.answer(stream).reset in codes, client
        assert_connection_works(client)
    return Reaction(f"RST_STREAM {error_names(codes)}, the connection goes on", check)


def answers(stream: int = 1, request: Fields = GET) -> Reaction:
    def check(client: Client) -> None:
        client.wait(stream).assert_echo(request)
        assert client.answer(stream).reset is None
        assert_connection_works(client)
    return Reaction("answered, the connection goes on", check)


def answers_at_least(stream: int, request: Fields = GET) -> Reaction:
    return Reaction("answered; the connection may be closed afterwards",
                    lambda client: client.wait(stream).assert_echo(request))


def shows(words: str, holds: Callable[[Client], bool]) -> Reaction:
    def check(client: Client) -> None:
        Check(words, holds).check(client)
        assert_connection_works(client)
    return Reaction(f"{words}, the connection goes on", check)


def assert_connection_works(client: Client) -> None:
    """A request is answered, once all flow-control windows that the script may have closed are open again."""
    client.send(settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)), headers(AFTERWARDS, fields("/afterwards")))
    client.wait(AFTERWARDS).assert_echo(fields("/afterwards"))
    assert not client.goaways, client


def is_silent(client: Client) -> bool:
    return not client.answers and not client.goaways


IGNORED = shows("ignored", is_silent)

# --- tables ---

PREFACE = MAGIC + settings()
Step = Union[bytes, Check]


@dataclass
class Rule:
    """A rule of an RFC, bytes that follow or break it, and how the daemon must react."""

    section: str
    name: str
    must: str
    script: Sequence[Step]
    reaction: Reaction
    preface: bytes | None = PREFACE

    def __str__(self) -> str:
        return f"{self.section}-{self.name}"

    def run(self, client: Client, piece: int | None) -> None:
        """Run the script on a new connection, sending in pieces of `piece` bytes."""
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
ANSWERED_1 = Check("stream 1 answered", lambda client: client.answer(1).ended)
# Stream 1 is half-closed (remote): the response waits for its flow-control window.
HALF_CLOSED = [settings((INITIAL_WINDOW_SIZE, 0)), get(1), body(1, 0)]
OPEN_WINDOW = window_update(1, DEFAULT_WINDOW)
