"""A real browser, asked over a pipe in its own protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WITHIN_S = 30
# Chromium reads its orders from descriptor 3 and answers on 4.
LAUNCH = """
import os, sys
from fcntl import F_DUPFD, fcntl
orders, answers = (fcntl(int(given), F_DUPFD, 10) for given in sys.argv[1:3])
os.dup2(orders, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program() -> str:
    """Return the path of Chromium; without one the test is skipped, or fails where everything must be tested."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium, and CI is set: nothing is skipped there.")
    if found is None:
        pytest.skip("There is no Chromium to render the pages in: install it (Debian: apt install chromium).")
    return found


class Browser:
    """`with Browser(directory) as browser:` opens one tab. `asked` lists the URLs that its pages loaded, `said` what
    stood in the console, refusals of the Content-Security-Policy included."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[str] = []
        self.said: list[str] = []
        self._count = 0
        self._session: dict[str, str] = {}
        self._rest = b""

    def __enter__(self) -> Self:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        options = ["--headless", "--remote-debugging-pipe", "--no-first-run", f"--user-data-dir={self.directory}"]
        # The sandbox of Chromium refuses to be root.
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(orders), str(answers), program(), *options],
            pass_fds=(orders, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(orders)
        os.close(answers)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._orders)  # which is how it is told to end
        try:
            self._process.wait(timeout=WITHIN_S)
        finally:
            os.close(self._answers)
            self._process.kill()
            self._process.wait()

    def open(self, url: str) -> None:
        failure = self.call("Page.navigate", url=url).get("errorText")
        assert failure is None, f"{url}: {failure}"

    def run(self, script: str) -> Any:
        """Return what an expression of JavaScript gives in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, text: str, *, within: str = "body") -> str:
        """Wait until the element that a selector names shows `text`, and return all that it shows."""
        deadline = time.monotonic() + WITHIN_S
        while text not in (shown := self.run(f"document.querySelector({json.dumps(within)})?.innerText ?? ''")):
            assert time.monotonic() < deadline, f"no {text!r} in {within}, but:\n{shown[:2000]}\n{self.said}"
            time.sleep(0.05)
        return str(shown)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a method of the protocol; what happens meanwhile is noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters} | self._session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WITHIN_S
        while (answer := self._read(deadline)).get("id") != self._count:
            self._note(answer.get("method", ""), answer.get("params", {}))
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self._answers, 65_536) if ready else b""
            assert piece, f"the browser is silent: exit code {self._process.poll()}"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read

    def _note(self, event: str, about: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.asked.append(about["request"]["url"])
            case "Log.entryAdded":
                self.said.append(f"{about['entry'].get('url', '')} {about['entry']['text']}".strip())
            case "Runtime.consoleAPICalled":
                self.said.append(" ".join(str(one.get("value", one)) for one in about["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(about["exceptionDetails"]["text"])
