"""The process that reads documents: `python -m services.ingestor.readers`, with a control socket as standard input."""

from __future__ import annotations

import socket
import sys

from services.ingestor.readers.server import serve

if __name__ == "__main__":
    serve(socket.socket(fileno=sys.stdin.fileno()))
