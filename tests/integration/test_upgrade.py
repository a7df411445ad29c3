"""The upgrade from HTTP/1.1 to h2c (RFC 7540 section 3.2): upgraded requests, refused requests, the preface, limits."""
from __future__ import annotations

import base64
import json
import re
import select
from typing import Sequence

import pytest
from hyperframe.frame import Frame, PingFrame, SettingsFrame, WindowUpdateFrame

from clients import curl, run_tool
from conftest import Start
from daemon import Daemon
from waiting import SLOW, Deadline, Stopwatch
from wire import ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, MAGIC, PROTOCOL_ERROR, Client, echo, fields, read_all

PIECES = pytest.mark.parametrize("piece", [None, 1], ids=["whole", "by-byte"])
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
UPGRADE = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"]
DETAIL_TYPE = "application/vnd.h2echod+json"
WINDOW = SettingsFrame.INITIAL_WINDOW_SIZE


def settings_text(settings: dict[int, int]) -> str:
    return base64.urlsafe_b64encode(SettingsFrame(0, settings=settings).serialize()[9:]).decode()


def head(*lines: str, target: str = "/", method: str = "GET", settings: dict[int, int] | None = None,
         upgrade: Sequence[str] = UPGRADE) -> bytes:
    """The head of an HTTP/1.1 request for an upgrade to h2c, with these lines added."""
    upgrade = [*upgrade, f"HTTP2-Settings: {settings_text(settings or {})}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test.example", *lines, *upgrade, "", ""]).encode("latin-1")


def upgrade_only(daemon: Daemon, request: bytes, piece: int | None = None, **options: object) -> Client:
    """A client that was upgraded and has not sent its preface."""
    client = daemon.open_connection(refill=False, **options)
    client.acknowledge = False
    client.send(request, piece=piece)
    assert client.read_bytes(len(ACCEPTED), Deadline(5)) == ACCEPTED
    client.next_stream = 3
    return client


def upgrade(daemon: Daemon, request: bytes, piece: int | None = None, **options: object) -> Client:
    """A client that was upgraded and has sent its preface."""
    return send_preface(upgrade_only(daemon, request, piece, **options), piece=piece)


def send_preface(client: Client, *frames: Frame, settings: dict[int, int] | None = None,
                 piece: int | None = None) -> Client:
    """Send the preface, followed by these frames; from here on the client acknowledges frames as usual."""
    seen = [SettingsFrame(0, flags=["ACK"])] if client.settings else []
    client.send(MAGIC, SettingsFrame(0, settings=settings or {}), *seen, *frames, piece=piece)
    client.acknowledge = client.refill = True
    return client


def refusal(daemon: Daemon, request: bytes, piece: int | None = None) -> tuple[int, dict[str, str], str]:
    """Send a request that is answered in HTTP/1.1; return the status, the fields and the content."""
    client = daemon.open_connection()
    try:
        client.send(request, piece=piece)
    except (BrokenPipeError, ConnectionResetError):
        assert piece, "the daemon must not close before it has read a request sent at once"
    start, _, text = read_all(client.socket).partition(b"\r\n\r\n")
    line, *lines = start.decode().split("\r\n")
    headers = {name: value for name, value in (line.split(": ", 1) for line in lines)}
    assert int(headers["content-length"]) == len(text) or request.startswith(b"HEAD ")
    assert "close" in headers["connection"]
    status = re.fullmatch(r"HTTP/1\.1 (\d+) [A-Z].*", line)
    assert status, line
    return int(status[1]), headers, text.decode()


# --- upgraded requests ---

@PIECES
def test_request_is_answered_and_the_connection_goes_on(daemon: Daemon, piece: int | None) -> None:
    client = upgrade(daemon, head("X-Mine: 1", target="/up?grade"), piece)
    client.wait(1).assert_echo(fields("/up?grade", "GET", ("x-mine", "1")))
    client.assert_answered()
    client.ping()
    assert client.acknowledged == 1  # for the preface's SETTINGS; 101 acknowledges those of the request


def test_answer_does_not_wait_for_the_preface(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head())
    client.wait(1).assert_echo(fields())
    send_preface(client).assert_answered()
    assert client.acknowledged == 1


def test_preface_may_be_sent_with_the_request(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head() + MAGIC + SettingsFrame(0).serialize())
    client.wait(1).assert_echo(fields())
    client.assert_answered()


def test_fields_are_in_order_without_connection_specific_ones(daemon: Daemon) -> None:
    client = upgrade(daemon, head("User-Agent: a", "Cookie: a=1", "Keep-Alive: 5", "TE: trailers", "X-Twice: \xc3\xb6",
                                  "cookie: b=2", "Proxy-Connection: close", "X-TWICE:  2 ", "Drop: me", "Last:",
                                  upgrade=["Connection: Upgrade, drop", "Upgrade: websocket, H2C",
                                           "Connection: http2-settings"]))
    client.wait(1).assert_echo(fields("/", "GET", ("user-agent", "a"), ("cookie", "a=1"), ("x-twice", "ö"),
                                      ("cookie", "b=2"), ("x-twice", "2"), ("last", "")))


def test_head_method_has_no_body(daemon: Daemon) -> None:
    client = upgrade(daemon, head(method="HEAD"))
    answer = client.wait(1)
    assert (answer.status, answer.body, answer["content-length"]) == (200, b"", str(len(echo(fields()))))


def test_options_asterisk(daemon: Daemon) -> None:
    upgrade(daemon, head(method="OPTIONS", target="*")).wait(1).assert_echo(fields("*", "OPTIONS"))


def test_target_in_absolute_form(daemon: Daemon) -> None:
    upgrade(daemon, head(target="http://test.example/a?b")).wait(1).assert_echo(fields("/a?b"))


def test_content_length_0(daemon: Daemon) -> None:
    client = upgrade(daemon, head("Content-Length: 0", method="POST"))
    client.wait(1).assert_echo(fields("/", "POST", ("content-length", "0")))


def test_client_that_has_sent_fin_is_answered(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head())
    client.shut_down_writes()
    client.wait(1).assert_echo(fields())
    assert client.read_to_end() == "end"


def test_through_a_unix_socket(start: Start, open_directory) -> None:
    path = open_directory / "socket"
    start(f"--unix={path}")
    done = curl("--http2", "--unix-socket", path, "http://localhost/u")
    assert json.loads(done.stdout)[":path"] == "/u"


# --- HTTP2-Settings ---

def test_settings_apply_to_the_first_answer(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head(settings={WINDOW: 10}))
    client.read_until(lambda: len(client.answer(1).body) == 10, "as much as the window allows")
    assert not client.answer(1).ended
    send_preface(client, WindowUpdateFrame(1, 10_000), settings={WINDOW: 10})
    client.wait(1).assert_echo(fields())


def test_settings_of_the_preface_replace_them(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head(settings={WINDOW: 10}))
    send_preface(client, settings={WINDOW: 10_000})
    client.wait(1).assert_echo(fields())


@pytest.mark.parametrize("key, value, error", [(SettingsFrame.ENABLE_PUSH, 2, PROTOCOL_ERROR),
                                               (WINDOW, 2**31, FLOW_CONTROL_ERROR)], ids=["push", "window"])
def test_invalid_settings_end_the_connection(daemon: Daemon, key: int, value: int, error: int) -> None:
    client = daemon.open_connection()
    payload = key.to_bytes(2, "big") + value.to_bytes(4, "big")  # hyperframe refuses to serialize invalid ones
    request = head().replace(b"HTTP2-Settings: \r\n", b"HTTP2-Settings: %s\r\n" % base64.urlsafe_b64encode(payload))
    client.send(request)
    assert client.read_bytes(len(ACCEPTED), Deadline(5)) == ACCEPTED
    assert client.read_to_end() == "end"
    assert [goaway.error_code for goaway in client.goaways] == [error]
    prefix = rf"notice connection \d+ from {re.escape(client.name)}: connection error: "
    daemon.wait_for_log(prefix + ".*SETTINGS", client.since)


def test_detailed_answer(daemon: Daemon) -> None:
    client = upgrade_only(daemon, head(f"Accept: {DETAIL_TYPE}", "X: 1", settings={3: 100, WINDOW: 65535}))
    first = json.loads(client.wait(1).body)
    assert first["fields"] == [[name, value] for name, value in fields("/", "GET", ("accept", DETAIL_TYPE), ("x", "1"))]
    assert first["connection"]["protocol"] == "h2c by upgrade"
    assert (first["stream"]["id"], first["stream"]["request"]) == (1, 1)
    assert [(entry["name"], entry["value"]) for entry in first["client"]["settings"]] == \
        [("MAX_CONCURRENT_STREAMS", 100), ("INITIAL_WINDOW_SIZE", 65535)]
    assert (first["client"]["later_settings"], first["client"]["fingerprint"]) == ([], "3:100;4:65535|00|0|m,p,s,a")
    assert (first["hpack"]["wire_bytes"], first["hpack"]["table_bytes"], first["dropped"]) == (0, 0, [])
    send_preface(client, WindowUpdateFrame(0, 1000), settings={3: 7})
    second = json.loads(client.request(fields("/", "GET", ("accept", DETAIL_TYPE))).body)
    assert second["client"]["settings"] == first["client"]["settings"]
    assert [(entry["name"], entry["value"]) for entry in second["client"]["later_settings"]] == \
        [("MAX_CONCURRENT_STREAMS", 7)]
    assert second["client"]["window_update"] == 1000
    assert second["hpack"]["wire_bytes"] > 0 and second["stream"]["request"] == 2


# --- the preface after the upgrade ---

@PIECES
@pytest.mark.parametrize("words", [b"GET /second HTTP/1.1\r\nHost: test.example\r\n\r\n", bytes(24), MAGIC[:23] + b"x"],
                         ids=["http1", "zeros", "last-byte"])
def test_anything_but_a_preface_ends_the_connection(daemon: Daemon, words: bytes, piece: int | None) -> None:
    client = upgrade_only(daemon, head())
    try:
        client.send(words, piece=piece)
    except (BrokenPipeError, ConnectionResetError):
        assert piece
    assert client.read_to_end() == "end"
    client.answer(1).assert_echo(fields())
    assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]
    daemon.wait_for_log(r'notice connection \d+ from .*: not an HTTP/2 preface: "', client.since)


@pytest.mark.parametrize("frame", [PingFrame(0, bytes(8)), WindowUpdateFrame(0, 1)], ids=["ping", "window-update"])
def test_preface_must_begin_with_settings(daemon: Daemon, frame: object) -> None:
    client = upgrade_only(daemon, head())
    client.send(MAGIC, frame)
    assert client.read_to_end() == "end"
    assert [goaway.error_code for goaway in client.goaways] == [PROTOCOL_ERROR]
    assert bytes(client.goaways[0].additional_data) == b"SETTINGS expected"


def test_stream_1_cannot_be_used_again(daemon: Daemon) -> None:
    client = upgrade(daemon, head())
    client.wait(1).assert_echo(fields())
    client.send(client.headers(fields(), stream=1))
    assert client.read_to_end() == "end" and client.goaways[0].error_code != 0


# --- refused requests ---

@PIECES
@pytest.mark.parametrize("request_bytes, status, words", [
    pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426, "does not ask for an Upgrade", id="no-upgrade"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 426,
                 "does not ask for an Upgrade", id="another-protocol"),
    pytest.param(head("Content-Length: 3", method="POST") + b"abc", 426, "content", id="content"),
    pytest.param(head("Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n", 426, "content", id="chunks"),
    pytest.param(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505, "only HTTP/1.1", id="http-1.0"),
    pytest.param(head().replace(b"HTTP/1.1", b"HTTP/1.0"), 505, "only HTTP/1.1", id="http-1.0-with-upgrade"),
    pytest.param(head("Content-Length: 3", "Transfer-Encoding: chunked"), 400,
                 "both content-length and transfer-encoding", id="two-lengths"),
    pytest.param(head("Content-Length: 0", "Content-Length: 3"), 400, "repeated", id="two-content-lengths"),
    pytest.param(head("Host: other"), 400, "host repeated", id="two-hosts"),
    pytest.param(head().replace(b"Host: test.example\r\n", b""), 400, "host missing", id="no-host"),
    *(pytest.param(head().replace(b"Host: test.example", b"Host: " + host), 400,
                   "userinfo in host (RFC 9110 section 4.2.4)", id=f"userinfo-{name}")
      for name, host in [("in-host", b"a@test.example"), ("empty", b"@test.example"), ("alone", b"@"),
                         ("twice", b"a@b@test.example"), ("with-password", b"a:b@test.example:80")]),
    pytest.param(head(target="http://a@test.example/"), 400, "userinfo in the request target (RFC 9110 section 4.2.4)",
                 id="absolute-userinfo"),
    pytest.param(head("X: a", " b"), 400, "folded", id="fold"),
    pytest.param(head("X : a"), 400, "before the colon", id="white-space"),
    pytest.param(head().replace(b"\r\n", b"\n"), 400, "CR LF", id="bare-lf"),
    pytest.param(head("X: a\rb"), 400, "field value", id="bare-cr"),
    pytest.param(head("X: a\0b"), 400, "field value", id="nul"),
    pytest.param(head("X"), 400, "colon", id="no-colon"),
    pytest.param(head(target="http://other.example/"), 400, "host differs from the request target's",
                 id="absolute-other-host"),
    pytest.param(head(target="http:///"), 400, "host differs from the request target's", id="absolute-no-host"),
    pytest.param(head(target="http://test.example?a"), 400, "host differs from the request target's",
                 id="absolute-no-path"),
    pytest.param(head(target="https://test.example/"), 400, "target", id="absolute-other-scheme"),
    pytest.param(head(target="test.example:80", method="CONNECT"), 400, "CONNECT", id="connect"),
    pytest.param(head().replace(b"HTTP2-Settings: \r\n", b""), 400, "http2-settings missing", id="no-settings"),
    pytest.param(head("HTTP2-Settings:"), 400, "repeated", id="settings-twice"),
    pytest.param(head().replace(b"HTTP2-Settings: ", b"HTTP2-Settings: AAAA+AAA"), 400, "base64url", id="base64"),
    pytest.param(head(upgrade=["Connection: Upgrade", "Upgrade: h2c"]), 400, "from connection",
                 id="settings-not-in-connection"),
    pytest.param(head("X: " + "x" * 9000), 431, "8192 bytes", id="long"),
    pytest.param(head(*["X: y"] * 200), 431, "128 fields", id="many-fields"),
])
def test_refused_request(daemon: Daemon, request_bytes: bytes, status: int, words: str, piece: int | None) -> None:
    got, headers, text = refusal(daemon, request_bytes, piece)
    assert got == status and words in text and "RFC " in text, text
    assert re.search(r"Try:\n  curl --http2-prior-knowledge http://\S+/\n$", text)
    assert (headers.get("upgrade"), headers["connection"]) == \
        (("h2c", "upgrade, close") if status == 426 else (None, "close"))


def test_error_is_answered_before_the_end_of_the_head(daemon: Daemon) -> None:
    """The rest of a malformed head is not waited for."""
    assert refusal(daemon, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n")[0] == 400


def test_refusal_of_head_has_no_body(daemon: Daemon) -> None:
    assert refusal(daemon, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")[2] == ""


def test_upgrade_off(start: Start) -> None:
    status, headers, text = refusal(start("--upgrade=off"), head())
    assert (status, "upgrade" in headers) == (505, False) and "only HTTP/2" in text


def test_reload_turns_upgrade_off(start: Start, tmp_path) -> None:
    file = tmp_path / "conf"
    file.write_text("upgrade = on\n")
    daemon = start("-c", file)
    before = upgrade(daemon, head())
    before.wait(1)
    file.write_text("upgrade = off\n")
    daemon.reload()
    assert refusal(daemon, head())[0] == 505
    before.assert_answered()


# --- limits ---

def test_header_list_size_is_limited(start: Start) -> None:
    client = upgrade(start("--max-header-list-size=1KiB"), head("X: " + "x" * 1000))
    assert client.wait(1).status == 431
    client.assert_answered()


@pytest.mark.parametrize("first", [head()[:-2], head()[:40], b"GET / HTTP/1.1\r\n"],
                         ids=["blank-line", "field", "line"])
def test_incomplete_head_is_timed_out(start: Start, first: bytes) -> None:
    daemon = start("--header-timeout=300ms")
    watch = Stopwatch()
    client = daemon.open_connection()
    client.send(first)
    assert read_all(client.socket) == b""
    watch.assert_between(0.3)
    daemon.wait_for_log("notice .*: header-timeout: incomplete request head")
    assert daemon.stats()["timed-out"] == 1


@pytest.mark.parametrize("more", [b"", MAGIC[:10], MAGIC], ids=["nothing", "some", "no-settings"])
def test_incomplete_preface_is_timed_out(start: Start, more: bytes) -> None:
    """One timeout covers the head and the preface after it; it starts at accept."""
    daemon = start("--header-timeout=500ms")
    watch = Stopwatch()
    client = upgrade_only(daemon, head())
    client.send(more)
    assert client.read_to_end() == "end"
    watch.assert_between(0.5)
    client.answer(1).assert_echo(fields())
    assert client.goaways[0].error_code == ENHANCE_YOUR_CALM
    daemon.wait_for_log("notice .*: header-timeout: the preface does not end")
    assert daemon.stats()["timed-out"] == 1


def test_slowly_sent_head_is_timed_out(start: Start) -> None:
    """Further bytes do not extend the timeout."""
    daemon = start("--header-timeout=400ms")
    watch = Stopwatch()
    client = daemon.open_connection()
    for byte in head():
        if select.select([client.socket], [], [], 0.05)[0]:
            break
        client.send(bytes([byte]))
    assert read_all(client.socket) == b""
    watch.assert_between(0.4)


def test_upgrades_beside_slow_clients(start: Start) -> None:
    daemon = start()
    slow = [daemon.open_connection() for _ in range(50)]
    for client in slow:
        client.send(head()[:30])
    many = [upgrade(daemon, head(target=f"/{number}")) for number in range(100)]
    for number, client in enumerate(many):
        client.wait(1).assert_echo(fields(f"/{number}"))
        client.assert_answered()
    for client in slow:
        client.send(head()[30:])
        assert client.read_bytes(len(ACCEPTED), Deadline(5)) == ACCEPTED
        client.wait(1).assert_echo(fields())


# --- drain ---

def test_drain_finishes_the_upgraded_request(start: Start) -> None:
    daemon = start()
    client = upgrade_only(daemon, head(settings={WINDOW: 10}))
    client.read_until(lambda: len(client.answer(1).body) == 10, "as much as the window allows")
    daemon.signal()
    client.read_until(lambda: bool(client.goaways), "GOAWAY")
    send_preface(client, WindowUpdateFrame(1, 10_000), settings={WINDOW: 10})
    assert client.read_to_end() == "end"
    client.answer(1).assert_echo(fields())
    assert [goaway.error_code for goaway in client.goaways] == [0, 0]
    daemon.wait()


def test_drain_before_the_preface(start: Start) -> None:
    """The request is answered, and the client sends no preface: the drain does not wait for it."""
    daemon = start()
    client = upgrade_only(daemon, head())
    client.wait(1)
    watch = Stopwatch()
    daemon.signal()
    assert client.read_to_end() == "end"
    daemon.wait()
    assert watch.seconds() < 5 * SLOW  # the drain timeout is 10 s


def test_drain_does_not_wait_for_an_incomplete_head(start: Start) -> None:
    daemon = start()
    client = daemon.open_connection()
    client.send(head()[:40])
    daemon.wait_for_stats(connections=1)
    watch = Stopwatch()
    daemon.signal()
    daemon.wait()
    assert watch.seconds() < 5 * SLOW  # the drain timeout is 10 s


# --- log, trace and stats ---

def test_json_access_log(start: Start) -> None:
    daemon = start("--access-log=json")
    client = upgrade(daemon, head(target="/a"))
    client.wait(1)
    client.assert_answered("/b")
    records = [json.loads(daemon.wait_for_log(rf'{{"time".*"path":"{path}".*')[0]) for path in ("/a", "/b")]
    assert [(record["stream"], record["protocol"], record["status"]) for record in records] == \
        [(1, "h2c by upgrade", 200), (3, "h2c by upgrade", 200)]


def test_text_access_log(start: Start) -> None:
    daemon = start("--access-log=text")
    upgrade(daemon, head(target="/a")).wait(1)
    daemon.wait_for_log(r'stream 1: h2c by upgrade "GET /a" 200 ')


@pytest.mark.parametrize("level", ["fields", "frames"])
def test_trace(start: Start, level: str) -> None:
    daemon = start(f"--trace={level}")
    request = head('X: "secret\xff"', target="/a")
    client = upgrade(daemon, request)
    client.wait(1)
    client.ping()
    client.close()
    daemon.wait_for_stats(connections=0)
    lines = [match[1] for match in daemon.log(r"info connection 1 ((?:recv|send) .*)$")]
    received, sent = f"recv HTTP/1.1 head <length={len(request)}>", f"send HTTP/1.1 head <length={len(ACCEPTED)}>"
    if level == "fields":
        shown = request.decode("latin-1").replace("\r\n", r"\x0d\x0a").replace('"', r"\"").replace("\xff", r"\xff")
        received += f' "{shown}"'
        sent += ' "%s"' % ACCEPTED.decode().replace("\r\n", r"\x0d\x0a")
    assert lines[:2] == [received, sent]
    kinds = [line.split(" frame")[0] for line in lines[2:] if " frame <" in line]
    assert kinds[:4] == ["send SETTINGS", "send WINDOW_UPDATE", "send HEADERS", "send DATA"]
    assert [kind for kind in kinds if kind.startswith("recv")][0] == "recv SETTINGS"
    assert "secret" not in "".join(lines) or level == "fields"


def test_long_head_is_truncated_in_the_trace(start: Start) -> None:
    daemon = start("--trace=fields")
    upgrade(daemon, head("X: " + "x" * 7000)).wait(1)
    line = daemon.wait_for_log(r"recv HTTP/1.1 head <length=\d+> (.*)$")[1]
    assert line.startswith('"GET / HTTP/1.1') and line.endswith('..."') and len(line) < 4096


def test_upgraded_request_is_counted(start: Start) -> None:
    daemon = start()
    client = upgrade(daemon, head())
    client.wait(1)
    client.assert_answered()
    assert daemon.stats()["requests"] == 2


# --- other clients ---

def test_curl(daemon: Daemon) -> None:
    """Both requests use one connection; the second is on stream 3."""
    done = curl("--http2", "-H", "X: 1", "-w", " %{http_version} %{num_connects}\n", daemon.url("/1"), daemon.url("/2"))
    first, second = (line.rsplit(" ", 2) for line in done.stdout.decode().splitlines())
    assert (first[1:], second[1:]) == (["2", "1"], ["2", "0"])
    members, later = json.loads(first[0]), json.loads(second[0])
    assert members == later | {":path": "/1"}
    assert list(members) == [":method", ":path", ":scheme", ":authority", "user-agent", "accept", "x"]
    assert members[":authority"] == f"127.0.0.1:{daemon.port}"


def test_curl_head(daemon: Daemon) -> None:
    assert b"\r\nHTTP/2 200 \r\n" in curl("--http2", "--head", daemon.url()).stdout


def test_curl_with_content_gets_426(daemon: Daemon) -> None:
    done = curl("--http2", "-i", "-d", "abc", daemon.url())
    assert done.stdout.startswith(b"HTTP/1.1 426 ") and b"content" in done.stdout


def test_curl_with_http1_gets_426(daemon: Daemon) -> None:
    done = curl("-i", daemon.url())
    assert done.stdout.startswith(b"HTTP/1.1 426 ")
    assert f"curl --http2-prior-knowledge {daemon.url()}\n" in done.stdout.decode()


def test_nghttp(daemon: Daemon) -> None:
    done = run_tool(["nghttp", "-u", "-v", "-H", "x-mine: 1", daemon.url("/n")]).stdout.decode()
    assert "HTTP Upgrade success" in done and '"x-mine": "1"' in done
    assert "error_code=NO_ERROR" in done  # in nghttp's GOAWAY


def test_nghttp_with_several_requests(daemon: Daemon) -> None:
    done = run_tool(["nghttp", "-u", "-m", "3", daemon.url("/n")]).stdout.decode()
    assert done.count('":path": "/n"') == 3
