"""Rules of RFC 7541 (HPACK) for the decoder and the encoder; one rule a row."""
from __future__ import annotations

from typing import Callable

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from daemon import Daemon
from frames import (END_HEADERS, END_STREAM, GET, HEADER_TABLE_SIZE, block, continuation, data, headers, indexed,
                    indexing, integer, literal, never_indexed, post, settings, string, table_size_update)
from rules import Check, Rule, Step, answers, ends, resets
from wire import COMPRESSION_ERROR, PROTOCOL_ERROR, Client, Fields

TRANSPORTS = ("plain", "tls")

STATIC = 61        # entries of the static table
TABLE_SIZE = 4096  # the initial SETTINGS_HEADER_TABLE_SIZE
BLOCK = block(GET)
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
LAST = STATIC + 1  # the newest entry of the dynamic table
Y = ("x", "y")


def get_with_fields(*extra: tuple[str, str]) -> Fields:
    return [*GET, *extra]


def huffman(text: str) -> bytes:
    octets = HUFFMAN.encode(text.encode())
    return integer(len(octets), 7, 0x80) + octets


def huffman_field(*octets: int) -> bytes:
    """A field x whose value is a Huffman string of these octets."""
    return b"\x00" + string("x") + integer(len(octets), 7, 0x80) + bytes(octets)


def decodes(section: str, name: str, must: str, *blocks: bytes, sent: Fields) -> Rule:
    """Field blocks of one stream each; the last one decodes to these fields."""
    stream = 2 * len(blocks) - 1
    steps: list[Step] = [b"".join(headers(2 * at + 1, fragment) for at, fragment in enumerate(blocks))]
    return Rule(section, name, must, steps, answers(stream, sent))


def fails(section: str, name: str, must: str, *blocks: bytes) -> Rule:
    """Field blocks of one stream each; the last one cannot be decoded."""
    *before, last = [headers(2 * at + 1, fragment) for at, fragment in enumerate(blocks)]
    steps: list[Step] = [b"".join(before)] if before else []
    stream = 2 * len(blocks) - 1
    return Rule(section, name, must, [*steps, last], ends(COMPRESSION_ERROR, last=stream))


def block_split_at(at: int) -> bytes:
    """A block in two frames, on a stream of its own."""
    stream = 2 * at - 1
    return headers(stream, MIXED[:at], END_STREAM) + continuation(stream, MIXED[at:])


MIXED = (table_size_update(TABLE_SIZE) + indexed(2) + literal(4, "/rule") + b"\x86" + indexing(1, "test.example")
         + b"\x00" + huffman("x-huffman") + huffman("value") + never_indexed("x", "secret"))
MIXED_FIELDS = get_with_fields(("x-huffman", "value"), ("x", "secret"))
# Entries of 1,000 bytes: the fifth one evicts the first one.
BIG = [indexing(f"x-{at}", chr(97 + at) * (1000 - 32 - 3)) for at in range(5)]
BIG_FIELDS = [(f"x-{at}", chr(97 + at) * (1000 - 32 - 3)) for at in range(5)]

INDEX = "an index beyond both tables is a decoding error"
TABLES = [
    decodes("2.3.2", "newest-first", "the newest entry has the lowest index of the dynamic table",
            BLOCK + indexing(*Y) + indexing("a", "b"), BLOCK + indexed(LAST) + indexed(LAST + 1),
            sent=get_with_fields(("a", "b"), Y)),
    decodes("2.3.2", "duplicates", "an entry may be in the table twice",
            BLOCK + indexing(*Y) + indexing(*Y), BLOCK + indexed(LAST + 1), sent=get_with_fields(Y)),
    decodes("2.3.2", "same-block", "an entry may be used at once", BLOCK + indexing(*Y) + indexed(LAST),
            sent=get_with_fields(Y, Y)),
    fails("2.3.3", "index-beyond", INDEX, BLOCK + indexed(LAST)),
    fails("2.3.3", "index-far-beyond", INDEX, BLOCK + indexed(100000)),
    fails("2.3.3", "index-beyond-filled-table", INDEX, BLOCK + indexing(*Y), BLOCK + indexed(LAST + 1)),
    fails("2.3.3", "name-index-beyond", INDEX, BLOCK + literal(LAST, "x")),
    fails("2.3.3", "name-index-beyond-indexing", INDEX, BLOCK + indexing(LAST, "x")),
    fails("2.3.3", "name-index-beyond-never", INDEX, BLOCK + never_indexed(LAST, "x")),
    fails("4.2", "update-above-limit", "a table size above SETTINGS_HEADER_TABLE_SIZE is a decoding error",
          table_size_update(TABLE_SIZE + 1) + BLOCK),
    fails("6.3", "update-far-above-limit",
          "a table size above SETTINGS_HEADER_TABLE_SIZE is a decoding error", table_size_update(2**31) + BLOCK),
    decodes("4.2", "update-to-limit", "a table size up to the limit is right", table_size_update(TABLE_SIZE) + BLOCK,
            sent=GET),
    decodes("4.2", "two-updates", "two updates may begin a block", table_size_update(0) + table_size_update(TABLE_SIZE)
            + BLOCK, sent=GET),
    fails("4.2", "update-at-the-end", "an update that is not at the block's beginning is a decoding error",
          BLOCK + table_size_update(0)),
    fails("4.2", "update-in-the-middle", "an update that is not at the block's beginning is a decoding error",
          indexed(2) + table_size_update(0) + BLOCK),
    decodes("4.3", "smaller-table-evicts", "a smaller table evicts the oldest entries", BLOCK + indexing(*Y)
            + indexing("a", "b"), table_size_update(34) + BLOCK + indexed(LAST), sent=get_with_fields(("a", "b"))),
    fails("4.3", "smaller-table-has-evicted", "a smaller table evicts the oldest entries",
          BLOCK + indexing(*Y) + indexing("a", "b"), table_size_update(34) + BLOCK + indexed(LAST + 1)),
    fails("4.3", "update-to-0-clears", "a table of 0 bytes has no entry", BLOCK + indexing(*Y),
          table_size_update(0) + table_size_update(TABLE_SIZE) + BLOCK + indexed(LAST)),
    decodes("4.4", "eviction", "entries are evicted from the oldest on", BLOCK + b"".join(BIG),
            BLOCK + b"".join(indexed(LAST + at) for at in range(4)), sent=get_with_fields(*BIG_FIELDS[:0:-1])),
    fails("4.4", "evicted", "entries are evicted from the oldest on", BLOCK + b"".join(BIG), BLOCK
          + indexed(LAST + 4)),
    decodes("4.4", "too-large-entry", "an entry larger than the table is no error",
            BLOCK + indexing("x", "z" * TABLE_SIZE), sent=get_with_fields(("x", "z" * TABLE_SIZE))),
    fails("4.4", "too-large-entry-empties", "an entry larger than the table empties it", BLOCK + indexing(*Y),
          BLOCK + indexing("x", "z" * TABLE_SIZE), BLOCK + indexed(LAST)),
    decodes("4.4", "name-of-the-evicted", "an entry may have the name of one that it evicts",
            table_size_update(60) + BLOCK + indexing("name", "first"), BLOCK + indexing(LAST, "second"),
            BLOCK + indexed(LAST), sent=get_with_fields(("name", "second"))),
    decodes("4.1", "entry-of-table-size", "an entry's size is the length of name and value plus 32",
            table_size_update(34) + BLOCK + indexing(*Y), BLOCK + indexed(LAST), sent=get_with_fields(Y)),
    fails("4.1", "entry-above-table-size", "an entry's size is the length of name and value plus 32",
          table_size_update(33) + BLOCK + indexing(*Y), BLOCK + indexed(LAST)),
]

TRUNCATED = "a block that ends inside a representation is a decoding error"
PRIMITIVES = [
    decodes("5.1", "integer-with-zeros", "an integer may have trailing zeros", b"\x3f\x80\x80\x00" + BLOCK,
            sent=GET),
    fails("5.1", "integer-too-large", "an integer beyond what can be is a decoding error",
          BLOCK + b"\xff" + b"\xff" * 9 + b"\x7f"),
    fails("5.1", "integer-without-end", "an integer beyond what can be is a decoding error", BLOCK + b"\xff"
          + b"\xff" * 200),
    fails("5.1", "integer-of-endless-zeros", "an integer of too many bytes is a decoding error",
          BLOCK + b"\xff" + b"\x80" * 200 + b"\x00"),
    fails("5.1", "string-length-too-large", "an integer beyond what can be is a decoding error",
          BLOCK + b"\x00\x7f" + b"\xff" * 5 + b"\x7f"),
    fails("5.1", "integer-cut", TRUNCATED, BLOCK + b"\xff"),
    fails("5.2", "name-length-missing", TRUNCATED, BLOCK + b"\x00"),
    fails("5.2", "name-cut", TRUNCATED, BLOCK + b"\x00\x05abc"),
    fails("5.2", "value-length-missing", TRUNCATED, BLOCK + b"\x00\x01x"),
    fails("5.2", "value-cut", TRUNCATED, BLOCK + b"\x00\x01x\x05abc"),
    fails("5.2", "huffman-cut", TRUNCATED, BLOCK + b"\x00\x01x\x85\xf1\xe3"),
    decodes("5.2", "huffman", "strings may be coded with Huffman's code", BLOCK + b"\x00" + huffman("x-name")
            + huffman("value"), sent=get_with_fields(("x-name", "value"))),
    decodes("5.2", "huffman-of-every-length", "codes of 5 to 30 bits",
            BLOCK + b"\x00" + string("x") + huffman("".join(map(chr, range(0x21, 0x7f)))),
            sent=get_with_fields(("x", "".join(map(chr, range(0x21, 0x7f)))))),
    decodes("5.2", "huffman-of-nothing", "an empty string may be coded", BLOCK + b"\x00" + string("x")
            + b"\x80", sent=get_with_fields(("x", ""))),
    fails("5.2", "padding-of-8-bits", "padding of more than 7 bits is a decoding error", BLOCK
          + huffman_field(0x1f, 0xff)),
    fails("5.2", "padding-of-15-bits", "padding of more than 7 bits is a decoding error", BLOCK
          + huffman_field(0x1f, 0xff, 0xff)),
    fails("5.2", "padding-alone", "padding of more than 7 bits is a decoding error", BLOCK + huffman_field(0xff)),
    fails("5.2", "padding-of-zeros", "padding that is not EOS' most significant bits is a decoding error",
          BLOCK + huffman_field(0x18)),
    fails("5.2", "eos", "EOS inside is a decoding error", BLOCK + huffman_field(0xff, 0xff, 0xff, 0xff)),
    fails("5.2", "eos-after-text", "EOS inside is a decoding error", BLOCK
          + huffman_field(0x1f, 0xff, 0xff, 0xff, 0xff)),
    fails("5.2", "huffman-in-name", "padding of more than 7 bits is a decoding error, in names too",
          BLOCK + b"\x00\x82\x1f\xff\x01y"),
]

REPRESENTATIONS = [
    fails("6.1", "index-0", "index 0 is a decoding error", BLOCK + indexed(0)),
    decodes("6.1", "static", "fields of the static table", indexed(2) + indexed(6) + indexed(4)
            + literal(1, "test.example"),
            sent=[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test.example")]),
    decodes("6.2.1", "indexing-name-by-index", "a literal field with indexing, its name from a table",
            BLOCK + indexing(58, "me"), BLOCK + indexed(LAST), sent=get_with_fields(("user-agent", "me"))),
    decodes("6.2.1", "indexing-new-name", "a literal field with indexing and a new name", BLOCK
            + indexing("x-new", "1"), BLOCK + indexing(LAST, "2"), BLOCK + indexed(LAST) + indexed(LAST + 1),
            sent=get_with_fields(("x-new", "2"), ("x-new", "1"))),
    decodes("6.2.2", "without-indexing", "a literal field without indexing leaves the table alone", BLOCK
            + indexing(*Y) + literal("a", "b") + literal(58, "me"), BLOCK + indexed(LAST), sent=get_with_fields(Y)),
    fails("6.2.2", "without-indexing-adds-nothing", "a literal field without indexing leaves the table alone",
          BLOCK + literal(*Y), BLOCK + indexed(LAST)),
    decodes("6.2.3", "never-indexed", "a literal field that is never indexed", BLOCK + never_indexed("a", "b")
            + never_indexed(58, "me"), sent=get_with_fields(("a", "b"), ("user-agent", "me"))),
    fails("6.2.3", "never-indexed-adds-nothing",
          "a literal field that is never indexed leaves the table alone", BLOCK + never_indexed(*Y), BLOCK
          + indexed(LAST)),
]

RESET_1 = Check("stream 1 reset", lambda client: client.answer(1).reset is not None)
BLOCKS = [  # RFC 9113 section 4.3
    Rule("4.3", "split-anywhere", "a block may be split between any two bytes",
         [block_split_at(at) for at in range(1, len(MIXED) + 1)], answers(2 * len(MIXED) - 1, MIXED_FIELDS)),
    Rule("4.3", "trailers-not-decodable", "an error in trailers is a connection error",
         [post(1) + data(1, b"x", 0) + headers(1, indexed(0))], ends(COMPRESSION_ERROR, last=1)),
    Rule("4.3", "error-in-continuation", "an error in CONTINUATION is a connection error",
         [headers(1, BLOCK, END_STREAM) + continuation(1, indexed(0))], ends(COMPRESSION_ERROR, last=1)),
    Rule("4.3", "malformed-request-counts", "a malformed request's block is decoded to its end",
         [headers(1, BLOCK + literal("Bad", "x") + indexing(*Y)), RESET_1, headers(3, BLOCK + indexed(LAST))],
         answers(3, get_with_fields(Y))),
    Rule("4.3", "error-in-malformed-request",
         "an error after a malformed field is a connection error",
         [headers(1, BLOCK + literal("Bad", "x") + indexed(0))], ends(COMPRESSION_ERROR, last=1)),
    Rule("4.3", "late-trailers-count", "trailers sent before the client knows of the reset are decoded",
         [headers(1, [("bad", "request")], END_HEADERS), RESET_1,
          headers(1, indexing(*Y)) + headers(3, BLOCK + indexed(LAST))], answers(3, get_with_fields(Y))),
    Rule("4.3", "error-in-late-trailers", "an error in late trailers is a connection error",
         [headers(1, [("bad", "request")], END_HEADERS), RESET_1, headers(1, indexed(0))],
         ends(COMPRESSION_ERROR, last=1)),
    Rule("4.3", "no-fields", "a block of size updates alone has no fields: malformed",
         [headers(1, table_size_update(0))], resets(PROTOCOL_ERROR)),
]

RULES = [*TABLES, *PRIMITIVES, *REPRESENTATIONS, *BLOCKS]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule(try_rule: Callable[[Rule], None], rule: Rule) -> None:
    try_rule(rule)


# --- the encoder ---

@pytest.mark.parametrize("sizes, updates", [
    pytest.param([0], [0], id="4.2-no-table"),
    pytest.param([200], [200], id="4.2-smaller-table"),
    pytest.param([0, TABLE_SIZE], [0, TABLE_SIZE], id="4.2-smallest-then-last"),
    pytest.param([100, 0, 300], [0, 300], id="4.2-smallest-in-between"),
    pytest.param([2**32 - 1, 0], [0], id="4.2-no-table-at-the-end"),
])
def test_encoder_follows_the_clients_table_size(daemon: Daemon, sizes: list[int], updates: list[int]) -> None:
    """The next block begins with the required updates: the smallest size, then the last one."""
    client = daemon.connect()
    client.assert_answered("/fills-the-table")
    client.send(*(settings((HEADER_TABLE_SIZE, size)) for size in sizes))
    client.ping()
    blocks: list[bytes] = []
    decode = client.decoder.decode

    def record_and_decode(fragment: bytes, raw: bool) -> object:
        blocks.append(fragment)
        return decode(fragment, raw)
    client.decoder.decode = record_and_decode
    client.decoder.max_allowed_table_size = sizes[-1]
    for path in ("/a", "/b"):
        client.assert_answered(path)
    assert size_updates(blocks[0]) == updates
    assert size_updates(blocks[1]) == []
    assert client.decoder.header_table_size == sizes[-1]


def size_updates(fragment: bytes) -> list[int]:
    """The dynamic table size updates at the beginning of a block."""
    found = []
    while fragment[0] >> 5 == 1:
        found.append(next(size for size in range(TABLE_SIZE + 1) if fragment.startswith(table_size_update(size))))
        fragment = fragment[len(table_size_update(found[-1])):]
    return found


def test_encoder_does_not_use_a_larger_table(client: Client) -> None:
    client.send(settings((HEADER_TABLE_SIZE, 2**32 - 1)))
    client.ping()
    client.decoder.max_allowed_table_size = 2**32 - 1
    for path in ("/a", "/b"):
        client.assert_answered(path)
    assert client.decoder.header_table_size <= TABLE_SIZE
