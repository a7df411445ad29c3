"""Settings: values from the command line, the file and the defaults; errors; and the sockets that are opened."""
from __future__ import annotations

import re
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest
from hyperframe.frame import SettingsFrame

import needs
from clients import curl_h2
from conftest import Start
from daemon import BINARY, TOP, as_user, parse_dump, run
from wire import fields

UNPRIVILEGED = 65534
USAGE, UNAVAILABLE, NO_PERMISSION, CONFIGURATION = 64, 69, 77, 78  # exit statuses
KEYS = ("port", "address", "unix", "unix-mode", "reuse-port", "tls-port", "tls-cert", "tls-key", "tls-self-signed",
        "tls-client-ca", "tls-verify", "tls-min-version", "max-connections", "max-connections-per-address",
        "max-concurrent-streams", "max-header-list-size", "header-timeout", "idle-timeout", "stream-timeout",
        "write-timeout", "drain-timeout", "upgrade", "log-level", "trace", "access-log", "pretty")
OPTIONS = (*KEYS, "config", "check-config", "dump-config", "probe", "version", "help")


def dumped_settings(*arguments: object) -> dict[str, list[str]]:
    """The settings that result from these arguments: the values of each key, none if it is not set."""
    done = run(*arguments, "--dump-config")
    assert (done.status, done.errors) == (0, []), done
    return parse_dump(done.out)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "h2echod.conf"


# --- where values are set ---

def test_defaults() -> None:
    assert dumped_settings() == {
        "port": ["8080"], "address": [], "unix": [], "unix-mode": ["0660"], "reuse-port": ["off"],
        "tls-port": ["off"], "tls-cert": [], "tls-key": [], "tls-self-signed": ["off"], "tls-client-ca": [],
        "tls-verify": ["optional"], "tls-min-version": ["1.2"],
        "max-connections": ["10000"], "max-connections-per-address": ["0"], "max-concurrent-streams": ["128"],
        "max-header-list-size": ["64KiB"], "header-timeout": ["10s"], "idle-timeout": ["5m"],
        "stream-timeout": ["30s"], "write-timeout": ["30s"], "drain-timeout": ["10s"], "upgrade": ["on"],
        "log-level": ["info"], "trace": ["off"], "access-log": ["off"], "pretty": ["off"]}


def test_command_line_overrides_file_and_file_overrides_default(config: Path) -> None:
    config.write_text("max-connections = 7\nmax-concurrent-streams = 8\n")
    values = dumped_settings("-c", config, "--max-connections=9")
    assert (values["max-connections"], values["max-concurrent-streams"]) == (["9"], ["8"])
    assert values["port"] == ["8080"]


def test_order_of_config_and_option_does_not_matter(config: Path) -> None:
    config.write_text("max-connections = 7\n")
    assert dumped_settings("--max-connections=9", "-c", config)["max-connections"] == ["9"]


def test_settings_in_the_file_take_effect(start: Start, config: Path) -> None:
    config.write_text("# a comment\n\n  max-concurrent-streams   =  5   # another\npretty = on\n")
    client = start("--config", config).connect()
    client.request(fields()).assert_echo(fields(), pretty=True)
    assert client.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 5


def test_command_line_overrides_the_file_in_a_running_daemon(start: Start, config: Path) -> None:
    config.write_text("max-concurrent-streams = 5\nport = 1\naddress = 192.0.2.1\n")
    client = start("--max-concurrent-streams=6", "--config", config).connect()
    client.assert_answered()
    assert client.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 6


@pytest.mark.parametrize("line, key, value", [
    ("idle-timeout = 500ms", "idle-timeout", "500ms"),
    ("idle-timeout = 90", "idle-timeout", "90s"),
    ("idle-timeout = 90 s", "idle-timeout", "90s"),
    ("idle-timeout = 2m", "idle-timeout", "2m"),
    ("idle-timeout = 1h", "idle-timeout", "1h"),
    ("idle-timeout=120s", "idle-timeout", "2m"),
    ("max-header-list-size = 32K", "max-header-list-size", "32KiB"),
    ("max-header-list-size = 1 MiB", "max-header-list-size", "1MiB"),
    ("max-header-list-size = 5000", "max-header-list-size", "5000"),
    ("pretty = on", "pretty", "on"),
    ("trace = fields", "trace", "fields"),
    ("access-log = json", "access-log", "json"),
    ("log-level = warning", "log-level", "warning"),
    ("unix-mode = 0600", "unix-mode", "0600"),
])
def test_values_are_read_and_written_back(config: Path, line: str, key: str, value: str) -> None:
    config.write_text(line + "\n")
    assert dumped_settings("-c", config)[key] == [value]


@pytest.mark.parametrize("options, level", [(["-q"], "notice"), (["-v"], "debug"), (["-q", "-v"], "info"),
                                            (["--log-level=error"], "error")])
def test_log_level_options(options: list[str], level: str) -> None:
    assert dumped_settings(*options)["log-level"] == [level]


@pytest.mark.parametrize("options, trace", [(["-v"], "frames"), (["-vv"], "fields"), (["-q", "-v"], "off"),
                                            (["--log-level=debug"], "off"), (["-v", "--trace=fields"], "fields")])
def test_trace_options(options: list[str], trace: str) -> None:
    assert dumped_settings(*options)["trace"] == [trace]


def test_dump_can_be_read_as_a_file(config: Path) -> None:
    arguments = ["--port=1234", "-a", "127.0.0.1", "-a", "::1", "--unix=/run/x y.sock", "--unix-mode=0600",
                 "--max-connections=17", "--idle-timeout=1500ms", "--pretty", "--access-log=json", "--trace=frames"]
    first = run(*arguments, "--dump-config")
    config.write_text(first.out)
    assert run("-c", config, "--check-config").status == 0
    assert run("-c", config, "--dump-config").out == first.out
    assert parse_dump(first.out)["address"] == ["127.0.0.1", "::1"]


def test_shipped_file_has_every_default_commented_out(config: Path) -> None:
    text = (TOP / "conf/h2echod.conf").read_text()
    assert not re.search(r"^\s*[^#\s]", text, re.MULTILINE)
    config.write_text(re.sub(r"^#\s*(?=[a-z-]+ = \S)", "", text, flags=re.MULTILINE))
    examples = {"address", "unix", "tls-cert", "tls-key", "tls-client-ca"}  # these have no default
    given, defaults = dumped_settings("-c", config), dumped_settings()
    assert {key: value for key, value in given.items() if key not in examples} == \
        {key: value for key, value in defaults.items() if key not in examples}
    assert {match for match in re.findall(r"^#\s*([a-z-]+) =", text, re.MULTILINE)} == set(KEYS)


# --- options that only print ---

def test_check_config_prints_ok(config: Path) -> None:
    config.write_text("port = 1\n")
    done = run("-c", config, "-t")
    assert (done.status, done.out, done.errors) == (0, f"{config}: OK\n", [])


def test_help_lists_every_option() -> None:
    done = run("--help")
    assert (done.status, done.errors) == (0, [])
    assert set(re.findall(r"--([a-z][a-z-]+)", done.out)) >= set(OPTIONS)
    assert run("-h").out == done.out
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_version_names_the_libraries() -> None:
    done = run("--version")
    assert (done.status, done.errors) == (0, [])
    assert re.match(r"h2echod \d+\.\d+\.\d+\b", done.out)
    assert re.search(r"nghttp2[/ ]\d+\.\d+", done.out) and re.search(r"jansson[/ ]\d+\.\d+", done.out)
    assert run("-V").out == done.out


# --- errors ---

@pytest.mark.parametrize("arguments, words", [
    (["--no-such-option"], ["no-such-option"]),
    (["-Z"], ["Z"]),
    (["operand"], ["operand"]),
    (["8080"], ["-p 8080?"]),
    (["localhost:8080"], ["-a localhost -p 8080?"]),
    (["-d"], ["-d", "stays in the foreground"]),
    (["--daemon"], ["--daemon", "stays in the foreground"]),
    (["--port=70000"], ["port", "70000", "65535"]),
    (["--port=-1"], ["port", "-1"]),
    (["--port=eighty"], ["port", "eighty"]),
    (["--port="], ["port"]),
    (["-p"], ["p"]),
    (["--idle-timeout=5x"], ["idle-timeout", "5x"]),
    (["--idle-timeout=0"], ["idle-timeout", "0"]),
    (["--max-connections=0"], ["max-connections", "0"]),
    (["--max-connections=99999999999999999999"], ["max-connections"]),
    (["--max-header-list-size=1"], ["max-header-list-size", "1"]),
    (["--trace=all"], ["trace", "all", "frames"]),
    (["--access-log=xml"], ["access-log", "xml", "json"]),
    (["--log-level=loud"], ["log-level", "loud", "warning"]),
    (["--unix-mode=999"], ["unix-mode", "999"]),
    (["--unix=" + "x" * 108], ["unix"]),
])
def test_bad_command_line_exits_with_64_and_one_error(arguments: list[str], words: list[str]) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (USAGE, "")
    assert all(word in done.error() for word in words), done.error()


@pytest.mark.parametrize("line, words", [
    ("no-such-key = 1", ["no-such-key"]),
    ("prot = 1", ["prot", "port"]),
    ("port = 70000", ["port", "70000", "65535"]),
    ("port", ["port"]),
    ("= 1", []),
    ("port 1", ["port"]),
    ("idle-timeout = soon", ["idle-timeout", "soon"]),
    ("pretty = perhaps", ["pretty", "perhaps", "on"]),
    ("config = x", ["config"]),
    ("port = 1\x1b[31m", [r"\x1b"]),
])
@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_bad_file_exits_with_78_and_names_the_line(config: Path, line: str, words: list[str], check: bool) -> None:
    config.write_text(f"# comment\n{line}\n")
    done = run("-c", config, *(["--check-config"] if check else []))
    assert (done.status, done.out) == (CONFIGURATION, "")
    assert f"{config}:2: " in done.error()
    assert all(word in done.error() for word in words), done.error()


def test_every_error_in_a_file_is_reported(config: Path) -> None:
    config.write_text("port = x\nmax-connections = 5\nnonsense\nidle-timeout = never\n")
    done = run("-c", config, "-t")
    assert done.status == CONFIGURATION
    assert re.findall(rf"{re.escape(str(config))}:(\d+): ", "\n".join(done.errors)) == ["1", "3", "4"]
    assert len(done.errors) == 3


def test_missing_file_exits_with_78(config: Path) -> None:
    done = run("-c", config)
    assert done.status == CONFIGURATION
    assert str(config) in done.error() and "No such file" in done.error()


def test_directory_as_file_exits_with_78(tmp_path: Path) -> None:
    done = run("-c", tmp_path)
    assert done.status == CONFIGURATION and str(tmp_path) in done.error()


# --- listening ---

def test_port_0_picks_a_free_port_and_logs_it(start: Start) -> None:
    first, second = start(), start()
    assert first.port != second.port and first.port > 0
    assert first.ready == f"curl --http2-prior-knowledge http://localhost:{first.port}/"


def test_two_addresses_share_a_port(start: Start) -> None:
    daemon = start(listen=["--port=0", "-a", "127.0.0.1", "-a", "::1"])
    hosts, ports = zip(*daemon.addresses())
    assert hosts == ("127.0.0.1", "::1") and len(set(ports)) == 1
    for address in daemon.addresses():
        daemon.connect(address=address).assert_answered()


def test_default_is_all_addresses_of_both_families(start: Start) -> None:
    daemon = start("--log-level=debug", listen=["--port=0"])
    port = daemon.port
    for host, peer in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "[::1]")):
        daemon.connect(address=(host, port)).assert_answered()
        daemon.wait_for_log(rf"connection \d+ from {re.escape(peer)}:\d+: open")


@pytest.mark.parametrize("hosts", [("0.0.0.0", "::"), ("::", "0.0.0.0")], ids=["ipv4-first", "ipv6-first"])
def test_wildcard_addresses_of_both_families(start: Start, hosts: tuple[str, str]) -> None:
    daemon = start(listen=["--port=0", *(f"--address={host}" for host in hosts)])
    for host in ("127.0.0.1", "::1"):
        daemon.connect(address=(host, daemon.port)).assert_answered()


@pytest.mark.parametrize("host, host_in_command", [
    ("127.0.0.1", "localhost"), ("::1", "localhost"), ("::", "localhost"), ("127.0.0.2", "127.0.0.2")])
def test_logged_command_works(start: Start, host: str, host_in_command: str) -> None:
    daemon = start(listen=["--port=0", f"--address={host}"])
    assert daemon.ready == f"curl --http2-prior-knowledge http://{host_in_command}:{daemon.port}/"
    assert curl_h2(daemon.ready.split()[-1]).stdout.startswith(b'{":method": "GET", ')


def test_address_by_name(start: Start) -> None:
    daemon = start(listen=["--port=0", "--address=localhost"])
    assert {host for host, _ in daemon.addresses()} <= {"127.0.0.1", "::1"}
    for address in daemon.addresses():
        daemon.connect(address=address).assert_answered()


def test_unix_socket_in_addition_to_tcp(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    daemon = start(f"--unix={path}", "--unix-mode=0612", "--log-level=debug")
    daemon.wait_for_log(rf"info listening on unix:{re.escape(str(path))}$")
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o612
    daemon.connect(address=path).assert_answered()
    daemon.wait_for_log(r"connection \d+ from unix\S*: open")
    done = curl_h2("--unix-socket", path, "http://localhost/hello")
    assert done.stdout.startswith(b'{":method": "GET", ')
    daemon.connect().assert_answered()
    daemon.stop()
    assert not path.exists()


def test_stale_unix_socket_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    daemon = start(f"--unix={path}")
    daemon.connect(address=path).assert_answered()


def test_unix_socket_of_a_killed_daemon_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    start(f"--unix={path}").kill()
    assert path.exists()
    start(f"--unix={path}").connect(address=path).assert_answered()


def test_unix_socket_in_use_is_refused_and_not_removed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    daemon = start(f"--unix={path}")
    done = run("--port=0", f"--unix={path}")
    assert done.status == UNAVAILABLE
    assert str(path) in only_error(done.errors) and "in use" in only_error(done.errors)
    daemon.connect(address=path).assert_answered()


def test_unix_socket_with_a_full_backlog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        done = run("--port=0", f"--unix={path}")
        assert done.status == UNAVAILABLE and path.exists()


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin"])
def test_config_must_be_a_regular_file(path: str) -> None:
    done = run("-c", path)
    assert done.status == CONFIGURATION
    assert done.error().startswith(f"{path}: can't be read: ")


def test_file_that_is_not_a_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("data")
    done = run("--port=0", f"--unix={path}")
    assert done.status == UNAVAILABLE and path.read_text() == "data"
    assert str(path) in only_error(done.errors)


def only_error(lines: list[str]) -> str:
    """The only line that is not about a socket opened before the error."""
    errors = [line for line in lines if not re.search(r"info listening on", line)]
    assert len(errors) == 1, lines
    return errors[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_address_in_use_exits_with_69(start: Start, host: str) -> None:
    port = start(listen=["--port=0", "-a", host]).port
    done = run(f"--port={port}", "-a", host)
    assert done.status == UNAVAILABLE
    error = only_error(done.errors)
    assert f"{host}]:{port}" in error or f"{host}:{port}" in error
    assert "in use" in error


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_address_of_another_host_exits_with_69(host: str) -> None:
    done = run("--port=0", "-a", host)
    assert done.status == UNAVAILABLE and host in only_error(done.errors)


@pytest.fixture
def unprivileged_user(open_directory: Path) -> tuple[list[str], Path]:
    """A command prefix that runs as an unprivileged user, and a copy of the daemon that any user may run."""
    binary = open_directory / "h2echod"
    shutil.copy(BINARY, binary)
    return as_user(UNPRIVILEGED), binary


def test_unix_path_without_permission_exits_with_77(unprivileged_user: tuple[list[str], Path], tmp_path: Path) -> None:
    prefix, binary = unprivileged_user
    tmp_path.chmod(0o555)
    path = tmp_path / "socket"
    done = run("--port=0", f"--unix={path}", prefix=prefix, binary=binary)
    assert done.status == NO_PERMISSION
    assert str(path) in only_error(done.errors) and "ermission" in only_error(done.errors)


def privileged_port() -> int:
    """A port that needs a privilege to listen on, if the system has any."""
    first = int(needs.proc("sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    return first - 1 if first > 1 else needs.skip("no port needs a privilege")


def test_privileged_port_exits_with_77(unprivileged_user: tuple[list[str], Path]) -> None:
    prefix, binary = unprivileged_user
    port = privileged_port()
    done = run(f"--port={port}", "-a", "127.0.0.1", prefix=prefix, binary=binary)
    assert done.status == NO_PERMISSION
    assert f"127.0.0.1:{port}" in only_error(done.errors)


def test_daemon_runs_as_an_unprivileged_user(start: Start, unprivileged_user: tuple[list[str], Path]) -> None:
    prefix, binary = unprivileged_user
    start(prefix=prefix, binary=binary).connect().assert_answered()


def test_port_can_be_reused_at_once_after_a_restart(start: Start) -> None:
    """Connections of the previous daemon in TIME_WAIT do not block the port."""
    first = start()
    port = first.port
    client = first.connect()
    client.assert_answered()
    first.signal(signal.SIGTERM)
    client.read_to_end()
    first.wait()
    start(listen=[f"--port={port}", "-a", "127.0.0.1"]).connect().assert_answered()
