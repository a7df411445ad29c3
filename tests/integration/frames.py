"""HTTP/2 frames and HPACK field representations as bytes: any value is accepted, valid or not."""
from __future__ import annotations

from wire import CANCEL, Fields, Text, fields

(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM, END_HEADERS, PADDED, HAS_PRIORITY, ACK = 0x1, 0x4, 0x8, 0x20, 0x1
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
NO_RFC7540_PRIORITIES = 9

# --- HPACK (RFC 7541), without the dynamic table and Huffman coding ---


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """An integer with a prefix of so many bits (RFC 7541 section 5.1), after the bits of `first`."""
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
    """A literal field without indexing, whose name is a static table index or a string."""
    start = integer(name, prefix, first) if isinstance(name, int) else bytes([first]) + string(name)
    return start + string(value)


def indexing(name: Text | int, value: Text) -> bytes:
    """A literal field with incremental indexing: it is added to the dynamic table."""
    return literal(name, value, 0x40, 6)


def never_indexed(name: Text | int, value: Text) -> bytes:
    return literal(name, value, 0x10)


def indexed(index: int) -> bytes:
    return integer(index, 7, 0x80)


def table_size_update(size: int) -> bytes:
    return integer(size, 5, 0x20)


def block(request: Fields) -> bytes:
    return b"".join(literal(name, value) for name, value in request)


# --- frames ---

def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
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
    """HEADERS of a request whose content follows."""
    return headers(stream, POST, END_HEADERS)
