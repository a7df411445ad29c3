"""The documentation: the man pages describe every setting, and the examples are what a reader gets."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients import curl_h2, curl_version
from conftest import Start
from daemon import TOP, parse_dump, run


@dataclass
class Table:
    """The settings, from the output of --help and --dump-config."""

    long: list[str]               # long options, without dashes
    short: dict[str, str]         # letters, with the long options that they stand for
    keys: dict[str, list[str]]    # keys of the file, with their defaults


@pytest.fixture(scope="module")
def settings_table() -> Table:
    text = run("--help").out
    made = Table(sorted(set(re.findall(r"--([a-z][a-z-]+)", text))),
                 dict(re.findall(r"^\s*-(\w), --([a-z-]+)", text, re.MULTILINE)),
                 parse_dump(run("--dump-config").out))
    assert len(made.long) > 15 and {"p", "a", "c", "h"} <= set(made.short) and len(made.keys) > 10
    return made


def page(name: str) -> str:
    return (TOP / "man" / name).read_text().replace("\\-", "-")


def entries(name: str) -> dict[str, str]:
    """The items of a page's lists: the tag of each, and its text."""
    found = re.findall(r"^\.It (.*)\n((?:(?!\.It |\.El).*\n)*)", page(name), re.MULTILINE)
    assert found
    return dict(found)


def test_every_option_has_an_entry(settings_table: Table) -> None:
    named = "\n".join(entries("h2echod.8"))
    assert [option for option in settings_table.long if not re.search(rf"\bFl -{option}(?![a-z-])", named)] == []


def test_every_short_option_is_in_the_entry_of_its_long_one(settings_table: Table) -> None:
    named = "\n".join(entries("h2echod.8"))
    assert [letter for letter, option in settings_table.short.items()
            if not re.search(rf"^Fl {letter}\b.*Fl -{option}(?![a-z-])", named, re.MULTILINE)] == []


def test_every_key_has_an_entry_with_its_default(settings_table: Table) -> None:
    texts = {line.split()[1]: text for line, text in entries("h2echod.conf.5").items() if " " in line}
    assert [key for key in settings_table.keys if key not in texts] == []
    assert [(key, value) for key, values in settings_table.keys.items() for value in values
            if value not in texts[key]] == []


def test_pages_mention_only_existing_options(settings_table: Table) -> None:
    for name in ("h2echod.8", "h2echod.conf.5"):
        assert set(re.findall(r"\bFl -([a-z][a-z-]+)", page(name))) <= set(settings_table.long)


def test_every_exit_status_has_an_entry() -> None:
    named = " ".join(entries("h2echod.8")).split()
    assert [status for status in ("0", "1", "64", "69", "71", "77", "78") if status not in named] == []


def test_every_signal_is_described() -> None:
    text = page("h2echod.8")
    signals = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1")
    assert [signal for signal in signals if signal not in text] == []


COMMAND = r"^\$ curl --http2-prior-knowledge (?:-i )?http://localhost:8080/hello\n"


def first_answer(text: str) -> str:
    """The output in the first example, with the folded lines of JSON joined."""
    example = re.search(COMMAND + r"(.*?\})\n(?:```|\.Ed)", text, re.MULTILINE | re.DOTALL)
    assert example
    return re.sub(r",\n(?=\")", ", ", example[1])


def without_time(answer: str) -> str:
    return re.sub(r"(?m)^date: .*$", "date: now", answer)


def without_curl_version(answer: str) -> str:
    """Versions of curl differ in user-agent, in the order of pseudo-header fields, and so in content-length."""
    head, json_text = answer[:answer.index("{")], answer[answer.index("{"):]
    echo = json.loads(json_text) | {"user-agent": "curl"}
    return re.sub(r"(?m)^content-length: \d+$", "content-length: N", head) + json.dumps(echo, sort_keys=True)


@pytest.mark.plain
@pytest.mark.parametrize("page", ["README.md", "man/h2echod.8"])
def test_first_example_is_what_curl_prints(start: Start, page: str) -> None:
    example = first_answer((TOP / page).read_text().replace("\\-", "-"))
    port = start().port
    options = ["-i"] if example.startswith("HTTP/2") else []
    output = curl_h2(*options, "--connect-to", f"localhost:8080:localhost:{port}", "http://localhost:8080/hello").stdout
    lines = output.decode().replace("\r\n", "\n").replace("HTTP/2 200 \n", "HTTP/2 200\n")
    printed, expected = without_time(lines), without_time(example)
    if f"curl/{curl_version()}" not in example:
        printed, expected = without_curl_version(printed), without_curl_version(expected)
    assert printed == expected


def test_example_of_errors_is_what_is_printed(tmp_path: Path) -> None:
    """The error lines in h2echod.conf(5), for the file that they are about."""
    example = re.search(r"^\.Ss Errors\n.*?^\.Bd .*?\n(.*?)^\.Ed", page("h2echod.conf.5"), re.MULTILINE | re.DOTALL)
    assert example
    file = tmp_path / "h2echod.conf"
    file.write_text("prot = 9000\nport = 70000\n# a comment\nidle-timeout = 5x\nfoo\nport = 9000\n")
    errors = [line.partition(" error ")[2] for line in run("-t", "-c", file).errors]
    assert errors == [f"{tmp_path}/{line}" for line in example[1].replace("\\(aq", "'").splitlines()]


def test_readme_is_short() -> None:
    assert len((TOP / "README.md").read_text().splitlines()) <= 150
