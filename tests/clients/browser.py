"""Headless Chromium, controlled by its DevTools protocol: JSON messages through a pair of pipes."""
from __future__ import annotations

import itertools
import json
import os
import select
import subprocess
from typing import Any, Callable

from senders import Workspace, chromium_options, end_group
from waiting import Deadline

Message = dict[str, Any]
SECONDS = 30  # for each command; it takes about a second to start


class Browser:
    """A running Chromium, until `close`."""

    def __init__(self, workspace: Workspace) -> None:
        browser_in, self.commands = os.pipe()
        self.messages, browser_out = os.pipe()
        # Chromium expects the pipes at the descriptors 3 and 4.
        script = f'exec "$@" 3<&{browser_in} 4>&{browser_out}'
        words = ["bash", "-c", script, "bash", "chromium", "--headless", "--remote-debugging-pipe",
                 *chromium_options(workspace)]
        self.process = workspace.begin(words, pass_fds=(browser_in, browser_out), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        os.close(browser_in)
        os.close(browser_out)
        self.numbers = itertools.count(1)
        self.buffer = b""               # an incomplete message
        self.received: list[Message] = []  # messages that `wait_for` has not returned

    def close(self) -> None:
        try:
            self.call("Browser.close")
        finally:
            os.close(self.commands)
            os.close(self.messages)
            end_group(self.process)

    def send(self, method: str, session: str = "", **parameters: object) -> int:
        message: Message = {"id": next(self.numbers), "method": method, "params": parameters}
        os.write(self.commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return message["id"]

    def call(self, method: str, session: str = "", **parameters: object) -> Message:
        """Call a method of the protocol. Return its result."""
        number = self.send(method, session, **parameters)
        reply = self.wait_for(lambda message: message.get("id") == number)
        assert "error" not in reply, (method, reply)
        return reply["result"]

    def wait_for(self, wanted: Callable[[Message], bool]) -> Message:
        """Return the first message that is wanted, of those received before and those to come."""
        deadline = Deadline(SECONDS)
        while not (found := next(filter(wanted, self.received), None)):
            self._read(deadline.left())
        self.received.remove(found)
        return found

    def _read(self, seconds: float) -> None:
        if select.select([self.messages], [], [], seconds)[0]:
            data = os.read(self.messages, 65536)
            assert data, f"Chromium has ended: {self.process.wait(SECONDS)}"
            *whole, self.buffer = (self.buffer + data).split(b"\0")
            self.received += map(json.loads, whole)


class Tab:
    """A tab of a browser."""

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
        """Start to load a URL; `protocol` and `text` wait until it is loaded."""
        self.browser.send("Page.navigate", self.session, url=url)

    def protocol(self) -> str:
        """The protocol by which the page was loaded, as ALPN names it."""
        return self.event("Network.responseReceived")["response"]["protocol"]

    def text(self) -> str:
        """The text of the loaded page."""
        self.event("Page.loadEventFired")
        return self.call("Runtime.evaluate", expression="document.body.innerText")["result"]["value"]
