"""Questions in languages that the local model was not trained on: both legs together are at least as good as the better one."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rag import local_model
from rag.vectors import Vectors
from services.embedder.adapters.onnx_model import OnnxModel
from services.retriever.analysis import MULTILINGUAL, analyzer
from services.retriever.retrieval.fusion import dense_share, fuse
from tests.retriever.other_languages import CHINESE, GERMAN, JAPANESE, pairs

SETS = {"de": pairs(GERMAN), "zh": pairs(CHINESE), "ja": pairs(JAPANESE)}
Ranking = list[tuple[int, float]]

_analysis = analyzer(MULTILINGUAL)


class _Words:
    """BM25 as the index has it: k1 1.2, b 0.75."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(_analysis.terms(text)) for text in texts]
        self._held = Counter(term for counts in self._counts for term in counts)
        self._mean = sum(counts.total() for counts in self._counts) / len(texts)

    def ranking(self, query: str) -> Ranking:
        terms = _analysis.query_terms(query)
        scored = ((number, self._score(terms, counts)) for number, counts in enumerate(self._counts))
        return sorted((entry for entry in scored if entry[1] > 0), key=lambda entry: -entry[1])

    def _score(self, terms: Sequence[str], counts: Counter[str]) -> float:
        room = 1.2 * (0.25 + 0.75 * counts.total() / self._mean)
        return sum(self._rarity(term) * counts[term] * 2.2 / (counts[term] + room) for term in terms if term in counts)

    def _rarity(self, term: str) -> float:
        return math.log(1 + (len(self._counts) - self._held[term] + 0.5) / (self._held[term] + 0.5))


async def _vectors(model: OnnxModel, texts: Sequence[str]) -> Vectors:
    pieces = await model.prepare(texts)
    return (await model.encode(pieces)).vectors


async def _all_vectors(folder: Path) -> dict[str, tuple[Vectors, Vectors]]:
    async with OnnxModel.open(folder, threads=2, precision="fp32") as model:
        return {
            language: (
                await _vectors(model, [question for question, _ in lines]),
                await _vectors(model, [passage for _, passage in lines]),
            )
            for language, lines in SETS.items()
        }


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Vectors, Vectors]]:
    return asyncio.run(_all_vectors(tmp_path_factory.mktemp("model")))


def _quality(rankings: Sequence[Ranking]) -> float:
    """nDCG@10: the passage at the question's own position is the one that answers it."""
    gains = 0.0
    for wanted, ranking in enumerate(rankings):
        places = [key for key, _ in ranking[:10]]
        gains += 1 / math.log2(places.index(wanted) + 2) if wanted in places else 0.0
    return gains / len(rankings)


def _nearest(passages: Vectors, query: Vectors) -> Ranking:
    similarities = passages @ query
    return [(int(number), float(similarities[number])) for number in np.argsort(-similarities, kind="stable")]


@pytest.mark.parametrize("language", SETS)
def test_both_legs_are_at_least_as_good_as_the_better_one(
    language: str, vectors: dict[str, tuple[Vectors, Vectors]]
) -> None:
    lines, (queries, passages) = SETS[language], vectors[language]
    words = _Words([passage for _, passage in lines])
    keyword = [words.ranking(question) for question, _ in lines]
    dense = [_nearest(passages, query) for query in queries]

    def fused(question: str, by_meaning: Ranking, by_words: Ranking) -> Ranking:
        return fuse(by_meaning, by_words, dense_share(_analysis.language(question), local_model.MODEL))

    hybrid = [fused(lines[number][0], dense[number], keyword[number]) for number in range(len(lines))]
    assert _quality(hybrid) >= max(_quality(dense), _quality(keyword)) - 0.01


@pytest.mark.parametrize(("language", "least"), [("zh", 0.85), ("ja", 0.85), ("de", 0.55)])
def test_words_alone_find_the_passage(language: str, least: float) -> None:
    lines = SETS[language]
    words = _Words([passage for _, passage in lines])
    assert _quality([words.ranking(question) for question, _ in lines]) >= least


def _share_told(language: str, part: Callable[[tuple[str, str]], str]) -> float:
    told = [_analysis.language(part(line)) for line in SETS[language]]
    return told.count(language) / len(told)


@pytest.mark.parametrize("language", SETS)
def test_the_language_of_questions_and_passages_is_told(language: str) -> None:
    assert _share_told(language, lambda line: line[0]) >= 0.85
    assert _share_told(language, lambda line: line[1]) == 1.0


async def test_a_question_whose_words_stand_nowhere_is_answered_by_meaning(
    vectors: dict[str, tuple[Vectors, Vectors]], tmp_path: Path
) -> None:
    async with OnnxModel.open(tmp_path, threads=1, precision="fp32") as model:
        query = (await _vectors(model, ["Johannes Gutenberg"]))[0]
    found = fuse(_nearest(vectors["de"][1], query), [], dense_share("zh", local_model.MODEL))
    assert found[0] == (28, 1.0)
