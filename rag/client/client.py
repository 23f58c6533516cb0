"""RagClient: one method per thing that ragmesh can be asked for, and one module per service that is asked."""

from __future__ import annotations

from rag.client.answers import Answers
from rag.client.documents import Documents
from rag.client.jobs import Jobs
from rag.client.tenant import Tenant


class RagClient(Answers, Documents, Jobs, Tenant):
    """A connection to a gateway. Open it with `async with` in the event loop that uses it; many tasks may share it.

    What changes nothing, or comes to the same when done twice, is repeated while the gateway is away: up to four times within
    two seconds. An upload is repeated too, under one request id. All else is sent once. An answer that has begun is never
    repeated. See `Connection` for the arguments.
    """
