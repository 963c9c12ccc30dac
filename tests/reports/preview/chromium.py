"""A headless Chromium for tests, driven over the two pipes of its DevTools protocol: no port, no library.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The browser reads commands from descriptor 3 and writes answers to 4.
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)  # fmt: skip
_WAIT = 30.0


def find_chromium() -> str | None:
    """Path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A running browser; close it."""

    def __init__(self, program: str, profile: Path) -> None:
        pipes = [*os.pipe(), *os.pipe()]
        # High numbers, so that moving two of them to 3 and 4 overwrites none.
        commands, self._to, self._from, answers = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 60) for end in pipes]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(commands), str(answers), program, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (*pipes, commands, answers):
            os.close(end)
        self._rest = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._to, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """What has happened in a page."""
        return [event for event in self._events if event.get("sessionId") == session]

    def close(self) -> None:
        """End the browser."""
        self.call("Browser.close")
        try:
            self._process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
        os.close(self._to)
        os.close(self._from)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], _WAIT)
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, f"Chromium does not answer (exit code {self._process.poll()})"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        event: dict[str, Any] = json.loads(message)
        return event


class Page:
    """A page of a browser.

    Args:
        browser: the browser.
        url: what to open.
        width: of the window in CSS pixels; below 500 as a phone.
        height: of the window.
        dark: whether the reader prefers dark pages.
    """

    def __init__(self, browser: Chromium, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait("document.body && document.body.dataset.ready")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command to the page."""
        return self._browser.call(method, self._session, **parameters)

    def js(self, expression: str) -> Any:
        """Value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _WAIT
        while not self.js(f"Boolean({expression})"):
            assert time.monotonic() < end, f"not true in {_WAIT} s: {expression}\n{self.faults()}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What a reader sees of an element."""
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def choose(self, identifier: str, value: str) -> None:
        """Choose a filter, or type into a field."""
        self.js(
            f"(() => {{ const field = document.getElementById({json.dumps(identifier)}); field.value = "
            f"{json.dumps(value)}; field.dispatchEvent(new Event('input')); "
            "field.dispatchEvent(new Event('change')); })()"
        )

    def screenshot(self, save: Path | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The window as an array of shape (height, width, 3)."""
        # Two frames later everything that has been changed is drawn.
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        png = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if save is not None:
            save.write_bytes(png)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def requests(self) -> list[str]:
        """Addresses that the page has asked for."""
        sent = [event for event in self._seen() if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def faults(self) -> list[str]:
        """Errors and warnings of the page: exceptions, what its policy refused, what was not found."""
        found = []
        for event in self._seen():
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
        return found

    def close(self) -> None:
        """Close the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def _seen(self) -> list[dict[str, Any]]:
        self.js("1")
        return self._browser.events(self._session)
