"""What a model is given: templates, passages, history, all within a budget of tokens."""

from __future__ import annotations
