from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services.generator.citing.checking import Checking
from services.generator.citing.links import LinkFilter
from tests.generator.making import sources

KNOWN = "https://known.com/x?a=1"
ROOTS = {"https://known.com", "https://known.com/", "http://known.com", "http://known.com/"}
STANDING = {KNOWN, "redis://localhost:6379/0", "https://known.org/A_(b)"}
SOURCES = sources(
    f"See {KNOWN}, and redis://localhost:6379/0. Mail help@known.com (https://known.org/A_(b)). javascript:alert(1)",
    "Nothing here.",
)

PIECES = st.sampled_from(
    [
        "[", "]", "(", ")", "](", "![", "!", "<", ">", "</", "<a ", "<img ", "<svg/onload=", "<x ", "<!--", "-->", "<?", "&", "#",
        "&#104;", "&#x68", "&colon;", "&sol;", "&lt;", "&amp;", ";", ":", "/", "//", "\\", "\\\\", "https", "ht", "tps", "://", "http://",
        "https://evil.com", "https://evil.com/?q=1", KNOWN, "https://known.com", "https://known.com/", "www", "www.evil.com",
        ".evil.com", "@evil.com", "help@known.com", "evil", ".", ",", "javascript:", "java", "script:", "data:text/html,", "mailto:",
        "alert(1)", "img src=x", "src=", "href=", "style=", "=", '"', "'", "`", "*", "_", "[1]", "[2]", "[9]", "[9", "1]", "【1】", "[1, 9]",
        "[x]", "]:", "[x]: ", "\n", "\n\n", " ", "\t", "\r\n", "\x00", "\xa0", "> ", "- ", "a", "é", "天", "。", "1", "(x)", "(u.x)", "[](u)",
        "[9](u)", "<int>", "List<", "[" + "1" * 65, "]()", "![](x)", "![a](x)", "[a](x)", "<foo", "www\\.", "[img](u:v)", "base", "%68ttp:",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text("[]()<>!:/\\&;#@.hw1 \n", max_size=30))
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
FOLLOWED = {
    "href",
    "src",
    "srcset",
    "action",
    "formaction",
    "poster",
    "data",
    "background",
    "style",
    "xlink:href",
    "srcdoc",
}


class Active(HTMLParser):
    """Collects what a browser would follow or fetch."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        for name, value in attrs:
            if name in FOLLOWED or name.startswith("on"):
                self.addresses.append(html.unescape(value or ""))

    handle_startendtag = handle_starttag


def active_in(page: str) -> Active:
    parser = Active()
    parser.feed(page)
    parser.close()
    return parser


def run(deltas) -> tuple[str, int]:
    links = LinkFilter(SOURCES)
    return "".join([*(links.feed(delta) for delta in deltas), links.close()]), links.removed


def assert_safe(text: str) -> None:
    as_markdown = active_in(MARKDOWN.render(text))
    assert set(as_markdown.addresses) <= STANDING | ROOTS | {MARKDOWN.normalizeLink(url) for url in STANDING}, text
    assert not {"img", "script", "iframe", "svg", "image"} & set(as_markdown.elements), text
    as_html = active_in(text)
    assert as_html.addresses == [], text
    assert not {"img", "script", "iframe", "svg", "image", "a"} & set(as_html.elements), text
    bare = re.findall(
        r"(?<![A-Za-z])(?:https?://|www\.)\w[^\s<]*", html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))
    )
    for found in bare:
        assert found.rstrip("?!.,:*_~'\")]}>`。，") in STANDING | ROOTS or found.startswith(tuple(STANDING | ROOTS)), (
            text
        )


@given(TEXTS)
@example(f"![a \\[b]({KNOWN})")
@example(f"![!](u)[a]({KNOWN})")
@example("<[](u)img src=x>")
@example("[x]: /u\n\n[x] ![x]")
@example("<List<int style=background:url(//evil.com)>")
@settings(max_examples=400)
def test_nothing_that_leaves_leads_to_where_no_passage_does(text):
    assert_safe(run([text])[0])


@given(TEXTS)
@example("<[9]img src=x>")
@example("ht [9]tps://evil.com")
@example("[a][9](//evil.com)")
@example("[a][" + "1" * 65 + "//evil.com)")
@example(f"![9][b]({KNOWN})")
@settings(max_examples=400)
def test_nothing_joins_to_a_link_when_a_marker_is_dropped(text):
    checking = Checking(SOURCES)
    released = [*checking.feed(text), *checking.close()]
    assert_safe("".join(piece for piece in released if isinstance(piece, str)))


@given(TEXTS, st.data())
@settings(max_examples=300)
def test_however_a_text_is_split_the_same_leaves(text, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    deltas = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert run(deltas) == run([text])
    assert run(text) == run([text])


@pytest.mark.parametrize(
    ("text", "left", "removed"),
    [
        ("[a text](https://evil.com/x) and", "a text and", 1),
        ("(see [docs](https://evil.com)).", "(see docs).", 1),
        (f"[a]({KNOWN})", f"[a]({KNOWN})", 0),
        (f'[a]({KNOWN} "a title")', f"[a]({KNOWN})", 0),
        ("[a](/v1/documents)", "a", 1),
        ("[a](javascript:alert(1))", "a", 1),
        ("[a](<java\tscript:alert(1)>)", "a", 1),
        (f"![alt]({KNOWN})", "alt", 1),
        ("![](https://evil.com/?q=secret)", "(link removed)", 1),
        (f"See {KNOWN}.", f"See {KNOWN}.", 0),
        (f"See {KNOWN}[1].", f"See {KNOWN} [1].", 0),
        ("(https://known.org/A_(b))", "(https://known.org/A_(b))", 0),
        ("https://known.com and http://known.com/", "https://known.com and http://known.com/", 0),
        ("https://known.co https://known.com@evil.com", "(link removed) (link removed)", 2),
        ("https://known.com.evil.com https://known.com/y", "(link removed) (link removed)", 2),
        ("at https://evil.com/x, or", "at (link removed), or", 1),
        ("HTTPS://evil.com www.evil.com", "(link removed) (link removed)", 2),
        ("//evil.com \\\\evil.com /\\evil.com", "(link removed) (link removed) (link removed)", 3),
        ("/" * 17 + "evil.com", "/" * 16 + "(link removed)", 1),
        ("ssh://evil redis://localhost:6379/0", "ssh:(link removed) redis://localhost:6379/0", 1),
        ("javascript:alert(1) mailto:a@evil.com", "(link removed)) (link removed)", 2),
        ("data:text/html,x", "(link removed)", 1),
        ("&#104;ttps://evil.com", "&amp;#104;ttps:(link removed)", 1),
        ("https&colon;//evil.com", "https&amp;colon;(link removed)", 1),
        ("mail a@evil.com or help@known.com", "mail a (at) evil.com or help@known.com", 1),
        ("<https://evil.com>", "(link removed)", 1),
        ("<https://known.com>", "<https://known.com>", 0),
        (f"<{KNOWN}>", KNOWN, 0),
        ("<img src=x> and </a>", "&lt;img src=x> and &lt;/a>", 1),
        ("<foo style=x>", "&lt;foo style=x>", 0),
        ("[x]: https://evil.com", "[x] : (link removed)", 1),
        ("[1]: /u\n", "[1] : /u\n", 0),
        ("[1](https://evil.com)", "[1]", 1),
    ],
)
def test_links_and_images_become_text(text, left, removed):
    assert run([text]) == (left, removed)


@pytest.mark.parametrize(
    "text",
    [
        "The sky [1]. Grass [1][2], snow [1, 2] and ice【1】; great![2]",
        "[1]: The sky is blue.",
        "a[i] and [sic], [ ] to do, [see above] (here)",
        "List<int>, Map<String, List<int>> and 1 < 2 <= 3 <- x <3",
        "and/or a // b, AT&T, &copy; R&D; data: x, file: y, http: z, 10:30, C:\\x, @name, x!",
        "天空是蓝色的【1】。好！",
        "",
    ],
)
def test_other_text_and_markers_pass_untouched(text):
    assert run([text]) == (text, 0)
    assert run(text) == (text, 0)


@pytest.mark.parametrize(
    "text", ["The", " sky is", " blue.", " (see", " below)", " [1]", "[2]", "\n", "é", " 10:30", "天。"]
)
def test_text_that_cannot_become_a_link_is_not_held_back(text):
    assert LinkFilter(SOURCES).feed(text) == text


@pytest.mark.parametrize(
    "text", ["[", "[a](", "https://", "<a", "![x](", "//a.b", "[x]: ", "a@b.", "&", "](", "<x ", "[a](<"]
)
def test_no_more_than_a_link_is_held_back(text):
    links = LinkFilter(SOURCES)
    released = links.feed(text) + links.feed("x" * 5_000)

    assert len(released) > 1_000


@pytest.mark.parametrize(
    "piece",
    ["[", "](", "[a](", "<", "<x y", "&#", "(", "\\", "https://", "https://a.b/)))", "[9](", "[x]: ", "[a](<", '[a](b "', "[a](()", "x"],
)  # fmt: skip
def test_a_hostile_text_costs_no_more_than_its_length(piece):
    text = piece * (100_000 // len(piece))

    run([text])
    assert run(text[:5_000]) == run([text[:5_000]])
