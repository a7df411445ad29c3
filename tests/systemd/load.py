"""Clients that keep asking, and notice every request that gets no answer."""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator, Sequence

from unit import ADDRESS
from waiting import SLOW, Deadline, poll
from wire import LAST_STREAM, Client, fields


class Load(threading.Thread):
    """Calls `ask` until it is told to stop, or something fails."""

    def __init__(self) -> None:
        super().__init__()
        self.told_to_stop = threading.Event()
        self.answered = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.told_to_stop.is_set():
                self.ask()
        except BaseException as error:  # told to the test by `finish`
            self.failure = error

    def ask(self) -> None:
        raise NotImplementedError

    def shut_down_writes(self) -> None:
        """Stop, and see that nothing failed."""
        self.told_to_stop.set()
        self.join(30 * SLOW)
        assert not self.is_alive()
        if self.failure:
            raise self.failure


class NewConnections(Load):
    """Every request has a connection of its own."""

    def ask(self) -> None:
        with Client(ADDRESS) as client:
            client.send_preface().assert_answered("/new")
        self.answered += 1


class OldConnection(Load):
    """Many requests at once on one connection, until the server says that it goes: then on the next one."""

    WIDTH = 20

    def ask(self) -> None:
        with Client(ADDRESS) as client:
            client.send_preface()
            first = 1
            while not client.goaways and not self.told_to_stop.is_set():
                self._ask_some(client)
                if not client.goaways:
                    first = self._assert_answered(client, first, client.next_stream - 2)
            if client.goaways:
                self._see_off(client, first)

    def _ask_some(self, client: Client) -> None:
        """Ask, and read until all is answered, or the server says that it goes."""
        paths = range(client.next_stream, client.next_stream + 2 * self.WIDTH, 2)
        client.send_if_open(*(client.headers(fields(f"/{number}")) for number in paths))
        deadline = Deadline(20)
        while not client.answer(paths[-1]).finished and not client.goaways:
            assert client.read_frame(deadline), f"the connection is over ({client.closed}) without GOAWAY"

    def _see_off(self, client: Client, first: int) -> None:
        """Every stream up to the final GOAWAY's has its answer; those above it are for another connection."""
        assert client.read_to_end(20) == "end"
        last = client.goaways[-1].last_stream_id
        assert last < LAST_STREAM
        self._assert_answered(client, first, last)

    def _assert_answered(self, client: Client, first: int, last: int) -> int:
        for stream in range(first, last + 1, 2):
            client.answer(stream).assert_echo(fields(f"/{stream}"))
            self.answered += 1
        return last + 2


class LastConnection(OldConnection):
    """It doesn't look for another server when its own goes."""

    def ask(self) -> None:
        super().ask()
        self.told_to_stop.set()


@contextmanager
def load(*kinds: type[Load]) -> Iterator[list[Load]]:
    """So many of them are at work; at the end none must have failed."""
    loads = [kind() for kind in kinds]
    for one in loads:
        one.start()
    try:
        wait_for_more(loads)
        yield loads
    finally:
        for one in loads:
            one.told_to_stop.set()
    for one in loads:
        one.shut_down_writes()


def wait_for_more(loads: Sequence[Load]) -> None:
    """Wait until each has got some answers from now on, or has failed."""
    before = [one.answered for one in loads]

    def more() -> bool:
        return all(one.failure or one.answered > count + 10 for one, count in zip(loads, before))
    poll(more, "answers", seconds=20)
