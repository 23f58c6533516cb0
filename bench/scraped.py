"""The counters of running services, as their /metrics tell them."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The samples of one service at one moment, by name and labels."""

    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, its), value in self.values.items() if found == name and wanted <= its)

    def since(self, before: Sample) -> Sample:
        """What was added after another sample."""
        return Sample({key: value - before.values.get(key, 0.0) for key, value in self.values.items()})


def scrape(port: int) -> Sample:
    """Read the metrics of the service whose metrics port this is."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return Sample(
            {(one.name, frozenset(one.labels.items())): one.value for each in families for one in each.samples}
        )
