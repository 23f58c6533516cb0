"""Documents by URL: what may be asked, and what must never be."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    PermissionDenied,
    TooLarge,
    Unavailable,
)
from services.ingestor.adapters.httpx_web import HttpxWeb
from services.ingestor.fetching import Answer, FetchRules, Hop, UrlSubmissions, checked, name_of
from services.ingestor.submission import Header

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@dataclass
class Taken:
    """What a `Submissions` was given."""

    most_bytes: int = 10_000_000
    header: Header | None = None
    content: bytes = b""

    async def submit(self, tenant: str, header: Header, chunks: AsyncIterator[bytes]) -> str:
        self.header = header
        async for chunk in chunks:
            self.content += chunk
            if len(self.content) > self.most_bytes:
                raise TooLarge("Too large.", "UPLOAD_TOO_LARGE")
        return "job"


@dataclass
class PlannedWeb:
    """Names and answers as a test sets them; remembers which addresses were asked."""

    names: dict[str, list[Sequence[str]]]
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        planned = self.names.get(host, [[]])
        return planned.pop(0) if len(planned) > 1 else planned[0]

    @asynccontextmanager
    async def get(self, hop: Hop) -> AsyncIterator[Answer]:
        self.asked.append(hop.address)
        yield self.answers[hop.url]


async def _bytes(content: bytes = b"text") -> AsyncIterator[bytes]:
    yield content


def page(status: int = 200, location: str = "", encoding: str = "") -> Answer:
    return Answer(status, location, encoding, _bytes())


async def fetch(web: PlannedWeb | HttpxWeb, url: str, taken: Taken | None = None, **rules: object) -> Taken:
    taken = taken or Taken()
    urls = UrlSubmissions(taken, web, FetchRules(**{"enabled": True, **rules}))
    await urls.submit("tenant", url, Header("", name_of(url)))
    return taken


async def test_urls_are_off_by_default():
    with pytest.raises(FailedPrecondition) as refused:
        await UrlSubmissions(Taken(), PlannedWeb({}), FetchRules()).submit("t", "http://a.example/", Header("", "a"))
    assert refused.value.reason == "URLS_DISABLED"


async def test_a_public_document_is_taken_with_its_url_as_source_and_id():
    url = "https://docs.example/a/guide.pdf?v=2"
    web = PlannedWeb({"docs.example": [["93.184.216.34"]]}, {url: page()})
    taken = await fetch(web, f"{url}#part")
    assert taken.content == b"text"
    assert taken.header.name == "guide.pdf"
    assert taken.header.document_id.startswith("url_")
    assert taken.header.metadata["source_url"] == url
    assert (await fetch(PlannedWeb(web.names, {url: page()}), url)).header.document_id == taken.header.document_id


INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
    "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
async def test_an_address_that_is_not_public_is_never_asked(address):
    web = PlannedWeb({"inside.example": [[address]]})
    with pytest.raises(PermissionDenied) as refused:
        await fetch(web, "http://inside.example/")
    assert (refused.value.reason, web.asked) == ("URL_NOT_ALLOWED", [])


async def test_one_private_address_among_public_ones_refuses_the_host():
    web = PlannedWeb({"mixed.example": [["93.184.216.34", "10.0.0.1"]]})
    with pytest.raises(PermissionDenied):
        await fetch(web, "http://mixed.example/")
    assert web.asked == []


async def test_a_name_that_changes_its_mind_is_asked_at_the_address_that_was_checked():
    url = "http://rebinding.example/"
    web = PlannedWeb({"rebinding.example": [["93.184.216.34"], ["127.0.0.1"]]}, {url: page()})
    await fetch(web, url)
    assert web.asked == ["93.184.216.34"]


async def test_a_redirect_is_checked_like_the_first_request():
    web = PlannedWeb(
        {"a.example": [["93.184.216.34"]], "b.example": [["10.0.0.7"]]},
        {"http://a.example/": page(302, "http://b.example/secret")},
    )
    with pytest.raises(PermissionDenied):
        await fetch(web, "http://a.example/")
    assert web.asked == ["93.184.216.34"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://a.example/", "http://u:p@a.example/"])
async def test_a_redirect_to_another_scheme_is_refused(location):
    web = PlannedWeb({"a.example": [["93.184.216.34"]]}, {"http://a.example/": page(301, location)})
    with pytest.raises(InvalidInput):
        await fetch(web, "http://a.example/")


async def test_redirects_in_a_circle_end():
    web = PlannedWeb({"a.example": [["93.184.216.34"]]}, {"http://a.example/": page(302, "/")})
    with pytest.raises(FailedPrecondition) as refused:
        await fetch(web, "http://a.example/")
    assert (refused.value.reason, len(web.asked)) == ("URL_BAD_ANSWER", 6)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page(404), "URL_NOT_FOUND"),
        (page(500), "URL_BAD_ANSWER"),
        (page(204), "URL_BAD_ANSWER"),
        (page(200, encoding="gzip"), "URL_BAD_ANSWER"),
    ],
)
async def test_an_answer_that_is_no_document_is_refused(answer, reason):
    web = PlannedWeb({"a.example": [["93.184.216.34"]]}, {"http://a.example/": answer})
    with pytest.raises(FailedPrecondition) as refused:
        await fetch(web, "http://a.example/")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "ftp://a.example/", "file:///etc/passwd", "http://", "http:///x", "http://user@a.example/", "http://a b/",
        "http://a.example:99999/", "http://[::1", "http://a\\b.example/", "http://a.example/\x00", "http://" + "a" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(InvalidInput) as refused:
        checked(url)
    assert refused.value.reason == "BAD_URL"


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_refused(text):
    for candidate in (text, f"http://{text}"):
        with suppress(InvalidInput):
            assert checked(candidate).hostname


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1", "localhost", "[::ffff:7f00:1]"])
async def test_other_spellings_of_this_machine_are_refused_by_the_real_resolver(host):
    with pytest.raises(PermissionDenied):
        await fetch(HttpxWeb(), f"http://{host}/")


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/page.txt")
            self.end_headers()
            return
        if self.path == "/silent":
            self.server.released.wait(20)
            return
        body = b"x" * 200_000 if self.path == "/large" else f"I am {self.headers['host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body) + (10 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def web_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_real_server_is_asked_by_address_with_its_own_name():
    with web_server() as url:
        networks = [*LOOPBACK, ipaddress.ip_network("::1/128")]
        taken = await fetch(HttpxWeb(), f"{url.replace('localhost', '127.0.0.1')}/moved", private_networks=networks)
        assert taken.content == f"I am {url.removeprefix('http://').replace('localhost', '127.0.0.1')}".encode()


@pytest.mark.parametrize(
    ("path", "error"), [("/large", TooLarge), ("/silent", DeadlineExceeded), ("/cut", Unavailable)]
)
async def test_a_real_server_that_misbehaves_leaves_its_own_error(path, error):
    with web_server() as url:
        address = url.replace("localhost", "127.0.0.1") + path
        with pytest.raises(error):
            await fetch(HttpxWeb(), address, Taken(100_000), private_networks=LOOPBACK, timeout_s=2.0)


async def test_a_server_that_is_not_there_is_unreachable():
    with web_server() as url:
        address = url.replace("localhost", "127.0.0.1")
    with pytest.raises(Unavailable) as refused:
        await fetch(HttpxWeb(), address, private_networks=LOOPBACK)
    assert refused.value.reason == "URL_UNREACHABLE"
