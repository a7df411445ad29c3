"""What a browser shows when a user opens the daemon's address in it."""
from __future__ import annotations

import json
from typing import Iterator

import pytest

from browser import Browser, Tab
from echo import Echo
from rows import TLS
from senders import Workspace

TABS = 10
pytestmark = pytest.mark.over(TLS)


@pytest.fixture
def browser(workspace: Workspace) -> Iterator[Browser]:
    browser = Browser(workspace)
    yield browser
    browser.close()


def test_ten_tabs_share_a_connection(echo: Echo, browser: Browser) -> None:
    """Each shows the fields of its own request, which was sent by HTTP/2."""
    tabs = [Tab(browser) for _ in range(TABS)]
    for number, tab in enumerate(tabs):
        tab.go(f"{echo.origin(TLS)}/tab/{number}")
    assert [tab.protocol() for tab in tabs] == ["h2"] * TABS
    shown = [json.loads(tab.text()) for tab in tabs]
    assert [members[":path"] for members in shown] == [f"/tab/{number}" for number in range(TABS)]
    assert {members[":scheme"] for members in shown} == {"https"}
    records = echo.records("/tab/", TABS)
    assert len({record["connection"] for record in records}) == 1, records
