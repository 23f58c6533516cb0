"""Which questions may share an answer, by their words alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.generator.caching.guards.inflection import lemma
from services.generator.caching.guards.objections import Objection, objection

PAIRS = Path(__file__).resolve().parents[2] / "examples" / "eval" / "questions" / "pairs.jsonl"
QUESTIONS = tuple(
    question
    for line in PAIRS.read_text(encoding="utf-8").splitlines()[::9]
    for question in (json.loads(line)["a"], json.loads(line)["b"])
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I restart the worker?", "can you tell me how to restart the worker please"),
        ("What's the default port of the gateway?", "What is the gateway's default port?"),
        ("Who signed the contract?", "By whom was the contract signed?"),
        ("Does the retriever own the index?", "Is the index owned by the retriever?"),
        ("How many days of leave do I get?", "How many leave days do I get?"),
        ("What changed in Q2 2023?", "What changed in the second quarter of 2023?"),
        ("How is a loan of $1,000,000 taxed?", "How is a loan of $1000000 taxed?"),
        ("When is the fee of $10k due?", "When is the fee of $10,000 due?"),
        ("What did 1.5 million shares cost?", "What did 1500000 shares cost?"),
        ("What happens after twenty-five days?", "What happens after 25 days?"),
        ("How do I set a timeout of thirty seconds?", "How do I set a timeout of 30 seconds?"),
        ("How do I delete a document?", "How can I remove documents?"),
        ("Where is the log file?", "Where is the logfile?"),
        ("How do I turn on the light?", "How do I enable the light?"),
        ("Wo steht die Nummer?", "wo steht die nummer"),
        ("Comment puis-je annuler ?", "Comment faire pour annuler ?"),
        ("What is the way to rotate the key?", "Rotate the key: how?"),
        ("Steps to rotate the key", "I want to rotate the key. How do I do that?"),
        ("What is the procedure for rotating the key?", "How can one rotate the key?"),
        ("Is it allowed to smoke on the roof?", "May I smoke on the roof?"),
        ("Do I have to wear a helmet?", "Is it mandatory to wear a helmet?"),
        ("Whose job is the budget?", "Who is in charge of the budget?"),
        ("At what time does the canteen open?", "When does the canteen open?"),
        ("What does the badge cost?", "How much is the cost of the badge?"),
        ("If I lose the badge, what should I do?", "What am I supposed to do in case I lose the badge?"),
        ("How do I turn the light off?", "How do I deactivate the light?"),
        ("Has the invoice been paid?", "Was the invoice paid?"),
        ("When must the filter be cleaned?", "When do I have to clean the filter?"),
        ("How long is the notice period?", "What is the notice period?"),
        ("Who approves the purchase?", "By whom is the approval of the purchase?"),
        ("Is the office closed on 3rd of March, 2024?", "Is the office closed on March 3, 2024?"),
        ("Is the office open on 2024-03-05?", "Is the office open on 5 March 2024?"),
        ("Does the train leave at 5 pm?", "Does the train leave at 17:00?"),
        ("Does a file of 5 GB fit?", "Does a file of 5 gigabytes fit?"),
        ("How do I change the configuration?", "How do I change the configuraiton?"),
        ("Is a visa required for Japan?", "Is a visa necessary for Japan?"),
        ("How do you reset your key?", "How do I reset my key?"),
    ],
)
def test_the_same_in_other_words(one: str, other: str) -> None:
    assert objection(one, other) is None


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("What was the revenue in 2022?", "What was the revenue in 2023?", Objection.NUMBER),
        ("Is a load of 5 mW fine?", "Is a load of 5 MW fine?", Objection.WORD),
        ("Is a load of 20 degrees fine?", "Is a load of -20 degrees fine?", Objection.NUMBER),
        ("Which files are saved?", "Which files are not saved?", Objection.NEGATION),
        ("Which files are saved?", "Which files aren't saved?", Objection.NEGATION),
        ("Is overtime paid in the company?", "Is overtime unpaid in the company?", Objection.WORD),
        ("How do I enable the light?", "How do I turn off the light?", Objection.WORD),
        ("Who is the employer?", "Who is the employee?", Objection.WORD),
        ("Who signs the contract?", "When is the contract signed?", Objection.ASKED),
        ("How many pumps are there?", "How long are the pumps?", Objection.ASKED),
        ("Can I cancel the order?", "How do I cancel the order?", Objection.ASKED),
        ("Who can open the safe?", "Who must open the safe?", Objection.ASKED),
        ("Who is the chairman?", "Who was the chairman?", Objection.TIME),
        ("How do I move from Redis to Postgres?", "How do I move from Postgres to Redis?", Objection.ORDER),
        ("Does the generator call the retriever?", "Does the retriever call the generator?", Objection.ORDER),
        ("Does the generator call the retriever?", "Is the generator called by the retriever?", Objection.ORDER),
        ("Do I owe you money or the like, who knows?", "Do you owe me money or the like, who knows?", Objection.ORDER),
        ("How do I report to the board?", "How do I report on the board?", Objection.ORDER),
        ("How do I pay with the card?", "How do I pay for the card?", Objection.ORDER),
        ("What is paid by the bank?", "What is paid to the bank?", Objection.ORDER),
        ("How do I delete files?", "How do I delete old files?", Objection.WORD),
        ("What does the IT team do?", "What does the team do?", Objection.WORD),
        ("What is a webhook?", "What is a webhook for?", Objection.WORD),
        ("Wie hoch ist der Wert?", "Wie hoch ist der Preis?", Objection.WORD),
        ("Is smoking allowed?", "Is smoking prohibited?", Objection.WORD),
        ("What causes outages?", "What do outages cause?", Objection.WORD),
        ("Can I see Peter's salary?", "Can Peter see my salary?", Objection.ORDER),
        ("When do I pay you?", "When do you pay me?", Objection.ORDER),
        ("Is the file mine?", "Is the file yours?", Objection.ORDER),
        ("Who do I report?", "Who do I report to?", Objection.WORD),
        ("What do I pay?", "What will I pay?", Objection.TIME),
        ("What has she paid?", "What does she pay?", Objection.TIME),
        ("What is 5 pm in Tokyo?", "What is 5 am in Tokyo?", Objection.NUMBER),
        ("Is it due on 2024-03-05?", "Is it due on 2024-05-03?", Objection.NUMBER),
        ("How does the infection spread?", "How does the injection spread?", Objection.WORD),
        ("Does Hansen pay?", "Does Hanson pay?", Objection.WORD),
        ("如何启用自动备份？", "如何禁用自动备份？", Objection.WORD),
    ],
)
def test_what_differs_objects(one: str, other: str, why: Objection) -> None:
    assert objection(one, other) is why
    assert objection(other, one) is why


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_like_itself(question: str) -> None:
    assert objection(question, question) is None
    assert objection(question, f"  {question.replace(' ', '  ')} ") is None


def test_no_labelled_near_miss_passes() -> None:
    pairs = [json.loads(line) for line in PAIRS.read_text().splitlines()]
    passed = [pair["id"] for pair in pairs if not pair["same"] and objection(pair["a"], pair["b"]) is None]
    assert not passed


words = st.text(st.characters(codec="utf-8"), max_size=60)


@given(words, words)
def test_any_two_texts_can_be_compared_either_way(one: str, other: str) -> None:
    assert objection(one, other) is objection(other, one)
    assert objection(one, one) is None


@given(
    st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["What is {} about?", "When is the fee of ${} due?"])
)
def test_another_number_always_objects(one: int, other: int, question: str) -> None:
    assume(one != other)
    assert objection(question.format(one), question.format(other)) is not None
    assert objection(question.format(f"{one:,}"), question.format(one)) is None


@given(st.from_regex(r"[a-z]{3,12}", fullmatch=True), st.sampled_from(QUESTIONS))
def test_a_word_more_objects(word: str, question: str) -> None:
    name = f"{word}_x"
    assert objection(question, f"{question} {name}") is not None


@pytest.mark.parametrize(
    "forms",
    [
        "store stores stored storing",
        "delete deletes deleted deleting",
        "plan plans planned planning",
        "open opens opened opening",
        "merge merges merged merging",
        "copy copies copied copying",
        "box boxes boxed",
        "write wrote written writing",
        "use used using uses",
        "limit limits limited",
        "pass passes passed",
    ],
)
def test_forms_of_a_word_are_one(forms: str) -> None:
    assert len({lemma(form) for form in forms.split()}) == 1


@pytest.mark.parametrize(
    "other", ["employer employee", "import important", "plan plane", "car care", "policy police", "file fill"]
)
def test_other_words_stay_others(other: str) -> None:
    one, another = other.split()
    assert lemma(one) != lemma(another)
