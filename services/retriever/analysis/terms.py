"""Turns texts into the terms that the keyword leg compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, chain, islice
from typing import Protocol

from services.retriever.analysis.detection import language_of
from services.retriever.analysis.stems import all_stems, stem, without_accents
from services.retriever.analysis.stopwords import DEFAULT, stop_words
from services.retriever.analysis.words import is_unspaced, one_form, parts, words

MAX_TERM_BYTES = 64
MAX_BYTES = 60_000
"""Of a text's terms with a space between each two: an engine's field has an end."""
MAX_QUERY_TERMS = 512

_CLITICS = frozenset(
    ("s", "t", "d", "ll", "re", "ve", "m", "l", "j", "n", "c", "qu", "un", "all", "dell", "nell", "sull", "dall")
)
"""What an apostrophe ties to a word."""


class Analyzer(Protocol):
    """Makes terms: without white space, at most MAX_TERM_BYTES in UTF-8, at most MAX_BYTES together."""

    name: str

    def terms(self, text: str) -> list[str]:
        """Return the terms of a document's text, in order and with repetitions."""

    def query_terms(self, query: str) -> list[str]:
        """Return the terms to look for, each once, at most MAX_QUERY_TERMS; none only when the query has no word."""

    def language(self, text: str) -> str:
        """Return the language of a text as ISO 639-1; "" where it is not clear."""


class Multilingual:
    """Stems by the language that a text is written in; scripts without spaces as single characters and pairs of them."""

    name = "multilingual"

    def terms(self, text: str) -> list[str]:
        """Return the stems, and the whole of what is written together, such as `max_tokens`, beside its parts."""
        found = words(one_form(text))
        language = language_of(found)
        return _bounded(chain.from_iterable(_of_document(word, (language,)) for word in found))

    def query_terms(self, query: str) -> list[str]:
        """Return the stems without stop words; those of every language of its script where the query's is not clear."""
        found = words(one_form(query))
        # One word may stand in a text of any language.
        language = language_of(found) if len(found) > 1 else ""
        ignored = stop_words(language or DEFAULT)
        telling = (word for word in found if word not in ignored)
        return _of_words(telling, language) or _of_words(found, language)

    def language(self, text: str) -> str:
        """Return the language by script, commonest words and letters."""
        return language_of(words(one_form(text)))


class Plain:
    """Words as they are written, but for case and accents; for texts that no language's rules fit."""

    name = "plain"

    def terms(self, text: str) -> list[str]:
        """Return the words; scripts without spaces as in Multilingual."""
        return _bounded(term for word in words(one_form(text)) for term in _as_written(word, _singles_and_pairs))

    def query_terms(self, query: str) -> list[str]:
        """Return the same terms, each once."""
        return _distinct(term for word in words(one_form(query)) for term in _as_written(word, _pairs))

    def language(self, text: str) -> str:
        """Return the language as Multilingual does: it says more than how words are cut."""
        return language_of(words(one_form(text)))


def analyzer(name: str) -> Analyzer:
    """Return the analyzer of this name.

    Raises:
        ValueError: there is none.
    """
    found: dict[str, Analyzer] = {each.name: each for each in (Multilingual(), Plain())}
    if name not in found:
        raise ValueError(f"There is no analyzer {name!r}; there are {', '.join(found)}.")
    return found[name]


def _of_document(word: str, languages: tuple[str, ...]) -> Iterable[str]:
    return _singles_and_pairs(word) if is_unspaced(word) else _stemmed(word, languages)


def _of_query(word: str, language: str) -> Iterable[str]:
    if is_unspaced(word):
        return _pairs(word)
    # A text of another language may hold the word too, and most often that is the default one.
    return _stemmed(word, tuple(dict.fromkeys((language, DEFAULT))) if language else ())


def _of_words(asked: Iterable[str], language: str) -> list[str]:
    return _distinct(term for word in asked for term in _of_query(word, language))


@lru_cache(maxsize=1 << 16)
def _stemmed(word: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """The terms of a word with spaces around it, in these languages, or in all of its script when none is given."""
    found = _parts(word)
    stems = [stem(part, language) for part in found for language in languages]
    if not languages:
        stems = [each for part in found for each in all_stems(part)]
    return tuple(_cut(term) for term in (*stems, *_whole(word, found)))


def _as_written(word: str, unspaced: Callable[[str], Iterable[str]]) -> Iterable[str]:
    if is_unspaced(word):
        return unspaced(word)
    found = _parts(word)
    return [_cut(term) for term in (*map(without_accents, found), *_whole(word, found))]


def _parts(word: str) -> list[str]:
    found = parts(word)
    if len(found) > 1 and ("'" in word or "’" in word):
        return [part for part in found if part not in _CLITICS] or found
    return found


def _whole(word: str, found: list[str]) -> Iterator[str]:
    """What is written together, where that tells more than its parts: IL-6 like IL6, e-mail like email, max_tokens, C++."""
    if len(found) > 1 and ("_" in word or any(len(part) <= 2 or not part.isalpha() for part in found)):
        yield without_accents("".join(found))
    if word[-1] in "+#" and len(found) == 1 and len(found[0]) <= 2:
        yield word


def _singles_and_pairs(run: str) -> Iterator[str]:
    """Every character, so that one alone is found as well, and every pair of neighbours."""
    yield from run
    yield from (run[at : at + 2] for at in range(len(run) - 1))


def _pairs(run: str) -> Iterable[str]:
    return (run[at : at + 2] for at in range(len(run) - 1)) if len(run) > 1 else (run,)


def _cut(term: str) -> str:
    if len(term) * 4 <= MAX_TERM_BYTES:
        return term
    return term.encode()[:MAX_TERM_BYTES].decode(errors="ignore")


def _bounded(terms: Iterable[str]) -> list[str]:
    kept = list(islice(terms, MAX_BYTES // 2))  # each takes a byte and a space at least
    if 4 * sum(map(len, kept)) + len(kept) <= MAX_BYTES:
        return kept
    ends = accumulate(len(term.encode()) + 1 for term in kept)
    return kept[: sum(1 for end in ends if end <= MAX_BYTES + 1)]


def _distinct(terms: Iterable[str]) -> list[str]:
    kept: dict[str, None] = {}
    for term in terms:
        kept[term] = None
        if len(kept) == MAX_QUERY_TERMS:
            break
    return list(kept)
