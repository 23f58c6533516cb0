"""The generator and its retriever, served."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.doubles.fixtures import ModelServer
from tests.generator.making import GRASS, SKY, FakeRetriever, found, serving_generator, serving_retriever


@pytest.fixture
async def retriever() -> AsyncIterator[FakeRetriever]:
    fake = FakeRetriever()
    fake.responses = found(SKY, GRASS)
    async with serving_retriever(fake) as fake.address:
        yield fake


@pytest.fixture
async def extractive(retriever: FakeRetriever):
    async with serving_generator(retriever.address, provider="extractive") as stub:
        yield stub


@pytest.fixture
async def openai(retriever: FakeRetriever, model_server: ModelServer):
    async with serving_generator(retriever.address, openai_base_url=model_server.base_url, max_retries=0) as stub:
        yield stub
