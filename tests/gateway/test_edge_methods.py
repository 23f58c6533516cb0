"""Which methods of the contract the gRPC door has."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rag.v1 import embedder_pb2, generator_pb2, ingestor_pb2, ingestor_pb2_grpc, retriever_pb2


@pytest.mark.parametrize(
    ("service", "method"),
    [
        ("EmbedderService", "ForgetVectors"),
        ("GeneratorService", "ForgetAnswers"),
        ("IngestorService", "EraseJobs"),
        ("IngestorService", "SplitPages"),
        ("RetrieverService", "RevokeIndex"),
        ("RetrieverService", "CheckDocuments"),
        ("RetrieverService", "ForgetRankings"),
        ("RetrieverService", "GetStored"),
        ("RetrieverService", "Index"),
    ],
)
async def test_what_services_say_among_themselves_is_refused_to_outsiders(gateway, service, method):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.channel.unary_unary(f"/rag.v1.{service}/{method}")(b"")

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert info.reason == "INTERNAL_METHOD"
    stages = [
        backend.stage for backend in (gateway.backends.embedder, gateway.backends.ingestor, gateway.backends.retriever)
    ]
    assert not any(stage.calls for stage in stages)


async def test_jobs_are_cancelled_and_retried_and_urls_submitted_by_grpc(gateway):
    stub = ingestor_pb2_grpc.IngestorServiceStub(gateway.channel)

    cancelled = await stub.CancelJob(ingestor_pb2.CancelJobRequest(job_id="job-1"))
    retried = await stub.RetryJob(ingestor_pb2.RetryJobRequest(job_id="job-1", password="p"))
    fetched = await stub.SubmitUrl(ingestor_pb2.SubmitUrlRequest(url="https://example.org/a"))

    states = [answered.job.state for answered in (cancelled, retried, fetched)]
    assert states == [ingestor_pb2.JOB_STATE_CANCELLED, ingestor_pb2.JOB_STATE_QUEUED, ingestor_pb2.JOB_STATE_QUEUED]


async def test_no_method_of_the_contract_is_forgotten_at_the_door(gateway):
    """A method that is new in the contract is passed through or refused, on purpose."""
    refused = []
    for peer in (embedder_pb2, generator_pb2, ingestor_pb2, retriever_pb2):
        for service in peer.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                call = gateway.channel.unary_stream(f"/{service.full_name}/{method.name}")(b"", timeout=20)
                try:
                    async for _ in call:
                        pass
                except grpc.aio.AioRpcError as error:
                    refused.append((method.name, error.code()))

    assert grpc.StatusCode.UNIMPLEMENTED not in dict(refused).values(), refused
    denied = {name for name, code in refused if code is grpc.StatusCode.PERMISSION_DENIED}
    assert denied == {
        *("CheckDocuments", "EraseJobs", "ForgetAnswers", "ForgetRankings", "ForgetVectors", "GetStored", "Index"),
        *("RevokeIndex", "SplitPages"),
    }
