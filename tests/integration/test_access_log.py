"""The access log: one line a request, as text or JSON, right and whole."""
from __future__ import annotations

import json
import re
import threading
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

import pytest
from hyperframe.frame import RstStreamFrame

from conftest import Start
from daemon import LOG_LINE, Daemon
from waiting import poll
from wire import CANCEL, echo, fields

TEXT = re.compile(r'connection (\d+) from (\S+) stream (\d+): "((?:[^"\\]|\\.)*)" (\d+) received=(\d+) '
                  r'sent=(\d+) ms=(\d+(?:\.\d+)?)(?: reset=(\w+) by=(peer|server))?( cut)?')
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
            method, _, path = parts[4].partition(" ")
            record = {"time": match[1], "connection": int(parts[1]), "peer": parts[2],
                      "stream": int(parts[3]), "method": method, "path": path, "status": int(parts[5]),
                      "received": int(parts[6]), "sent": int(parts[7]), "ms": float(parts[8])}
            ends = {"reset": parts[9], "by": parts[10], "cut": parts[11]}
            records.append(record | {name: value for name, value in ends.items() if value})
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
    assert 0 <= record.pop("ms") < 1000
    stamp = datetime.strptime(record.pop("time")[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - stamp) < timedelta(seconds=60)
    assert record == {"connection": 1, "peer": client.name, "stream": 1,
                      "method": "GET", "path": "/hello?x=y", "status": 200, "received": 0,
                      "sent": len(echo(request))}


def test_json_members_have_their_order(start: Start) -> None:
    daemon = start("--access-log=json")
    daemon.connect().assert_answered()
    [record] = wait_for_records(daemon, json_records, 1)
    assert list(record) == ["time", "connection", "peer", "stream", "method", "path", "status", "received",
                            "sent", "ms"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", record["time"])


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
    stream = client.begin(fields("/cancelled", "POST"), end=False)
    client.send(RstStreamFrame(stream, CANCEL))
    malformed, cancelled = wait_for_records(daemon, records, 2)
    assert (malformed["status"], malformed["reset"], malformed["by"]) == (0, "PROTOCOL_ERROR", "server")
    assert (cancelled["status"], cancelled["reset"], cancelled["by"]) == (0, "CANCEL", "peer")
    assert cancelled["path"] == "/cancelled"


@FORMATS
def test_requests_cut_off_with_the_connection_have_a_line(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")
    client = daemon.connect()
    client.begin(fields("/cut", "POST"), end=False)
    client.ping()
    client.close()
    [record] = wait_for_records(daemon, records, 1)
    assert (record["path"], record["status"]) == ("/cut", 0) and record["cut"]


@pytest.mark.parametrize("path, text, member", [
    (b'/"quoted"\\', r'/\"quoted\"\\', '/"quoted"\\'),
    ("/ü".encode(), r"/\xc3\xbc", "/ü"),
    (b"/\xfc", r"/\xfc", r"/\xfc"),  # JSON has no bytes: what isn't UTF-8 is escaped as in the text
])
def test_path_from_the_network_is_escaped(start: Start, path: bytes, text: str, member: str) -> None:
    logs = {form: start(f"--access-log={form}") for form in ("text", "json")}
    for daemon in logs.values():
        daemon.connect().request(fields(path))
    [record] = wait_for_records(logs["text"], text_records, 1)
    assert record["path"] == text
    [record] = wait_for_records(logs["json"], json_records, 1)
    assert record["path"] == member


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
    daemon.figures()
    assert not daemon.log("/secret")


@FORMATS
def test_lines_are_never_mixed(start: Start, form: str, records: Records) -> None:
    daemon = start(f"--access-log={form}")

    def path(number: int, stream: int) -> str:
        return f"/{number}/{stream}/" + "x" * 100

    def ask(number: int) -> None:
        client = clients[number]
        for _ in range(5):
            for stream in [client.begin(fields(path(number, client.next_stream))) for _ in range(20)]:
                client.wait(stream, 20)

    clients = [daemon.connect() for _ in range(20)]
    threads = [threading.Thread(target=ask, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = wait_for_records(daemon, records, 2000)
    assert {record["path"] for record in found} == {
        path(number, stream) for number in range(20) for stream in range(1, 200, 2)}
    whole = r"\{.*\}" if form == "json" else STAMP + " info .*"
    assert all(re.fullmatch(whole, line) for line in daemon.lines if "/x" in line)
    for record in found:
        number, stream = record["path"].split("/")[1:3]
        assert int(stream) == record["stream"]
        assert record["peer"] == clients[int(number)].name
