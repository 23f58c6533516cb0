"""What the gateway does to the libraries it stands on."""

from __future__ import annotations
