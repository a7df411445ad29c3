"""The detailed answer (application/vnd.h2echod+json): its contents, its schema, and when it is sent."""
from __future__ import annotations

import json
import re
import shlex
from typing import Any

import jsonschema
import pytest

from advertised import CLIENTS, markdown_table
from clients import curl_h2, curl_version
from conftest import Start
from daemon import TOP, Daemon
from frames import (END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, PADDED, block, continuation, data,
                    frame, headers, indexing, literal, never_indexed, number, ping, priority, reset_stream,
                    settings, table_size_update, window_update)
from wire import MAGIC, Answer, Client, Fields, Text, fields

TYPE = "application/vnd.h2echod+json"
PRIORITY_UPDATE = 0x10
ACCEPT = ("accept", TYPE)
SCHEMA = json.loads((TOP / "conf/h2echod.schema.json").read_text())
Detail = dict[str, Any]


def without_additional_properties(schema: Any) -> Any:
    """The schema, changed so that objects may only have the members that it names."""
    if isinstance(schema, list):
        return [without_additional_properties(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: without_additional_properties(part) for name, part in schema.items()}
    return closed | {"additionalProperties": False} if "properties" in schema and "required" in schema else closed


jsonschema.Draft7Validator.check_schema(SCHEMA)
VALIDATOR = jsonschema.Draft7Validator(without_additional_properties(SCHEMA))


def parse_detail(body: bytes) -> Detail:
    """Parse a detailed answer; it must follow the schema and repeat no member."""
    def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)
    found: Detail = json.loads(body.decode("utf-8"), object_pairs_hook=unique_members)
    VALIDATOR.validate(found)
    return found


def detail_of(answer: Answer) -> Detail:
    """The content of a detailed answer; its fields are checked, too."""
    assert answer.ended and answer.status == 200
    assert answer["content-type"] == TYPE and answer["vary"] == "accept" and answer["cache-control"] == "no-store"
    assert int(answer["content-length"]) == len(answer.body)
    return parse_detail(bytes(answer.body))


def as_json(text: Text) -> str | dict[str, str]:
    """How a name or value is represented: as a string, or in hexadecimal if it is not UTF-8."""
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"hex": text.hex()}


def pairs(request: Fields) -> list[list[Any]]:
    return [[as_json(name), as_json(value)] for name, value in request]


def ask(client: Client, *more: tuple[Text, Text], **options: Any) -> Detail:
    return detail_of(client.request(fields("/", "GET", *more, ACCEPT), **options))


def detail_for(daemon: Daemon, *frames: bytes, first: bytes = settings(), stream: int = 1,
               piece: int | None = None) -> Detail:
    """Send the preface, the frame `first` and these frames; return the detailed answer on the stream."""
    client = daemon.open_connection()
    client.send(MAGIC, first, *frames, piece=piece)
    return detail_of(client.wait(stream))


def detail_block(*more: bytes, method: str = "GET") -> bytes:
    """The header block of a request for the detailed answer, with these fields at its end."""
    return block([*fields("/", method), ACCEPT]) + b"".join(more)


# --- content negotiation ---

@pytest.mark.parametrize("accept", [
    TYPE, TYPE.upper(), f"text/html, {TYPE}", f"{TYPE};q=0.1", f"{TYPE} ; version=1", f"*/*,{TYPE}", f",,{TYPE},",
    f'text/plain;x="a,b", {TYPE}', f'text/plain;x="\\"", {TYPE}'])
def test_accept_that_names_the_type_gets_it(daemon: Daemon, accept: str) -> None:
    request = fields("/", "GET", ("accept", accept))
    assert detail_of(daemon.connect().request(request))["fields"] == pairs(request)


@pytest.mark.parametrize("accept", [
    "*/*", "application/*", "application/json", f"{TYPE};q=0", f"{TYPE};Q=0.000", f"{TYPE}x", f"x{TYPE}", "",
    f'text/plain;x="{TYPE}"', f'text/plain;x="a, {TYPE}, b"', TYPE.replace("+json", ""), f"{TYPE}/x", f'"{TYPE}"'])
def test_any_other_accept_gets_the_plain_answer(daemon: Daemon, accept: str) -> None:
    request = fields("/", "GET", ("accept", accept))
    answer = daemon.connect().request(request)
    answer.assert_echo(request)
    assert answer["content-type"] == "application/json"
    assert [name for name, _ in answer.fields if name == b"vary"] == []


def test_one_of_several_accept_fields(daemon: Daemon) -> None:
    assert ask(daemon.connect(), ("accept", "text/html"))["fields"][-2:] == [["accept", "text/html"], list(ACCEPT)]


def test_plain_and_detailed_on_one_connection(daemon: Daemon) -> None:
    """The cache of plain answers is not confused by detailed ones in between."""
    client = daemon.connect()
    plain, detailed = fields("/", "GET", ("a", "1")), fields("/", "GET", ("a", "1"), ACCEPT)
    for number_ in range(1, 12, 4):
        client.request(plain).assert_echo(plain)
        client.request(plain).assert_echo(plain)
        for more in (2, 3):
            found = detail_of(client.request(detailed))
            assert found["fields"] == pairs(detailed) and found["stream"]["request"] == number_ + more


# --- fields ---

def test_fields_are_in_order_and_not_joined(daemon: Daemon) -> None:
    more = [("a", "1"), ("cookie", "a=b"), ("b", ""), ("a", "1"), ("cookie", "c=d"), ("a", "ä\tö"), ("host", "h")]
    request = fields("/päth", "GET", *more, ACCEPT)
    assert detail_of(daemon.connect().request(request))["fields"] == pairs(request)


@pytest.mark.parametrize("value", [b"\xff", b"a\xc3", b"\xc3\xa4", b"\xed\xa0\x80", bytes(range(0x80, 0x100)), b"\"\\/"])
def test_values_that_are_not_utf_8_are_hexadecimal(daemon: Daemon, value: bytes) -> None:
    assert ask(daemon.connect(), ("x", b"1" + value))["fields"][4] == ["x", as_json(b"1" + value)]


def test_never_indexed_fields_are_marked(daemon: Daemon) -> None:
    found = detail_for(daemon, headers(1, b"".join([
        never_indexed(":method", "GET"), block(fields()[1:]), literal("a", "1"), never_indexed("a", "2"),
        indexing("a", "3"), block([ACCEPT]), never_indexed("z", "4")])))
    assert found["fields"] == [[":method", "GET", "never-indexed"], *pairs(fields()[1:]), ["a", "1"],
                               ["a", "2", "never-indexed"], ["a", "3"], list(ACCEPT), ["z", "4", "never-indexed"]]


def test_never_indexed_field_in_a_repeated_section(daemon: Daemon) -> None:
    """A section equal to the previous one is recognized by the cache; the marks must not be lost."""
    plain = block(fields()) + literal("a", "1")
    marked = block(fields()) + never_indexed("a", "1") + block([ACCEPT])
    client = daemon.open_connection()
    client.send(MAGIC, settings(), headers(1, plain), headers(3, marked), headers(5, plain))
    assert detail_of(client.wait(3))["fields"][4] == ["a", "1", "never-indexed"]
    client.wait(5).assert_echo([*fields(), ("a", "1")])


def test_marks_belong_to_their_own_request(daemon: Daemon) -> None:
    client = daemon.open_connection()
    client.send(MAGIC, settings(), headers(1, detail_block(never_indexed("a", "1"))),
                headers(3, detail_block(literal("a", "1"))))
    assert detail_of(client.wait(1))["fields"][-1] == ["a", "1", "never-indexed"]
    assert detail_of(client.wait(3))["fields"][-1] == ["a", "1"]


def test_many_fields(daemon: Daemon) -> None:
    many = [(f"x-{n}", str(n)) for n in range(500)]
    marked = [["never-indexed"] if n % 3 == 0 else [] for n in range(500)]
    blocks = [(never_indexed if n % 3 == 0 else literal)(*pair) for n, pair in enumerate(many)]
    whole = block(fields()) + b"".join(blocks) + block([ACCEPT])
    found = detail_for(daemon, headers(1, whole[:9000], END_STREAM), continuation(1, whole[9000:]))
    assert found["fields"][4:-1] == [[*pair, *mark] for pair, mark in zip(many, marked)]
    assert found["hpack"]["wire_bytes"] == len(whole)


def test_trailers(daemon: Daemon) -> None:
    client = daemon.connect()
    assert ask(client)["trailers"] == []
    trailers = [("x-sum", "1"), ("x-sum", "2"), ("x-b", b"\xff")]
    found = ask(client, ("trailer", "x-sum"), body=b"five!", trailers=trailers)
    assert found["trailers"] == pairs(trailers) and found["stream"]["content_bytes"] == 5


def test_never_indexed_trailers(daemon: Daemon) -> None:
    found = detail_for(daemon, headers(1, detail_block(), END_HEADERS),
                       headers(1, literal("a", "1") + never_indexed("b", "2")))
    assert found["trailers"] == [["a", "1"], ["b", "2", "never-indexed"]]


def test_head_has_the_fields_of_get(daemon: Daemon) -> None:
    answer = daemon.connect().request(fields("/", "HEAD", ACCEPT))
    assert answer.ended and answer.status == 200 and not answer.body and answer["content-type"] == TYPE
    assert int(answer["content-length"]) > 300


def test_pretty(start: Start) -> None:
    body = bytes(start("--pretty").connect().request(fields("/", "GET", ACCEPT)).body)
    assert body.startswith(b'{\n  "fields": [\n    [') and body.endswith(b"\n}\n")
    parse_detail(body)


def test_separators_are_those_of_the_plain_answer(daemon: Daemon) -> None:
    body = bytes(daemon.connect().request(fields("/", "GET", ACCEPT)).body).decode()
    assert body == json.dumps(json.loads(body), ensure_ascii=False)


# --- the stream ---

def test_stream_and_request_number(daemon: Daemon) -> None:
    client = daemon.connect()
    client.next_stream = 7
    assert [ask(client)["stream"][name] for name in ("id",)] == [7]
    client.next_stream = 21
    found = ask(client)["stream"]
    assert (found["id"], found["request"]) == (21, 2)


def test_each_connection_counts_its_own_requests(daemon: Daemon) -> None:
    for _ in range(3):
        with daemon.connect() as client:
            client.assert_answered()
            assert ask(client)["stream"]["request"] == 2


def test_content_bytes_do_not_count_padding(daemon: Daemon) -> None:
    found = detail_for(daemon, headers(1, detail_block(method="POST"), END_HEADERS),
                       data(1, b"\x04ten bytes!" + bytes(4), PADDED), data(1, b"", END_STREAM))
    assert found["stream"]["content_bytes"] == 10
    assert {"what": "content: 10 bytes", "why": "counted, not kept"} in found["dropped"]


def test_send_windows(daemon: Daemon) -> None:
    """Those at the time of the answer: less what was sent, plus the WINDOW_UPDATE frames received."""
    client = daemon.open_connection()
    client.refill = False
    client.send(MAGIC, settings((0x4, 5000)), window_update(0, 1000), headers(1, fields()))
    taken = len(client.wait(1).body)
    client.send(headers(3, detail_block(method="POST"), END_HEADERS), window_update(3, 7000), data(3, b""))
    found = detail_of(client.wait(3))
    assert found["connection"]["send_window"] == 65535 + 1000 - taken
    assert found["stream"]["send_window"] == 5000 + 7000


# --- priorities ---

@pytest.mark.parametrize("value, urgency, incremental", [
    ("u=1", 1, False), ("i", 3, True), ("u=7, i", 7, True), ("i=?0", 3, False), ("u=0,i=?1", 0, True),
    ("u=9", 3, False), ("u=2;x=1, y", 2, False), ("", 3, False), ("u=1, u=5", 5, False)])
def test_priority_field(daemon: Daemon, value: str, urgency: int, incremental: bool) -> None:
    assert ask(daemon.connect(), ("priority", value))["stream"]["priority"] == {
        "urgency": urgency, "incremental": incremental, "from": "field"}


def test_default_priority(daemon: Daemon) -> None:
    assert ask(daemon.connect())["stream"]["priority"] == {"urgency": 3, "incremental": False, "from": "default"}


def test_priority_update(daemon: Daemon) -> None:
    """It may arrive before its request, overrides the field, and applies to its own stream only."""
    updates = [frame(PRIORITY_UPDATE, 0, 0, number(stream) + value)
               for stream, value in ((1, b"u=5"), (1, b"i"), (3, b"u=6"))]
    request = block([*fields(), ("priority", "u=1"), ACCEPT])
    found = detail_for(daemon, *updates, headers(1, request))
    assert found["stream"]["priority"] == {"urgency": 3, "incremental": True, "from": "frame"}
    assert [entry["what"] for entry in found["dropped"]] == ["PRIORITY_UPDATE frames: 3"]


def test_priority_in_headers(daemon: Daemon) -> None:
    payload = number(1 << 31 | 5) + bytes([219]) + detail_block()
    found = detail_for(daemon, headers(7, payload, END_STREAM | END_HEADERS | HAS_PRIORITY), stream=7)
    assert found["stream"]["dependency"] == {"depends_on": 5, "weight": 220, "exclusive": True}
    assert [entry["what"] for entry in found["dropped"]] == ["priority in HEADERS"]
    assert found["hpack"]["wire_bytes"] == len(detail_block())


def test_priority_frames(daemon: Daemon) -> None:
    first = [priority(3, 0, 200), frame(2, 0, 5, number(1 << 31 | 3) + b"\x00")]
    client = daemon.open_connection()
    client.send(MAGIC, settings((1, 65536)), *first, headers(7, fields()), priority(9, 7, 1),
                headers(11, detail_block()))
    found = detail_of(client.wait(11))["client"]
    frames = [(each["stream"], each["depends_on"], each["weight"], each["exclusive"])
              for each in found["priority_frames"]]
    assert frames == [(3, 0, 201, False), (5, 3, 1, True), (9, 7, 2, False)]
    assert found["fingerprint"] == "1:65536|00|3:0:0:201,5:1:3:1|m,p,s,a"


# --- the client ---

def test_settings_in_order_with_unknown_ids(daemon: Daemon) -> None:
    given = [(4, 131072), (0x1A2A, 7), (1, 4096), (4, 65536), (0xFFFF, 2**32 - 1), (9, 1), (2, 0)]
    for piece in (None, 1, 7):
        found = detail_for(daemon, window_update(0, 12517377), headers(1, detail_block()), first=settings(*given),
                           piece=piece)
        advertised = found["client"]
        assert [(entry["id"], entry["value"]) for entry in advertised["settings"]] == given
        assert [entry["name"] for entry in advertised["settings"]] == [
            "INITIAL_WINDOW_SIZE", None, "HEADER_TABLE_SIZE", "INITIAL_WINDOW_SIZE", None, "NO_RFC7540_PRIORITIES",
            "ENABLE_PUSH"]
        assert advertised["fingerprint"] == (
            "4:131072;6698:7;1:4096;4:65536;65535:4294967295;9:1;2:0|12517377|0|m,p,s,a")
        assert [entry["what"] for entry in found["dropped"]] == ["settings: 2"]


def test_later_settings(daemon: Daemon) -> None:
    found = detail_for(daemon, settings((3, 5)), headers(1, detail_block()), settings((0x99, 1)), ping(b"12345678"),
                       first=settings((1, 0)))
    assert [(entry["id"], entry["value"]) for entry in found["client"]["settings"]] == [(1, 0)]
    assert [(entry["id"], entry["value"]) for entry in found["client"]["later_settings"]][:1] == [(3, 5)]
    assert found["client"]["fingerprint"].startswith("1:0|")


def test_nothing_advertised(daemon: Daemon) -> None:
    found = detail_for(daemon, headers(1, detail_block()))
    assert found["client"] == {"settings": [], "later_settings": [], "window_update": 0, "priority_frames": [],
                               "fingerprint": "|00|0|m,p,s,a"}
    assert found["dropped"] == [] and found["reports"] == []


def test_later_window_updates_are_not_part_of_the_fingerprint(daemon: Daemon) -> None:
    client = daemon.open_connection()
    client.send(MAGIC, settings(), window_update(0, 5), window_update(0, 6), headers(1, fields()), window_update(0, 7))
    client.wait(1)
    found = ask_on(client, 3)["client"]
    assert found["window_update"] == 5 and found["fingerprint"] == "|5|0|m,p,s,a"


def ask_on(client: Client, stream: int) -> Detail:
    client.send(headers(stream, detail_block()))
    return detail_of(client.wait(stream))


def test_maximum_number_of_settings(daemon: Daemon) -> None:
    given = [(0xF000 + n, n) for n in range(32)]
    assert len(detail_for(daemon, headers(1, detail_block()), first=settings(*given))["client"]["settings"]) == 32


# --- HPACK ---

def test_size_of_block_and_dynamic_table(daemon: Daemon) -> None:
    first, second = indexing("x-long", "v" * 100), indexing("x-other", "w" * 50)
    found = detail_for(daemon, headers(1, detail_block(first, second)))
    names = [*fields(), ACCEPT, ("x-long", "v" * 100), ("x-other", "w" * 50)]
    assert found["hpack"] == {"wire_bytes": len(detail_block(first, second)),
                              "decoded_bytes": sum(len(name) + len(value) for name, value in names),
                              "table_bytes": 6 + 100 + 32 + 7 + 50 + 32}
    assert detail_for(daemon, headers(1, table_size_update(0) + detail_block(first)))["hpack"]["table_bytes"] == 0


def test_block_size_without_padding_and_priority(daemon: Daemon) -> None:
    whole = detail_block(literal("x", "v" * 300))
    padded = frame(HEADERS, END_STREAM | PADDED | HAS_PRIORITY, 1,
                   b"\x09" + number(0) + b"\x0f" + whole[:100] + bytes(9))
    found = detail_for(daemon, padded, continuation(1, whole[100:200], 0), continuation(1, whole[200:]), piece=3)
    assert found["hpack"]["wire_bytes"] == len(whole)


# --- the connection ---

def test_addresses_and_age(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    first = ask(client)["connection"]
    assert first["peer"] == client.name and first["local"] == f"127.0.0.1:{daemon.port}"
    assert first["protocol"] == "h2c" and first["id"] == 1
    second = ask(client)["connection"]
    assert 0 <= first["age_ms"] < second["age_ms"] < 60_000
    assert ask(daemon.connect())["connection"]["id"] == 2


def test_addresses_of_a_unix_socket(start: Start, tmp_path: Any) -> None:
    path = tmp_path / "socket"
    start(f"--unix={path}")
    body = curl_h2("--unix-socket", path, "-H", f"accept: {TYPE}", "http://localhost/").stdout
    connection = parse_detail(body)["connection"]
    assert (connection["local"], connection["peer"]) == (f"unix:{path}", "unix")


# --- what was received and had no effect ---

def test_frames_of_unknown_types(daemon: Daemon) -> None:
    found = detail_for(daemon, frame(0xFB, 0x5, 0, b"hello"), frame(0x0B, 0, 9, bytes(700)), headers(1, detail_block()))
    assert found["dropped"] == [
        {"what": "frame of type 0xfb: 5 bytes, stream 0", "why": "of no known type (RFC 9113 section 5.5)"},
        {"what": "frame of type 0x0b: 700 bytes, stream 9", "why": "of no known type (RFC 9113 section 5.5)"}]


def test_flood_of_frames_keeps_the_first_frames(daemon: Daemon) -> None:
    """Frames before the first request are all kept; of later ones, only the latest."""
    client = daemon.open_connection()
    client.send(MAGIC, settings((1, 4096)), priority(3, 0, 200), headers(1, fields()))
    client.wait(1)
    client.send(*(priority(5, 0, n % 256) for n in range(1000)))
    found = ask_on(client, 7)
    weights = [each["weight"] for each in found["client"]["priority_frames"]]
    assert weights[0] == 201 and len(weights) > 20
    assert weights[1:] == [n % 256 + 1 for n in range(1000 - len(weights) + 1, 1000)]
    assert found["client"]["fingerprint"] == "1:4096|00|3:0:0:201|m,p,s,a"
    assert [entry["what"] for entry in found["dropped"]] == [f"PRIORITY frames: {len(weights)}",
                                                             f"other frames: {1001 - len(weights)}"]


def test_reports_of_earlier_malformed_requests(daemon: Daemon) -> None:
    client = daemon.connect()
    bad = client.send_request([*fields(), ("Upper", "x")])
    client.wait(bad)
    found = ask(client)
    assert [entry["stream"] for entry in found["reports"]] == [bad]
    assert found["reports"][0]["text"] == ('malformed request: field "Upper": upper case in a field name '
                                           "(RFC 9113 section 8.2.1)")


def test_reports_contain_no_field_values(daemon: Daemon) -> None:
    """A proxy may forward requests of several people on one connection."""
    client = daemon.connect()
    bad = [[("connection", "s3cret")], [("te", "s3cret")], [("x", b"s3cret\x01")], [("content-length", "s3cret")],
           [(":unknown", "s3cret")], [("host", "a"), ("host", "s3cret")], [("s p", "s3cret")]]
    for more in bad:
        client.wait(client.send_request([*fields(), *more]))
    client.wait(client.send_request(fields(authority="s3cret@host")))
    answer = client.request(fields("/", "GET", ACCEPT))
    assert len(detail_of(answer)["reports"]) == 8 and b"s3cret" not in answer.body


def test_only_the_latest_reports_are_kept(daemon: Daemon) -> None:
    client = daemon.connect()
    bad = [client.send_request([*fields(), (f"U{n}", "x" * 2000)]) for n in range(20)]
    for stream in bad:
        client.wait(stream)
    found = ask(client)["reports"]
    assert [entry["stream"] for entry in found] == bad[-8:]
    assert all(f'field "U{n}"' in entry["text"] for n, entry in enumerate(found, 12))


# --- limits ---

def test_size_is_bounded(daemon: Daemon) -> None:
    """Whatever is within the limits makes it at most a few times as large as the fields."""
    client = daemon.open_connection()
    client.send(MAGIC, settings(*((0xF000 + n, 2**32 - 1) for n in range(32))),
                *(frame(0xF0, 0, 2**31 - 1, b"") for _ in range(500)), *(priority(3, 0, 255) for _ in range(500)))
    many = [(b"x", b"\xff")] * 1800
    stream = client.new_stream()
    client.send(client.headers([*fields(), *many, ACCEPT], False, stream), client.headers(many, True, stream))
    answer = client.wait(stream)
    found = detail_of(answer)
    assert len(found["fields"]) == 1805 and found["trailers"] == []
    assert {"what": "trailers: 1800 fields", "why": "no room to keep them"} in found["dropped"]
    assert len(answer.body) < 2.5 * 65536 + 22 * 1024


def test_maximum_size_of_trailers(daemon: Daemon) -> None:
    """Fields and trailers together may be as large as fields alone."""
    client = daemon.connect()
    own = sum(len(name) + len(value) + 32 for name, value in fields("/", "GET", ACCEPT))
    trailers = [("x", "v" * 9967)] * 6
    trailers += [("x", "v" * (65536 - own - 6 * 10000 - 33))]
    assert len(ask(client, trailers=trailers)["trailers"]) == 7
    trailers[-1] = ("x", trailers[-1][1] + "v")
    found = ask(client, trailers=trailers)
    assert found["trailers"] == [] and found["dropped"][-1]["what"] == "trailers: 7 fields"


def test_fields_over_the_limit(daemon: Daemon) -> None:
    answer = daemon.connect().request(fields("/", "GET", ACCEPT, *[("x", "v" * 9000)] * 8))
    assert answer.status == 431 and answer["content-type"].startswith("text/plain")


def test_trailers_over_the_limit(daemon: Daemon) -> None:
    client = daemon.connect()
    stream = client.send_request(fields("/", "POST", ACCEPT), end=False)
    client.send(client.headers([("x", "v" * 9000)] * 8, True, stream))
    assert client.wait(stream).status == 431


def test_connect(daemon: Daemon) -> None:
    answer = daemon.connect().request([(":method", "CONNECT"), (":authority", "a:1"), ACCEPT])
    assert answer.status == 501


def test_streams_cut_off_in_every_state(daemon: Daemon) -> None:
    client = daemon.open_connection()
    client.send(MAGIC, settings(), headers(1, detail_block(method="POST"), END_HEADERS), reset_stream(1),
                headers(3, detail_block(method="POST"), END_HEADERS), headers(3, literal("a", "1"), END_STREAM),
                continuation(3, literal("b", "2")), headers(5, detail_block(method="POST"), END_HEADERS))
    assert detail_of(client.wait(3))["trailers"] == [["a", "1"], ["b", "2"]]
    client.close()
    daemon.connect().assert_answered()


# --- other clients, and the documentation ---

def test_fingerprint_differs_between_clients(daemon: Daemon) -> None:
    details = {name: parse_detail(ask_by(daemon.url("/"))) for name, (ask_by, _) in CLIENTS.items()}
    assert len({detail["client"]["fingerprint"] for detail in details.values()}) == 4, details
    assert all(["cookie", "a=1", "never-indexed"] in detail["fields"] for detail in details.values())
    assert [name for name, detail in details.items() if not detail["client"]["settings"]] in ([], ["node"])


@pytest.mark.parametrize("name", CLIENTS)
def test_fingerprint_summarizes_what_is_advertised(daemon: Daemon, name: str) -> None:
    """Computed again from the other members, for each client."""
    detail = parse_detail(CLIENTS[name][0](daemon.url("/")))
    client = detail["client"]
    parts = [";".join(f"{entry['id']}:{entry['value']}" for entry in client["settings"]),
             str(client["window_update"] or "00"),
             ",".join(f"{entry['stream']}:{entry['exclusive']:d}:{entry['depends_on']}:{entry['weight']}"
                      for entry in client["priority_frames"]) or "0",
             ",".join(field[0][1] for field in detail["fields"] if field[0].startswith(":"))]
    assert client["fingerprint"] == "|".join(parts)


def test_table_in_the_readme_of_clients(daemon: Daemon) -> None:
    """The columns of clients whose version is the table's must be equal; the row "never indexed" for all."""
    text = (TOP / "tests/clients/README.md").read_text()
    head, *rows = markdown_table(daemon.url("/"))
    documented = re.search(r"^\|  \| curl .*\n(?:\|.*\n)+", text, re.MULTILINE)
    assert documented
    documented_head, *documented_rows = documented[0].splitlines()
    assert [row.split(" | ")[0] for row in documented_rows] == [row.split(" | ")[0] for row in rows]
    pairs_of_heads = zip(head.split(" | "), documented_head.split(" | "))
    columns = [n for n, (ours, theirs) in enumerate(pairs_of_heads) if ours == theirs]
    assert [[row.split(" | ")[n] for n in columns] for row in documented_rows] == [
        [row.split(" | ")[n] for n in columns] for row in rows]
    assert [row for row in documented_rows if "never indexed" in row] == [row for row in rows if "never indexed" in row]


def shape(value: Any) -> Any:
    """The value with its members' names, but each string, number etc. replaced by its type."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(entry) for entry in value] if isinstance(value, list) else type(value)


def remove_what_depends_on_curls_version(detail: Detail) -> None:
    """Versions of curl differ in user-agent, windows and the order of pseudo-header fields."""
    detail["fields"] = sorted(field for field in detail["fields"] if field[0] != "user-agent")
    for part in ("stream", "connection"):
        del detail[part]["send_window"]
    del detail["client"], detail["hpack"]


def test_example_in_the_manual(start: Start) -> None:
    """Run the manual's command and compare the answer, without what differs from run to run."""
    page = (TOP / "man/h2echod.8").read_text().replace("\\-", "-").replace("\\e", "\\")
    text = re.search(r"^(\$ curl [^{]*vnd\.h2echod[^{]*)(\{.*?\n)\.Ed", page, re.MULTILINE | re.DOTALL)
    assert text
    words = shlex.split(text[1].replace("$ curl --http2-prior-knowledge", ""), comments=False)
    daemon = start()
    made = parse_detail(curl_h2("--connect-to", f"localhost:8080:127.0.0.1:{daemon.port}", *words).stdout)
    documented = parse_detail(text[2].encode())
    assert list(made) == list(documented) and shape(made["fields"]) == shape(documented["fields"])
    for detail in (made, documented):
        del detail["connection"]["age_ms"], detail["connection"]["peer"], detail["connection"]["local"]
        if f"curl/{curl_version()}" not in text[2]:
            remove_what_depends_on_curls_version(detail)
    assert made == documented
