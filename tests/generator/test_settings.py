from __future__ import annotations

import pytest

from rag.runtime.settings import SettingsError, load
from services.generator.settings import GeneratorSettings


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
