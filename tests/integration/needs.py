"""Requirements of tests that some machines (containers) do not meet. Such a test is skipped, or fails in CI."""
from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip the running test for this reason; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"cannot run here: {reason}")
    pytest.skip(f"LEFT OUT: {reason}")


def ipv6() -> None:
    """IPv6 on the loopback interface, which Docker's networks do not have by default."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            skip(f"no IPv6: {error.strerror}")


def proc(path: object) -> Path:
    """The path below /proc, if that is mounted."""
    if not os.path.exists("/proc/self"):
        skip("/proc is not mounted")
    return Path("/proc", str(path))
