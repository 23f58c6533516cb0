"""How texts become the terms of the keyword leg. Part of an index's identity: another analysis needs another index."""

from __future__ import annotations

from services.retriever.analysis.terms import Analyzer, analyzer

MULTILINGUAL = "multilingual"
PLAIN = "plain"

__all__ = ["MULTILINGUAL", "PLAIN", "Analyzer", "analyzer"]
