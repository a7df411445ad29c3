"""Clients that send requests all the time, each in a thread, and fail if a request is not answered."""
from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator, Sequence

from unit import ADDRESS
from waiting import SLOW, Deadline, poll
from wire import LAST_STREAM, Client, fields


class Load(threading.Thread):
    """Calls `send_requests` until `stop` is set or something fails."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.answered = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.send_requests()
        except BaseException as error:  # `finish` raises it in the test's thread
            self.failure = error

    def send_requests(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Stop, and raise what failed, if anything did."""
        self.stop.set()
        self.join(30 * SLOW)
        assert not self.is_alive()
        if self.failure:
            raise self.failure


class NewConnections(Load):
    """Sends each request on a connection of its own."""

    def send_requests(self) -> None:
        with Client(ADDRESS) as client:
            client.send_preface().assert_answered("/new")
        self.answered += 1


class OneConnection(Load):
    """Sends many requests at once on one connection, until the server sends GOAWAY; then on a new connection."""

    REQUESTS_AT_ONCE = 20

    def send_requests(self) -> None:
        with Client(ADDRESS) as client:
            client.send_preface()
            first = 1
            while not client.goaways and not self.stop.is_set():
                self._send_some(client)
                if not client.goaways:
                    first = self._assert_answered(client, first, client.next_stream - 2)
            if client.goaways:
                self._read_to_the_end(client, first)

    def _send_some(self, client: Client) -> None:
        """Send some requests, and read until all are answered or GOAWAY arrives."""
        paths = range(client.next_stream, client.next_stream + 2 * self.REQUESTS_AT_ONCE, 2)
        client.send_if_open(*(client.headers(fields(f"/{number}")) for number in paths))
        deadline = Deadline(20)
        while not client.answer(paths[-1]).finished and not client.goaways:
            assert client.read_frame(deadline), f"the connection was closed ({client.closed}) without GOAWAY"

    def _read_to_the_end(self, client: Client, first: int) -> None:
        """Assert that every stream up to the last one that the final GOAWAY names is answered."""
        assert client.read_to_end(20) == "end"
        last = client.goaways[-1].last_stream_id
        assert last < LAST_STREAM
        self._assert_answered(client, first, last)

    def _assert_answered(self, client: Client, first: int, last: int) -> int:
        for stream in range(first, last + 1, 2):
            client.answer(stream).assert_echo(fields(f"/{stream}"))
            self.answered += 1
        return last + 2


class OnlyConnection(OneConnection):
    """Like OneConnection, but ends after GOAWAY instead of opening a new connection."""

    def send_requests(self) -> None:
        super().send_requests()
        self.stop.set()


@contextmanager
def load(*kinds: type[Load]) -> Iterator[list[Load]]:
    """Run a load of each of these kinds, and assert at the end that none failed."""
    loads = [kind() for kind in kinds]
    for one in loads:
        one.start()
    try:
        wait_for_more(loads)
        yield loads
    finally:
        for one in loads:
            one.stop.set()
    for one in loads:
        one.finish()


def wait_for_more(loads: Sequence[Load]) -> None:
    """Wait until each has got more than ten answers from now on, or has failed."""
    before = [one.answered for one in loads]

    def more() -> bool:
        return all(one.failure or one.answered > count + 10 for one, count in zip(loads, before))
    poll(more, "answers", seconds=20)
