"""Each row, over each transport that it names: the client gets its fields back, by the way that it was told to take."""
from __future__ import annotations

import json
import re
from typing import Sequence

import pytest

from asking import PROGRAMS, Bench
from echo import Echo
from rows import ROWS, Row, Transport, readme_table

ASKED = [pytest.param(row, transport, id=f"{row}-over-{transport.name.lower()}", marks=pytest.mark.over(transport))
         for row in ROWS for transport in row.transports]


def pseudo(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(":"))


def assert_fields(row: Row, names: list[str]) -> None:
    """They are the row's. Another version of a client may have another order of its pseudo-header fields, and other
    fields between."""
    wanted = row.fields.split()
    assert pseudo(names) == pseudo(wanted), names
    arrived = iter(names)
    assert [name for name in wanted if not name.startswith(":") and name not in arrived] == [], names


@pytest.mark.parametrize("row, transport", ASKED)
def test_row(row: Row, transport: Transport, echo: Echo, bench: Bench) -> None:
    origin, path = echo.origin(transport), f"/{row}/{transport.name.lower()}"
    answer = row.ask(row.target(origin, path, bench))
    if row.fields:
        members = json.loads(answer)
        assert_fields(row, list(members))
        wanted = row.expected(origin, path)
        assert {name: value for name, value in members.items() if name in wanted} == \
            {name: value for name, value in wanted.items() if name in members}
        assert members.get("user-agent", "").startswith(row.agent)
    records = echo.records(path, row.requests)
    assert {(record["protocol"], record["status"]) for record in records} == {(transport.protocol, 200)}


@pytest.mark.parametrize("row", [row for row in ROWS if row.program], ids=str)
def test_line_is_the_programs(row: Row) -> None:
    """The line in README is a line of the program that is run."""
    assert re.sub(r"""["']URL["']""", "url", row.line) in (PROGRAMS / row.program).read_text()


def test_readme_has_the_table() -> None:
    """With all rows that this daemon serves, and no others."""
    wanted = readme_table()
    assert wanted in (PROGRAMS / "README.md").read_text(), f"it should have\n{wanted}"
