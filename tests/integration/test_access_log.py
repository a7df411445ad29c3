"""The access log: one line for each request, as text or JSON, with correct values, also under load."""
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
# Sizes of the buffers for an escaped method and path: in text; and in JSON, which UTF-8 may exceed up to twice.
BUFFER_SIZES = {"text": (64, 512), "json": (256, 1400)}
Record = dict[str, Any]
Records = Callable[[Daemon], list[Record]]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def text_records(daemon: Daemon) -> list[Record]:
    """The lines in text format, as records of the JSON format."""
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
def test_each_request_is_a_line(start: Start, form: str, records: Records) -> None:
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


def test_order_of_json_members(start: Start) -> None:
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
def test_content_bytes_and_methods(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    client.request(fields("/up", "POST"), bytes(12345))
    client.request(fields("/head", "HEAD"))
    post, head = wait_for_records(daemon, records, 2)
    assert (post["method"], post["received"]) == ("POST", 12345)
    assert post["sent"] == len(echo(fields("/up", "POST")))
    assert (head["method"], head["status"], head["sent"]) == ("HEAD", 200, 0)


@FORMATS
def test_duration_includes_waiting(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    watch = Stopwatch()
    client.send_request(fields("/answered", "POST"), end=False)
    client.send_request(fields("/cut", "POST"), end=False)
    client.ping()
    time.sleep(0.2)  # the duration that is measured
    client.send_body(1, b"")
    client.wait(1)
    client.ping()
    time.sleep(0.2)
    client.close()
    answered, cut = wait_for_records(daemon, records, 2)
    assert 200 <= answered["ms"] < cut["ms"] < 1000 * watch.seconds()
    assert cut["ms"] >= 400


@FORMATS
def test_status_of_refused_requests(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}", "--max-header-list-size=1KiB")
    client = daemon.connect()
    client.request(fields("/big", "GET", ("x", "y" * 2000)))
    client.request([(":method", "CONNECT"), (":authority", "a:1")])
    large, connect = wait_for_records(daemon, records, 2)
    assert (large["status"], connect["status"], connect["method"]) == (431, 501, "CONNECT")


@FORMATS
def test_resets_name_the_side_that_sent_them(start: Start, form: str, records: Records) -> None:
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
def test_requests_cut_off_with_the_connection_are_logged(start: Start, form: str, records: Records) -> None:
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
    (b"/\xfc", r"/\xfc", r"/\xfc", True),  # not UTF-8: escaped as in text, and marked as such
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
def test_long_path_is_truncated(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    path = "/" + "x" * 20000
    client = daemon.connect()
    client.request(fields(path)).assert_echo(fields(path))
    client.assert_answered("/after")
    poll(lambda: daemon.log("/after"), "the second line")
    assert len(daemon.log("/xxx")) == 1
    if form == "json":
        assert json_records(daemon)[0]["path"].startswith("/xxx")


def test_access_log_is_off_by_default(start: Start) -> None:
    daemon = start()
    daemon.connect().assert_answered("/secret")
    daemon.stats()
    assert not daemon.log("/secret")


# --- random requests on many connections ---

CONNECTIONS, ROUNDS = 20, 50  # a round is one request of each kind
LIST_MAX = 8192               # --max-header-list-size
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PATH = bytes([*range(0x21, 0x7f), *range(0x80, 0x100)])  # bytes that nghttp2 allows in :path
CODES = {0: "NO_ERROR", 2: "INTERNAL_ERROR", 7: "REFUSED_STREAM", 8: "CANCEL", 13: "HTTP_1_1_REQUIRED",
         14: "0xe", 0xffffffff: "0xffffffff"}


@dataclass
class Sent:
    """A request, and the members of its record."""

    method: bytes
    path: bytes | None
    members: Record


class RandomRequests:
    """A connection with random requests of all kinds, several at once; `sent` has them by stream."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.random = client, random.Random(seed)
        self.name, self.sent = client.name, {}

    def random_bytes(self, alphabet: bytes, most: int) -> bytes:
        return bytes(self.random.choices(alphabet, k=self.random.randint(1, most)))

    def path(self) -> bytes:
        if self.random.random() < 0.1:
            return b"/" + self.random_bytes(PATH, 3000)
        if self.random.random() < 0.3:
            return b"/" + "".join(self.random.choices("äß€𝄞\\\"%", k=8)).encode()
        return b"/" + self.random_bytes(PATH, 60)

    def send_request(self, whole: bool, *more: tuple[str, str], **members: Any) -> int:
        method, path = b"M" + self.random_bytes(TOKEN, 80), self.path()  # neither HEAD nor CONNECT
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
        for _ in range(ROUNDS):
            kinds = [self.plain, self.with_content, self.head, self.connect, self.reset, self.malformed,
                     self.too_large, self.too_large_and_open]
            first = self.client.next_stream
            for kind in self.random.sample(kinds, len(kinds)):
                kind()
            for stream in range(first, self.client.next_stream, 2):
                self.wait_for_answer(stream, self.sent[stream])
        self.cut_off()

    def wait_for_answer(self, stream: int, sent: Sent) -> None:
        """Wait for the answer; its content is what the record must count as sent."""
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


def is_escaped_or_truncated(shown: str | None, sent: bytes | None, room: int) -> bool:
    """The text is what was sent, escaped; if that exceeds the buffer, its beginning followed by dots."""
    if sent is None:
        return shown == "-"
    whole = escape(sent)
    if len(whole) < room:
        return shown == whole
    return shown.endswith("...") and len(shown) > room - 8 and whole.startswith(shown[:-3])


def assert_method_and_path(form: str, record: Record, sent: Sent) -> None:
    are_plain = True
    for name, value, room in zip(("method", "path"), (sent.method, sent.path), BUFFER_SIZES[form]):
        shown = record.get(name)
        if form == "json" and (value is None or is_utf8(value) and len(value) < room and json_size(value) < 2 * room):
            assert shown == (value.decode() if value else None)
        else:
            are_plain = False
            assert is_escaped_or_truncated(shown, value, room), (name, shown, value)
    assert form == "text" or record.get("escaped", False) != are_plain


def json_size(value: bytes) -> int:
    """The size in ASCII that the daemon reserves for a value."""
    return sum(3 if byte >= 0x80 else 2 if byte in b'"\\' else 1 for byte in value)


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.heavy
@FORMATS
def test_thousands_of_requests_have_one_line_each(start: Start, form: str, records: Records) -> None:
    """Each line can be parsed, and together they are exactly the requests that were sent."""
    daemon = start(f"--access-log={form}", f"--max-header-list-size={LIST_MAX}")
    clients = [RandomRequests(daemon.connect(), seed) for seed in range(CONNECTIONS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = {(client.name, stream): request for client in clients for stream, request in client.sent.items()}
    assert len(sent) == CONNECTIONS * (8 * ROUNDS + 1)
    found = wait_for_records(daemon, records, len(sent))
    assert daemon.stats()["requests"] == len(sent)
    assert Counter((record["peer"], record["stream"]) for record in found) == Counter(sent.keys())
    assert len({(record["peer"], record["connection"]) for record in found}) == CONNECTIONS
    for record in found:
        request = sent[record["peer"], record["stream"]]
        assert_method_and_path(form, record, request)
        rest = {name: value for name, value in record.items()
                if name not in ("time", "connection", "peer", "stream", "ms", "method", "path", "escaped")}
        assert rest == {"protocol": "h2c"} | request.members
    assert all(LOG_LINE.fullmatch(line) or form == "json" and json.loads(line) for line in daemon.lines)
