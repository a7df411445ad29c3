"""Memory that one client can make the daemon hold: it is within the bound in h2echod(8), LIMITS, and is released."""
from __future__ import annotations

from typing import Callable, Sequence

import hpack.huffman
import hpack.huffman_constants
import pytest

from conftest import Start
from daemon import PLAIN_MEMORY
from frames import CONTINUATION, HEADERS, RST_STREAM, frame, integer, literal, settings
from hostile import (GET_BLOCK, POST_BLOCK, REQUEST_SIZE, OtherClient, Record, assert_goaway, request,
                     send_until_closed, stream_ids)
from wire import ENHANCE_YOUR_CALM, Client

TRANSPORTS = ("plain", "tls")

pytestmark = pytest.mark.heavy

KIB = 1024
WINDOW = 4  # SETTINGS_INITIAL_WINDOW_SIZE
CANCEL = (8).to_bytes(4, "big")
VALUE_MAX = 60_000  # nghttp2 accepts values of up to 64 KiB
CODED_MAX = 65_536  # and Huffman codes of this length
CODER = hpack.huffman.HuffmanEncoder(hpack.huffman_constants.REQUEST_CODES,
                                     hpack.huffman_constants.REQUEST_CODES_LENGTH)
COST = 200_000  # requests that could be answered instead; the JSON of 128 large ones costs as much as 10,000
Block = Callable[[int], bytes]


def name_of(block: Block) -> str:
    return block.__name__.replace("_", "-")


def bound(streams: int, size: int, factor: float = 2.5, rest: int = 4 * KIB) -> float:
    """The bound in the manual, in KiB, for one connection."""
    return ((streams + 4) * (factor * size + rest) + 1024 * KIB) / KIB


# --- fields that make a request almost as large as the limit ---

def repeated(name: bytes, length: int, size: int) -> bytes:
    """As many equal fields as the limit allows; each byte of the value takes two bytes in JSON."""
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
    """Just larger than sizes that suit buffers which grow by doubling."""
    return repeated(b"a", 31, size)


def one_name(size: int) -> bytes:
    return repeated(b"a", min(size - REQUEST_SIZE, VALUE_MAX) // 4 - 40, size)


LIMITS = {  # --max-concurrent-streams, --max-header-list-size, number of clients
    "default": (128, 64 * KIB, 1),
    "few-and-small": (8, 16 * KIB, 8),
    "many-and-tiny": (1024, 1 * KIB, 1),
    "few-and-huge": (2, 2048 * KIB, 1),
}


def fill_streams(client: Client, streams: int, fields: bytes, end: bool, get: bytes = GET_BLOCK) -> None:
    """Open all streams, with requests whose body is missing, or with answers whose window is closed."""
    first = client.next_stream
    client.next_stream += 2 * streams
    for stream in stream_ids(streams, first):
        send_until_closed(client, request(stream, (get if end else POST_BLOCK) + fields, end))
    client.ping()
    assert not client.goaways
    if end:
        client.read_until(lambda: all(client.answer(s).fields for s in stream_ids(streams, first)),
                          "HEADERS of all answers")
        assert {client.answer(s).status for s in stream_ids(streams, first)} == {200}
    assert not any(client.answer(s).finished for s in stream_ids(streams, first))


def reset(client: Client, streams: int) -> None:
    for stream in stream_ids(streams, client.next_stream - 2 * streams):
        client.send(frame(RST_STREAM, 0, stream, CANCEL))
    client.ping()


def assert_bounded(start: Start, record: Record, limits: str, rounds: Sequence[tuple[Block, bool]],
                   *options: str, get: bytes = GET_BLOCK, factor: float = 2.5, rest: int = 4 * KIB, least: float = 0.5,
                   first: bytes = b"", then: Callable[[Client], None] | None = None) -> None:
    """Use all streams in several rounds; each resets the streams of the round before. The memory held, relative to the
    size of the requests, must be within the bound, and at least `least`: else the test would test nothing."""
    streams, size, count = LIMITS[limits]
    daemon = start(f"--max-concurrent-streams={streams}", f"--max-header-list-size={size}", *options)
    with OtherClient(daemon, count) as other_client:
        clients = [daemon.connect({WINDOW: 0}) for _ in range(count)]
        for client in clients:
            client.send(first)
        for number, (shape, end) in enumerate(rounds):
            for client in clients:
                if number > 0:
                    reset(client, streams)
                fill_streams(client, streams, shape(size), end, get)
        held = daemon.memory() - other_client.before.memory
        if then:
            then(clients[0])
    if PLAIN_MEMORY:
        assert held >= count * streams * size / KIB * least, "the requests hold too little memory for this test"
    other_client.assert_harmless(clients, int(count * bound(streams, size, factor, rest)), COST)
    record("measurements", other_client.summary())


@pytest.mark.parametrize("shape", [long_values, one_name], ids=name_of)
def test_answers_that_are_not_read(start: Start, record_property: Record, shape: Block) -> None:
    assert_bounded(start, record_property, "default", [(shape, True)])


@pytest.mark.parametrize("shape", [long_values, no_values, short_values], ids=name_of)
def test_requests_without_the_end_of_their_body(start: Start, record_property: Record, shape: Block) -> None:
    assert_bounded(start, record_property, "default", [(shape, False)], least=0.25 if shape is no_values else 0.5)


@pytest.mark.parametrize("limits", LIMITS)
def test_heap_fragmentation(start: Start, record_property: Record, limits: str) -> None:
    """Blocks of other sizes in each round do not fit into the memory freed by the round before."""
    rounds = [(long_values, True), (no_values, False), (short_values, False)]
    if LIMITS[limits][0] > 200:
        rounds = rounds[:1]  # resetting so many streams is a flood
    assert_bounded(start, record_property, limits, rounds)


def test_paths_kept_for_the_access_log(start: Start, record_property: Record) -> None:
    """The path is kept, in addition to the answer, until the request ends and its line is written."""
    get = b"\x82\x86\x01\x01a\x04" + literal(b"", b"/" + b"\xff" * VALUE_MAX)[2:]
    assert_bounded(start, record_property, "default", [(lambda size: long_values(size - VALUE_MAX), True)],
                   "--access-log=json",
                   get=get)


def huffman_string(byte: bytes, bits: int, before: bytes = b"") -> bytes:
    """A string of the maximum length in Huffman code; nghttp2's buffer for it is several times as large."""
    text = CODER.encode(before + byte * ((CODED_MAX - 8) * 8 // bits))
    length = integer(len(text), 7)
    return bytes([length[0] | 0x80]) + length[1:] + text


@pytest.mark.parametrize("rounds", [1, 3])
def test_methods_and_paths_in_large_buffers(start: Start, record_property: Record, rounds: int) -> None:
    """The access log must keep a copy: the buffer of a Huffman-coded path of 19 KB has 128 KiB."""
    get = b"\x02" + huffman_string(b"`", 15) + b"\x86\x01\x01a\x04" + huffman_string(b"\xf9", 28, b"/")
    used = CODED_MAX * 8 // 15 + CODED_MAX * 8 // 28 + 600
    assert_bounded(start, record_property, "default", [(lambda size: long_values(size - used), True)] * rounds,
                   "--access-log=json", get=get, least=0.05)


def test_header_block_without_end_in_addition(start: Start, record_property: Record) -> None:
    """A further header block as large as possible, which ends inside a value."""
    streams, size, _ = LIMITS["default"]

    def send_block_without_end(client: Client) -> None:
        reset(client, streams)
        fill_streams(client, streams - 1, long_values(size), True)
        block = GET_BLOCK + one_name(size // 2) + literal(b"x", b"\xff" * VALUE_MAX)[:-1]
        pieces = [block[start:start + 16384] for start in range(0, len(block), 16384)]
        kinds = [HEADERS] + [CONTINUATION] * len(pieces[1:])
        send_until_closed(client, b"".join(frame(kind, 0, client.next_stream, piece)
                                           for kind, piece in zip(kinds, pieces)))
        assert_goaway(client, ENHANCE_YOUR_CALM)
    assert_bounded(start, record_property, "default", [(short_values, False)], "--header-timeout=1s",
                   then=send_block_without_end)


UNKNOWN_SETTINGS = b"".join(settings(*((0xF000 + n, 2**32 - 1) for n in range(32))) for _ in range(2))
UNKNOWN_FRAMES = frame(0xFF, 0, 0, b"") * 100


@pytest.mark.parametrize("limits", ["default", "many-and-tiny"])
@pytest.mark.parametrize("first", [UNKNOWN_SETTINGS, UNKNOWN_FRAMES], ids=["settings", "frames"])
def test_detailed_answers_that_are_not_read(start: Start, record_property: Record, limits: str, first: bytes) -> None:
    """Each detailed answer repeats the settings and frames that the client has sent."""
    accept = literal(b"accept", b"application/vnd.h2echod+json")
    assert_bounded(start, record_property, limits, [(lambda size: long_values(size - len(accept) - 64), True)],
                   get=GET_BLOCK + accept, first=first, rest=16 * KIB)
