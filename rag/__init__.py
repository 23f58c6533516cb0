"""What all services share: the contract, the runtime, the client and the command line."""

from __future__ import annotations
