"""Texts that would like to be code: none runs, and each can be read as the text it is."""

from __future__ import annotations

import pytest

from rag.runtime.errors import Unavailable
from rag.v1 import passage_pb2
from tests.gateway.messages import document
from tests.web.answers import citation, events, source
from tests.web.test_files import a_file, failed

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYLOADS = [
    "<script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1">',
    "<svg onload=window.pwned=1><a xlink:href='javascript:window.pwned=1'>x</a></svg>",
    "\"><iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "[click](javascript:window.pwned=1) ![x](https://evil.example/?q=1)",
    "`<b>` **<img src=x onerror=window.pwned=1>**",
    "</textarea></style></title><script>window.pwned=1</script>",
    "{{constructor.constructor('window.pwned=1')()}} ${window.pwned=1}",
]
ALL = "\n\n".join(PAYLOADS)


async def untouched(visit) -> None:
    """Nothing ran, and nothing stands in the page that the page did not make."""
    assert await visit.page.evaluate("window.pwned") is None
    foreign = "#conversation :is(script, iframe, img, a, svg[onload], style, object, embed, form:not(.comment))"
    assert await visit.page.locator(foreign).count() == 0
    assert (
        await visit.page.locator(
            "#documents :is(script, iframe, img, a, style), #inspector :is(script, iframe, img, a, style)"
        ).count()
        == 0
    )
    handlers = (
        "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length"
    )
    assert await visit.page.evaluate(handlers) == 0


async def test_an_answer_with_its_sources_and_notices(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        text = f"{ALL} [1]"
        bad = source(text=ALL, title=PAYLOADS[1])
        bad.passage.heading = PAYLOADS[0]
        notice = passage_pb2.Notice(code="X", message=PAYLOADS[1])
        quote = PAYLOADS[0]
        mark = citation(text, text=ALL, quote=quote)
        gateway.backends.generator.stage.script = events(notice, text, mark, sources=(bad,))
        await visit.ask(PAYLOADS[1])
        await visit.said("The answer is complete")

        shown = await visit.text(".text")
        for payload in (PAYLOADS[0], PAYLOADS[1], PAYLOADS[4], "<b> <img src=x onerror=window.pwned=1>"):
            assert payload in shown
        assert await visit.text(".asked") == PAYLOADS[1]
        assert await visit.text(".notice") == PAYLOADS[1]
        await visit.page.click(".cite")
        assert await visit.text("#inspector mark") == quote
        assert PAYLOADS[3] in await visit.text("#inspector blockquote")
        assert await visit.text("#inspector-title") == PAYLOADS[1]
        await visit.shoot("hostile-answer")
        await visit.page.get_by_role("button", name="How it was found").click()
        await visit.page.get_by_text("Found, but not used").wait_for()
        await untouched(visit)


async def test_what_the_server_escaped_reads_as_it_was(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = events("Use &lt;b> and `&lt;script>alert(1)&lt;/script>` &amp; more.")
        await visit.ask("Which tags?")
        await visit.said("The answer is complete")

        assert await visit.text(".text") == "Use <b> and <script>alert(1)</script> &amp; more."
        await untouched(visit)


async def test_documents_their_names_and_their_errors(open_gateway, visiting):
    async with open_gateway() as gateway:
        bad = document("doc-bad")
        bad.title, bad.name, bad.media_type = PAYLOADS[1], PAYLOADS[0], PAYLOADS[2]
        gateway.backends.retriever.documents["doc-bad"] = bad
        async with visiting(str(gateway.http.base_url)) as visit:
            gateway.backends.ingestor.stage.script = [failed(1, "<b>", PAYLOADS[1])]
            await visit.page.set_input_files("#files", a_file("<img src=x onerror=window.pwned=1>.txt"))
            await visit.page.locator(".upload[data-state=failed]").get_by_text(PAYLOADS[1]).wait_for()
            assert await visit.text(".upload .document-name") == "<img src=x onerror=window.pwned=1>.txt"
            assert await visit.text("[data-id=doc-bad] .document-name") == PAYLOADS[1]
            await visit.page.locator("[data-id=doc-bad] .delete").click()
            assert PAYLOADS[1] in await visit.text("#confirm-title")
            await visit.shoot("hostile-documents")
            await visit.page.keyboard.press("Escape")
            await untouched(visit)


async def test_errors_of_the_server(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        gateway.backends.generator.stage.script = [Unavailable(PAYLOADS[1], "X")]
        await visit.ask("Broken?")

        await visit.page.locator(".turn .failed").get_by_text(PAYLOADS[1]).wait_for()
        await untouched(visit)


async def test_a_script_that_came_in_all_the_same_does_not_run(open_gateway, visiting):
    async with open_gateway() as gateway, visiting(str(gateway.http.base_url)) as visit:
        thrown = await visit.page.evaluate("""() => {
            try { document.getElementById("conversation")["inner" + "HTML"] = "<img src=x>"; return "no"; }
            catch (error) { return error.name; }
        }""")
        assert thrown == "TypeError"
        inserted = """() => {
            const script = document.createElementNS("http://www.w3.org/1999/xhtml", "script");
            script.append("window.pwned = 1");
            try { document.body.append(script); } catch { /* refused as it should be */ }
            const button = document.createElement("button");
            try { button.setAttribute("onclick", "window.pwned = 1"); } catch { /* refused too */ }
            document.body.append(button);
            button.click();
        }"""
        await visit.page.evaluate(inserted)
        assert await visit.page.evaluate("window.pwned") is None
        assert any("Content Security Policy" in one or "Trusted" in one for one in visit.wrong)
        visit.wrong.clear()  # these are what was to be seen
        await visit.page.evaluate("document.body.lastElementChild.remove()")
