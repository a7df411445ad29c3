"""Rules of RFC 9113 section 8 (messages) that test_malformed.py does not cover; one rule a row."""
from __future__ import annotations

from typing import Callable

import pytest

from frames import END_HEADERS, END_STREAM, GET, PADDED, data, headers, post
from rules import Rule, answers, resets, shows
from wire import PROTOCOL_ERROR, Fields, fields

TRANSPORTS = ("plain", "tls")

METHOD, PATH, SCHEME, AUTHORITY = GET
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"


def with_length(length: str, *frames: bytes) -> list[bytes]:
    return [headers(1, fields("/rule", "POST", ("content-length", length)), END_HEADERS) + b"".join(frames)]


def is_malformed(section: str, name: str, must: str, request: Fields) -> Rule:
    return Rule(section, name, must, [headers(1, request)], resets(PROTOCOL_ERROR))


def is_well_formed(section: str, name: str, must: str, request: Fields) -> Rule:
    return Rule(section, name, must, [headers(1, request)], answers(1, request))


def refused(status: int) -> object:
    return shows(f"status {status}", lambda client: client.answer(1).status == status)


LENGTH = "content-length that is not the sum of the DATA frames is malformed"
RULES = [
    Rule("8.1", "second-headers-without-end", "a second field section must end the stream",
         [post(1) + data(1, b"x", 0) + headers(1, [("x", "y")], END_HEADERS)], resets(PROTOCOL_ERROR)),
    Rule("8.1", "second-headers-at-once",
         "a second field section must end the stream, with or without DATA before it",
         [post(1) + headers(1, [("x", "y")], END_HEADERS)], resets(PROTOCOL_ERROR)),
    Rule("8.1", "trailers-twice",
         "there is only one trailer section: the first one is malformed without END_STREAM",
         [post(1) + headers(1, [("x", "y")], END_HEADERS) + headers(1, [("x", "y")])],
         resets(PROTOCOL_ERROR)),
    Rule("8.1", "empty-trailers", "trailers may be an empty field section",
         [post(1) + data(1, b"x", 0) + headers(1, b"")], answers(1, fields("/rule", "POST"))),
    Rule("8.1", "empty-block", "an empty field section is no request", [headers(1, b"")],
         resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "length-of-two-frames", "content-length is the sum of the DATA frames",
         with_length("4", data(1, b"ab", 0), data(1, b"cd")),
         answers(1, fields("/rule", "POST", ("content-length", "4")))),
    Rule("8.1.1", "length-without-padding", "content-length does not include padding",
         with_length("2", data(1, b"\x03ab\0\0\0", PADDED | END_STREAM)),
         answers(1, fields("/rule", "POST", ("content-length", "2")))),
    Rule("8.1.1", "two-frames-too-short", LENGTH, with_length("4", data(1, b"ab", 0), data(1, b"c")),
         resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "two-frames-too-long", LENGTH, with_length("4", data(1, b"ab", 0), data(1, b"cde")),
         resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "too-long-before-the-end", LENGTH, with_length("4", data(1, b"abcde", 0)),
         resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "too-short-before-trailers", LENGTH,
         with_length("4", data(1, b"abc", 0), headers(1, [("x", "y")])), resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "trailers-for-data", LENGTH, with_length("4", headers(1, [("x", "y")])),
         resets(PROTOCOL_ERROR)),
    Rule("8.1.1", "trailers-with-length", "content-length of 0 and no DATA",
         with_length("0", headers(1, [("x", "y")])),
         answers(1, fields("/rule", "POST", ("content-length", "0")))),
    is_well_formed("8.1.1", "length-0", "content-length of 0 and no DATA", [*GET, ("content-length", "0")]),
    is_malformed("8.1.1", "two-lengths", "content-length twice, differing (RFC 9110 section 8.6)",
                 [*GET, ("content-length", "0"), ("content-length", "1")]),
    is_malformed("8.1.1", "list-of-lengths",
                 "content-length that is a list (RFC 9110 section 8.6: may be refused)",
                 [*GET, ("content-length", "0, 0")]),
    is_malformed("8.1.1", "length-with-sign", "content-length that is no number",
                 [*GET, ("content-length", "+0")]),
    is_well_formed("8.2.1", "every-token-character", "names of tokens' characters are right", [*GET, (TOKEN, "x")]),
    is_well_formed("8.2.1", "empty-value", "values may be empty", [*GET, ("x", "")]),
    is_well_formed("8.2.1", "visible-and-obs-text",
                   "values of visible characters, spaces, tabs, 0x80 to 0xff are right",
                   [*GET, ("x", bytes([*range(0x21, 0x7f), 0x20, 9, *range(0x80, 0x100)]))]),
    *(is_malformed("8.2.1", f"name-with-{byte:02x}", "names: 0x00-0x20, 0x41-0x5a and 0x7f-0xff are malformed",
                   [*GET, (b"na" + bytes([byte]), "x")]) for byte in (0x01, 0x20, 0x41, 0x5a, 0x80, 0xff)),
    *(is_malformed("8.2.1", f"name-with-{byte:02x}",
                   "names that are no tokens (RFC 9110 section 5.1) may be malformed",
                   [*GET, (b"na" + bytes([byte]), "x")]) for byte in b'"(),/;<=>?@[\\]{}'),
    is_malformed("8.2.1", "value-with-del", "controls in values (RFC 9110 section 5.5: invalid)",
                 [*GET, ("x", b"a\x7f")]),
    is_well_formed("8.2.2", "te-trailers", "TE with the value trailers is allowed", [*GET, ("te", "trailers")]),
    is_malformed("8.2.2", "te-trailers-and-more", "TE with any other value is malformed",
                 [*GET, ("te", "trailers, deflate")]),
    is_well_formed("8.2.3", "cookie-in-pieces", "cookie may be split into several fields, which are joined with `; `",
                   [*GET, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]),
    is_malformed("8.3", "empty-pseudo-name", "undefined pseudo-header fields are malformed", [*GET, (":", "x")]),
    is_malformed("8.3", "uppercase-pseudo-name", "names are lower case, those with `:` too",
                 [*GET, (":Path", "/")]),
    is_malformed("8.3", "protocol-without-setting",
                 ":protocol is undefined unless the server has announced it (RFC 8441)",
                 [(":method", "CONNECT"), PATH, SCHEME, AUTHORITY, (":protocol", "websocket")]),
    is_malformed("8.3", "host-between", "no pseudo-header field after a regular one",
                 [METHOD, PATH, ("host", "h"), SCHEME]),
    is_well_formed("8.3", "any-order", "pseudo-header fields come in any order", [AUTHORITY, SCHEME, PATH, METHOD]),
    is_well_formed("8.3.1", "options-asterisk", "OPTIONS for the whole server has the path *",
                   [(":method", "OPTIONS"), (":path", "*"), SCHEME, AUTHORITY]),
    is_well_formed("8.3.1", "options-path", "OPTIONS of a path", [(":method", "OPTIONS"), PATH, SCHEME, AUTHORITY]),
    is_well_formed("8.3.1", "host-for-authority", "Host does for :authority",
                   [METHOD, PATH, SCHEME, ("host", "test.example")]),
    is_well_formed("8.3.1", "host-and-authority", ":authority and Host may both come, if they are the same",
                   [*GET, ("host", "test.example")]),
    is_well_formed("8.3.1", "host-is-not-authority",
                   ":authority and Host that differ SHOULD be malformed: the daemon echoes them",
                   [*GET, ("host", "other.example")]),
    is_malformed("8.3.1", "empty-authority", ":authority is not empty where the scheme asks for one",
                 [METHOD, PATH, SCHEME, (":authority", "")]),
    is_malformed("8.3.1", "empty-host", "Host in the place of :authority is not empty",
                 [METHOD, PATH, SCHEME, ("host", "")]),
    is_malformed("8.3.1", "empty-method", "a method is a token", [(":method", ""), PATH, SCHEME, AUTHORITY]),
    is_malformed("8.3.1", "empty-scheme", "a scheme is not empty", [METHOD, PATH, (":scheme", ""), AUTHORITY]),
    is_well_formed("8.3.1", "https", "the scheme is echoed as sent",
                   [METHOD, PATH, (":scheme", "https"), AUTHORITY]),
    is_well_formed("8.3.1", "path-with-query", "the path has its query",
                   [METHOD, (":path", "/?a=b&c=%20"), SCHEME, AUTHORITY]),
    is_malformed("8.5", "connect-without-authority", "CONNECT has :authority", [(":method", "CONNECT")]),
    is_malformed("8.5", "connect-with-path", "CONNECT has no :path", [(":method", "CONNECT"), PATH, AUTHORITY]),
    is_malformed("8.5", "connect-with-scheme", "CONNECT has no :scheme",
                 [(":method", "CONNECT"), SCHEME, AUTHORITY]),
    Rule("8.5", "connect", "CONNECT that is right gets an answer",
         [headers(1, [(":method", "CONNECT"), AUTHORITY])], refused(501)),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule(try_rule: Callable[[Rule], None], rule: Rule) -> None:
    try_rule(rule)
