"""`make dist`: what is in the archive, and that archive and build are reproducible."""
from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import pytest

from package import TOP, dist, extract, make, run_command

BINARY = "build/release/h2echod"


def members(archive: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(archive) as packed:
        return packed.getmembers()


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    """The archive, unpacked in another directory and not built."""
    return extract(archive, tmp_path / "a copy")


def test_has_the_sources_and_nothing_else(archive: Path) -> None:
    names = [member.name for member in members(archive)]
    top = archive.name.removesuffix(".tar.gz")
    assert {name.split("/")[0] for name in names} == {top}
    assert {name.split("/")[1] for name in names} == {
        ".ci", ".clang-format", ".clang-tidy", ".editorconfig", ".github", ".gitignore", "LICENSE", "Makefile",
        "README.md", "conf", "man", "src", "systemd", "tests"}
    assert [name for name in names if "cache" in name] == []
    assert all((TOP / name.partition("/")[2]).is_file() for name in names)


def test_does_not_depend_on_who_packed_it(archive: Path) -> None:
    packed = members(archive)
    names = [member.name for member in packed]
    assert names == sorted(names)
    assert {(member.uid, member.gid, member.uname, member.gname) for member in packed} == {(0, 0, "root", "root")}
    assert {member.mode for member in packed} == {0o644, 0o755}
    assert len({member.mtime for member in packed}) == 1
    flags_and_time = archive.read_bytes()[3:8]
    assert flags_and_time == bytes(5), "gzip's header has a name or a time"


def test_is_named_after_the_version(archive: Path, tree: Path) -> None:
    version = run_command([tree / BINARY, "--version"]).stdout.split()[1]
    assert archive.name == f"h2echod-{version}.tar.gz"
    assert tree.name == f"h2echod-{version}"


def test_archive_is_the_same_from_another_directory(archive: Path, tree: Path, copy: Path) -> None:
    for path in (copy / "tests/__pycache__/test.pyc", copy / "stray"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert dist(copy).read_bytes() == archive.read_bytes()
    assert dist(tree).read_bytes() == archive.read_bytes()


def test_archive_is_replaced_only_by_a_complete_one(archive: Path, copy: Path, tmp_path: Path) -> None:
    packed = dist(copy)
    (tmp_path / "gzip").write_text("#!/bin/sh\necho half of it\nexit 1\n")
    (tmp_path / "gzip").chmod(0o755)
    done = run_command(["make", "dist"], copy, check=False, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert packed.read_bytes() == archive.read_bytes()
    assert [path.name for path in packed.parent.iterdir()] == [archive.name]


def test_in_a_clone_it_has_the_tracked_files_and_the_time_of_the_last_commit(archive: Path, copy: Path) -> None:
    def git(*words: str) -> None:
        run_command(["git", "-c", "user.name=name", "-c", "user.email=address", *words], copy, HOME=str(copy.parent),
                    GIT_COMMITTER_DATE="1000000000 +0000", GIT_CONFIG_NOSYSTEM="1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    (copy / "src/stray.c").touch()
    packed = members(dist(copy))
    assert [member.name for member in packed] == [member.name for member in members(archive)]
    assert {member.mtime for member in packed} == {1000000000}


def test_builds_without_tls(copy: Path) -> None:
    make(copy, "WITH_TLS=0")
    assert run_command([copy / BINARY, "--version"]).stdout.endswith(", no TLS)\n")
    assert not re.search("lib(ssl|crypto)", run_command(["ldd", copy / BINARY]).stdout)
    for option in ("--tls-port=0", "--tls-self-signed", "--tls-cert=x", "--tls-key=x", "--tls-client-ca=x",
                   "--tls-verify=required"):
        done = run_command([copy / BINARY, "--port=0", option], check=False)
        assert done.returncode == os.EX_CONFIG
        assert " error TLS: this h2echod was built without it: " in done.stdout


def test_source_date_epoch_sets_the_time(copy: Path) -> None:
    assert {member.mtime for member in members(dist(copy, SOURCE_DATE_EPOCH="1234567890"))} == {1234567890}


def test_build_is_the_same_in_another_directory(tree: Path, copy: Path, tmp_path: Path) -> None:
    """The other directory is also reached by a symbolic link, which a shell puts into PWD."""
    link = tmp_path / "link"
    link.symlink_to(copy)
    make(link, PWD=str(link))
    binary = (copy / BINARY).read_bytes()
    assert binary == (tree / BINARY).read_bytes()
    assert b".debug_info" in binary
    for directory in (copy, tree, link):
        assert str(directory).encode() not in binary
