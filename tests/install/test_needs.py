"""What make prints if something that a build or the tests need is missing: one line that says what, and what to do."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from fake_machine import FakeMachine, failure_lines
from package import TOP

PACKAGES = {"libnghttp2": "libnghttp2-dev", "jansson": "libjansson-dev", "openssl": "libssl-dev", "cmocka": "libcmocka-dev"}
MAKEFILE = (TOP / "Makefile").read_text()
CHECK_NEEDS = dict(need.rsplit("=", 1) for need in re.findall(r"[a-z0-9:-]+=[a-z0-9-]+", re.findall(
    r"^check_needs +:= ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)[0]))
PROGRAMS = [need for need in CHECK_NEEDS if ":" not in need]
# The Makefile looks for programs in these directories, too, which are not in every user's PATH.
IN_SBIN = [program for program in PROGRAMS if shutil.which(program, path="/usr/sbin:/sbin")]
MODULES = [need.partition(":")[2] for need in CHECK_NEEDS if need.startswith("module:")]


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    """A machine that has everything that the build and the tests need."""
    machine = FakeMachine(tmp_path)
    machine.add_compiler()
    machine.add_libraries()
    for name in PROGRAMS:
        machine.link_program(name, "true")
    return machine


@pytest.fixture
def bare(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_prints_nothing_if_nothing_is_missing(machine: FakeMachine) -> None:
    for goals in (["needs"], ["needs", "check", "-n"]):
        done = machine.make(*goals, "V=1")
        assert "needs packages" not in done.stdout and "too old" not in done.stdout, done.stdout
    assert machine.make("needs").stdout == ""


def test_names_every_package_on_a_bare_machine(bare: FakeMachine) -> None:
    (line,) = failure_lines(bare.make())
    assert line == ("h2echod needs packages that are not installed: gcc libc6-dev pkg-config libssl-dev libnghttp2-dev "
                    "libjansson-dev: install them, or let `make deps` do it")
    (line,) = failure_lines(bare.make("WITH_TLS=0"))
    assert "libssl-dev" not in line


@pytest.mark.parametrize("library", ["libnghttp2", "jansson"])
def test_names_a_missing_library(machine: FakeMachine, library: str) -> None:
    (machine.root / "libraries" / library).unlink()
    (line,) = failure_lines(machine.make())
    assert line == (f"h2echod needs packages that are not installed: {PACKAGES[library]}: install them, or let "
                    "`make deps` do it")


@pytest.mark.parametrize("library, name, minimum, found", [
    ("libnghttp2", "nghttp2", "1.52", "1.43.0"), ("jansson", "jansson", "2.14", "2.13.1"),
    ("openssl", "OpenSSL", "3.0", "1.1.1w")])
def test_names_a_library_that_is_too_old(machine: FakeMachine, library: str, name: str, minimum: str, found: str) -> None:
    machine.add_libraries(**{library: found})
    machine.add_packages(PACKAGES[library])
    (line,) = failure_lines(machine.make("WITH_TLS=1"))
    assert line == (f"this system's {name} {found} is too old: h2echod needs {minimum} or newer, which Debian 12, "
                    "Ubuntu 24.04 and later releases have")


def test_names_an_installed_package_that_pkg_config_does_not_find(machine: FakeMachine) -> None:
    (machine.root / "libraries/jansson").unlink()
    machine.add_packages("libjansson-dev")
    (line,) = failure_lines(machine.make())
    assert "libjansson-dev" in line and "PKG_CONFIG" in line and "make deps" not in line


def test_names_the_package_of_missing_c_headers(machine: FakeMachine) -> None:
    machine.remove("cc")
    machine.add_script("cc", "echo '<stdin>:1:10: fatal error: stdlib.h: No such file or directory' >&2; exit 1")
    (line,) = failure_lines(machine.make())
    assert "not installed: libc6-dev: " in line


# --- variables that the user set ---

@pytest.mark.parametrize("compiler, message", [
    ("nonesuch", "'nonesuch' (from CC) was not found"),
    ("/nonesuch/cc -m64", "'/nonesuch/cc' (from CC) was not found"),
    ("", "'' (from CC) was not found"),
    ("ccache nonesuch", "'ccache nonesuch' (from CC) does not compile C: "),
    ("gcc -nonesuch", "'gcc -nonesuch' (from CC) does not compile C: "),
])
def test_names_a_compiler_that_does_not_work(machine: FakeMachine, compiler: str, message: str) -> None:
    machine.add_script("ccache", 'exec "$@"')
    for words, variables in ((["-j2", f"CC={compiler}"], {}), ([], {"CC": compiler})):
        (line,) = failure_lines(machine.make("needs", *words, **variables))
        assert message in line and "deps" not in line


def test_names_a_compiler_that_fails_without_a_message(machine: FakeMachine) -> None:
    machine.add_script("failing", "exit 1")
    (line,) = failure_lines(machine.make("CC=failing"))
    assert line == "the compiler 'failing' (from CC) does not compile C"


@pytest.mark.parametrize("compiler", ["gcc", "gcc -m64", "ccache gcc", "ccache gcc -O1"])
def test_compiler_may_be_several_words(machine: FakeMachine, compiler: str) -> None:
    machine.add_script("ccache", 'exec "$@"')
    done = machine.make("needs", f"CC={compiler}")
    assert (done.returncode, done.stdout) == (0, "")


def test_another_compiler_is_checked_after_a_build(machine: FakeMachine) -> None:
    assert machine.make("build/release/flags").returncode == 0
    (line,) = failure_lines(machine.make("CC=nonesuch", "build/release/flags"))
    assert "'nonesuch' (from CC)" in line


@pytest.mark.parametrize("words", ["PKG_CONFIG=nonesuch", "PYTHON=nonesuch check"])
def test_names_another_program_that_was_not_found(machine: FakeMachine, words: str) -> None:
    (line,) = failure_lines(machine.make(*words.split()))
    assert line == f"'nonesuch' (from {words.partition('=')[0]}) was not found"


@pytest.mark.parametrize("value, with_tls", [("1", "1"), ("yes", "1"), ("0", "0"), ("no", "0"), ("", "1"), (" 1 ", "1")])
def test_values_of_with_tls(machine: FakeMachine, value: str, with_tls: str) -> None:
    for words, variables in (([f"WITH_TLS={value}"], {}), ([], {"WITH_TLS": value})):
        assert machine.make("build/release/flags", *words, **variables).stdout == ""
        assert f" {with_tls} " in (machine.clone / "build/release/flags").read_text()


@pytest.mark.parametrize("value", ["on", "off", "2", "true", "YES", "1 0", "nonesuch"])
def test_other_values_of_with_tls_are_refused(machine: FakeMachine, value: str) -> None:
    for words, variables in (([f"WITH_TLS={value}"], {}), ([], {"WITH_TLS": value})):
        (line,) = machine.make(*words, **variables).stdout.splitlines()
        assert f"WITH_TLS is '{value}': it has to be 1 (with TLS) or 0 (without)" in line


def test_build_without_tls_is_reported_unless_with_tls_is_0(machine: FakeMachine) -> None:
    (machine.root / "libraries/openssl").unlink()
    done = machine.make("build/release/flags")
    assert done.returncode == 0
    assert done.stdout == "built without TLS, which needs OpenSSL 3.0 or newer: `make deps` installs it\n"
    assert machine.make("build/release/flags", "WITH_TLS=0").stdout == ""
    assert "not installed: libssl-dev: " in failure_lines(machine.make("WITH_TLS=1"))[0]


def test_unknown_variant_is_refused(machine: FakeMachine) -> None:
    assert "VARIANT is 'nonesuch'" in machine.make("VARIANT=nonesuch").stdout


# --- what the tests need ---

@pytest.mark.parametrize("program", [program for program in PROGRAMS if program not in IN_SBIN])
def test_check_names_a_missing_program(machine: FakeMachine, program: str) -> None:
    machine.remove(program)
    (line,) = failure_lines(machine.make("check"))
    assert line == (f"make check needs packages that are not installed: {CHECK_NEEDS[program]}: install them, or let "
                    "`make deps check` do it")


@pytest.mark.parametrize("module", MODULES)
def test_check_names_a_missing_module(machine: FakeMachine, module: str) -> None:
    machine.no_modules = module
    (line,) = failure_lines(machine.make("check", "-j2"))
    assert f"not installed: {CHECK_NEEDS[f'module:{module}']}: " in line


def test_check_names_a_missing_cmocka(machine: FakeMachine) -> None:
    (machine.root / "libraries/cmocka").unlink()
    (line,) = failure_lines(machine.make("check"))
    assert "not installed: libcmocka-dev: " in line


@pytest.mark.parametrize("goal, deps", [("check-wrapped", "check-wrapped"), ("check-clients", "check-clients"),
                                        ("soak-run", "soak")])
def test_deps_command_that_a_goal_names_installs_what_it_needs(machine: FakeMachine, goal: str, deps: str) -> None:
    machine.remove("curl")
    (line,) = failure_lines(machine.make(goal))
    assert line.endswith(f"not installed: curl: install them, or let `make deps {deps}` do it")
    machine.set_user(0)
    machine.add_script("apt-get", "")
    machine.make("-k", "deps", deps)
    assert "curl" in machine.calls("apt-get")[-1].split()


def test_check_names_everything_on_a_bare_machine(bare: FakeMachine) -> None:
    bare.no_modules = " ".join(MODULES)
    (line,) = failure_lines(bare.make("check"))
    assert line.startswith("make check needs packages that are not installed: gcc ")
    expected = {package for need, package in CHECK_NEEDS.items() if need not in IN_SBIN}
    assert {"libnghttp2-dev", *expected} <= {*line.replace(":", "").split()}


def test_check_names_a_python_without_the_modules(machine: FakeMachine) -> None:
    machine.add_script("mypython", "echo h2 pytest")
    (line,) = failure_lines(machine.make("check", "PYTHON=mypython"))
    assert line == "make check needs modules that 'mypython' (from PYTHON) does not have: h2 pytest"


@pytest.mark.parametrize("script", ["exit 1", "echo Traceback >&2; echo 'ImportError: No module named util' >&2; exit 1"])
def test_check_names_a_python_that_does_not_work(machine: FakeMachine, script: str) -> None:
    machine.add_script("mypython", script)
    (line,) = failure_lines(machine.make("check", "PYTHON=mypython"))
    assert line == "'mypython' (from PYTHON) does not work as Python 3"


def test_build_does_not_need_test_tools(machine: FakeMachine) -> None:
    machine.remove("curl")
    assert machine.make("needs").returncode == 0
