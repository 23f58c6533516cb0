"""What the page is made of, and how it is served: no browser is needed to tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.gateway.http.web import page

ASSETS = Path(page.__file__).parent / "assets"
SCRIPTS = sorted(ASSETS.glob("*.js"))
NAMES = sorted(path.name for path in ASSETS.iterdir() if path.name != "index.html")

SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|parseFromString"
    r"|setHTML|srcdoc|\beval\b|new Function|\bFunction\(|javascript:|set(?:Timeout|Interval)\(\s*[\"'`]"
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_turns_no_text_into_markup_or_code(path):
    text = path.read_text()

    assert not SINKS.findall(text)
    assert not re.findall(r"\.on[a-z]+\s*=(?!=)", re.sub(r"row\.on(?:Cancel|Retry)", "", text)), (
        "a handler as a property"
    )
    assert not re.findall(r"[\"'](?:on[a-z]+|style|href|src)[\"']\s*[,:]", text), (
        "an attribute that could hold a script"
    )
    assert text.count("\n") <= 250


def test_the_page_has_no_inline_script_no_inline_style_and_nothing_from_elsewhere():
    text = (ASSETS / "index.html").read_text()

    assert not re.findall(r"\son[a-z]+\s*=", text)
    assert not re.findall(r"\sstyle\s*=|<style", text)
    assert all(
        "src=" in tag and text.split(tag)[1].startswith("</script>") for tag in re.findall(r"<script[^>]*>", text)
    )
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert address == "/docs" or address.startswith(("/assets/", "#"))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".css")])
def test_a_style_loads_nothing(name):
    assert not re.findall(r"url\(|@import", (ASSETS / name).read_text())


def test_every_script_is_imported_by_another_or_by_the_page():
    text = "".join(path.read_text() for path in ASSETS.iterdir() if path.suffix in {".js", ".html"})

    assert [path.name for path in SCRIPTS if f"/{path.name}" not in text] == []


async def test_the_page_is_served_under_a_policy_that_runs_only_its_own_files(open_gateway):
    async with open_gateway() as gateway:
        answer = await gateway.http.get("/")

        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]


async def test_assets_have_their_types_and_are_sent_once(open_gateway):
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    async with open_gateway() as gateway:
        for name in NAMES:
            first = await gateway.http.get(f"/assets/{name}")
            again = await gateway.http.get(f"/assets/{name}", headers={"if-none-match": first.headers["etag"]})

            assert first.status_code == 200
            assert first.headers["content-type"] == types[Path(name).suffix]
            assert "content-security-policy" in first.headers
            assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["..%2fpage.py", "%2e%2e%2fpage.py", "index.html", "page.py", ".", "app.js%00", "App.js", "ü.js"]
)
async def test_no_other_file_can_be_had(open_gateway, name):
    async with open_gateway() as gateway:
        answer = await gateway.http.get(f"/assets/{name}")

        assert answer.status_code in {404, 405}
        assert b"import" not in answer.content


async def test_the_page_needs_no_key_and_answers_head(open_gateway):
    async with open_gateway() as gateway:
        answer = await gateway.http.head("/", headers={"authorization": "Bearer wrong"})

        assert (answer.status_code, answer.content) == (200, b"")
