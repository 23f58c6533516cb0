from __future__ import annotations

import pytest

from rag.runtime.errors import RagError
from rag.runtime.loopback import is_loopback
from rag.runtime.settings import SettingsError, load
from services.gateway.settings import GatewaySettings
from services.gateway.wiring import wire


@pytest.mark.parametrize("name", ["GATEWAY_HOST", "GATEWAY_HTTP_HOST"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_an_address_others_reach_is_refused_while_nobody_is_asked_who_they_are(monkeypatch, name, host):
    monkeypatch.setenv(name, host)
    assert host in {load(GatewaySettings).host, load(GatewaySettings).http_host}

    monkeypatch.setenv("GATEWAY_AUTH", "off")
    with pytest.raises(SettingsError, match=f"{name}.*GATEWAY_AUTH"):
        load(GatewaySettings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "[::1]", "localhost", "unix:/run/x"])
def test_addresses_of_this_machine_need_no_permission(host):
    assert is_loopback(host)


async def test_a_port_in_use_is_said_at_once(gateway):
    with pytest.raises(RagError, match="GATEWAY_HTTP_PORT") as caught:
        async with wire(GatewaySettings(http_port=gateway.http_port)):
            pass
    assert caught.value.reason == "PORT_IN_USE"
