"""The description of the REST door against the door itself: what is described is what happens, also for what nobody would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from redis.asyncio import Redis
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.owning import Owned, open_owned

EXAMPLES = 6
CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_headers_conformance, response_schema_conformance),
]
_UNDECIDED = {"submitDocument"}
"""Takes any bytes: nothing that is sent is wrong for sure."""


@pytest.fixture
async def owned(redis: Redis, tenant: str) -> AsyncIterator[Owned]:
    async with open_owned(redis, tenant) as opened:
        yield opened


def conform(spec: dict[str, Any], base_url: str, mode: GenerationMode) -> tuple[set[str], list[str]]:
    """Send examples to every operation; return those that were tried, and what was not as described."""
    tried, wrong = set(), []
    for found in schemathesis.openapi.from_dict(spec).get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        tried.add(name)
        if mode is GenerationMode.NEGATIVE and not _can_be_wrong(operation.definition.raw):
            continue
        try:
            _conforms(operation, base_url, mode, is_decided=name not in _UNDECIDED)
        except (Exception, FailureGroup) as error:  # noqa: BLE001 - all of them are told together
            wrong.append(f"{name}: {[str(one) for one in getattr(error, 'exceptions', [error])]}")
    return tried, wrong


def _can_be_wrong(operation: dict[str, Any]) -> bool:
    """Tell whether something that is sent can break the description: any text may stand in a path or a header."""
    return "requestBody" in operation or any(one["in"] == "query" for one in operation.get("parameters", ()))


def _conforms(operation: Any, base_url: str, mode: GenerationMode, *, is_decided: bool) -> None:
    checks = [*CHECKS, negative_data_rejection] if is_decided and mode is GenerationMode.NEGATIVE else CHECKS

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        case.call_and_validate(base_url=base_url, checks=checks, timeout=20)

    check()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
async def test_what_is_described_is_what_happens(owned: Owned, mode: GenerationMode) -> None:
    spec = (await owned.http.get("/openapi.json")).json()
    for path in spec["paths"].values():
        for operation in path.values():
            operation["security"] = []  # here everybody is let in
    tried, wrong = await asyncio.to_thread(conform, spec, str(owned.http.base_url), mode)
    assert not wrong, "\n\n".join(wrong)
    described = {operation["operationId"] for path in spec["paths"].values() for operation in path.values()}
    assert tried == described
