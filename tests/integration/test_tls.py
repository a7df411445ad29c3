"""TLS: handshakes that are refused and why, certificates of either side, and what is told to whom."""
from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

import needs
from certificates import Authority, Identity, openssl
from clients import run_tool, curl
from conftest import Start
from daemon import TOP, Daemon, as_user, command, run
from terminal import Terminal
from waiting import SLOW, Stopwatch
from wire import INADEQUATE_SECURITY, MAGIC, PROTOCOL_ERROR, fields, read_all, unverified_tls

CONFIGURATION = 78
LIMIT = 0.5 * min(SLOW, 4)  # seconds that a neighbour's handshake, too, has to be over in
TEXT = f"{round(1000 * LIMIT)}ms"
DETAIL = [("accept", "application/vnd.h2echod+json")]
SCHEMA = json.loads((TOP / "conf/h2echod.schema.json").read_text())
NOBODY = 65534
# All of OpenSSL's that are not of the kind that RFC 9113 section 9.2.2 leaves over.
WRONG_SUITES = "ALL:!aNULL:!ECDHE+AESGCM:!ECDHE+CHACHA20:@SECLEVEL=0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("localhost")


TRANSPORTS = ("tls",)  # conftest's daemon has a certificate made in memory


def secure(daemon: Daemon, context: ssl.SSLContext, host: str | None = None) -> ssl.SSLSocket:
    """A connection behind its handshake."""
    plain = socket.create_connection(daemon.address, 5 * SLOW)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def details(daemon: Daemon, context: ssl.SSLContext, host: str | None = None) -> dict[str, object]:
    """What a detailed answer says of its connection."""
    client = daemon.open_connection(tls=context, host=host).send_preface()
    answer = json.loads(bytes(client.request(fields("/", "GET", *DETAIL)).body))
    jsonschema.validate(answer, SCHEMA)
    return answer["connection"]


def s_client(daemon: Daemon, *options: str, said: bytes = b"", check: bool = False) -> str:
    host, port = daemon.address
    done = run_tool(["openssl", "s_client", "-connect", f"{host}:{port}", *options], check=check, stdin=said)
    return (done.stdout + done.stderr).decode(errors="replace")


# --- what everybody gets ---

def test_curl_that_knows_the_authority_gets_the_same_bytes(start: Start, authority: Authority, identity: Identity) -> None:
    daemon = start("--tls-port=0", *identity.options(), transport="plain")
    plain = curl("--http2-prior-knowledge", f"http://localhost:{daemon.port}/x").stdout
    port = daemon.addresses("tls")[0][1]
    over_tls = curl("--cacert", authority.own.certificate, f"https://localhost:{port}/x", "-w", " %{http_version}").stdout
    assert over_tls.decode() == plain.decode().replace('"http"', '"https"').replace(str(daemon.port), str(port)) + " 2"


def test_what_a_detailed_answer_tells(daemon: Daemon) -> None:
    told = details(daemon, unverified_tls("h2"), "name.example")
    assert told["protocol"] == "h2"
    assert told["tls"] == {"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "alpn": "h2", "sni": "name.example",
                           "client": None, "resumed": False}


def test_what_was_not_said_is_null(daemon: Daemon) -> None:
    tls = details(daemon, unverified_tls())["tls"]
    assert (tls["alpn"], tls["sni"], tls["client"]) == (None, None, None)


def test_access_log_names_the_protocol(start: Start) -> None:
    daemon = start("--access-log=text")
    daemon.connect().assert_answered("/named")
    daemon.wait_for_log(r'stream 1: h2 "GET /named" 200')


def test_version_names_the_library() -> None:
    assert re.search(r"OpenSSL 3\.\d", run("--version").out)


# --- ALPN ---

@pytest.mark.parametrize("offered, chosen", [(["h2"], "h2"), (["http/1.1", "h2"], "h2"), (["x", "h2", "http/1.1"], "h2"),
                                             (["http/1.1"], "http/1.1"), ([], None)])
def test_protocol_that_is_chosen(daemon: Daemon, offered: list[str], chosen: str | None) -> None:
    with secure(daemon, unverified_tls(*offered)) as connection:
        assert connection.selected_alpn_protocol() == chosen


def test_other_protocols_are_refused_by_their_alert(daemon: Daemon) -> None:
    since = daemon.log_position()
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        secure(daemon, unverified_tls("spdy/3", "http/1.0"))
    daemon.wait_for_log("notice .*TLS handshake failed: no application protocol", since)


@pytest.mark.parametrize("offered", [["http/1.1"], [], ["h2"]])
def test_http1_within_tls_is_told_the_command_that_works(daemon: Daemon, offered: list[str]) -> None:
    with secure(daemon, unverified_tls(*offered)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost:8443\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert answer.endswith(b"this port speaks only HTTP/2 over TLS (RFC 9110 section 15.6.6). Try:\n  curl --http2 https://localhost:8443/\n")


def test_without_alpn_the_preface_decides(daemon: Daemon) -> None:
    daemon.open_connection(tls=unverified_tls()).send_preface().assert_answered()


def test_tls_within_tls_is_refused(daemon: Daemon) -> None:
    with secure(daemon, unverified_tls("h2")) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        assert read_all(connection)[:1] == b"\x15"


# --- rules ---

@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(daemon: Daemon, version: str) -> None:
    assert "alert protocol version" in s_client(daemon, version, "-cipher", "ALL:@SECLEVEL=0")


def test_newest_version_alone_if_told_so(start: Start) -> None:
    daemon = start("--tls-min-version=1.3")
    daemon.connect().assert_answered()
    assert "alert protocol version" in s_client(daemon, "-tls1_2")


def suites(words: str) -> list[str]:
    return [line.split()[0] for line in openssl("ciphers", "-s", "-v", "-tls1_2", words).splitlines()]


def test_wrong_suites_are_refused_all_together(daemon: Daemon) -> None:
    assert len(suites(WRONG_SUITES)) > 20
    assert "alert handshake failure" in s_client(daemon, "-tls1_2", "-cipher", WRONG_SUITES)


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
@pytest.mark.parametrize("key", ["ECDSA", "RSA"])
def test_suites_of_1_2(start: Start, authority: Authority, key: str, suite: str) -> None:
    identity = authority.issue(key, *(("-newkey", "rsa:2048") if key == "RSA" else ()))
    daemon = start("--tls-port=0", *identity.options(), transport="plain")
    daemon.transport = "tls"
    told = s_client(daemon, "-tls1_2", "-cipher", f"ECDHE-{key}-{suite}", check=True)
    assert f"Cipher is ECDHE-{key}-{suite}" in told
    assert "Compression: NONE" in told


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_suites_of_1_3(daemon: Daemon, suite: str) -> None:
    assert f"Cipher is {suite}" in s_client(daemon, "-ciphersuites", suite, check=True)


GROUPS = ["X25519", "P-256", "P-521"]
if "X25519MLKEM768" in openssl("list", "-kem-algorithms"):  # since OpenSSL 3.5
    GROUPS.append("X25519MLKEM768")


@pytest.mark.parametrize("group", GROUPS)
def test_groups(daemon: Daemon, group: str) -> None:
    assert "Cipher is TLS_AES_128_GCM_SHA256" in s_client(daemon, "-tls1_3", "-groups", group, check=True)


def test_group_that_the_system_allows_but_http2_does_not(start: Start, tmp_path: Path, authority: Authority) -> None:
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


def test_nobody_renegotiates(daemon: Daemon) -> None:
    words = ["openssl", "s_client", "-tls1_2", "-connect", "%s:%d" % daemon.address]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin and client.stdout
        client.stdin.write(b"R\n")  # s_client's word for it
        client.stdin.flush()
        told = client.stdout.read()
    assert b"RENEGOTIATING" in told and b"no renegotiation" in told


def test_nothing_is_taken_before_the_handshake_is_over(daemon: Daemon) -> None:
    told = s_client(daemon, "-ign_eof", said=b"GET / HTTP/1.1\r\n\r\n")
    assert re.findall(r"Max Early Data: (\d+)", told) == ["0", "0"], told  # each ticket says so


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(daemon: Daemon, version: ssl.TLSVersion) -> None:
    context = unverified_tls("h2")
    context.minimum_version = context.maximum_version = version
    first = daemon.open_connection(tls=context).send_preface()
    first.assert_answered()
    with socket.create_connection(daemon.address, 5 * SLOW) as plain:
        with context.wrap_socket(plain, session=first.socket.session) as again:
            assert again.session_reused


# --- who takes its time, who speaks otherwise ---

def hello() -> bytes:
    """The first record of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = unverified_tls("h2").wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("said", [0, 1, 3, 100, -1, None],
                         ids=["nothing", "a byte", "three", "a part", "all but a byte", "a whole hello"])
def test_handshake_that_does_not_go_on(start: Start, said: int | None) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with socket.create_connection(daemon.address) as connection:
        connection.sendall(hello()[:said])
        daemon.connect().assert_answered("/neighbour")
        read_all(connection, seconds=5)
        watch.assert_between(LIMIT)
    daemon.wait_for_log("notice .*header-timeout: (no|incomplete) TLS handshake")
    assert daemon.wait_for_stats(connections=1)["timed-out"] == 1


def test_handshake_byte_by_byte_has_no_more_time(start: Start) -> None:
    daemon = start(f"--header-timeout={TEXT}")
    watch = Stopwatch()
    with socket.create_connection(daemon.address) as connection:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in hello()[:-1] * 100:
                connection.sendall(bytes([byte]))
                time.sleep(LIMIT / 50)
        watch.assert_between(LIMIT)
    daemon.connect().assert_answered()


def test_handshake_byte_by_byte_that_is_quick_enough(daemon: Daemon) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = unverified_tls("h2").wrap_bio(incoming, outgoing)
    with socket.create_connection(daemon.address, 5 * SLOW) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_over = False
        while not is_over:
            try:
                client.do_handshake()
                is_over = True
            except ssl.SSLWantReadError:
                pass
            for byte in outgoing.read():
                connection.sendall(bytes([byte]))
            if not is_over:
                byte_of_answer = connection.recv(1)
                assert byte_of_answer, "the daemon has closed the connection"
                incoming.write(byte_of_answer)
        assert client.selected_alpn_protocol() == "h2"


def broken_hello() -> bytes:
    """A whole record, of which only the beginning is right: the length of a first flight is its client's matter."""
    return hello()[:20].ljust(len(hello()), b"\0")


@pytest.mark.parametrize("said, words", [(b"\x16\x03\x01\xff\xff" + bytes(60_000), "record too long"),
                                         (broken_hello(), "length mismatch")], ids=["a long record", "a broken hello"])
def test_what_only_begins_as_a_handshake_is_refused_in_words(daemon: Daemon, said: bytes, words: str) -> None:
    since = daemon.log_position()
    with socket.create_connection(daemon.address, 5 * SLOW) as connection:
        connection.sendall(said)
        assert read_all(connection)[:1] == b"\x15"
    daemon.wait_for_log(f"notice .*TLS handshake failed: {words}$", since)


def test_http1_without_tls_is_told_to_use_it(daemon: Daemon) -> None:
    answer = curl("--http1.1", f"http://localhost:{daemon.port}/").stdout.decode()
    assert answer == f"HTTP Version Not Supported: this port speaks only HTTP/2 over TLS (RFC 9110 section 15.6.6). Try:\n  curl --http2 https://localhost:{daemon.port}/\n"


def test_http2_without_tls_is_told_to_use_it(daemon: Daemon) -> None:
    client = daemon.open_connection(address=daemon.address).send_preface()
    client.read_to_end()
    assert [(frame.error_code, frame.additional_data) for frame in client.goaways] == \
        [(PROTOCOL_ERROR, b"this port requires TLS")]
    daemon.wait_for_log("notice .*use https://, not http://", client.since)


def test_client_that_refuses_the_certificate_is_told_of(daemon: Daemon) -> None:
    since = daemon.log_position()
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(daemon, ssl.create_default_context(), "localhost")
    daemon.wait_for_log("notice .*(TLS handshake failed|TLS error): .*alert unknown ca", since)


def test_record_that_is_not_authentic_ends_the_connection(daemon: Daemon) -> None:
    client = daemon.connect()
    client.assert_answered()
    raw = socket.socket(fileno=socket.dup(client.socket.fileno()))
    raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(ssl.SSLError, match="(?i)bad.record.mac"):
        client.read_to_end()
    raw.close()
    daemon.wait_for_log("notice .*TLS error: .*bad record mac", client.since)


def test_a_drain_says_goodbye_in_tls_too(start: Start) -> None:
    daemon = start()
    context = unverified_tls("h2")
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # an end without close_notify is an error
    with secure(daemon, context) as connection:
        connection.suppress_ragged_eofs = False
        connection.sendall(MAGIC + bytes.fromhex("000000 04 00 00000000"))
        daemon.wait_for_stats(connections=1)
        daemon.signal()
        assert b"\x00\x00" in read_all(connection)
    daemon.wait()


def test_what_comes_behind_the_end_is_not_looked_at(start: Start) -> None:
    daemon = start("--log-level=debug")
    with secure(daemon, unverified_tls("h2")) as connection:
        connection.sendall(b"\x00 no preface")
        assert b"not an HTTP/2 preface" in read_all(connection)
        with socket.socket(fileno=socket.dup(connection.fileno())) as raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    daemon.wait_for_log("debug .*closed: ")
    assert daemon.log("closed: done") and not daemon.log("TLS error")


# --- reload ---

def fingerprint(daemon: Daemon) -> bytes:
    with secure(daemon, unverified_tls("h2")) as connection:
        return connection.getpeercert(binary_form=True)


@pytest.fixture
def files(start: Start, authority: Authority, tmp_path: Path) -> tuple[Daemon, Identity]:
    """A daemon, and the files that it has its certificate from."""
    given = Identity(tmp_path / "given.pem", tmp_path / "given.key")
    authority.issue("first").install(given)
    daemon = start("--tls-port=0", *given.options(), transport="plain")
    daemon.transport = "tls"
    return daemon, given


def reload(daemon: Daemon, outcome: str) -> None:
    since = daemon.log_position()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(outcome, since)


def test_reload_shows_new_connections_the_new_certificate(files: tuple[Daemon, Identity], authority: Authority) -> None:
    daemon, given = files
    assert fingerprint(daemon) == given.der()
    client = daemon.connect()
    client.assert_answered()
    second = authority.issue("second")
    second.install(given)
    reload(daemon, "notice reloaded")
    assert fingerprint(daemon) == second.der()
    client.assert_answered("/old")
    daemon.wait_for_log("notice certificate CN=second, SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}, valid until 20")


@pytest.mark.parametrize("spoil", ["certificate", "key", "both"])
def test_reload_with_a_bad_file_changes_nothing(files: tuple[Daemon, Identity], authority: Authority, spoil: str) -> None:
    daemon, given = files
    before, second = given.der(), authority.issue("second")
    if spoil == "certificate":
        given.certificate.write_bytes(second.certificate.read_bytes())
    elif spoil == "key":
        given.key.write_bytes(second.key.read_bytes())
    else:
        given.certificate.unlink()
    reload(daemon, "error reload failed: the previous settings remain in force")
    assert fingerprint(daemon) == before


# --- a certificate in memory ---

def test_the_line_that_is_logged_trusts_it_and_no_other(start: Start) -> None:
    daemon = start()
    words = daemon.wait_for_log(r"notice with TLS: curl (.*)")[1].split()
    assert b'":path": "/"' in curl(*words).stdout
    pin = words.index("--pinnedpubkey") + 1
    words[pin] = "sha256//" + "A" * 43 + "="
    assert curl(*words, check=False).returncode == 90


def test_its_fingerprint_is_logged_and_it_lasts(start: Start) -> None:
    daemon = start()
    told = daemon.wait_for_log("notice certificate CN=h2echod, SHA-256 (.*), valid")[1]
    shown = fingerprint(daemon)
    assert told in _fingerprint_of(shown)
    reload(daemon, "notice reloaded")
    assert fingerprint(daemon) == shown


def _fingerprint_of(certificate: bytes) -> str:
    return openssl("x509", "-inform", "DER", "-noout", "-fingerprint", "-sha256", stdin=certificate)


def test_who_trusts_it_finds_the_host_in_it(start: Start, tmp_path: Path) -> None:
    daemon = start()
    file = tmp_path / "shown.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(fingerprint(daemon)))
    for host in ("localhost", "127.0.0.1"):
        assert curl("--cacert", file, f"https://{host}:{daemon.port}/").returncode == 0


@pytest.mark.parametrize("listen, more", [
    ([], None), (["0.0.0.0"], None), (["::"], None), (["127.0.0.9"], {"127.0.0.9"}),
    (["127.0.0.8", "127.0.0.9"], {"127.0.0.8", "127.0.0.9"}), (["localhost"], set()), (["127.1"], set()), (["::1"], set()),
], ids=lambda value: ",".join(sorted(value)) if isinstance(value, (list, set)) else str(value))
def test_its_names_are_localhost_and_the_addresses_in_use(start: Start, listen: list[str],
                                                          more: set[str] | None) -> None:
    if more is None:
        needs.ipv6()
        needs.proc("net/if_inet6")  # where the kernel lists the addresses of IPv6
    daemon = start(listen=["--port=0", *(f"--address={each}" for each in listen)])
    daemon.wait_for_log("listening on .*, TLS$")
    host, port = daemon.addresses("tls")[0]
    text = ssl.get_server_certificate(({"::": "::1", "0.0.0.0": "127.0.0.1"}.get(host, host), port))
    names = openssl("x509", "-noout", "-ext", "subjectAltName", stdin=text.encode())
    hosts = set(re.findall(r"DNS:([^,\s]+)", names))
    addresses = [str(ipaddress.ip_address(each)) for each in re.findall(r"IP Address:([0-9A-Fa-f.:]+)", names)]
    assert len(addresses) == len(set(addresses))
    if more is None:
        assert hosts == {"localhost", socket.gethostname()}
        assert set(addresses) >= {"127.0.0.1", "::1", *run_tool(["hostname", "-I"]).stdout.decode().split()}
    else:
        assert hosts == {"localhost"}
        assert set(addresses) == {"127.0.0.1", "::1"} | more


# --- and of files: what a newcomer copies ---

@pytest.mark.parametrize("names, host", [
    ("DNS:www.example.org,DNS:localhost", "localhost"), ("DNS:*.example.org,DNS:www.example.org", "www.example.org"),
    ("DNS:*.example.org", "localhost"), ("IP:192.0.2.1", "localhost"), (None, "localhost"),
])
def test_command_names_a_host_that_the_certificate_holds_for(start: Start, tmp_path: Path, names: str | None,
                                                             host: str) -> None:
    made = Identity(tmp_path / "c.pem", tmp_path / "k.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=some",
            *(["-addext", f"subjectAltName={names}"] if names else []), "-keyout", made.key, "-out", made.certificate)
    daemon = start("--tls-port=0", *made.options(), transport="plain")
    port = daemon.addresses("tls")[0][1]
    words = daemon.wait_for_log(r"notice with TLS: curl (.*)$")[1]
    assert words == f"https://{host}:{port}/"
    resolve = f"{host}:{port}:127.0.0.1"
    trusted = curl("--cacert", made.certificate, "--resolve", resolve, words, check=False).returncode
    assert trusted == (0 if host in (names or "") else 60)


@pytest.mark.plain
def test_certificate_that_nothing_listens_for(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text("")
    daemon = start("-c", config, transport="plain")
    config.write_text("tls-self-signed = on\ntls-port = 0\n")
    reload(daemon, "notice reloaded")
    daemon.wait_for_log("warning only a restart can change: tls-port$")
    daemon.wait_for_log("warning there is a certificate, but no socket for TLS: open one with tls-port$")
    assert not daemon.log("notice certificate")
    alone = start("--tls-self-signed", transport="plain")
    assert alone.log("warning there is a certificate, but no socket for TLS: ")


def test_reload_keeps_a_certificate_while_there_is_a_port(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text("tls-port = 0\ntls-self-signed = on\n")
    daemon = start("-c", config, transport="plain")
    config.write_text("")
    reload(daemon, "error there is a socket for TLS, but no certificate: name one with tls-cert, or try tls-self-signed$")
    daemon.wait_for_log("error reload failed: the previous settings remain in force$")
    daemon.transport = "tls"
    daemon.connect().assert_answered()


# --- clients' certificates ---

def showing(identity: Identity) -> ssl.SSLContext:
    context = unverified_tls("h2")
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.fixture(params=[None, "optional", "required"])
def verifying(start: Start, authority: Authority, request: pytest.FixtureRequest) -> Daemon:
    whom = [f"--tls-verify={request.param}"] if request.param else []
    return start(*whom, f"--tls-client-ca={authority.own.certificate}")


def test_nobody_is_verified_where_it_is_off(start: Start, authority: Authority, stranger: Authority) -> None:
    daemon = start("--tls-verify=off", f"--tls-client-ca={authority.own.certificate}")
    assert details(daemon, showing(stranger.issue("anybody")))["tls"]["client"] is None


def test_client_whose_certificate_is_believed(verifying: Daemon, authority: Authority) -> None:
    assert details(verifying, showing(authority.issue("somebody")))["tls"]["client"] == "CN=somebody"


def test_subject_is_told_as_it_is(verifying: Daemon, authority: Authority) -> None:
    client = authority.issue("other", subject="/O=A, \\\\ B/CN=Jürgen \"x\"")
    assert details(verifying, showing(client))["tls"]["client"] == 'CN=Jürgen \\"x\\",O=A\\, \\\\ B'


def test_client_whose_certificate_has_no_subject(verifying: Daemon, authority: Authority) -> None:
    assert details(verifying, showing(authority.issue("nameless", subject="/")))["tls"]["client"] == ""


def test_client_whose_certificate_is_not(verifying: Daemon, stranger: Authority) -> None:
    client = verifying.open_connection(tls=showing(stranger.issue("anybody")))
    with pytest.raises((ssl.SSLError, ConnectionResetError), match="(?i)unknown.ca|reset"):
        client.send_preface().assert_answered()
    verifying.wait_for_log("notice .*TLS handshake failed: unable to get local issuer certificate")


def test_client_without_a_certificate(verifying: Daemon) -> None:
    client = verifying.open_connection()
    if "--tls-verify=required" not in verifying.process.args:
        assert details(verifying, unverified_tls("h2"))["tls"]["client"] is None
        return
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
        client.send_preface().read_to_end()
    verifying.wait_for_log("notice .*TLS handshake failed: peer did not return a certificate")


def test_resumed_session_remembers_whose_it_is(verifying: Daemon, authority: Authority) -> None:
    context = showing(authority.issue("somebody"))
    first = verifying.open_connection(tls=context).send_preface()
    first.assert_answered()
    again = verifying.open_connection(tls=context, session=first.socket.session).send_preface()
    answer = json.loads(bytes(again.request(fields("/", "GET", *DETAIL)).body))
    assert (answer["connection"]["tls"]["client"], answer["connection"]["tls"]["resumed"]) == ("CN=somebody", True)


# --- files that are wrong ---

def set_validity(identity: Identity, authority: Authority, begin: float, end: float) -> None:
    """Let it be signed anew, for these days from now."""
    request, database = identity.certificate.with_suffix(".csr"), identity.certificate.with_suffix(".txt")
    now = datetime.datetime.now(datetime.timezone.utc)
    dates = [(now + datetime.timedelta(days)).strftime("%Y%m%d%H%M%SZ") for days in (begin, end)]
    settings = identity.certificate.with_suffix(".cnf")
    settings.write_text(f"[ca]\ndefault_ca=own\n[own]\ndatabase={database}\nnew_certs_dir={settings.parent}\n"
                        "policy=any\ndefault_md=sha256\nrand_serial=yes\n[any]\ncommonName=supplied\n")
    database.touch()
    openssl("req", "-new", "-key", identity.key, "-subj", "/CN=localhost", "-out", request)
    openssl("ca", "-batch", "-notext", "-config", settings, "-cert", authority.own.certificate, "-keyfile",
            authority.own.key, "-startdate", dates[0], "-enddate", dates[1], "-in", request,
            "-out", identity.certificate)


def refused(*options: object) -> str:
    done = run("--port=0", "--address=127.0.0.1", "--tls-port=0", *options)
    assert done.status == CONFIGURATION
    return done.error()


def test_file_that_is_not_there(tmp_path: Path, identity: Identity) -> None:
    missing = tmp_path / "missing"
    assert refused(f"--tls-cert={missing}").startswith(f"tls-cert: {missing}: can't be read: No such file")
    assert refused(f"--tls-cert={identity.certificate}", f"--tls-key={missing}").startswith(f"tls-key: {missing}: can't")
    assert refused("--tls-self-signed", "--tls-verify=required", f"--tls-client-ca={missing}").startswith(
        f"tls-client-ca: {missing}: can't be read")


@pytest.mark.parametrize("option", ["--tls-cert", "--tls-key", "--tls-client-ca"])
def test_file_that_is_no_file(tmp_path: Path, identity: Identity, option: str) -> None:
    pipe = tmp_path / "pipe"  # nobody writes to it: who opens it for reading waits
    os.mkfifo(pipe)
    others = identity.options() if option == "--tls-client-ca" else [f"--tls-cert={identity.certificate}"]
    for path, words in ((tmp_path, "Is a directory"), (pipe, "Invalid argument"), ("/dev/zero", "Invalid argument")):
        assert refused(*others, f"{option}={path}") == \
            f"{option[2:]}: {path}: can't be read: {words}; name a regular file that may be read"


def test_file_without_a_certificate(tmp_path: Path, identity: Identity) -> None:
    assert "has no certificate" in refused(f"--tls-cert={identity.key}")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert refused(f"--tls-cert={broken}").endswith("name a file of certificates in PEM")


def test_nobody_is_asked_for_a_passphrase(tmp_path: Path, identity: Identity) -> None:
    begin, rest = identity.certificate.read_text().split("\n", 1)
    locked = tmp_path / "locked.pem"
    locked.write_text(f"{begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{16 * '00'}\n\n{rest}")
    assert refused(f"--tls-cert={locked}", f"--tls-key={identity.key}").startswith(f"tls-cert: {locked}: ")
    assert refused("--tls-self-signed", f"--tls-client-ca={locked}").startswith(f"tls-client-ca: {locked}: ")


@pytest.mark.parametrize("kind", [(), ("-newkey", "rsa:2048")], ids=["of its kind", "of another kind"])
def test_key_of_another_certificate(authority: Authority, identity: Identity, kind: tuple[str, ...]) -> None:
    other = authority.issue("other", *kind)
    assert "is not the key of the certificate" in refused(f"--tls-cert={identity.certificate}", f"--tls-key={other.key}")


def test_key_that_is_missing_or_encrypted(tmp_path: Path, identity: Identity) -> None:
    advice = "name a file with a private key in PEM, without a passphrase"
    assert refused(f"--tls-cert={identity.certificate}").endswith(advice)
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", identity.key, "-aes128", "-passout", "pass:x", "-out", locked)
    assert refused(f"--tls-cert={identity.certificate}", f"--tls-key={locked}").endswith(advice)


def test_both_in_one_file(start: Start, tmp_path: Path, identity: Identity) -> None:
    both = tmp_path / "both.pem"
    both.write_text(identity.certificate.read_text() + identity.key.read_text())
    daemon = start("--tls-port=0", f"--tls-cert={both}", transport="plain")
    daemon.transport = "tls"
    daemon.connect().assert_answered()


def test_chain_is_shown_whole(start: Start, tmp_path: Path, authority: Authority, identity: Identity) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text(identity.certificate.read_text() + authority.own.certificate.read_text())
    daemon = start("--tls-port=0", f"--tls-cert={chain}", f"--tls-key={identity.key}", transport="plain")
    daemon.transport = "tls"
    assert s_client(daemon, "-showcerts").count("BEGIN CERTIFICATE") == 2


def test_key_that_the_user_may_not_read(open_directory: Path, identity: Identity) -> None:
    copy = Identity(open_directory / "c.pem", open_directory / "k.pem")
    identity.install(copy)
    copy.key.chmod(0o000)
    done = run("--tls-port=0", "--port=0", *copy.options(), prefix=as_user(NOBODY))
    assert done.status == CONFIGURATION and done.error() == (
        f"tls-key: {copy.key}: can't be read: Permission denied; let the user that h2echod runs as, or a group of it, "
        "read the file and enter its directory")


def test_expired_certificate_is_served_with_a_warning(start: Start, tmp_path: Path, authority: Authority,
                                                      identity: Identity) -> None:
    old = Identity(tmp_path / "old.pem", identity.key)
    set_validity(old, authority, -2, -1)
    daemon = start("--tls-port=0", *old.options(), transport="plain")
    daemon.wait_for_log("warning certificate CN=localhost, .* expired: ")


@pytest.mark.parametrize("begin, end, outcome", [
    (-8.9, 1.1, "notice certificate CN=localhost, SHA-256 [0-9A-F:]+, valid until "),
    (-9.1, 0.9, "warning certificate CN=localhost, SHA-256 [0-9A-F:]+, expires soon: "),
    (1, 10, "warning certificate CN=localhost, SHA-256 [0-9A-F:]+, not valid before "),
])
def test_certificate_that_should_be_looked_at_is_told_with_a_warning(
        start: Start, tmp_path: Path, authority: Authority, begin: float, end: float, outcome: str) -> None:
    given = Identity(tmp_path / "some.pem", tmp_path / "some.key")
    authority.issue("localhost").install(given)
    config = tmp_path / "h2echod.conf"
    config.write_text(f"tls-cert = {given.certificate}\ntls-key = {given.key}\n")
    daemon = start("--tls-port=0", f"--config={config}", transport="plain")
    set_validity(given, authority, begin, end)
    since = daemon.log_position()
    reload(daemon, "notice reloaded")
    daemon.wait_for_log(outcome, since)


def test_check_config_reads_them(tmp_path: Path, identity: Identity) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text(f"tls-port = 0\ntls-cert = {identity.certificate}\ntls-key = {identity.key}\n")
    assert run("-c", config, "-t").status == 0
    config.write_text("tls-port = 0\ntls-cert = no/such/file\n")
    assert run("-c", config, "-t").status == CONFIGURATION


# --- README ---

def _masked(lines: list[str]) -> list[str]:
    """Without what differs from one daemon to the next: times, ports, what depends on the certificate."""
    volatile = r"\d{4}-\d\d-\d\d[T ][\d:.]+Z|(?<=[\]t]:)\d+|SHA-256 [0-9A-F:]+|sha256//\S+"
    return [re.sub(volatile, "*", line) for line in lines]


@pytest.mark.plain
def test_the_example_in_the_readme() -> None:
    example = re.search(r"^\$ h2echod -p 8080 --tls-port 8443 --tls-self-signed\n(.*?)^```",
                        (TOP / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert example
    with Terminal(command(["--port=0", "--tls-port=0", "--tls-self-signed"])) as terminal:
        terminal.read_until("to stop it: .*\n")
        assert _masked(terminal.text.splitlines()) == _masked(example[1].splitlines())
