from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.retriever.analysis import MULTILINGUAL, PLAIN, Analyzer, analyzer
from services.retriever.analysis.terms import MAX_BYTES, MAX_QUERY_TERMS, MAX_TERM_BYTES

_ANALYZERS = [analyzer(MULTILINGUAL), analyzer(PLAIN)]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
any_analyzer = pytest.mark.parametrize("each", _ANALYZERS, ids=lambda each: each.name)
multilingual = analyzer(MULTILINGUAL)


def _finds(query: str, text: str, each: Analyzer = multilingual) -> bool:
    return bool(set(each.query_terms(query)) & set(each.terms(text)))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="multilingual, plain"):
        analyzer("english")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "How does the heart pump blood through the body?"),
        ("de", "Wie lange ist die Kündigungsfrist für eine Wohnung?"),
        ("fr", "Où est la bibliothèque et quand est-elle ouverte ?"),
        ("es", "¿Cuánto cuesta el envío de los libros a España?"),
        ("it", "Qual è il prezzo della spedizione per gli ordini?"),
        ("pt", "Qual é o prazo para a devolução dos produtos?"),
        ("nl", "Hoe lang duurt het voordat mijn bestelling wordt verzonden?"),
        ("sv", "Hur mycket kostar det att skicka ett paket till Norge?"),
        ("fi", "Kuinka paljon toimitus maksaa ja milloin se on perillä?"),
        ("pl", "Jak długo trwa dostawa i czy można ją śledzić?"),
        ("tr", "Kargo ne kadar sürer ve nasıl takip edilir?"),
        ("ru", "Сколько стоит доставка и когда она будет?"),
        ("uk", "Скільки коштує доставка і коли вона буде?"),
        ("zh", "如何设置 max_tokens 参数"),
        ("ja", "コンテナをデプロイする方法"),
        ("ko", "주문을 취소하려면 어떻게 하나요"),
        ("th", "วิธีเปลี่ยนรหัสผ่าน"),
        ("el", "Πόσο κοστίζει η αποστολή;"),
        ("ar", "كم تكلفة الشحن؟"),
        ("hi", "पासवर्ड कैसे बदलें"),
        ("", "vitamin C 3.5"),
        ("", "{}[]();"),
        ("", ""),
    ],
)
def test_the_language_is_told(language: str, text: str) -> None:
    assert multilingual.language(text) == language


def test_code_in_a_text_without_common_words_has_no_language() -> None:
    code = 'curl https://example.test/v1 \\\n --header "x-api-key: $KEY" \\\n --data \'{"n": "\\n\\n"}\'\n' * 5
    assert multilingual.language(code) in {"", "en"}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("running shoes", "A shoe to run in."),
        ("Kündigungsfristen", "Die Kündigungsfrist beträgt drei Monate und ist in dem Vertrag genannt."),
        ("Verträge", "Der Vertrag ist von beiden zu unterschreiben."),
        ("bibliotheques", "La bibliothèque est ouverte tous les jours."),
        ("доставки", "Доставка бесплатна, когда заказ больше 5000 рублей."),
        ("IL6", "The level of IL-6 rose."),
        ("il-6", "The level of IL6 rose."),
        ("email", "Send us an e-mail."),
        ("maxtokens", "Set max_tokens to 100."),
        ("max tokens", "Set MAX_TOKENS to 100."),
        ("tokens", "The field max_tokens."),
        ("3.5", "gpt-3.5-turbo"),
        ("C++", "Written in C++ and Rust."),
        ("café", "The cafe is closed."),
        ("ｗｉｄｅ", "wide"),
        ("cooperation", "co\u00adopera\u00adtion"),
        ("1000", "1,000 rows"),
        ("l'eau", "Les eaux de la mer sont froides dans cette baie."),
        ("茶", "绿茶适合用八十度的水冲泡"),
        ("绿茶", "喝绿茶吧"),
        ("GPT-4模型", "这个模型叫GPT-4"),
        ("취소", "주문을 취소하려면 버튼을 누르세요"),
        ("รหัสผ่าน", "วิธีเปลี่ยนรหัสผ่านใหม่"),
        ("नमस्ते", "नमस्ते दुनिया"),
        ("the who", "The Who was a band."),
        ("to be or not to be", "Whether to be is the question."),
    ],
)
def test_a_query_finds_the_text(query: str, text: str) -> None:
    assert _finds(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [("3.5", "35 rows"), ("C++", "D is a letter"), ("绿茶", "红茶"), ("what is the heart", "This is the lung.")],
)
def test_a_query_does_not_find_the_text(query: str, text: str) -> None:
    assert not _finds(query, text)


def test_plain_keeps_endings_and_common_words() -> None:
    plain = analyzer(PLAIN)
    assert plain.terms("The Running shoes") == ["the", "running", "shoes"]
    assert plain.query_terms("the shoes, the SHOES") == ["the", "shoes"]


@any_analyzer
@given(text=texts)
def test_terms_are_bounded_and_without_white_space(each: Analyzer, text: str) -> None:
    for term in (*each.terms(text), *each.query_terms(text)):
        assert term
        assert term.split() == [term]
        assert len(term.encode()) <= MAX_TERM_BYTES


@any_analyzer
@given(word=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=60), around=texts)
def test_every_word_is_found_by_itself_whatever_stands_around_it(each: Analyzer, word: str, around: str) -> None:
    assert each.query_terms(word)
    assert set(each.query_terms(word)) & set(each.terms(f"{around} {word} {around}"[:60_000]))


@any_analyzer
@given(text=texts)
def test_width_and_case_make_no_difference(each: Analyzer, text: str) -> None:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert each.terms(folded) == each.terms(text)


@any_analyzer
@example(text="U:_")  # a stop word, and a sign without a term
@given(text=texts)
def test_a_query_has_terms_when_the_text_has_some(each: Analyzer, text: str) -> None:
    assert bool(each.query_terms(text)) == bool(each.terms(text))


@any_analyzer
@pytest.mark.parametrize(
    "piece",
    ["a", "_", "-", "a.", "1,", "'", "字", "か゛", "\u0301", "ﷺ", "\x00", "\u200b", "a-", "é", "c+", "ß ", "의", "İ"],
    ids=ascii,
)
def test_a_long_text_of_one_piece_takes_bounded_room(each: Analyzer, piece: str) -> None:
    hostile = piece * (1 << 18)
    terms = each.terms(hostile)
    assert len(" ".join(terms).encode()) <= MAX_BYTES
    assert len(each.query_terms(hostile)) <= MAX_QUERY_TERMS
    assert each.language(hostile) is not None


def test_a_text_of_many_words_fills_the_room_and_no_more() -> None:
    text = " ".join(f"名{number}éé" for number in range(60_000))
    terms = multilingual.terms(text)
    assert 0.9 * MAX_BYTES < len(" ".join(terms).encode()) <= MAX_BYTES
