"""Questions in the browser, with a generator that can be steered."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from rag.runtime.errors import Overloaded, Unavailable
from rag.v1 import generator_pb2, passage_pb2
from tests.web.answers import HOLD, QUOTE, citation, cited, events, source, usage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_is_shown_while_it_is_written(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.generator.stage
        stage.script = events("The **first** words", HOLD, " and the rest.")
        await visit.ask("How do keys live?")

        await visit.page.get_by_text("The first words").wait_for()
        assert await visit.text(".stage") == "Writing…"
        assert await visit.text(".chips") == "1\nThe manual\np. 7"
        await expect(visit.page.locator(".turn")).to_have_attribute("aria-busy", "true")
        await visit.shoot("streaming")
        stage.release.set()

        await visit.said("The answer is complete")
        assert await visit.text(".text") == "The first words and the rest."
        assert await visit.text(".text strong") == "first"
        assert await visit.page.get_attribute(".turn", "aria-busy") is None
        await expect(visit.page.locator("#stop")).to_be_hidden()


@pytest.mark.parametrize("way", ["button", "escape"])
async def test_stop_ends_the_answer_here_and_on_the_server(open_gateway, visiting, way):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.generator.stage
        stage.script = events("So far", HOLD, "never")
        await visit.ask("A long story?")
        await visit.page.get_by_text("So far").wait_for()

        if way == "button":
            await visit.page.click("#stop")
        else:
            await visit.page.keyboard.press("Escape")

        await stage.cancelled.wait()
        await visit.page.get_by_text("You stopped this answer.").wait_for()
        assert await visit.text(".text") == "So far"
        await expect(visit.page.locator("#send")).to_be_visible()
        await visit.shoot("stopped")


async def test_a_citation_opens_the_passage_with_its_page_and_its_quote(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.ask("How often?")
        await visit.page.get_by_role("button", name="Citation of source 1, The manual, page 7").click()

        panel = visit.page.locator("#inspector")
        await expect(panel.locator("blockquote mark")).to_have_text(QUOTE)
        await expect(panel).to_contain_text("Page 7")
        await expect(panel).to_contain_text("Keys › Rotation")
        await expect(panel.locator(".scores")).to_contain_text("0.62")
        await visit.has_focus("inspector-title")
        await visit.shoot("citation")

        await visit.page.keyboard.press("Escape")
        await expect(panel).to_be_hidden()
        await visit.has_focus("Citation of source 1, The manual, page 7")


async def test_citations_stand_where_they_are_after_characters_outside_the_basic_plane(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        text = "Clefs 𝄞𝄞 and 👩‍👩‍👧 [1]"
        passage = "𝄞 Keys. They turn."
        mark = citation(text, text=passage, quote="They turn.")
        gateway.backends.generator.stage.script = events(text, mark, " end.", sources=(source(text=passage),))
        await visit.ask("Odd?")
        await visit.said("complete, with 1 citation.")

        assert await visit.text(".text") == "Clefs 𝄞𝄞 and 👩‍👩‍👧1 end."
        await visit.page.click(".cite")
        assert await visit.text("blockquote mark") == "They turn."


async def test_a_conversation_is_sent_and_forgotten(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.generator.stage
        stage.script = events("One.")
        for question in ("First?", "Second?"):
            await visit.ask(question)
            await visit.said("The answer is complete")
            await visit.page.evaluate("document.getElementById('status').textContent = ''")

        said = [(turn.role, turn.text) for turn in stage.requests[1].history]
        assert said == [(generator_pb2.ROLE_USER, "First?"), (generator_pb2.ROLE_ASSISTANT, "One.")]
        await visit.page.get_by_role("button", name="New conversation").click()
        await expect(visit.page.locator(".turn")).to_have_count(0)
        await visit.ask("Third?")
        await visit.said("The answer is complete")
        assert list(stage.requests[2].history) == []


async def test_what_was_degraded_is_said(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        notice = passage_pb2.Notice(code="KEYWORD_ONLY", message="Only words were searched.")
        gateway.backends.generator.stage.script = cited(notice)
        await visit.ask("Degraded?")

        assert await visit.text(".notice") == "Only words were searched."
        await visit.said("The answer is complete")
        await visit.shoot("notice")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([Unavailable("The index is away.", "INDEX_UNAVAILABLE")], "The index is away."),
        ([Overloaded("Too many questions at once.", "TOO_MANY_CALLS", 2.0)], "Too many questions at once."),
        (events("Half an", Unavailable("The model went away.", "MODEL_UNAVAILABLE")), "The model went away."),
        (events("Half an answer")[:-1], "The answer broke off before its end."),
    ],
    ids=["before", "overloaded", "amidst", "cut"],
)
async def test_a_failure_is_told_in_words_and_can_be_tried_again(open_gateway, visiting, script, words):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        stage = gateway.backends.generator.stage
        stage.script = script
        await visit.ask("Will it work?")

        await visit.page.locator(".turn .failed").get_by_text(words).wait_for()
        await visit.shoot("failed")
        stage.script = cited()
        await visit.page.get_by_role("button", name="Ask again").click()
        await visit.said("The answer is complete")
        assert stage.requests[-1].question == "Will it work?"


async def test_an_answer_that_nothing_was_found_for_says_so(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        nothing = [
            {"accepted": generator_pb2.Accepted(answer_id="ans-1")},
            {"sources": generator_pb2.Sources()},
            {"token": generator_pb2.Token(text="I found nothing about this.")},
            {"usage": usage()},
            {"done": generator_pb2.Done(finish_reason=generator_pb2.FINISH_REASON_NO_CONTEXT)},
        ]
        script = [generator_pb2.GenerateResponse(sequence=n, **one) for n, one in enumerate(nothing, 1)]
        gateway.backends.generator.stage.script = script
        await visit.ask("About the moon?")

        await visit.page.get_by_text("Nothing in the documents is close enough").wait_for()
        await visit.shoot("nothing-found")


async def test_time_and_cost_are_a_bar_with_its_legend(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.ask("What did it cost?")
        await visit.page.click(".receipt summary")

        widths = await visit.page.eval_on_selector_all(".part", "parts => parts.map(part => part.offsetWidth)")
        assert widths == sorted(widths)
        assert widths[-1] > 10 * widths[0]
        label = await visit.page.get_attribute(".stack", "aria-label")
        assert label == "Stages: Question vector 12 ms, Search 48 ms, Writing 940 ms"
        facts = await visit.text(".facts")
        for words in ("1.0 s", "after 210 ms", "gpt-test, openai", "1,200 tokens in, 85 out", "$0.0021"):
            assert words in facts
        await visit.shoot("receipt")


async def test_how_it_was_found_shows_both_legs_and_what_was_left_out(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = cited()
        await visit.ask("How was it found?")
        await visit.page.get_by_role("button", name="How it was found").click()

        await visit.page.get_by_text("Found, but not used").wait_for()
        tables = visit.page.locator(".hits")
        used, left = await tables.nth(0).inner_text(), await tables.nth(1).inner_text()
        assert "cited" in used
        assert "0.62" in used
        assert "8.50" in used
        assert "2.00" in left
        assert gateway.backends.retriever.stage.requests[-1].query == "How was it found?"
        await visit.shoot("retrieval")
        await tables.nth(0).get_by_role("button").click()
        await visit.page.get_by_role("button", name="Back to").click()
        await expect(tables).to_have_count(2)


async def test_thumbs_are_sent_with_their_comment(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        sent = []

        async def take(route):
            sent.append(json.loads(route.request.post_data))
            await route.fulfill(status=204)

        await visit.page.route("**/v1/feedback", take)
        gateway.backends.generator.stage.script = cited()
        await visit.ask("Any good?")
        await visit.page.get_by_role("button", name="Bad answer").click()
        await visit.page.get_by_role("textbox", name="What was wrong? (optional)").fill("It is <b>old</b>.")
        await visit.shoot("feedback")
        await visit.page.get_by_role("button", name="Send").click()

        await visit.page.get_by_text("Thank you.").wait_for()
        assert sent[-1] == {"answer_id": "ans-1", "rating": "down", "comment": "It is <b>old</b>."}
        await expect(visit.page.locator("button[aria-label='Bad answer']")).to_have_attribute("aria-pressed", "true")
