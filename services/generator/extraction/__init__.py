"""Answers without a model: the sentences of the sources that answer a question."""

from __future__ import annotations
