"""The key in the browser: asked for, refused, kept in the tab, forgotten."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from rag.runtime.access import OPERATOR_SCOPES, Identity
from rag.runtime.errors import Unauthenticated
from services.gateway.http import app
from services.gateway.http.entrance import Entrance
from tests.gateway.messages import job_events
from tests.web.answers import HOLD, cited

pytestmark = pytest.mark.asyncio(loop_scope="session")


class OneKey:
    """Knows one key."""

    good = "rmk_good"

    async def identify(self, authorization: str, _address: str) -> Identity:
        if authorization != f"Bearer {self.good}":
            raise Unauthenticated("The credential is not valid.", "BAD_CREDENTIAL")
        return Identity("default", OPERATOR_SCOPES, "key")


@pytest.fixture
def guarded(open_gateway, monkeypatch):
    """A gateway whose door knows one key."""
    access = OneKey()
    monkeypatch.setattr(app, "Entrance", lambda inner, **_: Entrance(inner, access=access))
    return open_gateway, access


async def enter(visit, key: str) -> None:
    await visit.page.fill("#key", key)
    await visit.page.keyboard.press("Enter")


async def test_a_wrong_key_is_refused_in_words_and_a_good_one_opens(guarded, visiting):
    opened, access = guarded
    async with opened() as gateway, visiting(str(gateway.http.base_url)) as visit:
        await visit.page.get_by_role("heading", name="Enter your API key").wait_for()
        await visit.has_focus("key")
        await visit.shoot("key")
        await enter(visit, "rmk_wrong")
        await visit.page.get_by_text("This key is not accepted.").wait_for()
        await expect(visit.page.locator("#key")).to_have_attribute("aria-invalid", "true")
        await visit.shoot("wrong-key")
        await enter(visit, "kéy")
        await visit.page.get_by_text("A key has no spaces").wait_for()

        await enter(visit, access.good)
        await visit.page.locator(".document").wait_for()
        await expect(visit.page.locator("#key-dialog")).to_be_hidden()
        stored = "[JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, location.href].join()"
        kept = await visit.page.evaluate(stored)
        assert kept.count(access.good) == 1
        assert access.good in await visit.page.evaluate("JSON.stringify(sessionStorage)")
        assert access.good not in await visit.page.content()


async def test_a_key_survives_a_reload_and_is_gone_after_signing_out(guarded, visiting):
    opened, access = guarded
    async with opened() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await enter(visit, access.good)
        await visit.page.locator(".document").wait_for()
        await visit.page.reload()
        await visit.page.locator(".document").wait_for()
        await visit.page.set_input_files("#files", {"name": "mine.txt", "mimeType": "text/plain", "buffer": b"Mine."})
        await visit.page.locator(".upload[data-state=ready]").wait_for()
        await visit.ask("Mine?")
        await visit.said("The answer is complete")

        await visit.page.get_by_role("button", name="Sign out").click()
        await expect(visit.page.locator(".document, .turn, .upload")).to_have_count(0)
        assert await visit.page.evaluate("sessionStorage.length") == 0
        await visit.page.get_by_role("button", name="Enter key").wait_for()


async def test_a_key_that_ends_amidst_is_asked_for_again_and_the_question_goes_on(guarded, visiting):
    opened, access = guarded
    async with opened() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        async with visit.page.expect_response(
            "**/v1/jobs?state=queued*"
        ):  # the last that is asked for after signing in
            await enter(visit, access.good)
        access.good = "rmk_next"
        await visit.ask("Still?")
        await visit.page.get_by_text("it may have expired or been revoked").wait_for()
        await enter(visit, "rmk_next")

        await visit.said("The answer is complete")


async def test_without_a_key_nothing_is_shown_and_the_dialog_comes_back(guarded, visiting):
    opened, _ = guarded
    async with opened() as gateway, visiting(str(gateway.http.base_url)) as visit:
        await visit.page.locator("#key-dialog:modal").wait_for()
        await visit.page.keyboard.press("Escape")
        await visit.page.locator("#library-state .failed").wait_for()
        await visit.ask("Anybody?")
        await visit.page.locator("#key-dialog:modal").wait_for()
        assert gateway.backends.generator.stage.requests == []


async def test_signing_out_stops_what_is_written_and_what_is_watched(guarded, visiting):
    opened, access = guarded
    async with opened() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage, jobs = gateway.backends.generator.stage, gateway.backends.ingestor.stage
        stage.script, jobs.script = [*cited()[:4], HOLD], [*job_events("running"), HOLD]
        await enter(visit, access.good)
        await visit.page.locator(".document").wait_for()
        await visit.page.set_input_files("#files", {"name": "mine.txt", "mimeType": "text/plain", "buffer": b"Mine."})
        await visit.page.locator(".upload").get_by_text("Opening").wait_for()
        await visit.ask("Secret?")
        await visit.page.locator(".chip").wait_for()
        await visit.page.get_by_role("button", name="Sign out").click()

        await stage.cancelled.wait()
        await jobs.cancelled.wait()
        await expect(visit.page.locator(".turn, .upload")).to_have_count(0)
