"""Measuring retrieval with labelled questions: datasets, figures, runs, and how two runs differ."""

from __future__ import annotations
