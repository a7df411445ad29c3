"""One of h2echod's units on a machine: controlled by systemctl, observed through `systemctl show` and the journal."""
from __future__ import annotations

import json
import re
from pathlib import Path

from clients import curl_h2
from machine import Machine
from waiting import poll

CONFIG = "/etc/h2echod/h2echod.conf"
ADDRESS = ("127.0.0.1", 8080)


class Unit:
    """A unit by its name."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self.name = name

    def control(self, verb: str, *options: str, check: bool = True) -> int:
        """Run `systemctl VERB` for this unit. Return its exit status."""
        done = self.machine.run("systemctl", verb, *options, self.name, check=False)
        assert not check or done.returncode == 0, f"{verb} {self.name}: {done.stderr}{self.report()}"
        return done.returncode

    def show(self, *properties: str) -> dict[str, str]:
        text = self.machine.systemctl("show", f"--property={','.join(properties)}", self.name)
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait(self, seconds: float = 10, **wanted: str) -> None:
        """Wait until these properties are as wanted."""
        def reached() -> bool:
            shown.update(self.show(*wanted))
            return shown == wanted
        shown: dict[str, str] = {}
        try:
            poll(reached, f"{self.name} with {wanted}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {shown}{self.report()}") from None

    def wait_for_status(self, pattern: str) -> None:
        """Wait until the daemon's status text matches."""
        poll(lambda: re.search(pattern, self.show("StatusText")["StatusText"]), f"a status like {pattern!r}")

    def signal(self, name: str) -> None:
        """Send a signal to the daemon directly, not through systemd."""
        self.machine.run("kill", f"-{name}", self.main_pid())

    def main_pid(self) -> int:
        """The daemon's process id on the machine."""
        pid = int(self.show("MainPID")["MainPID"])
        assert pid, f"{self.name} doesn't run{self.report()}"
        return pid

    def process(self, entry: str) -> Path:
        """An entry of the daemon's directory below /proc."""
        return self.machine.path(f"/proc/{self.main_pid()}/{entry}")

    def configure(self, *lines: str) -> None:
        """Replace the configuration by these lines."""
        self.machine.path(CONFIG).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    def drop_in(self, *lines: str) -> None:
        """Add a drop-in with these lines to the unit, as an administrator would."""
        directory = self.machine.path(f"/etc/systemd/system/{self.name}.d")
        directory.mkdir()
        (directory / "test.conf").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        self.machine.systemctl("daemon-reload")

    def entries(self, *options: str) -> list[dict[str, str]]:
        """The journal's entries from the unit's processes."""
        return self.machine.journal(*options, f"_SYSTEMD_UNIT={self.name}")

    def messages(self) -> list[str]:
        return [entry["MESSAGE"] for entry in self.entries()]

    def report(self) -> str:
        return "; the end of the journal:\n" + "\n".join(self.messages()[-20:])

    def wait_for_message(self, pattern: str) -> re.Match[str]:
        def find() -> re.Match[str] | None:
            return next((match for text in self.messages() if (match := re.search(pattern, text))), None)
        return poll(find, f"a message like {pattern!r} of {self.name}")


def curl_get(path: str = "/", host: str = "127.0.0.1", port: int = 8080) -> str:
    """The body of the response to a GET by curl."""
    return curl_h2(f"http://{host}:{port}{path}").stdout.decode()


def assert_answers(path: str = "/", **where: object) -> None:
    assert json.loads(curl_get(path, **where))[":path"] == path


def assert_ended_well(service: Unit) -> None:
    """Assert that the daemon exited by itself and with status 0. systemd would remember any other end as a failure."""
    service.wait(ActiveState="inactive", Result="success")
    assert service.messages()[-1] == "stopped: all open requests were answered"
