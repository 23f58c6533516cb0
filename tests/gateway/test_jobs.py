from __future__ import annotations

import pytest

from rag.runtime.errors import FailedPrecondition
from rag.v1 import ingestor_pb2 as pb
from tests.gateway.events import parse
from tests.gateway.messages import job_events
from tests.gateway.stage import HOLD


async def test_jobs_are_listed_and_read(gateway):
    listed = (await gateway.http.get("/v1/jobs")).json()
    assert (listed["jobs"][0]["state"], listed["next_page_token"]) == ("ready", "")
    one = (await gateway.http.get("/v1/jobs/job-1")).json()
    assert (one["state"], one["error"], one["finished_at"]) == ("running", None, None)
    unknown = await gateway.http.get("/v1/jobs/other")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "JOB_NOT_FOUND")


async def test_progress_is_streamed_to_the_terminal_event(gateway):
    response = await gateway.http.get("/v1/jobs/job-1/events")

    events = parse(response.content)
    assert response.content.startswith(b"retry: ")
    assert [(event.id, event.name, event.data["job"]["state"]) for event in events] == [
        ("1", "job", "queued"),
        ("2", "job", "running"),
        ("3", "job", "ready"),
    ]


async def test_progress_resumes_after_the_last_event_id(gateway):
    response = await gateway.http.get("/v1/jobs/job-1/events", headers={"last-event-id": "1"})

    assert [event.id for event in parse(response.content)] == ["2", "3"]


async def test_a_reader_who_has_the_last_event_is_told_not_to_come_back(gateway):
    response = await gateway.http.get("/v1/jobs/job-1/events", headers={"last-event-id": "3"})

    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "9" * 30, "²"])
async def test_a_last_event_id_that_is_none_is_refused(gateway, last):
    response = await gateway.http.get("/v1/jobs/job-1/events", headers={"last-event-id": last.encode()})

    assert (response.status_code, response.json()["reason"]) == (400, "BAD_LAST_EVENT_ID")


async def test_a_watch_that_finds_nothing_new_is_open_all_the_same(open_gateway):
    async with open_gateway(sse_ping_s=0.05) as gateway:
        stage = gateway.backends.ingestor.stage
        queued, running, ready = job_events("queued", "running", "ready")
        stage.script = [queued, running, HOLD, ready]
        headers = {"last-event-id": "2"}
        async with gateway.http.stream("GET", "/v1/jobs/job-1/events", headers=headers) as response:
            assert response.status_code == 200
            stage.release.set()
            assert [event.id for event in parse(await response.aread())] == ["3"]


@pytest.mark.parametrize("state", ["queued", "running", "ready", "failed", "cancelled", "dead"])
async def test_jobs_are_listed_by_state(gateway, state):
    response = await gateway.http.get("/v1/jobs", params={"state": state, "page_size": 3})

    assert response.status_code == 200
    sent = gateway.backends.ingestor.stage.requests[0]
    assert (sent.state, sent.page_size) == (pb.JobState.Value(f"JOB_STATE_{state.upper()}"), 3)


async def test_jobs_of_all_states_are_listed_without_one(gateway):
    await gateway.http.get("/v1/jobs")

    assert gateway.backends.ingestor.stage.requests[0].state == pb.JOB_STATE_UNSPECIFIED


@pytest.mark.parametrize("state", ["", "gone", "DEAD", "unspecified", "6"])
async def test_a_state_that_is_none_is_refused_with_the_names_of_all(gateway, state):
    response = await gateway.http.get("/v1/jobs", params={"state": state})

    assert (response.status_code, response.json()["reason"]) == (400, "INVALID")
    error = response.json()["errors"][0]
    assert error["field"] == "state"
    assert all(name in error["message"] for name in ("queued", "running", "ready", "failed", "cancelled", "dead"))
    assert not gateway.backends.ingestor.stage.requests


async def test_a_job_is_cancelled(gateway):
    response = await gateway.http.post("/v1/jobs/job-1:cancel")

    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert gateway.backends.ingestor.stage.requests == [pb.CancelJobRequest(job_id="job-1")]


@pytest.mark.parametrize(
    ("content", "headers", "password"),
    [
        (b"", {}, ""),
        (b"", {"content-type": "application/json"}, ""),
        (b"null", {"content-type": "application/json"}, ""),
        (b"{}", {"content-type": "application/json"}, ""),
        ('{"password": "gehëim"}'.encode(), {"content-type": "application/json"}, "gehëim"),
        (b"", {"x-document-password": "gehëim".encode()}, "gehëim"),
        (b'{"password": "b"}', {"content-type": "application/json", "x-document-password": "a"}, "a"),
    ],
)
async def test_a_job_is_retried_also_with_another_password(gateway, content, headers, password):
    response = await gateway.http.post("/v1/jobs/job-1:retry", content=content, headers=headers)

    assert (response.status_code, response.json()["state"]) == (202, "queued"), response.text
    assert response.headers["location"] == "/v1/jobs/job-1"
    assert gateway.backends.ingestor.stage.requests == [pb.RetryJobRequest(job_id="job-1", password=password)]


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("job-1:retry", b"{", "INVALID"),
        ("job-1:retry", b'{"password": 5}', "INVALID"),
        ("job-1:retry", b'{"pass": "x"}', "INVALID"),
        ("job-1:retry?password=x", b"", "PASSWORD_IN_URL"),
    ],
)
async def test_a_malformed_retry_is_refused_without_what_it_held(gateway, path, content, reason):
    response = await gateway.http.post(
        f"/v1/jobs/{path}", content=content, headers={"content-type": "application/json"}
    )

    assert (response.status_code, response.json()["reason"]) == (400, reason)
    assert not gateway.backends.ingestor.stage.requests


async def test_a_retry_that_is_too_long_is_refused(open_gateway):
    async with open_gateway(max_body_bytes=1000) as gateway:
        response = await gateway.http.post("/v1/jobs/job-1:retry", json={"password": "x" * 2000})

    assert (response.status_code, response.json()["reason"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
async def test_a_job_that_cannot_be_cancelled_or_retried_says_why(gateway, verb):
    unknown = await gateway.http.post(f"/v1/jobs/other:{verb}")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "JOB_NOT_FOUND")
    gateway.backends.ingestor.job_error = FailedPrecondition("The job is ready.", "JOB_FINISHED", state="ready")

    finished = await gateway.http.post(f"/v1/jobs/job-1:{verb}")

    assert (finished.status_code, finished.json()["reason"]) == (400, "JOB_FINISHED")
    assert finished.json()["metadata"] == {"state": "ready"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/jobs/job-1:cancel:x/y"), ("POST", "/v1/jobs/job-1:stop"), ("DELETE", "/v1/jobs/job-1")],
)
async def test_a_verb_that_is_none_is_no_route(gateway, method, path):
    assert (await gateway.http.request(method, path)).status_code in {404, 405}


@pytest.mark.parametrize("state", ["failed", "cancelled", "dead"])
async def test_each_end_of_a_job_ends_the_stream(gateway, state):
    gateway.backends.ingestor.stage.script = job_events("queued", "running", state)

    response = await gateway.http.get("/v1/jobs/job-1/events", headers={"last-event-id": "1"})

    assert [(event.id, event.data["job"]["state"]) for event in parse(response.content)] == [
        ("2", "running"),
        ("3", state),
    ]


async def test_progress_shows_waits_and_what_is_left(gateway):
    known, unknown = job_events("running", "running")
    known.job.progress.rate_limit_waits, known.job.progress.rate_limit_wait_s = 2, 1.5
    known.job.progress.seconds_left = 0
    unknown.job.progress.pages_done = 1
    gateway.backends.ingestor.stage.script = [known, unknown]

    first, second = parse((await gateway.http.get("/v1/jobs/job-1/events")).content)

    progress = first.data["job"]["progress"]
    assert (progress["rate_limit_waits"], progress["rate_limit_wait_s"], progress["seconds_left"]) == (2, 1.5, 0)
    assert second.data["job"]["progress"]["seconds_left"] is None
    assert second.data["job"]["unchanged"] is False
