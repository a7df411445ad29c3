"""TLS handshakes, protocol versions, cipher suites and errors, and what the log and the detailed answer say of them."""
from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from certificates import Authority, Identity, openssl
from clients import curl
from conftest import Start
from daemon import TOP, Daemon, command, run
from terminal import Terminal
from tls import client_hello_record, connection_details, handshake, s_client
from waiting import SLOW, Stopwatch
from wire import INADEQUATE_SECURITY, MAGIC, PROTOCOL_ERROR, read_all, unverified_tls

TRANSPORTS = ("tls",)
LIMIT = 0.5 * min(SLOW, 4)  # seconds; another client's handshake must be finished within it, too
TEXT = f"{round(1000 * LIMIT)}ms"
# All of OpenSSL's cipher suites except those that RFC 9113 section 9.2.2 allows with TLS 1.2.
WRONG_SUITES = "ALL:!aNULL:!ECDHE+AESGCM:!ECDHE+CHACHA20:@SECLEVEL=0"


# --- the answer and the log ---

def test_curl_with_the_authority_gets_the_same_answer(start: Start, authority: Authority, identity: Identity) -> None:
    daemon = start("--tls-port=0", *identity.options(), transport="plain")
    plain = curl("--http2-prior-knowledge", f"http://localhost:{daemon.port}/x").stdout
    port = daemon.addresses("tls")[0][1]
    url = f"https://localhost:{port}/x"
    over_tls = curl("--cacert", authority.own.certificate, url, "-w", " %{http_version}").stdout
    assert over_tls.decode() == plain.decode().replace('"http"', '"https"').replace(str(daemon.port), str(port)) + " 2"


def test_detailed_answer_describes_the_connection(daemon: Daemon) -> None:
    connection = connection_details(daemon, unverified_tls("h2"), "name.example")
    assert connection["protocol"] == "h2"
    assert connection["tls"] == {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "alpn": "h2",
                                 "sni": "name.example", "client": None, "resumed": False}


def test_missing_extensions_are_null(daemon: Daemon) -> None:
    tls = connection_details(daemon, unverified_tls())["tls"]
    assert (tls["alpn"], tls["sni"], tls["client"]) == (None, None, None)


def test_access_log_names_the_protocol(start: Start) -> None:
    daemon = start("--access-log=text")
    daemon.connect().assert_answered("/path")
    daemon.wait_for_log(r'stream 1: h2 "GET /path" 200')


def test_version_names_the_library() -> None:
    assert re.search(r"OpenSSL 3\.\d", run("--version").out)


# --- ALPN ---

@pytest.mark.parametrize("offered, chosen", [(["h2"], "h2"), (["http/1.1", "h2"], "h2"), (["x", "h2", "http/1.1"], "h2"),
                                             (["http/1.1"], "http/1.1"), ([], None)])
def test_protocol_chosen_by_alpn(daemon: Daemon, offered: list[str], chosen: str | None) -> None:
    with handshake(daemon, unverified_tls(*offered)) as connection:
        assert connection.selected_alpn_protocol() == chosen


def test_unsupported_protocols_get_an_alert(daemon: Daemon) -> None:
    since = daemon.log_position()
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        handshake(daemon, unverified_tls("spdy/3", "http/1.0"))
    daemon.wait_for_log("notice .*TLS handshake failed: no application protocol", since)


@pytest.mark.parametrize("offered", [["http/1.1"], [], ["h2"]])
def test_http1_over_tls_is_answered_with_a_command_that_works(daemon: Daemon, offered: list[str]) -> None:
    with handshake(daemon, unverified_tls(*offered)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost:8443\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert answer.endswith(b"this port speaks only HTTP/2 over TLS (RFC 9110 section 15.6.6). Try:\n"
                           b"  curl --http2 https://localhost:8443/\n")


def test_http2_without_alpn_is_answered(daemon: Daemon) -> None:
    daemon.open_connection(tls=unverified_tls()).send_preface().assert_answered()


def test_tls_within_tls_is_refused(daemon: Daemon) -> None:
    with handshake(daemon, unverified_tls("h2")) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        assert read_all(connection)[:1] == b"\x15"


# --- versions, cipher suites, groups ---

@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(daemon: Daemon, version: str) -> None:
    assert "alert protocol version" in s_client(daemon, version, "-cipher", "ALL:@SECLEVEL=0")


def test_minimum_version_1_3_refuses_1_2(start: Start) -> None:
    daemon = start("--tls-min-version=1.3")
    daemon.connect().assert_answered()
    assert "alert protocol version" in s_client(daemon, "-tls1_2")


def cipher_suites(words: str) -> list[str]:
    return [line.split()[0] for line in openssl("ciphers", "-s", "-v", "-tls1_2", words).splitlines()]


def test_prohibited_cipher_suites_are_refused(daemon: Daemon) -> None:
    assert len(cipher_suites(WRONG_SUITES)) > 20
    assert "alert handshake failure" in s_client(daemon, "-tls1_2", "-cipher", WRONG_SUITES)


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
@pytest.mark.parametrize("key", ["ECDSA", "RSA"])
def test_cipher_suites_of_tls_1_2(start: Start, authority: Authority, key: str, suite: str) -> None:
    identity = authority.issue(key, *(("-newkey", "rsa:2048") if key == "RSA" else ()))
    daemon = start("--tls-port=0", *identity.options(), transport="plain")
    daemon.transport = "tls"
    output = s_client(daemon, "-tls1_2", "-cipher", f"ECDHE-{key}-{suite}", check=True)
    assert f"Cipher is ECDHE-{key}-{suite}" in output
    assert "Compression: NONE" in output


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_cipher_suites_of_tls_1_3(daemon: Daemon, suite: str) -> None:
    assert f"Cipher is {suite}" in s_client(daemon, "-ciphersuites", suite, check=True)


GROUPS = ["X25519", "P-256", "P-521"]
if "X25519MLKEM768" in openssl("list", "-kem-algorithms"):  # since OpenSSL 3.5
    GROUPS.append("X25519MLKEM768")


@pytest.mark.parametrize("group", GROUPS)
def test_key_exchange_groups(daemon: Daemon, group: str) -> None:
    assert "Cipher is TLS_AES_128_GCM_SHA256" in s_client(daemon, "-tls1_3", "-groups", group, check=True)


def test_weak_group_allowed_by_the_system_is_refused(start: Start, tmp_path: Path, authority: Authority) -> None:
    weak = tmp_path / "openssl.cnf"
    weak.write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n"
                    "[c]\nCipherString = DEFAULT:@SECLEVEL=0\nGroups = P-192:P-256\n")
    daemon = start("--tls-port=0", *authority.issue("weak", "-newkey", "rsa:2048").options(), transport="plain",
                   extra={"OPENSSL_CONF": str(weak)})
    daemon.transport = "tls"
    context = unverified_tls("h2")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with daemon.open_connection(tls=context) as strong:
        strong.send_preface().assert_answered()
    context.set_ecdh_curve("prime192v1")
    client = daemon.open_connection(tls=context).send_preface()
    client.read_to_end()
    words = "an ephemeral key of fewer than 224 bits (RFC 9113 section 9.2.1)"
    assert [(frame.error_code, frame.additional_data) for frame in client.goaways] == \
        [(INADEQUATE_SECURITY, words.encode())]
    daemon.wait_for_log(re.escape(f"TLS is too weak: {words}"), client.since)


def test_renegotiation_is_refused(daemon: Daemon) -> None:
    words = ["openssl", "s_client", "-tls1_2", "-connect", "%s:%d" % daemon.address]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin and client.stdout
        client.stdin.write(b"R\n")  # s_client's command to renegotiate
        client.stdin.flush()
        output = client.stdout.read()
    assert b"RENEGOTIATING" in output and b"no renegotiation" in output


def test_early_data_is_not_allowed(daemon: Daemon) -> None:
    output = s_client(daemon, "-ign_eof", input_=b"GET / HTTP/1.1\r\n\r\n")
    assert re.findall(r"Max Early Data: (\d+)", output) == ["0", "0"], output  # one for each session ticket


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(daemon: Daemon, version: ssl.TLSVersion) -> None:
    context = unverified_tls("h2")
    context.minimum_version = context.maximum_version = version
    first = daemon.open_connection(tls=context).send_preface()
    first.assert_answered()
    with socket.create_connection(daemon.address, 5 * SLOW) as plain:
        with context.wrap_socket(plain, session=first.socket.session) as again:
            assert again.session_reused


# --- slow and broken handshakes ---

@pytest.mark.parametrize("length", [0, 1, 3, 100, -1, None],
                         ids=["nothing", "a byte", "three", "a part", "all but a byte", "a whole hello"])
def test_handshake_that_stops(start: Start, length: int | None) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with socket.create_connection(daemon.address) as connection:
        connection.sendall(client_hello_record()[:length])
        daemon.connect().assert_answered("/other")
        read_all(connection, seconds=5)
        watch.assert_between(LIMIT)
    daemon.wait_for_log("notice .*header-timeout: (no|incomplete) TLS handshake")
    assert daemon.wait_for_stats(connections=1)["timed-out"] == 1


def test_slow_handshake_is_timed_out(start: Start) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with socket.create_connection(daemon.address) as connection:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in client_hello_record()[:-1] * 100:
                connection.sendall(bytes([byte]))
                time.sleep(LIMIT / 50)
        watch.assert_between(LIMIT)
    daemon.connect().assert_answered()


def test_handshake_in_single_bytes(daemon: Daemon) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = unverified_tls("h2").wrap_bio(incoming, outgoing)
    with socket.create_connection(daemon.address, 5 * SLOW) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done = False
        while not done:
            try:
                client.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            for byte in outgoing.read():
                connection.sendall(bytes([byte]))
            if not done:
                byte = connection.recv(1)
                assert byte, "the daemon has closed the connection"
                incoming.write(byte)
        assert client.selected_alpn_protocol() == "h2"


def broken_client_hello() -> bytes:
    """A complete record that is only at its beginning a ClientHello. Its length depends on the OpenSSL version."""
    return client_hello_record()[:20].ljust(len(client_hello_record()), b"\0")


@pytest.mark.parametrize("data, words", [(b"\x16\x03\x01\xff\xff" + bytes(60_000), "record too long"),
                                         (broken_client_hello(), "length mismatch")],
                         ids=["a long record", "a broken hello"])
def test_malformed_handshake_gets_an_alert_and_a_log_line(daemon: Daemon, data: bytes, words: str) -> None:
    since = daemon.log_position()
    with socket.create_connection(daemon.address, 5 * SLOW) as connection:
        connection.sendall(data)
        assert read_all(connection)[:1] == b"\x15"
    daemon.wait_for_log(f"notice .*TLS handshake failed: {words}$", since)


def test_http1_without_tls_is_answered_with_a_command_that_works(daemon: Daemon) -> None:
    answer = curl("--http1.1", f"http://localhost:{daemon.port}/").stdout.decode()
    assert answer == ("HTTP Version Not Supported: this port speaks only HTTP/2 over TLS (RFC 9110 section 15.6.6). "
                      f"Try:\n  curl --http2 https://localhost:{daemon.port}/\n")


def test_http2_without_tls_gets_goaway(daemon: Daemon) -> None:
    client = daemon.open_connection(address=daemon.address).send_preface()
    client.read_to_end()
    assert [(frame.error_code, frame.additional_data) for frame in client.goaways] == \
        [(PROTOCOL_ERROR, b"this port requires TLS")]
    daemon.wait_for_log("notice .*use https://, not http://", client.since)


def test_alert_from_a_client_that_rejects_the_certificate_is_logged(daemon: Daemon) -> None:
    since = daemon.log_position()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(daemon, ssl.create_default_context(), "localhost")
    daemon.wait_for_log("notice .*(TLS handshake failed|TLS error): .*alert unknown ca", since)


def test_record_with_a_bad_mac_ends_the_connection(daemon: Daemon) -> None:
    client = daemon.connect()
    client.assert_answered()
    raw = socket.socket(fileno=socket.dup(client.socket.fileno()))
    raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
        client.read_to_end()
    raw.close()
    daemon.wait_for_log("notice .*TLS error: .*bad record mac", client.since)


def test_drain_ends_with_goaway_and_close_notify(start: Start) -> None:
    daemon = start()
    context = unverified_tls("h2")
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # the end of the connection without close_notify is an error
    with handshake(daemon, context) as connection:
        connection.suppress_ragged_eofs = False
        connection.sendall(MAGIC + bytes.fromhex("000000 04 00 00000000"))
        daemon.wait_for_stats(connections=1)
        daemon.signal()
        assert b"\x00\x00" in read_all(connection)
    daemon.wait()


def test_data_after_close_notify_is_ignored(start: Start) -> None:
    daemon = start("--log-level=debug")
    with handshake(daemon, unverified_tls("h2")) as connection:
        connection.sendall(b"\x00 no preface")
        assert b"not an HTTP/2 preface" in read_all(connection)
        with socket.socket(fileno=socket.dup(connection.fileno())) as raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    daemon.wait_for_log("debug .*closed: ")
    assert daemon.log("closed: done") and not daemon.log("TLS error")


# --- README ---

def masked(lines: list[str]) -> list[str]:
    """The lines without what differs between daemons: times, ports, fingerprints."""
    volatile = r"\d{4}-\d\d-\d\d[T ][\d:.]+Z|(?<=[\]t]:)\d+|SHA-256 [0-9A-F:]+|sha256//\S+"
    return [re.sub(volatile, "*", line) for line in lines]


@pytest.mark.plain
def test_example_in_the_readme() -> None:
    example = re.search(r"^\$ h2echod -p 8080 --tls-port 8443 --tls-self-signed\n(.*?)^```",
                        (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert example
    with Terminal(command(["--port=0", "--tls-port=0", "--tls-self-signed"])) as terminal:
        terminal.read_until("to stop it: .*\n")
        assert masked(terminal.text.splitlines()) == masked(example[1].splitlines())
