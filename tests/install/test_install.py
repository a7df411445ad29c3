"""`make install` and `make uninstall`: which files are installed where, and what stays."""
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from package import Installed, make, run_command

UNITS = ("h2echod.service", "h2echod@.service", "h2echod.socket", "h2echod-tls.socket")


def share_path(installed: Installed, path: str) -> str:
    return f"{installed.prefix}/share/{path}"


def test_installs_exactly_these_files_readable_by_all_users(installed: Installed) -> None:
    examples = ("README.md", "LICENSE", "h2echod.conf", "h2echod.schema.json", "socket-only.conf")
    readable = [installed.config, installed.completion, *(f"{installed.units}/{name}" for name in UNITS),
                *(share_path(installed, f"man/{page}") for page in ("man8/h2echod.8", "man5/h2echod.conf.5")),
                *(share_path(installed, f"doc/h2echod/{name}") for name in examples)]
    assert installed.paths() == {installed.binary: 0o755, **{path: 0o644 for path in readable}}
    assert set(installed.paths(directories=True).values()) == {0o755}


def test_installed_program_runs_with_the_installed_configuration(installed: Installed, tree: Path) -> None:
    binary = installed.below(installed.binary)
    assert binary.read_bytes() == (tree / "build/release/h2echod").read_bytes()
    config = installed.below(installed.config)
    assert run_command([binary, "-c", config, "-t"]).stdout == f"{config}: OK\n"


@pytest.mark.parametrize("unit, instance, option", [("h2echod.service", "", ""),
                                                    ("h2echod@.service", " %i", " --reuse-port")])
def test_unit_names_the_installed_files(installed: Installed, unit: str, instance: str, option: str) -> None:
    text = installed.text(f"{installed.units}/{unit}")
    command = f"{installed.binary} --config {installed.config}{option}"
    assert re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE) == [command]
    assert re.findall(r"^ExecReload=(.*)$", text, re.MULTILINE)[0] == f"{command} --check-config"
    assert re.findall(r"^Description=.*server(.*)$", text, re.MULTILINE) == [instance]
    assert re.findall(r"@\w+@", text) == []


def test_man_pages_that_units_name_are_installed(installed: Installed) -> None:
    texts = [installed.text(f"{installed.units}/{name}") for name in UNITS]
    named = set(re.findall(r"man:([\w.]+)\((\d)\)", "".join(texts)))
    assert named == {("h2echod", "8"), ("h2echod.conf", "5")}
    assert all(installed.below(share_path(installed, f"man/man{section}/{name}.{section}")).exists()
               for name, section in named)


@pytest.mark.parametrize("page", ["man8/h2echod.8", "man5/h2echod.conf.5"])
def test_man_pages_name_the_installed_configuration(installed: Installed, page: str) -> None:
    text = installed.text(share_path(installed, f"man/{page}"))
    assert set(re.findall(r"[\w/.-]+/h2echod/h2echod\.conf", text)) == {installed.config}


# --- files that exist already, and files that stay ---

def test_edited_configuration_survives_install_and_uninstall(own: Installed) -> None:
    own.below(own.config).write_text("port = 1\n")
    own.install()
    assert own.text(own.config) == "port = 1\n"
    own.uninstall()
    assert own.paths() == {own.config: 0o644} and own.text(own.config) == "port = 1\n"


def test_permissions_of_existing_directories_are_kept(own: Installed) -> None:
    modes = {own.below(own.config).parent: 0o700, own.below(own.binary).parent: 0o2775}
    for directory, mode in modes.items():
        directory.chmod(mode)
    own.install()
    assert {directory: directory.stat().st_mode & 0o7777 for directory in modes} == modes


def test_symbolic_link_is_replaced_and_its_target_kept(own: Installed) -> None:
    unit, elsewhere = own.below(f"{own.units}/h2echod.service"), own.root / "elsewhere"
    elsewhere.write_text("another file")
    unit.unlink()
    unit.symlink_to(elsewhere)
    own.install()
    assert elsewhere.read_text() == "another file" and not unit.is_symlink()


def test_prefix_may_end_with_a_slash(tree: Path, tmp_path: Path) -> None:
    slashed = Installed(tree, tmp_path / "slashed", "/usr/").install()
    plain = Installed(tree, tmp_path / "plain", "/usr").install()
    assert slashed.paths() == plain.paths()


def test_configuration_that_is_a_dangling_link_is_kept(own: Installed) -> None:
    config = own.below(own.config)
    config.unlink()
    config.symlink_to("elsewhere")
    own.install()
    assert os.readlink(config) == "elsewhere"


def test_uninstall_removes_everything(own: Installed) -> None:
    own.uninstall()
    assert own.paths() == {}
    assert [path for path in own.paths(directories=True) if "h2echod" in path] == []


def test_uninstall_keeps_other_files_in_the_same_directories(own: Installed) -> None:
    others = [own.below(path).parent / "other" for path in [*own.paths()]]
    for path in others:
        path.touch()
    own.uninstall()
    assert {own.below(path) for path in own.paths()} == set(others)


def test_uninstall_from_newer_sources_removes_a_configuration_that_was_not_edited(own: Installed) -> None:
    """It is compared with the example that was installed, not with the one in the sources."""
    for path in (own.config, "/usr/share/doc/h2echod/h2echod.conf"):
        own.below(path).write_text("# of an older release\n")
    own.uninstall()
    assert own.paths() == {}


def test_prints_the_next_command_and_does_not_run_it(tree: Path, tmp_path: Path) -> None:
    """Run only the last line of each recipe: a real installation of a service would have to be outside of /tmp."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho called >>{tmp_path}/called\n")
    (tmp_path / "systemctl").chmod(0o755)

    def last_line(goal: str) -> str:
        command = run_command(["make", "-n", goal, "prefix=/opt/h2echod"], tree).stdout.splitlines()[-1]
        return run_command(["sh", "-c", command], PATH=f"{tmp_path}:{os.environ['PATH']}").stdout

    install = last_line("install")
    assert install.startswith("next: systemctl link /opt/h2echod/lib/systemd/system/h2echod.service ")
    assert install.endswith(" && systemctl daemon-reload && systemctl enable --now h2echod.socket h2echod.service\n")
    uninstall = last_line("uninstall")
    assert uninstall.startswith("next: systemctl disable --now h2echod.service h2echod.socket h2echod-tls.socket && ")
    assert not (tmp_path / "called").exists()


def test_installs_without_destdir(tree: Path, tmp_path: Path) -> None:
    last = make(tree, "install", f"prefix={tmp_path}/prefix").splitlines()[-1]
    program = f"{tmp_path}/prefix/bin/h2echod"
    assert last.startswith(f"next: {program} -p 8080 (")
    assert run_command([program, "--version"]).stdout.startswith("h2echod ")
    assert "next" not in make(tree, "uninstall", f"prefix={tmp_path}/prefix")
    assert [path for path in (tmp_path / "prefix").rglob("*") if not path.is_dir()] == []


def test_with_destdir_no_next_command_is_printed(installed: Installed) -> None:
    assert "systemctl" not in installed.output
