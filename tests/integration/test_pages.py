"""The manual pages name everything that the table of settings has."""
from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from daemon import TOP, parse_dump, run


@dataclass
class Table:
    """What --help and --dump-config tell of the table."""

    long: list[str]               # options without their dashes
    short: dict[str, str]         # letters, with the long options that they stand for
    keys: dict[str, list[str]]    # the file's keys, with their defaults


@pytest.fixture(scope="module")
def table() -> Table:
    text = run("--help").out
    made = Table(sorted(set(re.findall(r"--([a-z][a-z-]+)", text))),
                 dict(re.findall(r"^\s*-(\w), --([a-z-]+)", text, re.MULTILINE)),
                 parse_dump(run("--dump-config").out))
    assert len(made.long) > 15 and {"p", "a", "c", "h"} <= set(made.short) and len(made.keys) > 10
    return made


def page(name: str) -> str:
    return (TOP / "man" / name).read_text().replace("\\-", "-")


def entries(name: str) -> dict[str, str]:
    """The items of a page's lists: the line that names each, and the text below it."""
    found = re.findall(r"^\.It (.*)\n((?:(?!\.It |\.El).*\n)*)", page(name), re.MULTILINE)
    assert found
    return dict(found)


def test_every_option_has_an_entry(table: Table) -> None:
    named = "\n".join(entries("h2echod.8"))
    assert [option for option in table.long if not re.search(rf"\bFl -{option}(?![a-z-])", named)] == []


def test_every_short_option_is_beside_its_long_one(table: Table) -> None:
    named = "\n".join(entries("h2echod.8"))
    assert [letter for letter, option in table.short.items()
            if not re.search(rf"^Fl {letter}\b.*Fl -{option}(?![a-z-])", named, re.MULTILINE)] == []


def test_every_key_has_an_entry_that_tells_its_default(table: Table) -> None:
    texts = {line.split()[1]: text for line, text in entries("h2echod.conf.5").items() if " " in line}
    assert [key for key in table.keys if key not in texts] == []
    assert [(key, value) for key, values in table.keys.items() for value in values
            if value not in texts[key]] == []


def test_pages_name_no_option_that_is_not_there(table: Table) -> None:
    for name in ("h2echod.8", "h2echod.conf.5"):
        assert set(re.findall(r"\bFl -([a-z][a-z-]+)", page(name))) <= set(table.long)


def test_every_exit_status_has_an_entry() -> None:
    named = " ".join(entries("h2echod.8")).split()
    assert [status for status in ("0", "1", "64", "69", "71", "77", "78") if status not in named] == []


def test_every_signal_is_told_of() -> None:
    text = page("h2echod.8")
    signals = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1")
    assert [signal for signal in signals if signal not in text] == []
