"""A server-sent-events parser after the letter of the HTML standard."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass
class Event:
    name: str
    data: Any
    id: str | None


def parse(content: bytes) -> list[Event]:
    """Return the events of a whole stream; what follows the last blank line is no event."""
    events: list[Event] = []
    name, data, event_id = "message", [], None
    for line in re.split("\r\n|\n|\r", content.decode())[:-1]:
        if not line:
            if data:
                events.append(Event(name, json.loads("\n".join(data)), event_id))
            name, data, event_id = "message", [], None
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)
        elif key == "id":
            event_id = value
    return events
