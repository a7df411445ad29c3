"""What a build or a test run needs and does not find: one line that names it, and what helps."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from machine import Machine, own_words
from package import TOP

PACKAGES = {"libnghttp2": "libnghttp2-dev", "jansson": "libjansson-dev", "openssl": "libssl-dev", "cmocka": "libcmocka-dev"}
MAKEFILE = (TOP / "Makefile").read_text()
CHECK_NEEDS = dict(need.rsplit("=", 1) for need in re.findall(r"[a-z0-9:-]+=[a-z0-9-]+", re.findall(
    r"^check_needs +:= ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)[0]))
PROGRAMS = [need for need in CHECK_NEEDS if ":" not in need]
# What is where only root looks is found there as well, whatever PATH is.
FOUND = [program for program in PROGRAMS if shutil.which(program, path="/usr/sbin:/sbin")]
MODULES = [need.partition(":")[2] for need in CHECK_NEEDS if need.startswith("module:")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One on which everything is there, to build and to test."""
    machine = Machine(tmp_path)
    machine.add_compiler()
    machine.add_libraries()
    for name in PROGRAMS:
        machine.link(name, "true")
    return machine


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_says_nothing_where_all_is_there(machine: Machine) -> None:
    for goals in (["needs"], ["needs", "check", "-n"]):
        done = machine.make(*goals, "V=1")
        assert "needs packages" not in done.stdout and "too old" not in done.stdout, done.stdout
    assert machine.make("needs").stdout == ""


def test_names_every_package_on_a_bare_machine(bare: Machine) -> None:
    (line,) = own_words(bare.make())
    assert line == ("h2echod needs packages that are not installed: gcc libc6-dev pkg-config libssl-dev libnghttp2-dev "
                    "libjansson-dev: install them, or let `make deps` do it")
    (line,) = own_words(bare.make("WITH_TLS=0"))
    assert "libssl-dev" not in line


@pytest.mark.parametrize("library", ["libnghttp2", "jansson"])
def test_a_library_that_is_missing(machine: Machine, library: str) -> None:
    (machine.root / "libraries" / library).unlink()
    (line,) = own_words(machine.make())
    assert line == (f"h2echod needs packages that are not installed: {PACKAGES[library]}: install them, or let "
                    "`make deps` do it")


@pytest.mark.parametrize("library, name, least, found", [
    ("libnghttp2", "nghttp2", "1.52", "1.43.0"), ("jansson", "jansson", "2.14", "2.13.1"),
    ("openssl", "OpenSSL", "3.0", "1.1.1w")])
def test_a_library_that_is_too_old_does_not_send_to_deps(machine: Machine, library: str, name: str, least: str,
                                                         found: str) -> None:
    machine.add_libraries(**{library: found})
    machine.add_package(PACKAGES[library])
    (line,) = own_words(machine.make("WITH_TLS=1"))
    assert line == (f"this system's {name} {found} is too old: h2echod needs {least} or newer, which Debian 12, "
                    "Ubuntu 24.04 and later releases have")


def test_a_package_that_is_installed_but_not_found_does_not_send_to_deps(machine: Machine) -> None:
    (machine.root / "libraries/jansson").unlink()
    machine.add_package("libjansson-dev")
    (line,) = own_words(machine.make())
    assert "libjansson-dev" in line and "PKG_CONFIG" in line and "make deps" not in line


def test_headers_of_c_that_are_missing(machine: Machine) -> None:
    machine.remove("cc")
    machine.program("cc", "echo '<stdin>:1:10: fatal error: stdlib.h: No such file or directory' >&2; exit 1")
    (line,) = own_words(machine.make())
    assert "not installed: libc6-dev: " in line


# --- what was asked for ---

@pytest.mark.parametrize("compiler, says", [
    ("nonesuch", "'nonesuch' (from CC) is not there"),
    ("/nonesuch/cc -m64", "'/nonesuch/cc' (from CC) is not there"),
    ("", "'' (from CC) is not there"),
    ("ccache nonesuch", "'ccache nonesuch' (from CC) does not compile C: "),
    ("gcc -nonesuch", "'gcc -nonesuch' (from CC) does not compile C: "),
])
def test_the_compiler_that_was_asked_for_is_named(machine: Machine, compiler: str, says: str) -> None:
    machine.program("ccache", 'exec "$@"')
    for words, variables in ((["-j2", f"CC={compiler}"], {}), ([], {"CC": compiler})):
        (line,) = own_words(machine.make("needs", *words, **variables))
        assert says in line and "deps" not in line


def test_a_compiler_that_says_nothing_is_named(machine: Machine) -> None:
    machine.program("mute", "exit 1")
    (line,) = own_words(machine.make("CC=mute"))
    assert line == "the compiler 'mute' (from CC) does not compile C"


@pytest.mark.parametrize("compiler", ["gcc", "gcc -m64", "ccache gcc", "ccache gcc -O1"])
def test_a_compiler_of_several_words(machine: Machine, compiler: str) -> None:
    machine.program("ccache", 'exec "$@"')
    done = machine.make("needs", f"CC={compiler}")
    assert (done.returncode, done.stdout) == (0, "")


def test_another_compiler_is_looked_for_after_a_build(machine: Machine) -> None:
    assert machine.make("build/release/flags").returncode == 0
    (line,) = own_words(machine.make("CC=nonesuch", "build/release/flags"))
    assert "'nonesuch' (from CC)" in line


@pytest.mark.parametrize("words", ["PKG_CONFIG=nonesuch", "PYTHON=nonesuch check"])
def test_other_programs_that_were_asked_for_are_named(machine: Machine, words: str) -> None:
    (line,) = own_words(machine.make(*words.split()))
    assert line == f"'nonesuch' (from {words.partition('=')[0]}) is not there"


@pytest.mark.parametrize("value, with_tls", [("1", "1"), ("yes", "1"), ("0", "0"), ("no", "0"), ("", "1"), (" 1 ", "1")])
def test_with_tls(machine: Machine, value: str, with_tls: str) -> None:
    for words, variables in (([f"WITH_TLS={value}"], {}), ([], {"WITH_TLS": value})):
        assert machine.make("build/release/flags", *words, **variables).stdout == ""
        assert f" {with_tls} " in (machine.clone / "build/release/flags").read_text()


@pytest.mark.parametrize("value", ["on", "off", "2", "true", "YES", "1 0", "nonesuch"])
def test_with_tls_that_is_neither(machine: Machine, value: str) -> None:
    for words, variables in (([f"WITH_TLS={value}"], {}), ([], {"WITH_TLS": value})):
        (line,) = machine.make(*words, **variables).stdout.splitlines()
        assert f"WITH_TLS is '{value}': it has to be 1 (with TLS) or 0 (without)" in line


def test_a_build_without_tls_that_was_not_asked_for_is_told(machine: Machine) -> None:
    (machine.root / "libraries/openssl").unlink()
    done = machine.make("build/release/flags")
    assert done.returncode == 0
    assert done.stdout == "built without TLS, for which OpenSSL 3.0 or newer is needed: `make deps` installs it\n"
    assert machine.make("build/release/flags", "WITH_TLS=0").stdout == ""
    assert "not installed: libssl-dev: " in own_words(machine.make("WITH_TLS=1"))[0]


def test_a_variant_that_is_none(machine: Machine) -> None:
    assert "VARIANT is 'nonesuch'" in machine.make("VARIANT=nonesuch").stdout


# --- check ---

@pytest.mark.parametrize("program", [program for program in PROGRAMS if program not in FOUND])
def test_check_names_a_program_that_is_missing(machine: Machine, program: str) -> None:
    machine.remove(program)
    (line,) = own_words(machine.make("check"))
    assert line == (f"make check needs packages that are not installed: {CHECK_NEEDS[program]}: install them, or let "
                    "`make deps check` do it")


@pytest.mark.parametrize("module", MODULES)
def test_check_names_a_module_that_is_missing(machine: Machine, module: str) -> None:
    machine.no_modules = module
    (line,) = own_words(machine.make("check", "-j2"))
    assert f"not installed: {CHECK_NEEDS[f'module:{module}']}: " in line


def test_check_names_cmocka(machine: Machine) -> None:
    (machine.root / "libraries/cmocka").unlink()
    (line,) = own_words(machine.make("check"))
    assert "not installed: libcmocka-dev: " in line


@pytest.mark.parametrize("goal, deps", [("check-wrapped", "check-wrapped"), ("check-clients", "check-clients"),
                                        ("soak-run", "soak")])
def test_what_the_other_goals_need_is_installed_by_what_they_name(machine: Machine, goal: str, deps: str) -> None:
    machine.remove("curl")
    (line,) = own_words(machine.make(goal))
    assert line.endswith(f"not installed: curl: install them, or let `make deps {deps}` do it")
    machine.be(0)
    machine.program("apt-get", "")
    machine.make("-k", "deps", deps)
    assert "curl" in machine.calls("apt-get")[-1].split()


def test_check_names_everything_on_a_bare_machine(bare: Machine) -> None:
    bare.no_modules = " ".join(MODULES)
    (line,) = own_words(bare.make("check"))
    assert line.startswith("make check needs packages that are not installed: gcc ")
    expected = {package for need, package in CHECK_NEEDS.items() if need not in FOUND}
    assert {"libnghttp2-dev", *expected} <= {*line.replace(":", "").split()}


def test_check_names_the_python_that_has_no_modules(machine: Machine) -> None:
    machine.program("mypython", "echo h2 pytest")
    (line,) = own_words(machine.make("check", "PYTHON=mypython"))
    assert line == "make check needs modules that 'mypython' (from PYTHON) does not have: h2 pytest"


@pytest.mark.parametrize("script", ["exit 1", "echo Traceback >&2; echo 'ImportError: No module named util' >&2; exit 1"])
def test_check_names_a_python_that_does_not_work(machine: Machine, script: str) -> None:
    machine.program("mypython", script)
    (line,) = own_words(machine.make("check", "PYTHON=mypython"))
    assert line == "'mypython' (from PYTHON) does not work as Python 3"


def test_only_tests_need_what_tests_need(machine: Machine) -> None:
    machine.remove("curl")
    assert machine.make("needs").returncode == 0
