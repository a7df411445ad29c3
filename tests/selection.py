"""Which tests run where `make check TESTS=pattern` asks for a part; a plugin of pytest, and a module of run.py's.

A test's name is FILE::TEST, the file as a path below the project: tests/unit/test_url.c::test_lengths for a C program,
tests/integration/test_tls.py::test_missing_extensions_are_null for pytest. A pattern is found anywhere in it; * and ? are
the shell's.
"""
from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
VARIABLE = "H2ECHOD_TESTS"  # holds the pattern for pytest, its workers and the C programs


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Brackets stand for themselves: pytest's names are full of them."""
    return re.compile(fnmatch.translate(f"*{pattern.replace('[', '[[]')}*"))


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    pattern = compile_pattern(os.environ.get(VARIABLE, ""))
    kept = [item for item in items if pattern.match(f"{item.path.relative_to(TOP)}::{item.name}")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
