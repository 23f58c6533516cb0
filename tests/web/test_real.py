"""The page in front of the whole real tree: from a file to an answer that quotes it, and to its deletion."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = """# Lighthouse rules

The keeper of the Kestrel lighthouse lights the lamp at sunset. The lamp of the Kestrel lighthouse burns 42 litres of oil each night.

<img src=x onerror="window.pwned=1"> is what a careless visitor once wrote into the guest book of the lighthouse.
"""


async def test_from_a_file_to_a_cited_answer_and_to_its_deletion(tree, visiting):
    async with visiting(tree.url) as visit:
        await visit.page.get_by_text("No documents yet.").wait_for()
        await expect(visit.page.locator("#welcome-choose")).to_be_visible()
        await visit.shoot("real-empty")
        file = {"name": "rules<b>.md", "mimeType": "text/markdown", "buffer": TEXT.encode()}
        await visit.page.set_input_files("#files", file)
        await visit.page.locator(".upload[data-state=ready]").wait_for(timeout=60_000)
        await visit.page.locator(".document").get_by_text("Lighthouse rules").wait_for()

        await visit.ask("How much oil does the lamp of the Kestrel lighthouse burn each night?")
        await visit.said("The answer is complete")
        assert "42 litres" in await visit.text(".text")
        await visit.page.locator(".cite").first.click()
        assert "42 litres" in await visit.text("#inspector mark")
        assert '<img src=x onerror="window.pwned=1">' in await visit.text("#inspector blockquote")
        await visit.page.click(".receipt summary")
        assert "no model was asked" in await visit.text(".facts")
        await visit.page.get_by_role("button", name="How it was found").click()
        await visit.page.get_by_role("heading", name="Found, but not used").wait_for()
        await visit.shoot("real-answer")
        assert await visit.page.evaluate("window.pwned") is None

        await visit.page.get_by_role("button", name="Good answer").click()
        await visit.page.get_by_role("textbox", name="What was good?").fill("Short and right.")
        await visit.page.get_by_role("button", name="Send").click()
        await visit.page.get_by_text("Thank you.").wait_for()

        await visit.page.get_by_role("button", name="Delete Lighthouse rules").click()
        await visit.page.get_by_role("button", name="Delete", exact=True).click()
        await visit.page.get_by_text("No documents yet.").wait_for()
        await visit.page.reload()
        await visit.page.get_by_text("No documents yet.").wait_for()
        await visit.ask("How much oil does the lamp of the Kestrel lighthouse burn each night?")
        await visit.page.get_by_text("Nothing in the documents is close enough").wait_for()
