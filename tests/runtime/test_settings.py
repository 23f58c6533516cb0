from __future__ import annotations

import pytest

from rag.runtime.settings import SettingsError, SharedSettings, load, variables
from services.tree import SERVICES, TreeSettings, settings_of

KINDS = [
    TreeSettings,
    *(settings_of(name) for name in SERVICES),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_has_a_default_and_a_sentence(kind: type[SharedSettings]) -> None:
    for name, field in kind.model_fields.items():
        assert not field.is_required(), name
        assert (field.description or "").rstrip().endswith("."), name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_numbers_of_time_and_size_name_their_unit(kind: type[SharedSettings]) -> None:
    for name, field in kind.model_fields.items():
        if field.annotation is float:
            unit = name.removesuffix("_per_day").rsplit("_", 1)[-1]
            assert unit in {"s", "ms", "usd", "score", "temperature", "threshold", "rate", "share"}, name


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDER_PORT", "seven")
    monkeypatch.setenv("RAG_LOG_FORMAT", "xml")
    with pytest.raises(SettingsError) as raised:
        load(KINDS[1])
    assert "EMBEDDER_PORT: " in str(raised.value)
    assert "RAG_LOG_FORMAT: " in str(raised.value)


def test_a_variable_belongs_to_one_service_or_is_shared_with_the_same_default() -> None:
    defaults: dict[str, object] = {}
    for kind in KINDS[1:]:
        for name, variable in variables(kind).items():
            assert defaults.setdefault(variable, kind.model_fields[name].default) == kind.model_fields[name].default, (
                variable
            )


def test_settings_that_do_not_fit_together_are_named_and_their_values_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENERATOR_PROVIDER", "openai")
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1")
    with pytest.raises(SettingsError) as raised:
        load(next(kind for kind in KINDS if kind.__name__ == "GeneratorSettings"))
    assert "OPENAI_API_KEY" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("variable", ["RAG_MESH_SECRET", "RAG_KEY_PEPPER", "GATEWAY_JWT_SECRET"])
def test_a_secret_that_can_be_guessed_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv("GATEWAY_JWT_ISSUER", "issuer")
    monkeypatch.setenv("GATEWAY_JWT_AUDIENCE", "audience")
    for secret in ("", "s" * 32, "\u00e9" * 16):
        monkeypatch.setenv(variable, secret)
        load(settings_of("gateway"))
    monkeypatch.setenv(variable, "s" * 31)
    with pytest.raises(SettingsError, match=f"^{variable}: .*32 bytes") as raised:
        load(settings_of("gateway"))
    assert "sss" not in str(raised.value)
