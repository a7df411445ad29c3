"""The soak test for a few seconds; `make soak` runs it for minutes."""
from __future__ import annotations

from pathlib import Path

import pytest

from soak import Soak, summary


@pytest.mark.heavy
def test_everything_at_once(tmp_path: Path) -> None:
    counts = Soak(tmp_path, clients=200, seconds=2, daemon_seconds=1).run()
    print(summary(counts))
    assert counts["drains"] >= 2 and counts["answered"] > counts["clients"] and counts["aborted"]
