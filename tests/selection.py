"""Select the tests that `make check TESTS=PATTERN` runs: a plugin of pytest, and a module for run.py.

A test's name is FILE::TEST, such as tests/unit/probe/test_url.c::test_valid_urls or
tests/integration/test_tls.py::test_curl_with_the_authority_gets_the_same_answer. PATTERN may match any part of the name; * and ? are
those of the shell.
"""
from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
VARIABLE = "H2ECHOD_TESTS"  # the environment variable with the pattern, for pytest and its workers


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Brackets match themselves, since many of pytest's names have them."""
    return re.compile(fnmatch.translate(f"*{pattern.replace('[', '[[]')}*"))


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    pattern = compile_pattern(os.environ.get(VARIABLE, ""))
    kept = [item for item in items if pattern.match(f"{item.path.relative_to(TOP)}::{item.name}")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
