"""A headless Chromium, driven through the pipe of the DevTools protocol: no driver, no port, no package.

Source: Chromium, content/browser/devtools/devtools_pipe_handler.cc: it reads JSON messages from descriptor 3 and writes
them to 4, each ended by a zero byte.
"""

import base64
import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE_S = 60.0


class Page:
    """One tab."""

    def __init__(self, send_to: int, read_from: int) -> None:
        self._to, self._from, self._ids, self._rest = send_to, read_from, itertools.count(1), b""
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session: str = session["sessionId"]
        self.ask("Page.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        return self._ask(method, parameters, sessionId=self._session)

    def open(self, url: str) -> None:
        """Goes to an address, until the document is there."""
        self.ask("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        said = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """The expression's value as soon as it is truthy."""
        end = time.monotonic() + patience_s
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} is still {value!r}; the page says: {self.text()}"
            time.sleep(0.05)
        return value

    def text(self, selector: str = "body") -> str:
        """What a person reads in an element; "" where there is none or it is hidden."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def drop(self, *paths: Path) -> None:
        """Drops files or folders from the file manager onto the page."""
        data = {"items": [], "files": [str(path.resolve()) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)

    def screenshot(self, path: Path, width: int, height: int, scale: float = 1, scheme: str = "light") -> None:
        """Writes what the page looks like on a screen of this many CSS pixels."""
        self.resize(width, height, scale, scheme)
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def resize(self, width: int, height: int, scale: float = 1, scheme: str = "light") -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _ask(self, method: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters, **more}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (said := self._read()).get("id") != number:
            pass  # an event
        assert "error" not in said, f"{method}: {said['error']}"
        return dict(said["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], PATIENCE_S)[0], "Chromium said nothing"
            more = os.read(self._from, 1 << 20)
            assert more, "Chromium ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def chromium(profile: Path, flags: Sequence[str] = ()) -> Iterator[Page]:
    """A page of a new browser that ends with the block.

    Args:
        profile: an empty folder for what it keeps.
        flags: more of its command line.
    """
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The shell puts the pipes' ends where Chromium looks for them; dash knows no descriptor above 9.
    joined = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    command = ["bash", "-c", joined, "bash", "chromium", *QUIET, f"--user-data-dir={profile}", *flags, "about:blank"]
    process = subprocess.Popen(command, pass_fds=(to_read, from_write), stderr=subprocess.DEVNULL)
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(to_write, from_read)
    finally:
        process.terminate()
        process.wait(30)
        os.close(to_write)
        os.close(from_read)
