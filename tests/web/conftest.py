"""A real Chromium in front of a real gateway."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.gateway.conftest import open_gateway
from tests.system.conftest import models, tree

__all__ = ["models", "open_gateway", "tree"]  # fixtures of others that these tests share

WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
_TIMEOUT_MS = 30_000
_FOCUSED = "(document.activeElement.getAttribute('aria-label') || document.activeElement.id)"


@dataclass
class Visit:
    """One look at the page, and what must not happen during it."""

    page: Page
    shots: Path
    wrong: list[str] = field(default_factory=list)

    async def shoot(self, name: str) -> None:
        """Write what is seen now as a picture."""
        await self.page.screenshot(path=self.shots / f"{name}.png")

    async def ask(self, question: str) -> None:
        await self.page.fill("#question", question)
        await self.page.press("#question", "Enter")

    async def text(self, selector: str) -> str:
        return await self.page.inner_text(selector)

    async def said(self, words: str) -> None:
        """Wait until screen readers were told something."""
        script = "words => document.getElementById('status').textContent.includes(words)"
        await self.page.wait_for_function(script, arg=words)

    async def has_focus(self, name: str) -> None:
        """Wait until the element of this label, or of this id when it has none, has the focus."""
        await self.page.wait_for_function(f"name => {_FOCUSED} === name", arg=name)

    async def focused(self) -> str:
        return await self.page.evaluate(_FOCUSED)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        reason = "no Chromium here: `apt-get install chromium` makes these tests run"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=_TIMEOUT_MS)
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of the states go: RAG_TEST_SHOTS, else a folder of pytest's."""
    named = os.environ.get("RAG_TEST_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visiting(browser: Browser, shots: Path) -> Any:
    """Open the page at an address for the length of a block; fail when something went wrong in it that nobody expected."""

    @asynccontextmanager
    async def visit(url: str, **how: Any) -> AsyncIterator[Visit]:
        context = await browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **how})
        page = await context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        seen = Visit(page, shots)
        _watch(page, seen, url)
        try:
            await page.goto(url)
            yield seen
        finally:
            await context.close()
        assert not seen.wrong

    return visit


def _watch(page: Page, seen: Visit, url: str) -> None:
    async def dialog(one: Any) -> None:
        seen.wrong.append(f"a dialog of the browser: {one.message}")
        await one.dismiss()

    def console(message: Any) -> None:
        # The browser itself tells of every answer that is an error; those are cases here.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            seen.wrong.append(f"console: {message.text}")

    def request(one: Any) -> None:
        if not re.match(re.escape(url.rstrip("/")) + "(/|$)", one.url):
            seen.wrong.append(f"a request to elsewhere: {one.url}")

    page.on("dialog", dialog)
    page.on("console", console)
    page.on("request", request)
    page.on("pageerror", lambda error: seen.wrong.append(f"script: {error}"))
