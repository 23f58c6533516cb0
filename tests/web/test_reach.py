"""Everybody can use the page: by keyboard, with a screen reader, on a phone, in the dark."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.gateway.messages import document
from tests.web.answers import HOLD, cited, events, source
from tests.web.conftest import PHONE

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2

NAMELESS = """() => [...document.querySelectorAll("button, a, input, textarea, dialog, progress, [role=img], [role=group]")]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.[0]?.textContent.trim()
        || document.getElementById(one.getAttribute("aria-labelledby"))?.textContent.trim()))
    .map((one) => one.outerHTML)"""

CONTRAST = """() => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (one) => { for (; one; one = one.parentElement) { const c = rgb(getComputedStyle(one).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255]; };
    const found = [];
    for (const one of document.querySelectorAll("body *")) {
        const text = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!text || !one.checkVisibility() || one.closest(".unseen, :disabled")) continue;
        const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${one.className || one.tagName}: ${one.textContent.trim().slice(0, 30)}`);
    }
    return found;
}"""


async def test_all_of_it_works_with_the_keyboard_alone(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        keys = visit.page.keyboard
        gateway.backends.generator.stage.script = cited()
        await visit.page.locator(".document").wait_for()
        await visit.has_focus("question")
        await keys.type("One line")
        await keys.press("Shift+Enter")
        await keys.type("and another")
        await keys.press("Enter")
        await visit.said("The answer is complete")
        assert gateway.backends.generator.stage.requests[0].question == "One line\nand another"
        await visit.has_focus("question")

        async def to(name: str, key: str) -> None:
            for _ in range(30):
                if await visit.focused() == name:
                    return
                await keys.press(key)
            pytest.fail(f"{name} is not reached with {key}")

        await to("Citation of source 1, The manual, page 7", "Shift+Tab")
        outline = await visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await keys.press("Enter")
        await expect(visit.page.locator("#inspector")).to_be_visible()
        await keys.press("Escape")
        await visit.has_focus("Citation of source 1, The manual, page 7")
        await to("Delete a.pdf", "Shift+Tab")
        assert await visit.page.evaluate("getComputedStyle(document.activeElement).opacity") == "1"
        await keys.press("Enter")
        await keys.press("Escape")
        await visit.has_focus("Delete a.pdf")
        await to("choose", "Shift+Tab")
        await to("Switch to dark", "Shift+Tab")
        await keys.press("Enter")
        assert await visit.page.evaluate("document.documentElement.dataset.theme") == "dark"


async def test_the_first_stop_leads_over_all_else_to_the_question(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        assert await visit.page.evaluate("document.body.firstElementChild.className") == "skip"
        await visit.page.evaluate("document.querySelector('a[href=\"/docs\"]').focus()")
        await visit.page.keyboard.press("Shift+Tab")
        assert await visit.page.evaluate("document.activeElement.className") == "skip"
        await visit.page.keyboard.press("Enter")
        await visit.has_focus("question")


async def test_enter_that_ends_a_word_being_composed_asks_nothing(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        await visit.page.fill("#question", "日本")
        event = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true})"
        await visit.page.evaluate(f"document.getElementById('question').dispatchEvent({event})")
        assert await visit.page.input_value("#question") == "日本"


async def test_everything_has_a_name_and_the_page_has_landmarks(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.page.locator(".document").wait_for()
        await visit.ask("Named?")
        await visit.said("The answer is complete")
        await visit.page.click(".receipt summary")
        await visit.page.click(".cite")

        assert await visit.page.evaluate(NAMELESS) == []
        for role in ("banner", "main", "complementary"):
            await expect(visit.page.get_by_role(role)).to_have_count(1)
        await expect(visit.page.locator("html")).to_have_attribute("lang", "en")
        ids = await visit.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        levels = await visit.page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => e.tagName)")
        assert levels.count("H1") == 1


async def test_tokens_are_not_read_out_one_by_one(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        heard = "new MutationObserver(() => window.heard.push(document.getElementById('status').textContent))"
        await visit.page.evaluate(
            f"window.heard = []; {heard}.observe(document.getElementById('status'), {{childList: true}})"
        )
        gateway.backends.generator.stage.script = events(*(f"word{n} " for n in range(200)))
        await visit.ask("Long?")
        await visit.said("The answer is complete")

        heard = [one for one in await visit.page.evaluate("window.heard") if one]
        assert len(heard) < 8
        assert heard[-1].startswith("The answer is complete, with 0 citations. word0 word1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_words_stand_out_from_their_ground(open_gateway, visiting, scheme):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url), color_scheme=scheme) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.page.locator(".document").wait_for()
        await visit.ask("Seen?")
        await visit.said("The answer is complete")
        await visit.page.click(".receipt summary")
        await visit.page.click(".cite")
        assert await visit.page.evaluate(CONTRAST) == []
        await visit.page.get_by_role("button", name="How it was found").click()
        await visit.page.get_by_text("Found, but not used").wait_for()
        assert await visit.page.evaluate(CONTRAST) == []
        await visit.shoot(f"whole-{scheme}")


async def test_the_theme_follows_the_system_until_it_is_switched(open_gateway, visiting):
    ground = "getComputedStyle(document.body).backgroundColor"
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url), color_scheme="dark") as visit:
        dark = await visit.page.evaluate(ground)
        await visit.page.get_by_role("button", name="Switch to light").click()
        light = await visit.page.evaluate(ground)
        await visit.page.reload()
        assert await visit.page.evaluate(ground) == light != dark


async def test_a_phone_scrolls_in_one_direction_only(open_gateway, visiting):
    async with open_gateway() as gateway:
        wide = document("doc-2")
        wide.title = LONG
        gateway.backends.retriever.documents["doc-2"] = wide
        async with visiting(str(gateway.http.base_url), viewport=PHONE, has_touch=True, is_mobile=True) as visit:
            text = f"{LONG} `{LONG}`\n\n```\n{LONG}\n```\n\n- {LONG}"
            sources = tuple(source(number, text=LONG, title=LONG) for number in range(1, 10))
            gateway.backends.generator.stage.script = events(text, HOLD, sources=sources)

            async def fits(state: str) -> None:
                across = "[...document.querySelectorAll('html, body, .scroll, .documents, .inspector-body')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
                assert await visit.page.evaluate(across) == [], state
                assert await visit.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], state
                await visit.shoot(f"phone-{state}")

            await fits("welcome")
            await visit.ask(LONG)
            await visit.page.locator(".text pre").wait_for()
            await fits("streaming")
            gateway.backends.generator.stage.release.set()
            await visit.said("The answer is complete")
            await visit.page.click(".receipt summary")
            await visit.page.get_by_role("button", name="Show 5 more sources").click()
            await fits("answer")
            await visit.page.locator(".chip").first.click()
            await fits("passage")
            await visit.page.keyboard.press("Escape")
            await visit.page.get_by_role("button", name="How it was found").click()
            await visit.page.get_by_text("Found, but not used").wait_for()
            await fits("retrieval")
            await visit.page.keyboard.press("Escape")
            await visit.page.get_by_role("button", name="Documents", exact=True).click()
            await fits("documents")


async def test_the_panel_turns_into_a_sheet_when_the_window_is_narrowed(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.ask("Narrow?")
        await visit.page.click(".cite")
        await expect(visit.page.locator("#inspector:modal")).to_have_count(0)
        await visit.page.set_viewport_size({"width": 900, "height": 800})
        await visit.page.locator("#inspector:modal").wait_for()
        await visit.page.keyboard.press("Escape")
        await expect(visit.page.locator("#inspector")).to_be_hidden()
        await visit.has_focus("Citation of source 1, The manual, page 7")
