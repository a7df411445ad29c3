"""Each row of the client table, over each of its transports: the client gets back the fields that it sent."""
from __future__ import annotations

import json
import re
from typing import Sequence

import pytest

from echo import Echo
from rows import ROWS, Row, Transport, readme_table
from senders import PROGRAMS, Workspace

CASES = [pytest.param(row, transport, id=f"{row}-over-{transport.name.lower()}", marks=pytest.mark.over(transport))
         for row in ROWS for transport in row.transports]


def pseudo_fields(names: Sequence[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(":"))


def assert_fields(row: Row, names: list[str]) -> None:
    """Assert that the row's fields arrived. Another version of a client may send its pseudo-header fields in another
    order, and other fields between the row's."""
    wanted = row.fields.split()
    assert pseudo_fields(names) == pseudo_fields(wanted), names
    arrived = iter(names)
    assert [name for name in wanted if not name.startswith(":") and name not in arrived] == [], names


@pytest.mark.parametrize("row, transport", CASES)
def test_row(row: Row, transport: Transport, echo: Echo, workspace: Workspace) -> None:
    origin, path = echo.origin(transport), f"/{row}/{transport.name.lower()}"
    content = row.send(row.target(origin, path, workspace))
    if row.fields:
        members = json.loads(content)
        assert_fields(row, list(members))
        wanted = row.expected(origin, path)
        assert {name: value for name, value in members.items() if name in wanted} == \
            {name: value for name, value in wanted.items() if name in members}
        assert members.get("user-agent", "").startswith(row.agent)
    records = echo.records(path, row.requests)
    assert {(record["protocol"], record["status"]) for record in records} == {(transport.protocol, 200)}


@pytest.mark.parametrize("row", [row for row in ROWS if row.program], ids=str)
def test_line_is_in_the_program(row: Row) -> None:
    """The line in README.md is a line of the program that is run."""
    assert re.sub(r"""["']URL["']""", "url", row.line) in (PROGRAMS / row.program).read_text()


def test_readme_has_the_table() -> None:
    """It has the rows that this daemon supports, and no others."""
    wanted = readme_table()
    assert wanted in (PROGRAMS / "README.md").read_text(), f"expected:\n{wanted}"
