"""What a service needs to be a service: settings, server, health, errors, channels, Redis, logs, metrics, traces."""

from __future__ import annotations
