"""Helpers for tests of attacks: the attack's bytes, a client that must be served meanwhile, and resource usage."""
from __future__ import annotations

import json
import select
import threading
from dataclasses import dataclass
from typing import Callable, Sequence

from daemon import PLAIN_MEMORY, Daemon
from frames import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, frame
from waiting import SLOW, Deadline, poll
from wire import Client, fields

# Encoded fields of requests, with the authority "a"; all but its value are in HPACK's static table.
GET_BLOCK, POST_BLOCK = b"\x82\x84\x86\x01\x01a", b"\x83\x84\x86\x01\x01a"
REQUEST_SIZE = 7 + 4 + 5 + 1 + 7 + 4 + 10 + 1 + 4 * 32  # upper bound of their size (RFC 9113 section 6.5.2)

Record = Callable[[str, object], None]  # the fixture record_property, which adds measurements to a report


def request(stream: int, block: bytes = GET_BLOCK, end: bool = True) -> bytes:
    """HEADERS, followed by CONTINUATION frames if the block is long."""
    pieces = [block[start:start + 16384] for start in range(0, len(block), 16384)] or [b""]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    flags = [END_STREAM if end else 0] + [0] * (len(pieces) - 1)
    flags[-1] |= END_HEADERS
    return b"".join(map(frame, kinds, flags, [stream] * len(pieces), pieces))


def stream_ids(count: int, first: int = 1) -> range:
    """`count` stream ids."""
    return range(first, first + 2 * count, 2)


def on_streams(each: Callable[[int], bytes], count: int, first: int = 1) -> bytes:
    return b"".join(map(each, stream_ids(count, first)))


def send_until_closed(client: Client, data: bytes, reading: bool = True) -> None:
    """Send until the daemon closes the connection; with `reading`, receive meanwhile."""
    deadline, rest = Deadline(20), memoryview(data)
    sources = [client.socket] if reading else []
    client.socket.settimeout(deadline.left())
    try:
        while rest:
            readable, writable, _ = select.select(sources, [client.socket], [], deadline.left())
            if readable and not client.receive_unparsed(1 << 18, deadline):
                return
            if writable:
                sent = client.socket.send(rest[:1 << 16])
                client.sent += sent
                rest = rest[sent:]
    except (ConnectionResetError, BrokenPipeError):
        return


def assert_goaway(client: Client, code: int) -> None:
    """The connection is closed after a GOAWAY with this error code."""
    client.acknowledge = client.refill = False
    client.read_to_end()
    assert [goaway.error_code for goaway in client.goaways] == [code]


@dataclass
class ResourceUsage:
    """What the daemon uses of memory (KiB), threads and descriptors."""

    memory: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, daemon: Daemon) -> ResourceUsage:
        return cls(daemon.memory(), daemon.threads(), daemon.descriptors())

    def raise_to(self, other: ResourceUsage) -> None:
        self.memory = max(self.memory, other.memory)
        self.threads = max(self.threads, other.threads)
        self.descriptors = max(self.descriptors, other.descriptors)


class OtherClient:
    """A client that sends requests on a connection of its own during an attack, each of which must be answered. It
    measures the daemon's resource usage before, during (the maximum) and after the attack.

    The CPU cost of an attack is measured in requests: how many of this client's requests the daemon could have
    answered in the same CPU time. That ratio hardly depends on how fast or busy the machine is."""

    ANSWERS_MAX = 5000
    MEASURED = 200
    PAUSE = 0.002

    def __init__(self, daemon: Daemon, attackers: int = 1) -> None:
        self.daemon = daemon
        self.client = daemon.connect()
        self.stop = threading.Event()
        self.answers = 0
        self.failure: BaseException | None = None
        self._warm_up(attackers)
        self.before = ResourceUsage.of(daemon)
        self.during = ResourceUsage.of(daemon)
        self.request_cost = self._measure_request()
        self.cpu_before = daemon.cpu_seconds()
        self.thread = threading.Thread(target=self._send_requests)

    def _warm_up(self, attackers: int) -> None:
        """Make the daemon create the worker threads that will wait for connections after the attack, too: one for each
        attacker, and the one that is kept ready."""
        clients = [self.daemon.connect() for _ in range(attackers + 1)]
        for client in [self.client, *clients]:
            client.assert_answered()
        for client in clients:
            client.close()
        self.daemon.wait_for_stats(connections=1)

    def _measure_request(self) -> float:
        """The CPU time that the daemon needs for one request of this client."""
        before = self.daemon.cpu_seconds()
        for _ in range(self.MEASURED):
            self.client.assert_answered()
        self.client.answers.clear()
        return (self.daemon.cpu_seconds() - before) / self.MEASURED

    def _send_requests(self) -> None:
        try:
            while not self.stop.wait(self.PAUSE) and self.answers < self.ANSWERS_MAX:
                wanted = fields(f"/other/{self.answers}")
                self.client.request(wanted).assert_echo(wanted)
                self.client.answers.clear()
                self.answers += 1
                self.during.raise_to(ResourceUsage.of(self.daemon))
        except BaseException as error:  # raised again in the test's thread
            self.failure = error

    def __enter__(self) -> OtherClient:
        self.thread.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            answered = self.answers
            poll(lambda: self.answers >= answered + 3 or self.failure, "answers to the other client")
        self.stop.set()
        self.thread.join()
        self.cost = (self.daemon.cpu_seconds() - self.cpu_before) / self.request_cost - self.answers

    def assert_harmless(self, clients: Sequence[Client], memory: int, cost: float) -> None:
        """This client was always answered, the attack's cost (memory in KiB, CPU in requests) was bounded, and nothing
        remains of it once the attackers have closed."""
        if self.failure:
            raise AssertionError(f"the other client's request {self.answers} failed") from self.failure
        for client in clients:
            client.close()
        self.daemon.wait_for_stats(connections=1)
        poll(lambda: self.daemon.descriptors() <= self.before.descriptors, "as few descriptors as before the attack")
        poll(lambda: self.daemon.threads() <= self.before.threads, "as few threads as before the attack")
        assert self.cost < cost * SLOW, "the attack took the CPU time of too many requests"
        if PLAIN_MEMORY:
            assert self.during.memory - self.before.memory <= memory
            left = self.before.memory + LEFT_OVER * (1 + len(clients))
            poll(lambda: self.daemon.memory() <= left, "as little memory as before the attack")
        self.client.assert_answered()

    def summary(self) -> str:
        """The measurements as JSON."""
        after = ResourceUsage.of(self.daemon)
        return json.dumps({"answers": self.answers, "cost": round(self.cost),
                           "request_us": round(self.request_cost * 1e6, 1), "before": vars(self.before),
                           "during": vars(self.during), "after": vars(after)})


LEFT_OVER = 384  # KiB per connection that may remain: a thread's stack, and memory kept by the allocator


def run_attack(start: Callable[..., Daemon], record: Record, attack: Callable[[Daemon], Sequence[Client]],
               *options: str, attackers: int = 1, memory: int, cost: float) -> None:
    """Start a daemon and run the attack while another client is served; the attack returns its clients."""
    daemon = start(*options)
    with OtherClient(daemon, attackers) as other_client:
        clients = attack(daemon)
    other_client.assert_harmless(clients, memory, cost)
    record("measurements", other_client.summary())
