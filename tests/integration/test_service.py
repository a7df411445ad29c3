"""Service managers: notifications (sd_notify), sockets handed over by LISTEN_FDS, and ports shared by daemons."""
from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import pytest

import needs
from clients import curl
from conftest import Start
from daemon import Daemon, run
from waiting import SLOW, Deadline, poll
from wire import Address, Client, fields, read_all, unverified_tls

CONFIGURATION, UNAVAILABLE = 78, 69  # exit statuses
MARGIN_US = 5_000_000  # the manager is asked to wait this much longer than the drain timeout
# The sockets get the descriptors 3, 4, ..., and LISTEN_PID is the shell's process id, which exec keeps.
HAND_OVER = 'n=$1; shift; i=3; for fd in $n; do eval "exec $i<&$fd"; i=$((i + 1)); done; ' \
            'export LISTEN_PID=$$ LISTEN_FDS=$((i - 3)); exec "$@"'


# --- notifications ---

class Manager:
    """The datagram socket of a service manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def message(self, seconds: float = 5) -> dict[str, str]:
        """The next message, as its variables by name."""
        self.socket.settimeout(seconds * SLOW)
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def discard_messages(self) -> None:
        """Discard the messages that have arrived."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(4096):
                pass
        except BlockingIOError:
            pass

    def expect(self, *names: str) -> dict[str, str]:
        """The next message, periodic ones excepted; it must have these variables and STATUS, in this order."""
        while list(message := self.message()) in (["WATCHDOG", "STATUS"], ["STATUS"]):
            pass
        assert list(message) == [*names, "STATUS"]
        return message


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, open_directory: Path) -> Iterator[Manager]:
    name = str(open_directory / "notify")
    manager = Manager(name if request.param == "path" else f"@{name}")
    yield manager
    manager.socket.close()


def test_start_reload_and_stop_are_notified(start: Start, manager: Manager, tmp_path: Path) -> None:
    config, path = tmp_path / "h2echod.conf", tmp_path / "socket"
    config.write_text("drain-timeout = 7s\n")
    early: list[Client] = []

    def connect_once_ready(_: Daemon) -> None:
        """Connections are accepted from READY=1 on, whatever has been logged."""
        message = manager.message()
        assert list(message) == ["READY", "STATUS"] and message["READY"] == "1"
        assert message["STATUS"] == "serving: 0 connections, 0 accepted, 0 requests"
        early.append(Client(path).send_preface())

    daemon = start("-c", config, f"--unix={path}", extra={"NOTIFY_SOCKET": manager.name},
                   before_ready=connect_once_ready)
    early[0].assert_answered()
    for good in (True, False, True):
        config.write_text("drain-timeout = 8s\n" if good else "drain-timeout = often\n")
        before = time.monotonic()
        daemon.signal(signal.SIGHUP)
        message = manager.expect("RELOADING", "MONOTONIC_USEC")
        assert (message["RELOADING"], message["STATUS"]) == ("1", "reloading")
        assert before <= int(message["MONOTONIC_USEC"]) / 1e6 <= time.monotonic()
        message = manager.expect("READY")
        assert message["STATUS"] == "serving: 1 connection, 1 accepted, 1 request; the last reload " + (
            "succeeded" if good else "failed, the previous settings remain")
    daemon.signal(signal.SIGTERM)
    message = manager.expect("STOPPING", "EXTEND_TIMEOUT_USEC")
    assert message["STOPPING"] == "1" and int(message["EXTEND_TIMEOUT_USEC"]) == 8_000_000 + MARGIN_US
    assert message["STATUS"].startswith("draining: 1 connection, 1 accepted, 1 request; ")
    early[0].close()
    daemon.wait()
    assert not daemon.log("to stop it")  # under a service manager, that advice is not logged


def test_watchdog_is_notified_twice_per_interval(start: Start, manager: Manager) -> None:
    daemon = start(extra={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(int(1_000_000 * SLOW))})
    assert list(manager.message()) == ["READY", "STATUS"]
    with daemon.connect() as client:
        client.assert_answered()
        manager.discard_messages()
        begin = time.monotonic()
        for _ in range(3):
            message = manager.message(seconds=1)
            assert message["WATCHDOG"] == "1" and "STATUS" in message
        assert message["STATUS"] == "serving: 1 connection, 1 accepted, 1 request"
        assert time.monotonic() - begin > 0.9 * SLOW  # but not more often
    daemon.signal(signal.SIGTERM)
    manager.expect("STOPPING", "EXTEND_TIMEOUT_USEC")
    daemon.wait()


def test_status_agrees_with_stats(start: Start, manager: Manager) -> None:
    """STATUS has the same counters as the line that SIGUSR1 makes the daemon log."""
    daemon = start("--max-connections-per-address=2",
                   extra={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(int(200_000 * SLOW))})
    clients = [daemon.connect() for _ in range(2)]
    for client in clients:
        for _ in range(3):
            client.assert_answered()
    assert clients[0].request(fields("/", "GET", ("Bad", "x"))).reset is not None
    assert read_all(daemon.open_connection().socket) == b""  # counted as refused, not as accepted
    clients[1].close()
    stats = daemon.wait_for_stats(connections=1)
    assert (stats["accepted"], stats["requests"], stats["refused"]) == (2, 7, 1)
    manager.discard_messages()
    assert manager.message()["STATUS"] == "serving: {connections} connection, {accepted} accepted, " \
        "{requests} requests".format_map(stats)


def test_tiny_watchdog_interval_causes_no_busy_loop(start: Start, manager: Manager) -> None:
    daemon = start(extra={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "1"})
    begin, messages = time.monotonic(), 0
    while time.monotonic() - begin < 0.5:
        manager.message()
        messages += 1
    assert messages < 2000 * (time.monotonic() - begin)  # at most one a millisecond, the resolution of poll
    daemon.connect().assert_answered()


def test_watchdog_of_another_process_is_not_notified(start: Start, manager: Manager) -> None:
    """No WATCHDOG message is sent while another daemon, whose watchdog it is, sends several."""
    asked = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000"}
    daemon = start(extra=asked | {"WATCHDOG_PID": "1"})
    assert list(manager.message()) == ["READY", "STATUS"]
    others = Manager(f"{manager.name}-others")
    start(extra=asked | {"NOTIFY_SOCKET": others.name})
    assert [list(others.message())[0] for _ in range(6)] == ["READY", *["WATCHDOG"] * 5]
    daemon.signal(signal.SIGTERM)
    assert list(manager.message()) == ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS"]
    daemon.wait()


def test_manager_that_does_not_read_blocks_no_client(start: Start, manager: Manager) -> None:
    """The socket's queue fills up at once, and each message waits a second for space."""
    daemon = start(extra={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "2000"})
    client = daemon.connect()
    daemon.wait_for_log("warning cannot notify the service manager: Resource temporarily unavailable", seconds=20)
    client.assert_answered()
    daemon.connect().assert_answered()


def test_missing_notify_socket_blocks_no_client(start: Start, tmp_path: Path) -> None:
    daemon = start(extra={"NOTIFY_SOCKET": str(tmp_path / "gone")})
    daemon.wait_for_log("warning cannot notify the service manager: No such file or directory")
    daemon.connect().assert_answered()


def test_invalid_notify_socket_is_logged(start: Start) -> None:
    daemon = start(extra={"NOTIFY_SOCKET": "vsock:2:\x1b"})
    daemon.wait_for_log(re.escape(r'warning NOTIFY_SOCKET="vsock:2:\x1b" is neither a path nor an abstract name'))
    daemon.connect().assert_answered()


# --- sockets handed over ---

def listening(kind: str, directory: Path) -> socket.socket:
    """A listening socket, as a service manager opens it."""
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "handed-over"))
    else:
        if kind == "ipv6":
            needs.ipv6()
        listener = socket.socket(socket.AF_INET if kind == "ipv4" else socket.AF_INET6)
        listener.bind(("127.0.0.1" if kind == "ipv4" else "::1", 0))
    listener.listen(128)
    return listener


def address_of(listener: socket.socket) -> Address:
    name = listener.getsockname()
    return Path(name) if isinstance(name, str) else name[:2]


@contextmanager
def handed_over(*sockets: socket.socket, names: str | None = None) -> Iterator[dict[str, Any]]:
    """Options for `start` and `run` that hand these sockets over as LISTEN_FDS, with LISTEN_FDNAMES if given."""
    copies = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for each in sockets]  # away from 3, 4, ...
    named = [] if names is None else ["env", f"LISTEN_FDNAMES={names}"]
    yield {"prefix": [*named, "bash", "-c", HAND_OVER, "bash", " ".join(map(str, copies))], "pass_fds": copies}
    for copy in copies:
        os.close(copy)


def start_with(start: Start, sockets: Sequence[socket.socket], *arguments: object, names: str | None = None) -> Daemon:
    with handed_over(*sockets, names=names) as options:
        return start(*arguments, **options)


@pytest.mark.parametrize("kinds", [["ipv4"], ["ipv6"], ["unix"], ["ipv4", "ipv6", "unix"]], ids="+".join)
def test_sockets_handed_over_are_served(start: Start, open_directory: Path, kinds: list[str]) -> None:
    sockets = [listening(kind, open_directory) for kind in kinds]
    daemon = start_with(start, sockets, f"--unix={open_directory / 'own'}")
    for each in sockets:
        daemon.connect(address=address_of(each)).assert_answered()
    # They replace the sockets of the settings.
    assert len(daemon.log("info listening on .*, handed over$")) == len(daemon.log("info listening on")) == len(kinds)
    assert not (open_directory / "own").exists()
    daemon.stop()
    # They belong to the manager: the daemon neither shuts them down nor removes their files.
    for each in sockets:
        with Client(address_of(each)) as client:
            each.settimeout(5)
            each.accept()[0].close()
            client.close()
        each.close()


def test_unix_socket_handed_over_is_named_in_commands(start: Start, open_directory: Path) -> None:
    listener = listening("unix", open_directory)
    path = address_of(listener)
    daemon = start_with(start, [listener])
    assert daemon.ready == f"curl --http2-prior-knowledge --unix-socket {path} http://localhost/"
    with daemon.open_connection(path) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert f"--unix-socket {path} http://localhost/".encode() in read_all(client.socket)
    listener.close()


def test_abstract_socket_handed_over(start: Start) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")  # the kernel chooses an abstract name
    listener.listen()
    daemon = start_with(start, [listener])
    assert daemon.ready.endswith(" --unix-socket PATH http://localhost/")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(listener.getsockname())
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b" --unix-socket PATH http://localhost/" in read_all(connection)
    listener.close()


def test_reload_warns_of_settings_without_effect(start: Start, open_directory: Path) -> None:
    listener, config = listening("ipv4", open_directory), open_directory / "h2echod.conf"
    config.write_text("")
    daemon = start_with(start, [listener], "-c", config)
    config.write_text("unix-mode = 0600\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("warning not in force, because the service manager opened the sockets: unix-mode$")
    listener.close()


def test_nodelay_is_set_on_sockets_handed_over(start: Start, open_directory: Path) -> None:
    """Accepted sockets inherit TCP_NODELAY. Without it, a second small write waits up to 40 ms for an ACK."""
    listener = listening("ipv4", open_directory)
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    start_with(start, [listener])
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    listener.close()


def test_sockets_for_another_process_are_ignored(start: Start, open_directory: Path) -> None:
    listener = listening("ipv4", open_directory)
    daemon = start(extra={"LISTEN_PID": "1", "LISTEN_FDS": "1"}, pass_fds=[listener.fileno()])
    assert daemon.address != address_of(listener)
    daemon.connect().assert_answered()
    listener.close()


def unbound_socket(directory: Path) -> socket.socket:
    return socket.socket()


def datagram_socket(directory: Path) -> socket.socket:
    each = socket.socket(type=socket.SOCK_DGRAM)
    each.bind(("127.0.0.1", 0))
    return each


def seqpacket_socket(directory: Path) -> socket.socket:
    each = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    each.bind(str(directory / "seqpacket"))
    each.listen()
    return each


def connected_socket(directory: Path) -> socket.socket:
    """A connection, as a socket unit with Accept=yes passes it."""
    one, other = socket.socketpair()
    other.close()
    return one


@pytest.mark.parametrize("make", [unbound_socket, datagram_socket, seqpacket_socket, connected_socket])
def test_other_kinds_of_sockets_are_refused(open_directory: Path, make: Callable[[Path], socket.socket]) -> None:
    good, bad = listening("ipv4", open_directory), make(open_directory)
    with handed_over(good, bad) as options:
        done = run(**options)
    assert done.status == CONFIGURATION
    assert done.error().startswith("descriptor 4, handed over by LISTEN_FDS, is not a listening stream socket: ")
    good.close()
    bad.close()


def test_missing_descriptor_is_refused() -> None:
    done = run(prefix=["sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=700; exec "$@"', "sh"])
    assert done.status == CONFIGURATION and done.error().startswith("LISTEN_FDS: there is no descriptor ")


# --- sockets handed over for TLS ---

SELF_SIGNED = "--tls-self-signed"


def assert_answers_over_tls(listener: socket.socket, host: str | None = None) -> None:
    with Client(address_of(listener), tls=unverified_tls("h2"), host=host) as client:
        client.send_preface().assert_answered()


def assert_answers_plainly(listener: socket.socket) -> None:
    with Client(address_of(listener)) as client:
        client.send_preface().assert_answered()


def test_sockets_named_tls_use_tls(start: Start, open_directory: Path) -> None:
    sockets = [listening(kind, open_directory) for kind in ("ipv4", "unix", "ipv6")]
    daemon = start_with(start, sockets, SELF_SIGNED, names="tls:tls:h2echod.socket")
    assert_answers_over_tls(sockets[0])
    assert_answers_over_tls(sockets[1])
    assert_answers_plainly(sockets[2])
    assert len(daemon.log("info listening on .*, TLS, handed over$")) == 2
    # In whatever order they are: the first command logged is for plain TCP, and another one for TLS follows.
    assert daemon.ready == "curl --http2-prior-knowledge http://localhost:%d/" % sockets[2].getsockname()[1]
    assert daemon.log(r"notice with TLS: curl --insecure .* https://localhost:%d/$" % sockets[0].getsockname()[1])
    for each in sockets:
        each.close()


@pytest.mark.parametrize("kind", ["ipv4", "unix"])
def test_only_tls_sockets_are_logged_with_a_command_for_tls(start: Start, open_directory: Path, kind: str) -> None:
    listener = listening(kind, open_directory)
    daemon = start_with(start, [listener], SELF_SIGNED, names="tls")
    assert b'":scheme": "https"' in curl(*daemon.ready.split()[1:]).stdout
    listener.close()


def test_sockets_without_names_are_not_for_tls(start: Start, open_directory: Path) -> None:
    listener = listening("ipv4", open_directory)
    daemon = start_with(start, [listener], SELF_SIGNED)
    assert_answers_plainly(listener)
    assert daemon.log("warning there is a certificate, but no socket for TLS: "
                      'none of those from the service manager is named "tls", as that of h2echod-tls.socket is$')
    listener.close()


def test_tls_socket_needs_a_certificate(open_directory: Path) -> None:
    plain, tls = listening("ipv4", open_directory), listening("ipv6", open_directory)
    with handed_over(plain, tls, names="http:tls") as options:
        done = run(**options)
    assert done.status == CONFIGURATION
    assert done.errors[-1].endswith("error there is a socket for TLS from the service manager, but no certificate: "
                                    "name one with tls-cert, or try tls-self-signed")
    plain.close()
    tls.close()


def test_reload_cannot_remove_the_certificate(start: Start, open_directory: Path) -> None:
    listener, config = listening("ipv4", open_directory), open_directory / "h2echod.conf"
    config.write_text("tls-self-signed = on\n")
    daemon = start_with(start, [listener], "-c", config, names="tls")
    config.write_text("pretty = on\n")
    daemon.reload("error there is a socket for TLS from the service manager, but no certificate: ")
    daemon.wait_for_log("error reload failed: the previous settings remain in force$")
    assert_answers_over_tls(listener)
    config.write_text("tls-self-signed = on\npretty = on\n")
    daemon.reload("notice reloaded ")
    listener.close()


@pytest.mark.parametrize("names, count", [("tls", 1), ("", 1), ("a:tls:", 3)])
def test_number_of_names_must_be_that_of_sockets(open_directory: Path, names: str, count: int) -> None:
    sockets = [listening("ipv4", open_directory) for _ in range(2)]
    with handed_over(*sockets, names=names) as options:
        done = run(SELF_SIGNED, **options)
    assert done.status == CONFIGURATION
    assert done.error() == \
        f"LISTEN_FDS: LISTEN_FDNAMES must have as many names, not {count}; let the service manager set it"
    for each in sockets:
        each.close()


def test_restart_with_a_socket_handed_over_loses_no_request(start: Start, open_directory: Path) -> None:
    """Between two daemons, connections wait in the socket's backlog; the old daemon answers what it accepted."""
    listener = listening("ipv4", open_directory)
    answered, stop, failures = [0], threading.Event(), []

    def ask() -> None:
        try:
            while not stop.is_set():
                with Client(address_of(listener)) as client:
                    path = f"/{answered[0]}"
                    client.send_preface().request(fields(path), seconds=20).assert_echo(fields(path))
                    answered[0] += 1
        except (AssertionError, OSError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    daemon = start_with(start, [listener])
    for thread in threads:
        thread.start()
    for _ in range(3):
        poll(lambda mark=answered[0]: answered[0] > mark + 50 or failures, "answers", seconds=20)
        daemon.stop()
        daemon = start_with(start, [listener])
    poll(lambda mark=answered[0]: answered[0] > mark + 50 or failures, "answers", seconds=20)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    listener.close()


# --- systemd-socket-activate ---

def free_port(host: str) -> int:
    family = socket.AF_INET
    if ":" in host:
        needs.ipv6()
        needs.proc("net/if_inet6")  # systemd looks there
        family = socket.AF_INET6
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def activate(start: Start, hosts: Sequence[str], path: Path | None) -> tuple[Daemon, list[Client]]:
    """A daemon that systemd-socket-activate starts at the first connection, and a client for each socket. The tool does
    not accept port 0, so free ports are tried until none is in use."""
    clients: list[Client] = []
    for _ in range(20):
        addresses: list[Address] = [(host, free_port(host)) for host in hosts] + ([path] if path else [])
        words = [f"--listen={each}" if isinstance(each, Path) else
                 f"--listen={f'[{each[0]}]' if ':' in each[0] else each[0]}:{each[1]}" for each in addresses]

        def connect(daemon: Daemon) -> None:
            """Send a request on each socket before the daemon runs."""
            daemon.wait_for_log(rf"Listening on .* as {2 + len(addresses)}\.$")
            for address in addresses:
                clients.append(Client(address).send_preface())
                clients[-1].send_request(fields("/early"))
        try:
            return start(listen=[], prefix=["systemd-socket-activate", *words], before_ready=connect), clients
        except AssertionError as error:
            if "Address already in use" not in str(error):
                raise
    raise AssertionError("no free port")


@pytest.mark.parametrize("hosts,has_path", [(["127.0.0.1"], False), (["::1"], False), ([], True),
                                            (["127.0.0.1", "::1"], False), (["127.0.0.1"], True)],
                         ids=["ipv4", "ipv6", "unix", "ipv4+ipv6", "ipv4+unix"])
def test_systemd_socket_activate(start: Start, open_directory: Path, hosts: list[str], has_path: bool) -> None:
    daemon, clients = activate(start, hosts, open_directory / "socket" if has_path else None)
    for client in clients:
        client.wait(1).assert_echo(fields("/early"))
        client.assert_answered()
        client.close()
    assert len(daemon.log("info listening on .*, handed over$")) == len(clients)


# --- ports shared by daemons ---

def test_port_is_shared_if_both_daemons_allow_it(start: Start) -> None:
    first = start("--reuse-port")
    second = start("--reuse-port", listen=[f"--port={first.port}", "--address=127.0.0.1"])
    deadline = Deadline(20)
    while not all(daemon.stats()["requests"] for daemon in (first, second)):
        assert deadline.left()
        with Client(first.address) as client:
            client.send_preface().assert_answered()
    first.stop()
    for _ in range(20):
        with Client(second.address) as client:
            client.send_preface().assert_answered()


def test_port_is_not_shared_unless_both_daemons_allow_it(start: Start) -> None:
    closed, open_ = start(), start("--reuse-port")
    assert run(f"--port={closed.port}", "--address=127.0.0.1", "--reuse-port").status == UNAVAILABLE
    assert run(f"--port={open_.port}", "--address=127.0.0.1").status == UNAVAILABLE
