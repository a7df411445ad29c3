"""Certificates: those of the daemon (self-signed, from files, reloaded), those of clients, and errors in the files."""
from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import socket
import ssl
from pathlib import Path

import pytest

import needs
from certificates import Authority, Identity, openssl
from clients import curl, run_tool
from conftest import Start
from daemon import Daemon, as_user, run
from tls import DETAIL, connection_details, handshake, s_client
from wire import fields, unverified_tls

TRANSPORTS = ("tls",)
CONFIGURATION = 78  # exit status
UNPRIVILEGED = 65534


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other")


# --- reloading certificates ---

def server_certificate(daemon: Daemon) -> bytes:
    with handshake(daemon, unverified_tls("h2")) as connection:
        return connection.getpeercert(binary_form=True)


@pytest.fixture
def reloadable(start: Start, authority: Authority, tmp_path: Path) -> tuple[Daemon, Identity]:
    """A daemon, and the files of its certificate and key."""
    given = Identity(tmp_path / "given.pem", tmp_path / "given.key")
    authority.issue("first").install(given)
    daemon = start("--tls-port=0", *given.options(), transport="plain")
    daemon.transport = "tls"
    return daemon, given


def test_reload_changes_the_certificate_of_new_connections(reloadable: tuple[Daemon, Identity],
                                                           authority: Authority) -> None:
    daemon, given = reloadable
    assert server_certificate(daemon) == given.der()
    client = daemon.connect()
    client.assert_answered()
    second = authority.issue("second")
    second.install(given)
    daemon.reload()
    assert server_certificate(daemon) == second.der()
    client.assert_answered("/old")
    daemon.wait_for_log("notice certificate CN=second, SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}, valid until 20")


@pytest.mark.parametrize("spoil", ["certificate", "key", "both"])
def test_reload_with_a_bad_file_changes_nothing(reloadable: tuple[Daemon, Identity], authority: Authority,
                                                spoil: str) -> None:
    daemon, given = reloadable
    before, second = given.der(), authority.issue("second")
    if spoil == "certificate":
        given.certificate.write_bytes(second.certificate.read_bytes())
    elif spoil == "key":
        given.key.write_bytes(second.key.read_bytes())
    else:
        given.certificate.unlink()
    daemon.reload("error reload failed: the previous settings remain in force")
    assert server_certificate(daemon) == before


# --- self-signed certificates (--tls-self-signed) ---

def test_logged_command_pins_the_public_key(start: Start) -> None:
    daemon = start()
    words = daemon.wait_for_log(r"notice with TLS: curl (.*)")[1].split()
    assert b'":path": "/"' in curl(*words).stdout
    pin = words.index("--pinnedpubkey") + 1
    words[pin] = "sha256//" + "A" * 43 + "="
    assert curl(*words, check=False).returncode == 90


def test_fingerprint_is_logged_and_survives_a_reload(start: Start) -> None:
    daemon = start()
    logged = daemon.wait_for_log("notice certificate CN=h2echod, SHA-256 (.*), valid")[1]
    certificate = server_certificate(daemon)
    assert logged in sha256_fingerprint(certificate)
    daemon.reload()
    assert server_certificate(daemon) == certificate


def sha256_fingerprint(certificate: bytes) -> str:
    return openssl("x509", "-inform", "DER", "-noout", "-fingerprint", "-sha256", stdin=certificate)


def test_client_that_trusts_it_can_verify_the_host(start: Start, tmp_path: Path) -> None:
    daemon = start()
    file = tmp_path / "server.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(server_certificate(daemon)))
    for host in ("localhost", "127.0.0.1"):
        assert curl("--cacert", file, f"https://{host}:{daemon.port}/").returncode == 0


@pytest.mark.parametrize("listen, more", [
    ([], None), (["0.0.0.0"], None), (["::"], None), (["127.0.0.9"], {"127.0.0.9"}),
    (["127.0.0.8", "127.0.0.9"], {"127.0.0.8", "127.0.0.9"}), (["localhost"], set()), (["127.1"], set()),
    (["::1"], set()),
], ids=lambda value: ",".join(sorted(value)) if isinstance(value, (list, set)) else str(value))
def test_its_names_are_localhost_and_the_listening_addresses(start: Start, listen: list[str],
                                                             more: set[str] | None) -> None:
    if more is None:
        needs.ipv6()
        needs.proc("net/if_inet6")  # the kernel's list of IPv6 addresses
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


# --- certificates from files: log lines at start and at reload ---

@pytest.mark.parametrize("names, host", [
    ("DNS:www.example.org,DNS:localhost", "localhost"), ("DNS:*.example.org,DNS:www.example.org", "www.example.org"),
    ("DNS:*.example.org", "localhost"), ("IP:192.0.2.1", "localhost"), (None, "localhost"),
])
def test_logged_command_uses_a_host_name_of_the_certificate(start: Start, tmp_path: Path, names: str | None,
                                                            host: str) -> None:
    identity = Identity(tmp_path / "c.pem", tmp_path / "k.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=some",
            *(["-addext", f"subjectAltName={names}"] if names else []), "-keyout", identity.key,
            "-out", identity.certificate)
    daemon = start("--tls-port=0", *identity.options(), transport="plain")
    port = daemon.addresses("tls")[0][1]
    words = daemon.wait_for_log(r"notice with TLS: curl (.*)$")[1]
    assert words == f"https://{host}:{port}/"
    resolve = f"{host}:{port}:127.0.0.1"
    trusted = curl("--cacert", identity.certificate, "--resolve", resolve, words, check=False).returncode
    assert trusted == (0 if host in (names or "") else 60)


@pytest.mark.plain
def test_certificate_without_a_tls_socket_is_a_warning(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text("")
    daemon = start("-c", config, transport="plain")
    config.write_text("tls-self-signed = on\ntls-port = 0\n")
    daemon.reload()
    daemon.wait_for_log("warning only a restart can change: tls-port$")
    daemon.wait_for_log("warning there is a certificate, but no socket for TLS: open one with tls-port$")
    assert not daemon.log("notice certificate")
    other = start("--tls-self-signed", transport="plain")
    assert other.log("warning there is a certificate, but no socket for TLS: ")


def test_reload_cannot_remove_the_certificate_of_an_open_port(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text("tls-port = 0\ntls-self-signed = on\n")
    daemon = start("-c", config, transport="plain")
    config.write_text("")
    daemon.reload("error there is a socket for TLS, but no certificate: name one with tls-cert, or try tls-self-signed$")
    daemon.wait_for_log("error reload failed: the previous settings remain in force$")
    daemon.transport = "tls"
    daemon.connect().assert_answered()


# --- client certificates ---

def tls_with_certificate(identity: Identity) -> ssl.SSLContext:
    context = unverified_tls("h2")
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.fixture(params=[None, "optional", "required"])
def verifying(start: Start, authority: Authority, request: pytest.FixtureRequest) -> Daemon:
    verify = [f"--tls-verify={request.param}"] if request.param else []
    return start(*verify, f"--tls-client-ca={authority.own.certificate}")


def test_verification_off_asks_for_no_client_certificate(start: Start, authority: Authority,
                                                         other_authority: Authority) -> None:
    daemon = start("--tls-verify=off", f"--tls-client-ca={authority.own.certificate}")
    assert connection_details(daemon, tls_with_certificate(other_authority.issue("client")))["tls"]["client"] is None


def test_client_with_a_trusted_certificate(verifying: Daemon, authority: Authority) -> None:
    client = connection_details(verifying, tls_with_certificate(authority.issue("client")))["tls"]["client"]
    assert client == "CN=client"


def test_subject_is_escaped(verifying: Daemon, authority: Authority) -> None:
    client = authority.issue("other", subject="/O=A, \\\\ B/CN=Jürgen \"x\"")
    subject = connection_details(verifying, tls_with_certificate(client))["tls"]["client"]
    assert subject == 'CN=Jürgen \\"x\\",O=A\\, \\\\ B'


def test_client_certificate_with_an_empty_subject(verifying: Daemon, authority: Authority) -> None:
    identity = authority.issue("nameless", subject="/")
    assert connection_details(verifying, tls_with_certificate(identity))["tls"]["client"] == ""


def test_client_with_an_untrusted_certificate(verifying: Daemon, other_authority: Authority) -> None:
    client = verifying.open_connection(tls=tls_with_certificate(other_authority.issue("client")))
    with pytest.raises((ssl.SSLError, ConnectionResetError), match="(?i)unknown.ca|reset"):
        client.send_preface().assert_answered()
    verifying.wait_for_log("notice .*TLS handshake failed: unable to get local issuer certificate")


def test_client_without_a_certificate(verifying: Daemon) -> None:
    client = verifying.open_connection()
    if "--tls-verify=required" not in verifying.process.args:
        assert connection_details(verifying, unverified_tls("h2"))["tls"]["client"] is None
        return
    with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
        client.send_preface().read_to_end()
    verifying.wait_for_log("notice .*TLS handshake failed: peer did not return a certificate")


def test_resumed_session_keeps_the_client_certificate(verifying: Daemon, authority: Authority) -> None:
    context = tls_with_certificate(authority.issue("client"))
    first = verifying.open_connection(tls=context).send_preface()
    first.assert_answered()
    again = verifying.open_connection(tls=context, session=first.socket.session).send_preface()
    answer = json.loads(bytes(again.request(fields("/", "GET", *DETAIL)).body))
    assert (answer["connection"]["tls"]["client"], answer["connection"]["tls"]["resumed"]) == ("CN=client", True)


# --- errors in certificate and key files ---

def set_validity(identity: Identity, authority: Authority, begin: float, end: float) -> None:
    """Sign the certificate again, valid from `begin` to `end` (in days from now)."""
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


def start_error(*options: object) -> str:
    """The error line of a daemon that does not start with these options."""
    done = run("--port=0", "--address=127.0.0.1", "--tls-port=0", *options)
    assert done.status == CONFIGURATION
    return done.error()


def test_missing_file(tmp_path: Path, identity: Identity) -> None:
    missing = tmp_path / "missing"
    assert start_error(f"--tls-cert={missing}").startswith(f"tls-cert: {missing}: can't be read: No such file")
    assert start_error(f"--tls-cert={identity.certificate}", f"--tls-key={missing}").startswith(
        f"tls-key: {missing}: can't be read")
    assert start_error("--tls-self-signed", "--tls-verify=required", f"--tls-client-ca={missing}").startswith(
        f"tls-client-ca: {missing}: can't be read")


@pytest.mark.parametrize("option", ["--tls-cert", "--tls-key", "--tls-client-ca"])
def test_path_that_is_not_a_regular_file(tmp_path: Path, identity: Identity, option: str) -> None:
    pipe = tmp_path / "pipe"  # has no writer: opening it for reading would block
    os.mkfifo(pipe)
    others = identity.options() if option == "--tls-client-ca" else [f"--tls-cert={identity.certificate}"]
    for path, words in ((tmp_path, "Is a directory"), (pipe, "Invalid argument"), ("/dev/zero", "Invalid argument")):
        assert start_error(*others, f"{option}={path}") == \
            f"{option[2:]}: {path}: can't be read: {words}; name a regular file that may be read"


def test_file_without_a_certificate(tmp_path: Path, identity: Identity) -> None:
    assert "has no certificate" in start_error(f"--tls-cert={identity.key}")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert start_error(f"--tls-cert={broken}").endswith("name a file of certificates in PEM")


def test_passphrase_is_not_prompted_for(tmp_path: Path, identity: Identity) -> None:
    begin, rest = identity.certificate.read_text().split("\n", 1)
    locked = tmp_path / "locked.pem"
    locked.write_text(f"{begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{16 * '00'}\n\n{rest}")
    assert start_error(f"--tls-cert={locked}", f"--tls-key={identity.key}").startswith(f"tls-cert: {locked}: ")
    assert start_error("--tls-self-signed", f"--tls-client-ca={locked}").startswith(f"tls-client-ca: {locked}: ")


@pytest.mark.parametrize("kind", [(), ("-newkey", "rsa:2048")], ids=["of its kind", "of another kind"])
def test_key_of_another_certificate(authority: Authority, identity: Identity, kind: tuple[str, ...]) -> None:
    other = authority.issue("other", *kind)
    error = start_error(f"--tls-cert={identity.certificate}", f"--tls-key={other.key}")
    assert "is not the key of the certificate" in error


def test_key_that_is_missing_or_encrypted(tmp_path: Path, identity: Identity) -> None:
    advice = "name a file with a private key in PEM, without a passphrase"
    assert start_error(f"--tls-cert={identity.certificate}").endswith(advice)
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", identity.key, "-aes128", "-passout", "pass:x", "-out", locked)
    assert start_error(f"--tls-cert={identity.certificate}", f"--tls-key={locked}").endswith(advice)


def test_certificate_and_key_in_one_file(start: Start, tmp_path: Path, identity: Identity) -> None:
    both = tmp_path / "both.pem"
    both.write_text(identity.certificate.read_text() + identity.key.read_text())
    daemon = start("--tls-port=0", f"--tls-cert={both}", transport="plain")
    daemon.transport = "tls"
    daemon.connect().assert_answered()


def test_whole_chain_is_sent(start: Start, tmp_path: Path, authority: Authority, identity: Identity) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text(identity.certificate.read_text() + authority.own.certificate.read_text())
    daemon = start("--tls-port=0", f"--tls-cert={chain}", f"--tls-key={identity.key}", transport="plain")
    daemon.transport = "tls"
    assert s_client(daemon, "-showcerts").count("BEGIN CERTIFICATE") == 2


def test_key_without_read_permission(open_directory: Path, identity: Identity) -> None:
    copy = Identity(open_directory / "c.pem", open_directory / "k.pem")
    identity.install(copy)
    copy.key.chmod(0o000)
    done = run("--tls-port=0", "--port=0", *copy.options(), prefix=as_user(UNPRIVILEGED))
    assert done.status == CONFIGURATION and done.error() == (
        f"tls-key: {copy.key}: can't be read: Permission denied; let the user that h2echod runs as, or a group of it, "
        "read the file and enter its directory")


def test_expired_certificate_is_used_with_a_warning(start: Start, tmp_path: Path, authority: Authority,
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
def test_validity_decides_the_level_of_the_log_line(start: Start, tmp_path: Path, authority: Authority,
                                                    begin: float, end: float, outcome: str) -> None:
    given = Identity(tmp_path / "some.pem", tmp_path / "some.key")
    authority.issue("localhost").install(given)
    config = tmp_path / "h2echod.conf"
    config.write_text(f"tls-cert = {given.certificate}\ntls-key = {given.key}\n")
    daemon = start("--tls-port=0", f"--config={config}", transport="plain")
    set_validity(given, authority, begin, end)
    since = daemon.log_position()
    daemon.reload()
    daemon.wait_for_log(outcome, since)


def test_check_config_reads_the_files(tmp_path: Path, identity: Identity) -> None:
    config = tmp_path / "h2echod.conf"
    config.write_text(f"tls-port = 0\ntls-cert = {identity.certificate}\ntls-key = {identity.key}\n")
    assert run("-c", config, "-t").status == 0
    config.write_text("tls-port = 0\ntls-cert = no/such/file\n")
    assert run("-c", config, "-t").status == CONFIGURATION
