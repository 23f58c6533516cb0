"""The Node example against a gateway in memory: what it shows, how it is let in, and what its packages are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rag.runtime.errors import Unavailable
from rag.v1 import generator_pb2 as pb
from rag.v1 import passage_pb2
from tests.certificates import self_signed
from tests.cli.gateway import Gateway, running_gateway
from tests.node import EXAMPLE, NodeClient, installed

LICENCES = {"MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "0BSD"}
ANSWER = [
    pb.GenerateResponse(accepted=pb.Accepted(answer_id="ans-1")),
    pb.GenerateResponse(
        sources=pb.Sources(sources=[pb.Source(number=1, title="Harbour \x1b[2J", passage=passage_pb2.Passage(page=4))])
    ),
    pb.GenerateResponse(token=pb.Token(text="It closes at ")),
    pb.GenerateResponse(token=pb.Token(text="nine [1].\x1b]0;x\x07")),
    pb.GenerateResponse(citation=pb.Citation(number=1, page=4, quote="The harbour closes\nat nine.")),
    pb.GenerateResponse(notice=passage_pb2.Notice(code="KEYWORD_ONLY", message="Only words were searched.")),
    pb.GenerateResponse(done=pb.Done(finish_reason=pb.FINISH_REASON_STOP)),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> NodeClient:
    return installed(tmp_path_factory.mktemp("node"))


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway(key="rmk_secret", script=list(ANSWER)) as running:
        yield running


@pytest.mark.timeout(300)
async def test_it_shows_an_answer_with_its_citations_and_obeys_nothing(node: NodeClient, gateway: Gateway) -> None:
    code, out, err = await node.ask("When does it close?", gateway.address, RAGMESH_KEY="rmk_secret")
    assert (code, err) == (0, "note: Only words were searched.\n")
    assert "It closes at nine [1]." in out
    assert out.rstrip().endswith('page 4: "The harbour closes at nine."')
    assert "\x1b" not in out
    assert gateway.questions[0].question == "When does it close?"


@pytest.mark.timeout(300)
async def test_errors_are_one_readable_line(node: NodeClient, gateway: Gateway) -> None:
    assert await node.ask("q", gateway.address) == (1, "", "The key is not known.\n")
    code, _, err = await node.ask("q", "rag.example.org:50050", RAGMESH_KEY="rmk_secret")
    assert code == 1
    assert "unencrypted" in err
    assert "rmk_secret" not in err
    gateway.script = [ANSWER[0], Unavailable("The model is away.", "MODEL_UNAVAILABLE")]
    assert (await node.ask("q", gateway.address, RAGMESH_KEY="rmk_secret"))[::2] == (1, "The model is away.\n")


@pytest.mark.timeout(300)
async def test_it_speaks_tls(node: NodeClient, tmp_path: Path) -> None:
    key, certificate = self_signed()
    (tmp_path / "ca.pem").write_bytes(certificate)
    async with running_gateway(certificate=(key, certificate), script=list(ANSWER)) as gateway:
        address = f"https://localhost:{gateway.address.rpartition(':')[2]}"
        code, out, _ = await node.ask("q", address, RAGMESH_CA_FILE=str(tmp_path / "ca.pem"))
    assert code == 0
    assert "nine [1]" in out


def test_its_packages_are_pinned_with_checksums_free_to_use_and_name_no_registry() -> None:
    wanted = json.loads((EXAMPLE / "package.json").read_text())["dependencies"]
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    locked = {place.removeprefix("node_modules/"): package for place, package in packages.items() if place}
    for name, version in wanted.items():
        assert locked[name]["version"] == version
    for name, package in locked.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
        assert package["license"] in LICENCES, name
