"""Chromium without a window, told what to do over its DevTools protocol: JSON messages through a pair of pipes."""
from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
from typing import Any, Callable

from asking import Bench, chromium_options, end_group
from waiting import Deadline

Message = dict[str, Any]
SECONDS = 30  # for whatever it is asked; it takes one to begin


class Browser:
    """One that runs, until `close`."""

    def __init__(self, bench: Bench) -> None:
        theirs_in, self.to = os.pipe()
        self.come_from, theirs_out = os.pipe()
        # It wants the pipes at 3 and 4.
        script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        words = ["bash", "-c", script, "bash", "chromium", "--headless", "--remote-debugging-pipe",
                 *chromium_options(bench)]
        self.process = bench.begin(words, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.seen: list[Message] = []

    def close(self) -> None:
        try:
            self.call("Browser.close")
        finally:
            os.close(self.to)
            os.close(self.come_from)
            end_group(self.process)

    def send(self, method: str, session: str = "", **parameters: object) -> int:
        message: Message = {"id": next(self.numbers), "method": method, "params": parameters}
        os.write(self.to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return message["id"]

    def call(self, method: str, session: str = "", **parameters: object) -> Message:
        """Have it do something; its result."""
        number = self.send(method, session, **parameters)
        answer = self.wait_for(lambda message: message.get("id") == number)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def wait_for(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message of this kind, of those that came and were not waited for, and those to come."""
        deadline = Deadline(SECONDS)
        while not (found := next(filter(wanted, self.seen), None)):
            self._read(deadline.left())
        self.seen.remove(found)
        return found

    def _read(self, seconds: float) -> None:
        if select.select([self.come_from], [], [], seconds)[0]:
            data = os.read(self.come_from, 65536)
            assert data, f"Chromium has ended: {self.process.wait(SECONDS)}"
            *whole, self.buffer = (self.buffer + data).split(b"\0")
            self.seen += map(json.loads, whole)


class Tab:
    """A page of a browser's."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")

    def call(self, method: str, **parameters: object) -> Message:
        return self.browser.call(method, self.session, **parameters)

    def event(self, method: str) -> Message:
        wanted = {"method": method, "sessionId": self.session}
        return self.browser.wait_for(lambda message: wanted.items() <= message.items())["params"]

    def go(self, url: str) -> None:
        """Set out; `protocol` and `text` wait for the arrival."""
        self.browser.send("Page.navigate", self.session, url=url)

    def protocol(self) -> str:
        """By which the page came."""
        return self.event("Network.responseReceived")["response"]["protocol"]

    def text(self) -> str:
        """What is on the page."""
        self.event("Page.loadEventFired")
        return self.call("Runtime.evaluate", expression="document.body.innerText")["result"]["value"]
