"""TLS for the service: certificates that its user may read, a socket of its own, and what a reload does to them."""
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
# What checks the file before a reload has no credentials, in systemd 252 at least.
CREDENTIALS_DROP_IN = ("[Service]", f"LoadCredential=cert:{CERTIFICATE}", f"LoadCredential=key:{KEY}",
                       "ExecReload=", "ExecReload=/bin/kill -HUP $MAINPID")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture
def place(machine: Machine, authority: Authority) -> Iterator[Identity]:
    """Where Debian has certificates and keys, with the rights that it gives them, and the first one there."""
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


def shown() -> bytes:
    """The certificate that a new connection is shown, which is answered."""
    with connect() as client:
        client.assert_answered()
        return client.socket.getpeercert(binary_form=True)


# --- files that a group may read ---

@pytest.fixture(params=["socket", "port"])
def with_group(service: Unit, tls_socket: Unit, place: Identity, request: pytest.FixtureRequest) -> Unit:
    """The service, started with the first certificate, and with a socket for TLS that is handed over or its own."""
    service.drop_in(*GROUP)
    if request.param == "socket":
        service.configure(*SETTINGS)
        tls_socket.control("start")
    else:
        service.configure("tls-port = 8443", *SETTINGS)
    service.control("start")
    assert service.show("DynamicUser", "PrivateUsers") == {"DynamicUser": "yes", "PrivateUsers": "yes"}
    assert shown() == place.der()
    return service


def test_reload_swaps_certificate_and_key(with_group: Unit, place: Identity, authority: Authority) -> None:
    with connect() as old:
        old.assert_answered()
        second = authority.issue("second")
        second.install(place)
        with_group.control("reload")
        with_group.wait_for_message("^certificate CN=second, ")
        assert shown() == second.der()
        old.assert_answered("/old")
        assert old.socket.getpeercert(binary_form=True) != second.der()
    assert not with_group.entries("--priority=warning")


def test_reload_with_a_pair_that_does_not_fit_fails(with_group: Unit, place: Identity, authority: Authority) -> None:
    first = place.der()
    place.certificate.write_bytes(authority.issue("second").certificate.read_bytes())
    assert with_group.control("reload", check=False) != 0
    with_group.wait_for_message(f"^tls-key: {KEY}: is not the key of the certificate: ")
    assert shown() == first
    with_group.wait(ActiveState="active", SubState="running")


def test_reload_with_a_key_that_may_not_be_read_fails(with_group: Unit, place: Identity) -> None:
    place.key.chmod(0o600)
    assert with_group.control("reload", check=False) != 0
    with_group.wait_for_message(f"^tls-key: {KEY}: can't be read: Permission denied; ")
    assert shown() == place.der()


def test_key_that_may_not_be_read_is_told(service: Unit, place: Identity) -> None:
    """As it is without the group."""
    service.configure(*SETTINGS)
    assert service.control("start", check=False) != 0
    assert service.show("Result", "ExecMainStatus", "NRestarts") == \
        {"Result": "exit-code", "ExecMainStatus": str(os.EX_CONFIG), "NRestarts": "0"}
    [failure] = service.entries("--priority=err")
    assert failure["MESSAGE"] == f"tls-key: {KEY}: can't be read: Permission denied; let the user that h2echod runs as, " \
        "or a group of it, read the file and enter its directory"


# --- files that systemd hands over ---

def test_credentials_are_renewed_by_a_restart(service: Unit, place: Identity, authority: Authority) -> None:
    """As the manual says. The key is for root alone to read."""
    place.key.chmod(0o600)
    service.drop_in(*CREDENTIALS_DROP_IN)
    service.configure("tls-port = 8443", f"tls-cert = {CREDENTIALS}/cert", f"tls-key = {CREDENTIALS}/key")
    service.control("start")
    assert shown() == place.der()
    second = authority.issue("second")
    second.install(place)
    service.control("reload")
    service.wait_for_message("^reloaded ")
    service.control("restart")
    assert shown() == second.der()
    assert not service.entries("--priority=warning")


# --- a certificate in memory ---

@pytest.fixture
def addresses(machine: Machine) -> Iterator[set[str]]:
    """Those that the machine gets for the test."""
    wanted = {"192.0.2.7", "2001:db8::7"}
    for each in wanted:
        machine.run("ip", "address", "add", each, "dev", "lo")
    yield wanted
    for each in wanted:
        machine.run("ip", "address", "del", each, "dev", "lo")


def addresses_in(certificate: bytes) -> set[str]:
    names = openssl("x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", stdin=certificate)
    return {str(ipaddress.ip_address(each)) for each in re.findall(r"IP Address:([0-9A-Fa-f.:]+)", names)}


def test_certificate_in_memory_has_the_addresses_of_the_machine(service: Unit, addresses: set[str]) -> None:
    """Although the unit's sandbox lets nobody ask for them by netlink."""
    service.configure("tls-port = 8443", "tls-self-signed = on")
    service.control("start")
    assert addresses_in(shown()) == {"127.0.0.1", "::1"} | addresses
    assert not service.entries("--priority=warning")


# --- h2echod-tls.socket ---

def test_first_connection_with_tls_starts_the_service(tls_socket: Unit, socket: Unit, service: Unit) -> None:
    service.configure("tls-self-signed = on")
    for each in (socket, tls_socket):
        each.control("start")
    assert service.show("ActiveState") == {"ActiveState": "inactive"}
    first = shown()
    assert_answers("/plain")
    for place in (r"\[::\]:8080, handed over", r"\[::\]:8443, TLS, handed over"):
        service.wait_for_message(f"^listening on {place}$")
    service.control("reload")
    service.wait_for_message("^reloaded ")
    assert shown() == first
    service.control("restart")
    assert shown() != first
    assert not service.entries("--priority=warning")


def test_tls_alone(tls_socket: Unit, service: Unit) -> None:
    service.configure("tls-self-signed = on")
    tls_socket.control("start")
    shown()
    service.wait_for_message("^h2echod .* is ready: curl --insecure --pinnedpubkey sha256//.* https://localhost:8443/$")
    assert not [text for text in service.messages() if ":8080" in text]


def test_without_a_network(tls_socket: Unit, service: Unit) -> None:
    """As the drop-in among the examples has it: nobody can tell the machine's addresses then."""
    directory = service.machine.path(f"/etc/systemd/system/{service.name}.d")
    directory.mkdir()
    shutil.copy(service.machine.path("/usr/share/doc/h2echod/socket-only.conf"), directory)
    service.machine.systemctl("daemon-reload")
    service.configure("tls-self-signed = on")
    tls_socket.control("start")
    assert addresses_in(shown()) == {"127.0.0.1", "::1"}
    assert_answers("/plain")
    assert not service.entries("--priority=warning")


def test_socket_for_tls_without_a_certificate_is_told(tls_socket: Unit, service: Unit) -> None:
    tls_socket.control("start")
    assert service.control("start", check=False) != 0
    assert service.show("Result", "ExecMainStatus", "NRestarts") == \
        {"Result": "exit-code", "ExecMainStatus": str(os.EX_CONFIG), "NRestarts": "0"}
    [failure] = service.entries("--priority=err")
    assert failure["MESSAGE"] == \
        "there is a socket for TLS from the service manager, but no certificate: name one with tls-cert, or try tls-self-signed"


def test_port_below_1024(tls_socket: Unit, service: Unit) -> None:
    """As the manual says."""
    service.configure("tls-self-signed = on")
    tls_socket.drop_in("[Socket]", "ListenStream=", "ListenStream=443")
    tls_socket.control("start")
    with Client((HOST, 443), tls=unverified_tls("h2")) as client:
        client.send_preface().assert_answered()
