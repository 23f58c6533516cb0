"""Writes docs/images/page-{light,dark,phone}.png: the web page with an answer from the shipped examples, from a real run."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

from rag.cli.own_services import private, started
from rag.client import RagClient

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images"
EXAMPLES = [ROOT / "examples" / name for name in ("handbook.pdf", "faq.html")]
QUESTIONS = {
    "light": "What happens to a job when its worker dies?",
    "dark": "When does a worker lose its job?",
    "phone": "How long are cached vectors kept?",
}
WIDE = {"width": 1440, "height": 900}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": WIDE},
    "dark": {"color_scheme": "dark", "viewport": WIDE},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


async def main() -> None:
    """Start everything, upload the examples through the page, ask, and write the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("This needs a Chromium: apt-get install chromium")
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rag") as folder:
        own = private(Path(folder), ROOT / ".ragmesh" / "models")
        url = f"http://127.0.0.1:{own.ports['http']}"
        console, log = Console(), Path(folder) / "services.log"
        async with RagClient(own.address("gateway")) as rag, started(console, log, rag.is_serving, own):
            await shoot_all(chromium, url)


async def shoot_all(chromium: str, url: str) -> None:
    """Upload the examples to a running tree, and write all pictures."""
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        await upload(browser, url)
        for name, look in LOOKS.items():
            await shoot(browser, url, name, look)
        await browser.close()


async def upload(browser: Browser, url: str) -> None:
    """Give the examples to the page, and wait until they are ready."""
    page = await browser.new_page()
    await page.goto(url)
    await page.set_input_files("#files", EXAMPLES)
    ready = page.locator(".upload[data-state=ready]")
    for index in range(len(EXAMPLES)):
        await ready.nth(index).wait_for(timeout=120_000)
    await page.close()


async def shoot(browser: Browser, url: str, name: str, look: dict[str, Any]) -> None:
    """Write one picture: a citation opened on a wide screen, the answer itself on a phone."""
    context = await browser.new_context(reduced_motion="reduce", **look)
    page = await context.new_page()
    await page.goto(url)
    await page.locator(".document").first.wait_for(state="attached")
    await ask(page, QUESTIONS[name])
    if name != "phone":
        await page.locator(".receipt summary").click()
        await page.locator(".cite").first.click()
        await page.locator("#inspector mark").first.wait_for()
    await page.screenshot(path=TARGET / f"page-{name}.png")
    await context.close()


async def ask(page: Page, question: str) -> None:
    """Ask, and wait for the end of the answer."""
    await page.fill("#question", question)
    await page.press("#question", "Enter")
    await page.locator(".receipt").wait_for()
    await page.evaluate("document.activeElement.blur()")


if __name__ == "__main__":
    asyncio.run(main())
