"""The official client in front of a real generator: what the markers mark and the annotations say agree."""

from __future__ import annotations

from tests.gateway.openai.conftest import client_of, with_defaults
from tests.generator.making import GRASS, SKY, FakeRetriever, found, serving_generator, serving_retriever

ASKED = with_defaults(
    {"messages": [{"role": "user", "content": "What colour is the sky?"}], "extra_body": {"rag": {"use_cache": False}}}
)


async def test_a_cited_answer_of_the_real_generator_reaches_the_client_whole_and_as_a_stream(open_gateway):
    retriever = FakeRetriever()
    retriever.responses = found(SKY, GRASS)
    async with (
        serving_retriever(retriever) as address,
        serving_generator(address) as generator,
        open_gateway(generator_address=f"127.0.0.1:{generator.port}") as gateway,
        client_of(gateway) as client,
    ):
        whole = await client.chat.completions.create(**ASKED)
        stream = await client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]

    message = whole.choices[0].message
    cites = [annotation.url_citation for annotation in message.annotations]
    assert "The sky is blue by day." in message.content
    assert cites
    for cite, citation in zip(cites, whole.rag["citations"], strict=True):
        assert message.content[cite.start_index : cite.end_index] == f"[{citation['number']}]"
        assert cite.url.endswith(f"#passage={citation['passage_id']}&page={citation['page']}")
    assert whole.rag["usage"]["provider"] == "extractive"
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == message.content
    assert chunks[-2].rag["citations"] == whole.rag["citations"]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], whole.usage.total_tokens)
