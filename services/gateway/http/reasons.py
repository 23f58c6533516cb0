"""The reasons of errors, as the documentation lists them: the status that each comes with, and what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_TABLE: Mapping[int, Mapping[str, str]] = {
    400: {
        "URLS_DISABLED": "this server fetches nothing from the web",
        "INVALID": "the body or a parameter does not have the form that is described here; `errors` names the fields",
        "BAD_ACTION": "no such action",
        "BAD_ANALYZER": "no such analyzer",
        "BAD_FILTER": "the filter is not valid",
        "BAD_FORM": "the form is not valid or breaks off",
        "BAD_HEADER": "a header is empty or no UTF-8",
        "BAD_ID": "an id is 1 to 64 letters, digits, underscores or hyphens",
        "BAD_KEY_NAME": "a key's name is 1 to 100 characters",
        "BAD_LAST_EVENT_ID": "Last-Event-ID is no id of an event of a job",
        "BAD_MAX_TOKENS": "max_tokens is out of range",
        "BAD_MEDIA_TYPE": "the media type is malformed",
        "BAD_MIN_SCORE": "min_score is out of range",
        "BAD_NAME": "the file's name is not usable",
        "BAD_OVERLAP": "min_overlap is not from 0 to 1",
        "BAD_PAGE_SIZE": "page_size is negative",
        "BAD_PAGE_TOKEN": "page_token is not one that this server gave out",
        "BAD_PASSWORD": "the password is too long",
        "BAD_PRECISION_LOSS": "max_precision_loss is not from 0 to 1",
        "BAD_QUERIES": "the labelled queries are too many or not valid",
        "BAD_REQUEST_ID": "the idempotency key is not usable",
        "BAD_SCOPES": "scopes are one or more of query, ingest, admin",
        "BAD_STATE": "no such state",
        "BAD_TEMPERATURE": "temperature is out of range",
        "BAD_TITLE": "the title is too long",
        "BAD_TOP_K": "top_k is out of range",
        "BAD_TTL": "ttl_s is negative or too long",
        "BAD_URL": "the URL is malformed",
        "COMMENT_TOO_LONG": "comment is longer than 2,000 characters",
        "DOCUMENT_ID_TWICE": "one document_id for two files",
        "EMPTY_FILE": "the file has no bytes",
        "EMPTY_TEXT": "a text to embed has no words",
        "EMPTY_QUERY": "the query has no words",
        "EMPTY_QUESTION": "the question has no words",
        "EMPTY_TURN": "a turn of the conversation is empty",
        "FIELD_AFTER_FILE": "a field of the form stands after the last file",
        "HISTORY_TOO_LONG": "the conversation is too long",
        "INDEX_ON_SERVER": "not with an index on a server",
        "JOB_FINISHED": "the job is finished",
        "JOB_NOT_RETRYABLE": "only jobs that failed or are dead can be retried",
        "MODEL_MISMATCH": "the index was made by another model; keyword search works",
        "NO_FILE": "the form has no part named file",
        "NO_INDEX": "there is no index yet",
        "NO_NAME": "the file has no name",
        "NO_TEXTS": "there is no text to embed",
        "NOT_NEEDED": "the new index would be like the live one; `force` builds it all the same",
        "PASSWORD_IN_URL": "a password must not stand in a URL",
        "QUERY_TOO_LONG": "the query is too long",
        "QUESTION_TOO_LONG": "the question is too long",
        "TOO_MANY_KEYS": "the tenant has as many keys as it may",
        "PEPPER_DIFFERS": "this gateway hashes keys with another pepper than they were made with",
        "TEXTS_TOO_LARGE": "the texts to embed are too large together",
        "TOO_MANY_TEXTS": "too many texts to embed",
        "TOO_MANY_TURNS": "the conversation has too many turns",
        "TURN_TOO_LONG": "a turn of the conversation is too long",
        "UNSUPPORTED_PARAMETER": "a parameter that would have to change the answer and cannot",
        "UNSUPPORTED_TYPE": "documents of this type are not taken",
        "UNSUPPORTED_VALUE": "a value that the model cannot do",
        "UPLOAD_MISSING": "the job's upload is gone",
        "URL_BAD_ANSWER": "the web server did not give a document",
        "URL_NOT_FOUND": "nothing is at the URL",
    },
    401: {
        "NO_CREDENTIAL": "no Authorization header",
        "BAD_SCHEME": "the Authorization header does not begin with Bearer",
        "BAD_CREDENTIAL": "an unknown, revoked or expired key",
        "KEY_MALFORMED": "the key was not copied whole",
        "CREDENTIAL_TOO_LONG": "too long for a credential",
        "TOKEN_INVALID": "the token is not one of ours",
        "TOKEN_EXPIRED": "the token's time is over",
        "TOKEN_NOT_YET_VALID": "the token's time has not come",
        "TOKEN_CLAIMS": "the token lacks a claim, or has a wrong one",
        "TOKENS_NOT_TAKEN": "this server takes keys only",
    },
    403: {
        "URL_NOT_ALLOWED": "the URL leads to an address that is not public",
        "SCOPE_MISSING": "the credential lacks the scope",
        "HOST_NOT_LOCAL": "without authentication only this machine's own names are answered",
        "CROSS_SITE": "without authentication no other site may change anything",
    },
    404: {
        "NO_RETIRED_INDEX": "there is no index to roll back to",
        "NO_REBUILD": "no index is being built",
        "ANSWER_NOT_FOUND": "no such answer in the last 30 days",
        "DOCUMENT_NOT_FOUND": "no such document",
        "JOB_NOT_FOUND": "no such job",
        "KEY_NOT_FOUND": "no such key",
        "MODEL_NOT_FOUND": "no such model",
    },
    408: {"BODY_TIMEOUT": "the body did not arrive in time"},
    409: {
        "DOCUMENT_CHANGED": "the document changed meanwhile; ask again",
        "DOCUMENT_RESTLESS": "the document is being written all the time; try again",
        "IDEMPOTENCY_KEY_REUSED": "the idempotency key came with other content before",
        "INDEX_SWITCHED": "another index came into use meanwhile; ask again",
        "JOB_CHANGED": "the job changed meanwhile; ask again",
        "REBUILD_RUNNING": "another index is being built",
    },
    413: {
        "BODY_TOO_LARGE": "the body is larger than this server takes",
        "FORM_TOO_LARGE": "the files of the form are too large together",
        "TOO_MANY_FILES": "the form has too many files",
        "UPLOAD_TOO_LARGE": "the document is too large",
    },
    415: {"UNSUPPORTED_MEDIA_TYPE": "the body must be application/json"},
    429: {
        "RATE_LIMITED": "more requests than the tenant may send",
        "TOO_MANY_STREAMS": "more streams at once than the tenant may open",
        "TOO_MANY_CALLS": "the server has as much to do as it can",
        "TOO_MANY_WAITING": "too many answers wait for the language model",
        "TOO_MANY_BAD_CREDENTIALS": "too many wrong credentials from this address",
        "TOKENS_SPENT": "the tenant's tokens of this day are spent",
        "COST_SPENT": "the tenant's money of this day is spent",
        "QUOTA_DOCUMENTS": "the tenant stores as many documents as it may",
        "QUOTA_BYTES": "the tenant stores as many bytes as it may",
        "QUEUE_FULL": "too many jobs wait",
        "TOO_MANY_WATCHERS": "too many watch jobs",
        "EMBEDDER_BUSY": "too many texts wait for their vectors",
    },
    500: {
        "INTERNAL": "an error of ours",
        "ANSWER_INCOMPLETE": "the answer broke off",
        "BAD_EMBEDDING": "the embedder's vectors do not fit the texts",
        "SEARCH_INCOMPLETE": "the search broke off",
    },
    503: {
        "JOB_RESTLESS": "the job is being changed all the time; try again",
        "CANCEL_PENDING": "the job is being cancelled",
        "URL_UNREACHABLE": "the web server cannot be reached",
        "AUTH_UNAVAILABLE": "credentials cannot be checked now",
        "BLOBS_UNAVAILABLE": "uploads cannot be stored now",
        "CACHE_UNAVAILABLE": "the cache cannot be reached",
        "CATALOGUE_UNAVAILABLE": "the catalogue cannot be reached",
        "EMBEDDER_UNAVAILABLE": "the embedder cannot be reached",
        "FEEDBACK_UNAVAILABLE": "feedback cannot be reached",
        "GENERATOR_UNAVAILABLE": "the generator cannot be reached",
        "INDEX_NOT_OPEN": "the index is not open yet",
        "INDEX_SWITCHING": "the index is being switched",
        "INDEX_UNAVAILABLE": "the index cannot be reached",
        "INGESTOR_UNAVAILABLE": "the ingestor cannot be reached",
        "KEYS_UNAVAILABLE": "keys cannot be reached",
        "MODEL_REPLACED": "the embedding model was replaced meanwhile; ask again",
        "MODEL_UNAVAILABLE": "the language model cannot be reached",
        "PARSER_BUSY": "no reader is free",
        "QUESTIONS_UNAVAILABLE": "the answered questions cannot be reached",
        "QUEUE_NOT_DURABLE": "what is accepted now might be lost",
        "QUEUE_UNAVAILABLE": "the queue of jobs cannot be reached",
        "RETRIEVER_UNAVAILABLE": "the retriever cannot be reached",
    },
    504: {
        "DEADLINE_EXCEEDED": "the time ran out",
        "URL_TIMEOUT": "the web server did not answer in time",
    },
}
_STATUS = {reason: status for status, reasons in _TABLE.items() for reason in reasons}

EVERYWHERE = (
    *_TABLE[401],
    *("BAD_HEADER", "INVALID", "SCOPE_MISSING", "HOST_NOT_LOCAL", "CROSS_SITE"),
    *("RATE_LIMITED", "TOO_MANY_CALLS", "TOO_MANY_BAD_CREDENTIALS"),
    *("INTERNAL", "AUTH_UNAVAILABLE", "DEADLINE_EXCEEDED"),
)
"""Under /v1 every route can give these."""
IN_A_BODY = ("BODY_TIMEOUT", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
"""Every route that reads JSON."""


def by_status(reasons: Iterable[str], *, reads_body: bool) -> dict[int, dict[str, str]]:
    """Return the reasons of a route and of every route, with what they mean, by the status that each comes with.

    Args:
        reasons: Of the route alone.
        reads_body: Whether it reads JSON.

    Raises:
        KeyError: for a reason that is not in the table.
    """
    wanted = {*EVERYWHERE, *(IN_A_BODY if reads_body else ()), *reasons}
    statuses = {_STATUS[reason] for reason in wanted}
    return {
        status: {reason: means for reason, means in _TABLE[status].items() if reason in wanted}
        for status in sorted(statuses)
    }
