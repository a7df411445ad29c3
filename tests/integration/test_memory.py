"""What one client can make the daemon hold stays under what the manual's LIMITS say, and goes when the client does."""
from __future__ import annotations

from typing import Callable, Sequence

import hpack.huffman
import hpack.huffman_constants
import pytest

from conftest import Start
from daemon import PLAIN_MEMORY
from frames import CONTINUATION, HEADERS, RST_STREAM, frame, integer, literal, settings
from hostile import (GET_BLOCK, POST_BLOCK, REQUEST_SIZE, Neighbour, Record, assert_goaway, request,
                     send_until_closed, stream_ids)
from wire import ENHANCE_YOUR_CALM, Client

TRANSPORTS = ("plain", "tls")

pytestmark = pytest.mark.heavy

KIB = 1024
WINDOW = 4  # SETTINGS_INITIAL_WINDOW_SIZE
CANCEL = (8).to_bytes(4, "big")
VALUE_MAX = 60_000  # nghttp2 takes no value of more than 64 KiB
CODED_MAX = 65_536  # nor one of which Huffman's code takes more
CODER = hpack.huffman.HuffmanEncoder(hpack.huffman_constants.REQUEST_CODES,
                                     hpack.huffman_constants.REQUEST_CODES_LENGTH)
COST = 200_000  # requests that could be answered instead; JSON of 128 large ones is worth 10,000
Block = Callable[[int], bytes]


def name_of(block: Block) -> str:
    return block.__name__.replace("_", "-")


def bound(streams: int, size: int, factor: float = 2.5, rest: int = 4 * KIB) -> float:
    """KiB of a connection, by the manual."""
    return ((streams + 4) * (factor * size + rest) + 1024 * KIB) / KIB


# --- requests of nearly so many bytes, behind their first fields ---

def repeated(name: bytes, length: int, size: int) -> bytes:
    """As many fields as there is room for, of one name and one value, bytes that grow to two in JSON."""
    count = (size - REQUEST_SIZE) // (len(name) + length + 32)
    return literal(name, b"\xff" * length) * count


def long_values(size: int) -> bytes:
    rest, fields = size - REQUEST_SIZE - 64, b""
    while rest > 64:
        length = min(rest - 35, VALUE_MAX)
        fields, rest = fields + literal(b"x%02x" % (rest & 0xff), b"\xff" * length), rest - length - 35
    return fields


def no_values(size: int) -> bytes:
    return repeated(b"a", 0, size)


def short_values(size: int) -> bytes:
    """Just more than what room that grows by doubling takes well, of fields and of text."""
    return repeated(b"a", 31, size)


def one_name(size: int) -> bytes:
    return repeated(b"a", min(size - REQUEST_SIZE, VALUE_MAX) // 4 - 40, size)


LIMITS = {  # --max-concurrent-streams, --max-header-list-size, how many clients
    "default": (128, 64 * KIB, 1),
    "few-and-small": (8, 16 * KIB, 8),
    "many-and-tiny": (1024, 1 * KIB, 1),
    "few-and-huge": (2, 2048 * KIB, 1),
}


def fill(client: Client, streams: int, fields: bytes, end: bool, get: bytes = GET_BLOCK) -> None:
    """Every stream that there may be, with a request that isn't finished or an answer that isn't taken."""
    first = client.next_stream
    client.next_stream += 2 * streams
    for stream in stream_ids(streams, first):
        send_until_closed(client, request(stream, (get if end else POST_BLOCK) + fields, end))
    client.ping()
    assert not client.goaways
    if end:
        client.read_until(lambda: all(client.answer(s).fields for s in stream_ids(streams, first)), "every answer's begin")
        assert {client.answer(s).status for s in stream_ids(streams, first)} == {200}
    assert not any(client.answer(s).finished for s in stream_ids(streams, first))


def reset(client: Client, streams: int) -> None:
    for stream in stream_ids(streams, client.next_stream - 2 * streams):
        client.send(frame(RST_STREAM, 0, stream, CANCEL))
    client.ping()


def holds(start: Start, record: Record, limits: str, rounds: Sequence[tuple[Block, bool]],
          *options: str, get: bytes = GET_BLOCK, factor: float = 2.5, rest: int = 4 * KIB, least: float = 0.5,
          said: bytes = b"", then: Callable[[Client], None] | None = None) -> None:
    """One round after the other, in which all streams are used; those of the one before are reset. What is held is
    so many times what the lists come to: at least, or the test tests nothing, and at most."""
    streams, size, crowd = LIMITS[limits]
    daemon = start(f"--max-concurrent-streams={streams}", f"--max-header-list-size={size}", *options)
    with Neighbour(daemon, crowd) as watch:
        clients = [daemon.connect({WINDOW: 0}) for _ in range(crowd)]
        for client in clients:
            client.send(said)
        for number, (shape, end) in enumerate(rounds):
            for client in clients:
                if number > 0:
                    reset(client, streams)
                fill(client, streams, shape(size), end, get)
        held = daemon.memory() - watch.before.memory
        if then:
            then(clients[0])
    if PLAIN_MEMORY:
        assert held >= crowd * streams * size / KIB * least, "it doesn't hold what it was to hold"
    watch.assert_harmless(clients, int(crowd * bound(streams, size, factor, rest)), COST)
    record("figures", watch.summary())


@pytest.mark.parametrize("shape", [long_values, one_name], ids=name_of)
def test_answers_that_are_not_taken(start: Start, record_property: Record, shape: Block) -> None:
    holds(start, record_property, "default", [(shape, True)])


@pytest.mark.parametrize("shape", [long_values, no_values, short_values], ids=name_of)
def test_content_that_does_not_come(start: Start, record_property: Record, shape: Block) -> None:
    holds(start, record_property, "default", [(shape, False)], least=0.25 if shape is no_values else 0.5)


@pytest.mark.parametrize("limits", LIMITS)
def test_holes_between_what_is_held(start: Start, record_property: Record, limits: str) -> None:
    """What is held changes its shape, so that no room fits any more."""
    rounds = [(long_values, True), (no_values, False), (short_values, False)]
    if LIMITS[limits][0] > 200:
        rounds = rounds[:1]  # so many may not be reset
    holds(start, record_property, limits, rounds)


def test_paths_that_the_access_log_keeps(start: Start, record_property: Record) -> None:
    """A line of the log is written at the end: until then it keeps the path beside the answer."""
    get = b"\x82\x86\x01\x01a\x04" + literal(b"", b"/" + b"\xff" * VALUE_MAX)[2:]
    holds(start, record_property, "default", [(lambda size: long_values(size - VALUE_MAX), True)], "--access-log=json",
          get=get)


def coded(byte: bytes, bits: int, before: bytes = b"") -> bytes:
    """A string of as many bytes as HPACK lets through: nghttp2's buffer for it is several times as large."""
    text = CODER.encode(before + byte * ((CODED_MAX - 8) * 8 // bits))
    length = integer(len(text), 7)
    return bytes([length[0] | 0x80]) + length[1:] + text


@pytest.mark.parametrize("rounds", [1, 3])
def test_methods_and_paths_in_large_buffers(start: Start, record_property: Record, rounds: int) -> None:
    """What the access log keeps is a copy: a buffer of Huffman's code has 128 KiB for 19 KB of path."""
    get = b"\x02" + coded(b"`", 15) + b"\x86\x01\x01a\x04" + coded(b"\xf9", 28, b"/")
    used = CODED_MAX * 8 // 15 + CODED_MAX * 8 // 28 + 600
    holds(start, record_property, "default", [(lambda size: long_values(size - used), True)] * rounds,
          "--access-log=json", get=get, least=0.05)


def test_header_block_that_does_not_end_besides(start: Start, record_property: Record) -> None:
    """On top of all that, a block that goes as far as it may, and ends within a value."""
    streams, size, _ = LIMITS["default"]

    def begin_another(client: Client) -> None:
        reset(client, streams)
        fill(client, streams - 1, long_values(size), True)
        block = GET_BLOCK + one_name(size // 2) + literal(b"x", b"\xff" * VALUE_MAX)[:-1]
        pieces = [block[start:start + 16384] for start in range(0, len(block), 16384)]
        kinds = [HEADERS] + [CONTINUATION] * len(pieces[1:])
        send_until_closed(client, b"".join(frame(kind, 0, client.next_stream, piece)
                                           for kind, piece in zip(kinds, pieces)))
        assert_goaway(client, ENHANCE_YOUR_CALM)
    holds(start, record_property, "default", [(short_values, False)], "--header-timeout=1s", then=begin_another)


SETTINGS_OF_NO_MEANING = b"".join(settings(*((0xF000 + n, 2**32 - 1) for n in range(32))) for _ in range(2))
FRAMES_OF_NO_TYPE = frame(0xFF, 0, 0, b"") * 100


@pytest.mark.parametrize("limits", ["default", "many-and-tiny"])
@pytest.mark.parametrize("said", [SETTINGS_OF_NO_MEANING, FRAMES_OF_NO_TYPE], ids=["settings", "frames"])
def test_detailed_answers_that_are_not_taken(start: Start, record_property: Record, limits: str, said: bytes) -> None:
    """Each tells all that the client said besides."""
    asking = literal(b"accept", b"application/vnd.h2echod+json")
    holds(start, record_property, limits, [(lambda size: long_values(size - len(asking) - 64), True)],
          get=GET_BLOCK + asking, said=said, rest=16 * KIB)
