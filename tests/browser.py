"""A headless Chromium for tests of pages, driven through its DevTools protocol: no driver, no further package."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
_START_S = 60.0
_ANSWER_S = 30.0


class Page:
    """One page; everything is done by JavaScript in it, or by keys as a person presses them."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.requested: list[str] = []

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """A command of the protocol, and its result. URLs that the page asks for on the way are kept."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": arguments})
        while True:
            message = json.loads((await self._socket.receive(timeout=_ANSWER_S)).data)
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    async def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited if it is a promise."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(_ANSWER_S):
            while not await self.run(f"Boolean({condition})"):
                await asyncio.sleep(0.05)

    async def press(self, key: str, *, times: int = 1) -> None:
        """Press a key, such as Tab."""
        for _ in range(times):
            for kind in ("rawKeyDown", "char", "keyUp") if key == "Enter" else ("rawKeyDown", "keyUp"):
                text = {"text": "\r"} if key == "Enter" else {}
                await self.call(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_CODES[key], **text
                )

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def size(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels; a phone has 360 to 430."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    async def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


_CODES = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    """A page at `url`, in a browser of its own that ends with the block; the test is skipped where there is none."""
    browser = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("there is no Chromium here")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    target = next(one for one in await answer.json() if one["type"] == "page")
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.call("Network.enable")
                    await page.call("Page.enable")
                    await page.call("Page.navigate", url=url)
                    await page.until("location.href !== 'about:blank' && document.readyState === 'complete'")
                    yield page
        finally:
            process.terminate()
            process.wait(10)


async def _port(file: Path) -> int:
    async with asyncio.timeout(_START_S):
        while not file.is_file() or not file.read_text(encoding="utf-8").strip():
            await asyncio.sleep(0.05)
    return int(file.read_text(encoding="utf-8").split()[0])
