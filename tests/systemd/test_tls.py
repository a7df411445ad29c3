"""TLS for the service: certificates in files and credentials, reload, h2echod-tls.socket, self-signed certificates."""
from __future__ import annotations

import ipaddress
import os
import re
import shutil
from pathlib import Path
from typing import Iterator

import pytest

from certificates import Authority, Identity, openssl
from machine import Machine
from unit import ADDRESS, Unit, assert_answers
from wire import Client, unverified_tls

HOST, PORT = ADDRESS[0], 8443
CERTIFICATE, KEY = "/etc/ssl/certs/h2echod.pem", "/etc/ssl/private/h2echod.key"
CREDENTIALS = "/run/credentials/h2echod.service"
SETTINGS = (f"tls-cert = {CERTIFICATE}", f"tls-key = {KEY}")
GROUP = ("[Service]", "SupplementaryGroups=ssl-cert")
# The command that checks the file before a reload has no credentials, at least in systemd 252.
CREDENTIALS_DROP_IN = ("[Service]", f"LoadCredential=cert:{CERTIFICATE}", f"LoadCredential=key:{KEY}",
                       "ExecReload=", "ExecReload=/bin/kill -HUP $MAINPID")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture
def place(machine: Machine, authority: Authority) -> Iterator[Identity]:
    """A certificate and key in Debian's directories, with Debian's permissions."""
    machine.run("groupadd", "--force", "--system", "ssl-cert")
    machine.run("install", "-d", "-m", "710", "-g", "ssl-cert", Path(KEY).parent)
    machine.run("install", "-m", "640", "-g", "ssl-cert", "/dev/null", KEY)
    place = Identity(machine.path(CERTIFICATE), machine.path(KEY))
    authority.issue("first").install(place)
    yield place
    place.certificate.unlink()
    place.key.unlink()


@pytest.fixture
def tls_socket(machine: Machine) -> Unit:
    return Unit(machine, "h2echod-tls.socket")


def connect() -> Client:
    return Client((HOST, PORT), tls=unverified_tls("h2")).send_preface()


def served_certificate() -> bytes:
    """The certificate that a new connection gets. Its request is answered."""
    with connect() as client:
        client.assert_answered()
        return client.socket.getpeercert(binary_form=True)


# --- files that a group may read ---

@pytest.fixture(params=["socket", "port"])
def with_group(service: Unit, tls_socket: Unit, place: Identity, request: pytest.FixtureRequest) -> Unit:
    """The running service, in the group that may read the key. Its TLS socket is systemd's or its own."""
    service.drop_in(*GROUP)
    if request.param == "socket":
        service.configure(*SETTINGS)
        tls_socket.control("start")
    else:
        service.configure("tls-port = 8443", *SETTINGS)
    service.control("start")
    assert service.show("DynamicUser", "PrivateUsers") == {"DynamicUser": "yes", "PrivateUsers": "yes"}
    assert served_certificate() == place.der()
    return service


def test_reload_replaces_certificate_and_key(with_group: Unit, place: Identity, authority: Authority) -> None:
    with connect() as old:
        old.assert_answered()
        second = authority.issue("second")
        second.install(place)
        with_group.control("reload")
        with_group.wait_for_message("^certificate CN=second, ")
        assert served_certificate() == second.der()
        old.assert_answered("/old")
        assert old.socket.getpeercert(binary_form=True) != second.der()
    assert not with_group.entries("--priority=warning")


def test_reload_fails_if_the_key_does_not_match(with_group: Unit, place: Identity, authority: Authority) -> None:
    first = place.der()
    place.certificate.write_bytes(authority.issue("second").certificate.read_bytes())
    assert with_group.control("reload", check=False) != 0
    with_group.wait_for_message(f"^tls-key: {KEY}: is not the key of the certificate: ")
    assert served_certificate() == first
    with_group.wait(ActiveState="active", SubState="running")


def test_reload_fails_if_the_key_cannot_be_read(with_group: Unit, place: Identity) -> None:
    place.key.chmod(0o600)
    assert with_group.control("reload", check=False) != 0
    with_group.wait_for_message(f"^tls-key: {KEY}: can't be read: Permission denied; ")
    assert served_certificate() == place.der()


def test_start_fails_if_the_key_cannot_be_read(service: Unit, place: Identity) -> None:
    """Without the group, the service's user may not read it."""
    service.configure(*SETTINGS)
    assert service.control("start", check=False) != 0
    assert service.show("Result", "ExecMainStatus", "NRestarts") == \
        {"Result": "exit-code", "ExecMainStatus": str(os.EX_CONFIG), "NRestarts": "0"}
    [failure] = service.entries("--priority=err")
    assert failure["MESSAGE"] == f"tls-key: {KEY}: can't be read: Permission denied; let the user that h2echod runs as, " \
        "or a group of it, read the file and enter its directory"


# --- credentials from systemd ---

def test_restart_renews_credentials(service: Unit, place: Identity, authority: Authority) -> None:
    """As h2echod(8) describes it. Only root may read the key."""
    place.key.chmod(0o600)
    service.drop_in(*CREDENTIALS_DROP_IN)
    service.configure("tls-port = 8443", f"tls-cert = {CREDENTIALS}/cert", f"tls-key = {CREDENTIALS}/key")
    service.control("start")
    assert served_certificate() == place.der()
    second = authority.issue("second")
    second.install(place)
    service.control("reload")
    service.wait_for_message("^reloaded ")
    service.control("restart")
    assert served_certificate() == second.der()
    assert not service.entries("--priority=warning")


# --- a self-signed certificate ---

@pytest.fixture
def addresses(machine: Machine) -> Iterator[set[str]]:
    """Addresses that are added to the machine for the test."""
    wanted = {"192.0.2.7", "2001:db8::7"}
    for each in wanted:
        machine.run("ip", "address", "add", each, "dev", "lo")
    yield wanted
    for each in wanted:
        machine.run("ip", "address", "del", each, "dev", "lo")


def addresses_in(certificate: bytes) -> set[str]:
    names = openssl("x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", stdin=certificate)
    return {str(ipaddress.ip_address(each)) for each in re.findall(r"IP Address:([0-9A-Fa-f.:]+)", names)}


def test_self_signed_certificate_has_the_addresses_of_the_machine(service: Unit, addresses: set[str]) -> None:
    """Although the unit's sandbox forbids netlink."""
    service.configure("tls-port = 8443", "tls-self-signed = on")
    service.control("start")
    assert addresses_in(served_certificate()) == {"127.0.0.1", "::1"} | addresses
    assert not service.entries("--priority=warning")


# --- h2echod-tls.socket ---

def test_first_connection_with_tls_starts_the_service(tls_socket: Unit, socket: Unit, service: Unit) -> None:
    service.configure("tls-self-signed = on")
    for each in (socket, tls_socket):
        each.control("start")
    assert service.show("ActiveState") == {"ActiveState": "inactive"}
    first = served_certificate()
    assert_answers("/plain")
    for place in (r"\[::\]:8080, handed over", r"\[::\]:8443, TLS, handed over"):
        service.wait_for_message(f"^listening on {place}$")
    service.control("reload")
    service.wait_for_message("^reloaded ")
    assert served_certificate() == first
    service.control("restart")
    assert served_certificate() != first
    assert not service.entries("--priority=warning")


def test_tls_alone(tls_socket: Unit, service: Unit) -> None:
    service.configure("tls-self-signed = on")
    tls_socket.control("start")
    served_certificate()
    service.wait_for_message("^h2echod .* is ready: curl --insecure --pinnedpubkey sha256//.* https://localhost:8443/$")
    assert not [text for text in service.messages() if ":8080" in text]


def test_without_a_network(tls_socket: Unit, service: Unit) -> None:
    """With the example drop-in socket-only.conf the machine's addresses cannot be found."""
    directory = service.machine.path(f"/etc/systemd/system/{service.name}.d")
    directory.mkdir()
    shutil.copy(service.machine.path("/usr/share/doc/h2echod/socket-only.conf"), directory)
    service.machine.systemctl("daemon-reload")
    service.configure("tls-self-signed = on")
    tls_socket.control("start")
    assert addresses_in(served_certificate()) == {"127.0.0.1", "::1"}
    assert_answers("/plain")
    assert not service.entries("--priority=warning")


def test_start_fails_with_a_tls_socket_but_no_certificate(tls_socket: Unit, service: Unit) -> None:
    tls_socket.control("start")
    assert service.control("start", check=False) != 0
    assert service.show("Result", "ExecMainStatus", "NRestarts") == \
        {"Result": "exit-code", "ExecMainStatus": str(os.EX_CONFIG), "NRestarts": "0"}
    [failure] = service.entries("--priority=err")
    assert failure["MESSAGE"] == \
        "there is a socket for TLS from the service manager, but no certificate: name one with tls-cert, or try tls-self-signed"


def test_tls_port_below_1024(tls_socket: Unit, service: Unit) -> None:
    """As h2echod(8) describes it."""
    service.configure("tls-self-signed = on")
    tls_socket.drop_in("[Socket]", "ListenStream=", "ListenStream=443")
    tls_socket.control("start")
    with Client((HOST, 443), tls=unverified_tls("h2")) as client:
        client.send_preface().assert_answered()
