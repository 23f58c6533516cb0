from __future__ import annotations

import pytest

from tests.gateway.backends import HOLD, job_events
from tests.gateway.events import parse


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
