"""Deadlines: nothing here sleeps for luck, everything waits for something and for no longer than said."""
from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

# How many times slower than usual the daemon may be (valgrind, sanitizers, a loaded machine).
SLOW = float(os.environ.get("H2ECHOD_SLOW") or "1")

Value = TypeVar("Value")


class Deadline:
    """A point in time, some seconds from now (times SLOW)."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds * SLOW

    def left(self) -> float:
        """The seconds left; an AssertionError once there are none."""
        left = self.end - time.monotonic()
        assert left > 0, "the deadline is over"
        return left


def poll(ask: Callable[[], Value], what: str, seconds: float = 5) -> Value:
    """Ask until the answer is true, and return it."""
    deadline = Deadline(seconds)
    while True:
        value = ask()
        if value:
            return value
        assert time.monotonic() < deadline.end, f"in vain waited for: {what}; at last: {value!r}"
        time.sleep(0.01)


LATE = 5  # seconds: on a busy machine it takes a while until the daemon and we ourselves have our turn


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def assert_between(self, low: float) -> None:
        """A time-out of `low` seconds has ended now: not before it, nor as late as any that is there by default."""
        took = self.seconds()
        # The daemon's clock may have begun a moment before ours did; 20 ms are that moment.
        assert low - 0.02 <= took <= low + LATE * SLOW, f"took {took:.3f} s, the time-out is {low} s"
