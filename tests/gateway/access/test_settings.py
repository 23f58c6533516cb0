"""Settings that would let in who does not belong are refused by name."""

from __future__ import annotations

import pytest

from rag.runtime.settings import SettingsError, load
from services.gateway.settings import GatewaySettings

FOR_US = {"GATEWAY_JWT_ISSUER": "https://id.test/", "GATEWAY_JWT_AUDIENCE": "ragmesh"}
GOOD = [
    {},
    {"GATEWAY_JWT_SECRET": "s" * 32, **FOR_US},
    {"GATEWAY_JWT_JWKS_URL": "https://id.test/keys", **FOR_US},
    {"GATEWAY_JWT_JWKS_URL": "http://127.0.0.1:9/keys", **FOR_US},
    {"GATEWAY_JWT_JWKS_FILE": "keys.json", "GATEWAY_JWT_ALGORITHM": "ES256", **FOR_US},
    {"RAG_KEY_PEPPER": "p" * 32},
]
BAD = [
    ({"GATEWAY_JWT_SECRET": "s" * 31, **FOR_US}, "GATEWAY_JWT_SECRET.*32 bytes"),
    ({"GATEWAY_JWT_SECRET": "s" * 32}, "GATEWAY_JWT_ISSUER and GATEWAY_JWT_AUDIENCE"),
    (
        {"GATEWAY_JWT_JWKS_URL": "https://id.test/keys", "GATEWAY_JWT_ISSUER": "x"},
        "^GATEWAY_JWT_AUDIENCE|, GATEWAY_JWT_AUDIENCE",
    ),
    ({"GATEWAY_JWT_JWKS_FILE": "keys.json", "GATEWAY_JWT_AUDIENCE": "x"}, "GATEWAY_JWT_ISSUER must"),
    ({"GATEWAY_JWT_JWKS_URL": "http://id.test/keys", **FOR_US}, "GATEWAY_JWT_JWKS_URL.*https"),
    ({"GATEWAY_JWT_JWKS_URL": "file:///etc/passwd", **FOR_US}, "GATEWAY_JWT_JWKS_URL.*https"),
    ({"GATEWAY_JWT_JWKS_URL": "keys", **FOR_US}, "GATEWAY_JWT_JWKS_URL.*https"),
    (
        {"GATEWAY_JWT_SECRET": "s" * 32, "GATEWAY_JWT_JWKS_FILE": "k", **FOR_US},
        "GATEWAY_JWT_SECRET and GATEWAY_JWT_JWKS_FILE",
    ),
    ({"GATEWAY_JWT_SECRET": "s" * 32, "RAG_MESH_SECRET": "s" * 32, **FOR_US}, "GATEWAY_JWT_SECRET.*RAG_MESH_SECRET"),
    ({"GATEWAY_JWT_ALGORITHM": "HS256"}, "GATEWAY_JWT_ALGORITHM"),
    ({"GATEWAY_JWT_ALGORITHM": "none"}, "GATEWAY_JWT_ALGORITHM"),
    ({"GATEWAY_BAD_CREDENTIALS_PER_MIN": "0"}, "GATEWAY_BAD_CREDENTIALS_PER_MIN"),
    ({"RAG_KEY_PEPPER": "p" * 31}, "RAG_KEY_PEPPER.*32 bytes"),
]


@pytest.mark.parametrize("variables", GOOD)
def test_what_is_taken(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load(GatewaySettings).auth == "on"


@pytest.mark.parametrize(("variables", "names"), BAD)
def test_what_is_refused(monkeypatch, variables, names):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=names) as caught:
        load(GatewaySettings)
    assert "sss" not in str(caught.value)
    assert "ppp" not in str(caught.value)


def test_no_secret_is_shown():
    settings = GatewaySettings(jwt_secret="s" * 32, jwt_issuer="i", jwt_audience="a", key_pepper="p" * 32)
    assert "sss" not in repr(settings)
    assert "ppp" not in repr(settings)
