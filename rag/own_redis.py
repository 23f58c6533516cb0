"""Where the Redis is that ragmesh starts for itself: in the data folder, behind a socket that only its user may open."""

from __future__ import annotations

from pathlib import Path

SOCKET = "redis.sock"


def folder_of(data_dir: Path) -> Path:
    """Return the folder of its files and its socket."""
    return data_dir / "redis"


def socket_of(data_dir: Path) -> Path:
    """Return its socket."""
    return folder_of(data_dir) / SOCKET


def url_of(data_dir: Path) -> str:
    """Return what a client is opened with."""
    return f"unix://{socket_of(data_dir)}"
