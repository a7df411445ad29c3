"""The access log: one line a request, as text or JSON, right and whole."""
from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame

from conftest import Start
from daemon import LOG_LINE, Daemon
from waiting import SLOW, Stopwatch, poll
from wire import CANCEL, Client, echo, fields

TEXT = re.compile(r'connection (?P<connection>\d+) from (?P<peer>\S+) stream (?P<stream>\d+): (?P<protocol>[^"]+) '
                  r'"(?P<method>(?:[^" \\]|\\.)*) (?P<path>(?:[^" \\]|\\.)*)" (?P<status>\d+) '
                  r'received=(?P<received>\d+) sent=(?P<sent>\d+) ms=(?P<ms>\d+\.\d{3}) '
                  r'end=(?P<end>END_STREAM|cut|RST_STREAM reset=(?P<reset>\w+) by=(?P<by>peer|server))')
NUMBERS = ("connection", "stream", "status", "received", "sent")
# Buffers that a method and a path have to fit into, escaped: in text, and in JSON, where what is UTF-8 need not be,
# if it takes no more than twice as much as \u escapes.
ROOM = {"text": (64, 512), "json": (256, 1400)}
Record = dict[str, Any]
Records = Callable[[Daemon], list[Record]]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def text_records(daemon: Daemon) -> list[Record]:
    """The lines of the text format, as the JSON format would have them."""
    records = []
    for line in daemon.lines:
        match = LOG_LINE.fullmatch(line)
        if match and (parts := TEXT.fullmatch(match[3])):
            assert match[2] == "info"
            record = {name: value for name, value in parts.groupdict().items() if value is not None}
            record |= {name: int(record[name]) for name in NUMBERS}
            record |= {"time": match[1], "ms": float(record["ms"]), "end": record["end"].split()[0]}
            records.append(record | ({"cut": True} if record["end"] == "cut" else {}))
    return records


def json_records(daemon: Daemon) -> list[Record]:
    return [json.loads(line) for line in daemon.lines if line.startswith("{")]


FORMATS = pytest.mark.parametrize("form, records", [("text", text_records), ("json", json_records)],
                                  ids=["text", "json"])


def wait_for_records(daemon: Daemon, records: Records, count: int) -> list[Record]:
    found = poll(lambda: len(got := records(daemon)) >= count and got, f"{count} lines")
    assert len(found) == count
    return found


@FORMATS
def test_a_request_is_a_line(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    request = fields("/hello?x=y")
    client.request(request).assert_echo(request)
    [record] = wait_for_records(daemon, records, 1)
    assert 0 < record.pop("ms") < 1000 * SLOW
    stamp = datetime.strptime(record.pop("time")[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - stamp) < timedelta(seconds=60)
    assert record == {"connection": 1, "peer": client.name, "stream": 1, "protocol": "h2c",
                      "method": "GET", "path": "/hello?x=y", "status": 200, "received": 0,
                      "sent": len(echo(request)), "end": "END_STREAM"}


def test_json_members_have_their_order(start: Start) -> None:
    daemon = start("--access-log=json")
    client = daemon.connect()
    client.assert_answered()
    client.send(RstStreamFrame(client.send_request(fields(b"/\xff", "POST"), end=False), CANCEL))
    client.send_request(fields("/", "POST"), end=False)
    client.ping()
    client.close()
    ended, reset, cut = wait_for_records(daemon, json_records, 3)
    names = ["time", "connection", "peer", "stream", "protocol", "method", "path", "status", "received", "sent", "ms",
             "end"]
    assert list(ended) == names
    assert list(reset) == [*names[:7], "escaped", *names[7:], "reset", "by"]
    assert list(cut) == [*names, "cut"]
    assert re.fullmatch(STAMP, ended["time"])


@FORMATS
def test_bytes_and_methods(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    client.request(fields("/up", "POST"), bytes(12345))
    client.request(fields("/head", "HEAD"))
    post, head = wait_for_records(daemon, records, 2)
    assert (post["method"], post["received"]) == ("POST", 12345)
    assert post["sent"] == len(echo(fields("/up", "POST")))
    assert (head["method"], head["status"], head["sent"]) == ("HEAD", 200, 0)


@FORMATS
def test_the_time_that_a_request_waits_counts(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    watch = Stopwatch()
    client.send_request(fields("/answered", "POST"), end=False)
    client.send_request(fields("/cut", "POST"), end=False)
    client.ping()
    time.sleep(0.2)  # what is measured
    client.send_body(1, b"")
    client.wait(1)
    client.ping()
    time.sleep(0.2)
    client.close()
    answered, cut = wait_for_records(daemon, records, 2)
    assert 200 <= answered["ms"] < cut["ms"] < 1000 * watch.seconds()
    assert cut["ms"] >= 400


@FORMATS
def test_refused_requests_have_their_status(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}", "--max-header-list-size=1KiB")
    client = daemon.connect()
    client.request(fields("/big", "GET", ("x", "y" * 2000)))
    client.request([(":method", "CONNECT"), (":authority", "a:1")])
    large, connect = wait_for_records(daemon, records, 2)
    assert (large["status"], connect["status"], connect["method"]) == (431, 501, "CONNECT")


@FORMATS
def test_resets_say_whose(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    client.request(fields("/malformed", "GET", ("Bad", "x")))
    stream = client.send_request(fields("/cancelled", "POST"), end=False)
    client.send(RstStreamFrame(stream, CANCEL))
    malformed, cancelled = wait_for_records(daemon, records, 2)
    assert (malformed["status"], malformed["reset"], malformed["by"]) == (0, "PROTOCOL_ERROR", "server")
    assert (cancelled["status"], cancelled["reset"], cancelled["by"]) == (0, "CANCEL", "peer")
    assert malformed["end"] == cancelled["end"] == "RST_STREAM"
    assert cancelled["path"] == "/cancelled"


@FORMATS
def test_requests_cut_off_with_the_connection_have_a_line(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    client.send_request(fields("/cut", "POST"), end=False)
    client.ping()
    client.close()
    [record] = wait_for_records(daemon, records, 1)
    assert (record["path"], record["status"], record["end"], record["cut"]) == ("/cut", 0, "cut", True)


@pytest.mark.parametrize("path, text, member, is_escaped", [
    (b'/"quoted"\\', r'/\"quoted\"\\', '/"quoted"\\', False),
    ("/ü".encode(), r"/\xc3\xbc", "/ü", False),
    (b"/\\xfc", r"/\\xfc", r"/\xfc", False),
    ("/\u009b31m\u0085\u2028\u202e".encode(), r"/\xc2\x9b31m\xc2\x85\xe2\x80\xa8\xe2\x80\xae",
     "/\u009b31m\u0085\u2028\u202e", False),
    (b"/\xfc", r"/\xfc", r"/\xfc", True),  # JSON has no bytes: what isn't UTF-8 is escaped as in the text, and marked
])
def test_path_from_the_network_is_escaped(start: Start, path: bytes, text: str, member: str,
                                          is_escaped: bool) -> None:
    logs = {form: start(f"--access-log={form}") for form in ("text", "json")}
    for daemon in logs.values():
        daemon.connect().request(fields(path))
    [record] = wait_for_records(logs["text"], text_records, 1)
    assert record["path"] == text
    [record] = wait_for_records(logs["json"], json_records, 1)
    assert record["path"] == member and record.get("escaped", False) == is_escaped
    assert all(line.isascii() and line.isprintable() for log in logs.values() for line in log.lines)


@FORMATS
def test_long_path_does_not_break_the_line(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    path = "/" + "x" * 20000
    client = daemon.connect()
    client.request(fields(path)).assert_echo(fields(path))
    client.assert_answered("/after")
    poll(lambda: daemon.log("/after"), "the second line")
    assert len(daemon.log("/xxx")) == 1
    if form == "json":
        assert json_records(daemon)[0]["path"].startswith("/xxx")


def test_off_is_off(start: Start) -> None:
    daemon = start()
    daemon.connect().assert_answered("/secret")
    daemon.stats()
    assert not daemon.log("/secret")


# --- many at once ---

CONNECTIONS, TURNS = 20, 50  # a turn is one request of each kind
LIST_MAX = 8192              # bytes of a request's fields, before it is 431
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATH = bytes([*range(0x21, 0x7f), *range(0x80, 0x100)])  # what nghttp2 lets through
CODES = {0: "NO_ERROR", 2: "INTERNAL_ERROR", 7: "REFUSED_STREAM", 8: "CANCEL", 13: "HTTP_1_1_REQUIRED",
         14: "0xe", 0xffffffff: "0xffffffff"}


@dataclass
class Sent:
    """A request, and what the log has to say of it."""

    method: bytes
    path: bytes | None
    members: Record


class Asker:
    """One connection that asks in all the ways there are, several requests at once; and what it sent, by stream."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.random = client, random.Random(seed)
        self.name, self.sent = client.name, {}

    def some(self, alphabet: bytes, most: int) -> bytes:
        return bytes(self.random.choices(alphabet, k=self.random.randint(1, most)))

    def path(self) -> bytes:
        if self.random.random() < 0.1:
            return b"/" + self.some(PATH, 3000)
        if self.random.random() < 0.3:
            return b"/" + "".join(self.random.choices("äß€𝄞\\\"%", k=8)).encode()
        return b"/" + self.some(PATH, 60)

    def begin(self, whole: bool, *more: tuple[str, str], **members: Any) -> int:
        method, path = b"M" + self.some(TOKEN, 80), self.path()  # neither HEAD nor CONNECT
        stream = self.client.send_request(fields(path, method, *more), whole)
        self.sent[stream] = Sent(method, path, {"status": 200, "received": 0, "end": "END_STREAM"} | members)
        return stream

    def plain(self) -> None:
        self.send_request(True)

    def with_content(self) -> None:
        body = bytes(self.random.randint(1, 3000))
        self.client.send_body(self.send_request(False, received=len(body)), body)

    def head(self) -> None:
        path = self.path()
        stream = self.client.send_request(fields(path, "HEAD"))
        self.sent[stream] = Sent(b"HEAD", path, {"status": 200, "received": 0, "end": "END_STREAM"})

    def connect(self) -> None:
        stream = self.client.send_request([(":method", "CONNECT"), (":authority", "a:1")])
        self.sent[stream] = Sent(b"CONNECT", None, {"status": 501, "received": 0, "end": "END_STREAM"})

    def reset(self) -> None:
        code, body = self.random.choice(list(CODES)), bytes(self.random.randint(0, 500))
        stream = self.send_request(False, status=0, received=len(body), end="RST_STREAM", reset=CODES[code], by="peer")
        self.client.send(DataFrame(stream, body), RstStreamFrame(stream, code))

    def malformed(self) -> None:
        self.send_request(True, ("Bad", "x"), status=0, end="RST_STREAM", reset="PROTOCOL_ERROR", by="server")

    def too_large(self) -> None:
        self.send_request(True, ("x", "y" * LIST_MAX), status=431)

    def too_large_and_open(self) -> None:
        self.send_request(False, ("x", "y" * LIST_MAX), status=431, end="RST_STREAM", reset="NO_ERROR", by="server")

    def run(self) -> None:
        for _ in range(TURNS):
            kinds = [self.plain, self.with_content, self.head, self.connect, self.reset, self.malformed,
                     self.too_large, self.too_large_and_open]
            first = self.client.next_stream
            for kind in self.random.sample(kinds, len(kinds)):
                kind()
            for stream in range(first, self.client.next_stream, 2):
                self.settle(stream, self.sent[stream])
        self.cut_off()

    def settle(self, stream: int, sent: Sent) -> None:
        """Wait for the answer; its content is what the log says was sent."""
        if sent.members.get("by") == "peer":
            sent.members["sent"] = 0
            return
        answer = self.client.wait(stream, 20)
        sent.members["sent"] = len(answer.body)
        assert answer.status == sent.members["status"]

    def cut_off(self) -> None:
        self.send_request(False, status=0, end="cut", cut=True, sent=0)
        self.client.ping()
        self.client.close()


def escape(data: bytes) -> str:
    return "".join(f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7f else f"\\x{byte:02x}"
                   for byte in data)


def shows(shown: str | None, sent: bytes | None, room: int) -> bool:
    """The text is what was sent, escaped; its beginning, and dots, where that is too long."""
    if sent is None:
        return shown == "-"
    whole = escape(sent)
    if len(whole) < room:
        return shown == whole
    return shown.endswith("...") and len(shown) > room - 8 and whole.startswith(shown[:-3])


def assert_shows(form: str, record: Record, sent: Sent) -> None:
    are_plain = True
    for name, value, room in zip(("method", "path"), (sent.method, sent.path), ROOM[form]):
        shown = record.get(name)
        if form == "json" and (value is None or is_utf8(value) and len(value) < room and json_size(value) < 2 * room):
            assert shown == (value.decode() if value else None)
        else:
            are_plain = False
            assert shows(shown, value, room), (name, shown, value)
    assert form == "text" or record.get("escaped", False) != are_plain


def json_size(value: bytes) -> int:
    """What the daemon counts that it takes at most, as ASCII."""
    return sum(3 if byte >= 0x80 else 2 if byte in b'"\\' else 1 for byte in value)


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.heavy
@FORMATS
def test_thousands_at_once_are_each_a_whole_line(start: Start, form: str, records: Records) -> None:
    """Each line parses, and all of them together are what was sent, no more and no less."""
    daemon = start(f"--access-log={form}", f"--max-header-list-size={LIST_MAX}")
    askers = [Asker(daemon.connect(), seed) for seed in range(CONNECTIONS)]
    threads = [threading.Thread(target=asker.run) for asker in askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = {(asker.name, stream): request for asker in askers for stream, request in asker.sent.items()}
    assert len(sent) == CONNECTIONS * (8 * TURNS + 1)
    found = wait_for_records(daemon, records, len(sent))
    assert daemon.stats()["requests"] == len(sent)
    assert Counter((record["peer"], record["stream"]) for record in found) == Counter(sent.keys())
    assert len({(record["peer"], record["connection"]) for record in found}) == CONNECTIONS
    for record in found:
        request = sent[record["peer"], record["stream"]]
        assert_shows(form, record, request)
        rest = {name: value for name, value in record.items()
                if name not in ("time", "connection", "peer", "stream", "ms", "method", "path", "escaped")}
        assert rest == {"protocol": "h2c"} | request.members
    assert all(LOG_LINE.fullmatch(line) or form == "json" and json.loads(line) for line in daemon.lines)
