from __future__ import annotations

import json

import pytest

from rag.runtime.settings import SettingsError, load
from services.generator.settings import GeneratorSettings
from services.generator.writing.pricing import Price


@pytest.mark.parametrize(
    ("variables", "uses_model"),
    [
        ({}, False),
        ({"OPENAI_API_KEY": "sk"}, True),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, True),
        ({"OPENAI_API_KEY": "sk", "GENERATOR_PROVIDER": "extractive"}, False),
        ({"OPENAI_API_KEY": "sk", "GENERATOR_PROVIDER": "openai"}, True),
    ],
)
def test_a_model_is_used_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], uses_model: bool
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GENERATOR_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(GeneratorSettings).uses_model() is uses_model


def test_a_model_without_an_endpoint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("GENERATOR_PROVIDER", "openai")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY or OPENAI_BASE_URL"):
        load(GeneratorSettings)


def test_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in repr(load(GeneratorSettings))


SECOND = {"name": "second", "base_url": "http://127.0.0.1:1/v1", "api_key": "sk-secret", "model": "m"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("GENERATOR_PROVIDER", raising=False)


@pytest.mark.usefixtures("endpoint")
def test_fallbacks_come_after_the_first_model_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    third = {"name": "3-rd_one", "base_url": "", "model": "m3"}
    monkeypatch.setenv("GENERATOR_FALLBACKS", json.dumps([SECOND, third]))
    settings = load(GeneratorSettings)
    assert [(one.name, one.base_url, one.model) for one in settings.endpoints()] == [
        ("openai", "", "gpt-4o-mini"),
        ("second", "http://127.0.0.1:1/v1", "m"),
        ("3-rd_one", "", "m3"),
    ]
    assert settings.endpoints()[1].api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    "fallbacks",
    [
        '[{"name": "second", "api_key": "sk-secret"',
        '{"name": "sk-secret"}',
        '"sk-secret"',
        '["sk-secret"]',
        json.dumps([SECOND, SECOND]),
        json.dumps([{**SECOND, "name": "openai"}]),
        json.dumps([{**SECOND, "name": "extractive"}]),
        json.dumps([{**SECOND, "name": "Second"}]),
        json.dumps([{**SECOND, "name": "s" * 33}]),
        json.dumps([{**SECOND, "base_url": "sk-secret"}]),
        json.dumps([{**SECOND, "model": ""}]),
        json.dumps([{**SECOND, "api_key": ["sk-secret"]}]),
        json.dumps([{**SECOND, "sk-secret": 1}]),
    ],
)
def test_a_wrong_fallback_names_its_variable_and_shows_no_key(monkeypatch: pytest.MonkeyPatch, fallbacks: str) -> None:
    monkeypatch.setenv("GENERATOR_FALLBACKS", fallbacks)
    with pytest.raises(SettingsError, match=r"^GENERATOR_FALLBACKS: ") as caught:
        load(GeneratorSettings)
    assert "sk-secret" not in str(caught.value)


def test_fallbacks_need_a_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GENERATOR_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GENERATOR_FALLBACKS", json.dumps([SECOND]))
    with pytest.raises(SettingsError, match="GENERATOR_FALLBACKS needs OPENAI_API_KEY"):
        load(GeneratorSettings)


def test_prices_are_read_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_PRICES", '{"a/b:c": {"input": 1, "output": 2.5, "cached_input": 0.5}}')
    assert load(GeneratorSettings).prices == {"a/b:c": Price(1.0, 2.5, 0.5)}


@pytest.mark.parametrize(
    "prices",
    [
        "no",
        "[]",
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": NaN, "output": 1}}',
        '{"m": {"input": 1, "output": 1, "cached": 1}}',
    ],
)
def test_wrong_prices_name_their_variable(monkeypatch: pytest.MonkeyPatch, prices: str) -> None:
    monkeypatch.setenv("GENERATOR_PRICES", prices)
    with pytest.raises(SettingsError, match=r"^GENERATOR_PRICES: "):
        load(GeneratorSettings)
