"""The typed async client of ragmesh, for other Python backends.

    async with RagClient("https://rag.example.org", key) as rag:
        job = await rag.ingest(Path("report.pdf"))
        async for event in rag.watch(job.id):
            print(event.job.state)
        async for event in rag.ask("What does the report conclude?"):
            print(event.token.text, end="")

Every method raises the errors of `rag.runtime.errors`. docs/guides/client.md shows more.
"""

from __future__ import annotations

from rag.client.client import RagClient

__all__ = ["RagClient"]
