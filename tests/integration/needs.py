"""What a test needs of the machine, and a container may not give: then it is left out, loudly, or fails in CI."""
from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Leave the test out that is running, for this reason."""
    if os.environ.get("CI"):
        pytest.fail(f"cannot run here: {reason}")
    pytest.skip(f"LEFT OUT: {reason}")


def ipv6() -> None:
    """IPv6 on the loopback interface: Docker's networks have none unless it is asked for."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            skip(f"no IPv6: {error.strerror}")


def proc(path: object) -> Path:
    """A path below /proc, where that is mounted."""
    if not os.path.exists("/proc/self"):
        skip("/proc is not mounted")
    return Path("/proc", str(path))
