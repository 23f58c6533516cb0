"""One manual through all answers: what the documentation shows."""

from __future__ import annotations

from typing import Any

ANSWER_ID = "ans_5f0c1d6a9b3e4c7d8a2b1f90"
_DOCUMENT_ID, _JOB_ID, _KEY_ID = (
    "doc_8c1a2f60d4e94b7790aa31c5",
    "job_2b7d90f1c3a84e55b6d01f3a",
    "key_7d1e3c5a9f2b4860c1d4e8f7",
)
_DAY, _LATER = "2026-11-21T09:30:00Z", "2026-11-21T09:30:04Z"
_QUESTION = "How do I rotate the keys?"
_QUOTE = "Add the new key, restart, then remove the old one."

DOCUMENT: dict[str, Any] = {
    "id": _DOCUMENT_ID,
    "version": 1,
    "name": "keys.pdf",
    "title": "Operating the gateway",
    "media_type": "application/pdf",
    "content_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 48211,
    "page_count": 12,
    "passage_count": 31,
    "metadata": {"team": "ops", "year": 2026},
    "created_at": _LATER,
    "updated_at": _LATER,
    "fingerprint": "",
}
DOCUMENTS = {"documents": [DOCUMENT], "next_page_token": ""}
PASSAGE: dict[str, Any] = {
    "id": "psg_41d0e2c8a6b34f1f9a7c5d20",
    "document_id": _DOCUMENT_ID,
    "version": 1,
    "ordinal": 7,
    "text": f"Rotate keys once a month. {_QUOTE}",
    "heading": "Security > Keys",
    "page": 3,
    "char_start": 5120,
    "char_end": 5196,
    "token_count": 19,
}
PASSAGES = {"passages": [PASSAGE], "next_page_token": ""}
JOB: dict[str, Any] = {
    "id": _JOB_ID,
    "document_id": _DOCUMENT_ID,
    "name": "keys.pdf",
    "state": "queued",
    "progress": None,
    "error": None,
    "attempts": 0,
    "document_version": 0,
    "size_bytes": 48211,
    "created_at": _DAY,
    "updated_at": _DAY,
    "finished_at": None,
    "unchanged": False,
}
CANCELLED_JOB = {**JOB, "state": "cancelled", "finished_at": _LATER}
JOBS = {"jobs": [JOB], "next_page_token": ""}
JOB_EVENTS = (
    'retry: 3000\n\nid: 1\nevent: job\ndata: {"sequence":1,"job":{"id":"ID","state":"running"}}\n\n'
    'id: 2\nevent: job\ndata: {"sequence":2,"job":{"id":"ID","state":"ready"}}\n\n'
).replace("ID", _JOB_ID)
_SOURCE = {"number": 1, "passage": PASSAGE, "title": "Operating the gateway", "score": 0.83}
_CITATION = {
    "number": 1,
    "passage_id": PASSAGE["id"],
    "page": 3,
    "char_start": 49,
    "char_end": 52,
    "quote": _QUOTE,
    "quote_start": 5146,
    "quote_end": 5196,
    "document_id": _DOCUMENT_ID,
    "version": 1,
    "support": 1.0,
}
ANSWER: dict[str, Any] = {
    "answer_id": ANSWER_ID,
    "answer": "Add the new key, restart, then remove the old one [1].",
    "citations": [_CITATION],
    "sources": [_SOURCE],
    "notices": [],
    "usage": {
        "input_tokens": 412,
        "output_tokens": 17,
        "cost_usd": 0.0002,
        "model": "gpt-4o-mini",
        "provider": "openai",
    },
    "finish_reason": "stop",
    "request_id": "req_0a1b2c3d4e5f60718293a4b5",
}
ANSWER_EVENTS = (
    'retry: 3000\n\nid: 1\nevent: accepted\ndata: {"answer_id":"ID"}\n\n'
    'id: 2\nevent: sources\ndata: {"sources":[]}\n\n'
    'id: 3\nevent: token\ndata: {"text":"Add the new key"}\n\n'
    'id: 4\nevent: usage\ndata: {"input_tokens":412}\n\n'
    'id: 5\nevent: done\ndata: {"finish_reason":"stop"}\n\n'
).replace("ID", ANSWER_ID)
HITS = {
    "hits": [
        {"rank": 1, "score": 0.83, "dense_score": 0.71, "keyword_score": 6.2, "passage": PASSAGE, "title": "Keys"}
    ],
    "summary": {"hits": 1, "dense_candidates": 50, "keyword_candidates": 12, "total_ms": 14.2, "notices": []},
}
_KEY: dict[str, Any] = {
    "id": _KEY_ID,
    "name": "chat front end",
    "scopes": ["query"],
    "created_at": _DAY,
    "expires_at": None,
    "revoked_at": None,
}
NEW_KEY = {"secret": "rmk_...", "key": _KEY}
KEYS = {"keys": [_KEY]}
REVOKED_KEY = {"key": {**_KEY, "revoked_at": _LATER}}
USAGE: dict[str, Any] = {
    "tenant": "acme",
    "day_started_at": "2026-11-21T00:00:00Z",
    "requests_today": {"used": 1250, "limit": None},
    "requests_per_minute": {"used": 3, "limit": 600},
    "streams": {"used": 1, "limit": 20},
    "tokens_today": {"used": 51230, "limit": 1000000},
    "cost_usd_today": {"used": 0.43, "limit": 10},
    "documents": {"used": 118, "limit": 10000},
    "stored_bytes": {"used": 73400320, "limit": None},
}
FEEDBACK = {
    "feedback": [
        {
            "answer_id": ANSWER_ID,
            "rating": "down",
            "comment": "The manual of 2024 says otherwise.",
            "question": _QUESTION,
            "document_ids": [_DOCUMENT_ID],
            "created_at": _LATER,
        }
    ],
    "next_page_token": "",
}
ERASED = {"answers": 42, "rankings": 130}
_LIVE = {
    "collection": "passages_3",
    "model": "all-MiniLM-L6-v2",
    "revision": "53aa5117",
    "dimension": 384,
    "analyzer": "multilingual",
    "rows": 3120,
    "live_at": _DAY,
    "drop_at": None,
}
INDEX: dict[str, Any] = {"live": _LIVE, "building": None, "retired": [], "documents": 118, "passages": 3120}
REBUILD_EVENTS = (
    'retry: 3000\n\nid: 1\nevent: progress\ndata: {"stage":"copying","documents_done":40,"documents_total":118}\n\n'
    'id: 2\nevent: comparison\ndata: {"queries":50,"overlap_at_5":0.96}\n\n'
    'id: 3\nevent: result\ndata: {"switched":true,"reason":"","message":"The new index is live."}\n\n'
)
EVENTS = {"answer": ANSWER_EVENTS, "job": JOB_EVENTS, "rebuild": REBUILD_EVENTS}
HEALTH = {"status": "alive"}
READY: dict[str, Any] = {
    "status": "ready",
    "services": dict.fromkeys(("gateway", "embedder", "retriever", "generator", "ingestor"), "serving"),
}
NOT_READY: dict[str, Any] = {"status": "not_ready", "services": {**READY["services"], "generator": "not_serving"}}
