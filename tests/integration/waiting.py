"""Deadlines and polling: tests wait for a condition, with a time limit, and do not sleep for a fixed time."""
from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

# How much slower than usual the daemon may be (valgrind, sanitizers, a busy machine).
SLOW = float(os.environ.get("H2ECHOD_SLOW") or "1")

Value = TypeVar("Value")


class Deadline:
    """A point in time, so many seconds from now (multiplied by SLOW)."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds * SLOW

    def left(self) -> float:
        """The seconds left; raises AssertionError if there are none."""
        left = self.end - time.monotonic()
        assert left > 0, "the deadline has passed"
        return left


def poll(ask: Callable[[], Value], what: str, seconds: float = 5) -> Value:
    """Call `ask` until its result is true; return that."""
    deadline = Deadline(seconds)
    while True:
        value = ask()
        if value:
            return value
        assert time.monotonic() < deadline.end, f"timed out waiting for {what}; last result: {value!r}"
        time.sleep(0.01)


LATE = 5  # seconds that a timeout may be noticed late on a busy machine


class Stopwatch:
    """Measures the seconds since it was created."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def assert_between(self, low: float) -> None:
        """A timeout of `low` seconds has just ended: not too early, and before any default timeout could."""
        took = self.seconds()
        # The daemon may have started its clock up to 20 ms before this one was started.
        assert low - 0.02 <= took <= low + LATE * SLOW, f"took {took:.3f} s, but the timeout is {low} s"
