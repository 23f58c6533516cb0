"""The data of a stream of server-sent events, put together from the pieces in which the network brings it."""

from __future__ import annotations

_LONGEST_EVENT = 1_048_576


class OpenAILines:
    """Splits bytes into the data of events, wherever they are cut.

    Lines end with LF or CRLF. What is no data is left out, and so is the `[DONE]` of chat completions.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that are whole now, in order.

        Raises:
            ValueError: for an event longer than a mebibyte.
        """
        text = self._rest + piece if self._rest else piece
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        events: list[bytes] = []
        for line in text[:end].splitlines():
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
            elif not line and self._data:
                data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                self._data, self._size = [], 0
                if data != b"[DONE]":
                    events.append(data)
        if len(self._rest) + self._size > _LONGEST_EVENT:
            raise ValueError("an event without an end")
        return events
