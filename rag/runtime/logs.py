"""Structured logs: one line per event, for people or as JSON, with the request id and the trace of the call."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from rag.runtime import context

_MAX_CHARS = 400
_NOISY = ("pymilvus", "openai", "httpx", "httpx2", "httpcore2", "pypdf", "uvicorn.access", "trafilatura")


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module. Never give it texts of documents, prompts, answers or keys."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def configure(service: str, log_format: str, level: str) -> None:
    """Send all log lines of this process, those of libraries included, to standard error in one form."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_call,
        _bound,
        structlog.processors.EventRenamer("message") if log_format == "json" else _drop_module,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_render(log_format, service),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "pymilvus" else logging.WARNING)


def _render(log_format: str, service: str) -> list[Processor]:
    if log_format == "json":
        return [_add(service=service), structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=28,
            # The rich one shows local variables: texts and keys.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def _add(**fields: str) -> Processor:
    def processor(_logger: Any, _method: str, event: EventDict) -> EventDict:
        return {**event, **fields}

    return processor


def _drop_module(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event.pop("module", None)
    return event


def _bound(_logger: Any, _method: str, event: EventDict) -> EventDict:
    # What a peer or a library says of its failure may have many lines, or no end.
    return {
        key: " ".join(value.split())[:_MAX_CHARS] if isinstance(value, str) else value for key, value in event.items()
    }


def _add_call(_logger: Any, _method: str, event: EventDict) -> EventDict:
    try:
        call = context.current()
    except LookupError:
        return event
    event.setdefault("request_id", call.request_id)
    event.setdefault("tenant", call.tenant)
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(span.trace_id))
    return event
