"""The handbook is fresh, readable, and names nothing that does not exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import pypdf
import pytest
from grpc_health.v1 import health_pb2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prometheus_client import Metric
from prometheus_client.registry import REGISTRY
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from rag.runtime.settings import SharedSettings, variables
from rag.v1 import embedder_pb2, generator_pb2, ingestor_pb2, passage_pb2, retriever_pb2

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "docs" / "operations").glob("[0-9][0-9]-*.md"))
SERVICES = ("gateway", "embedder", "retriever", "generator", "ingestor")
UPPER_SNAKE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b(?!\.)")
LOWER_SNAKE = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
# Named by Redis, Prometheus and the kernel, not by us.
FOREIGN = {
    "aof_last_write_status",
    "histogram_quantile",
    "job_name",
    "min_over_time",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "scrape_configs",
    "static_configs",
}
# Put together from the name of a service or a provider at run time.
MADE = {f"{name.upper()}_UNAVAILABLE" for name in SERVICES} | {"FALLBACK_EXTRACTIVE", "FALLBACK_MODEL"}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("handbook", ROOT / "scripts" / "handbook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tokens(path: Path) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8")):
        yield token
        yield from token.children or ()


def _code(path: Path) -> str:
    return "\n".join(token.content for token in _tokens(path) if token.type in {"code_inline", "fence"})


def _source() -> str:
    files = [*ROOT.glob("rag/**/*.py"), *ROOT.glob("services/**/*.py")]
    return "\n".join(path.read_text("utf-8") for path in files if "rag/v1" not in path.as_posix())


def _settings() -> dict[str, str]:
    """Every variable with its default as the handbook writes it."""
    kinds: list[type[BaseSettings]] = [importlib.import_module("services.tree").TreeSettings, SharedSettings]
    for name in SERVICES:
        module = importlib.import_module(f"services.{name}.settings")
        kinds.append(getattr(module, f"{name.capitalize()}Settings"))
    found: dict[str, str] = {}
    for kind in kinds:
        for field, variable in variables(kind).items():
            value = _written(kind.model_fields[field].default)
            found[variable] = value if found.get(variable) in {None, "(empty)"} else found[variable]
    return found


def _written(default: object) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default) or "(empty)"


def _metrics() -> set[str]:
    for name in ("rag.runtime.metrics", *(f"services.{service}.metrics" for service in SERVICES)):
        importlib.import_module(name)
    return {name for metric in REGISTRY.collect() for name in _names(metric)}


def _names(metric: Metric) -> set[str]:
    endings = {"counter": ["_total"], "histogram": ["", "_bucket", "_sum", "_count"]}
    return {metric.name + ending for ending in endings.get(metric.type, [""])}


def _contract() -> set[str]:
    files = (embedder_pb2, retriever_pb2, generator_pb2, ingestor_pb2, passage_pb2)
    return {value.name for f in files for enum in f.DESCRIPTOR.enum_types_by_name.values() for value in enum.values}


@pytest.fixture(scope="module")
def reader() -> pypdf.PdfReader:
    return pypdf.PdfReader(ROOT / "examples" / "handbook.pdf")


def test_the_pdf_is_fresh() -> None:
    assert _script().is_fresh(), "run `make examples`"


def test_rendering_twice_gives_the_same_bytes() -> None:
    script = _script()
    assert script.render() == script.render()


def test_the_pdf_has_22_to_30_pages_and_a_title(reader: pypdf.PdfReader) -> None:
    assert 22 <= len(reader.pages) <= 30
    assert reader.metadata is not None
    assert reader.metadata.title == "ragmesh operations handbook"


def test_every_page_has_text(reader: pypdf.PdfReader) -> None:
    assert all(page.extract_text().strip() for page in reader.pages)


def test_a_fact_can_be_read_out_of_the_pdf(reader: pypdf.PdfReader) -> None:
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    assert "A worker that stops renewing its lease loses the job after 10 seconds." in text


def test_chapters_are_numbered_as_their_files() -> None:
    for number, path in enumerate(CHAPTERS, 1):
        assert path.name.startswith(f"{number:02}-")
        assert path.read_text("utf-8").startswith(f"# {number} ")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_variable_and_reason_exists(path: Path) -> None:
    known = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', _source())) | _settings().keys() | _contract() | MADE
    known |= {code.name for code in grpc.StatusCode} | set(health_pb2.HealthCheckResponse.ServingStatus.keys())
    text = path.read_text("utf-8")
    named = set(UPPER_SNAKE.findall(text)) - {"CALL_TIMEOUT_S"}  # the common end of five variables
    assert named <= known, sorted(named - known)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_metric_and_field_exists(path: Path) -> None:
    words = set(re.findall(r"[a-z][a-z0-9_]+", _source()))
    protos = "\n".join(proto.read_text("utf-8") for proto in ROOT.glob("protos/rag/v1/*.proto"))
    known = words | set(re.findall(r"[a-z][a-z0-9_]+", protos)) | _metrics() | FOREIGN
    named = set(LOWER_SNAKE.findall(_code(path)))
    metrics = {name for name in named if name.endswith(("_total", "_bucket"))}
    assert named <= known, sorted(named - known)
    assert metrics <= _metrics() | FOREIGN, sorted(metrics - _metrics())


def test_every_metric_of_a_service_is_in_the_handbook() -> None:
    text = _code(ROOT / "docs" / "operations" / "11-observing.md")
    ours = {name for name in _metrics() if name.startswith(("ragmesh_", "rag_", "embedder_", "gateway_"))}
    missing = {n for n in ours if not n.endswith(("_bucket", "_sum", "_count"))} - set(LOWER_SNAKE.findall(text))
    assert not missing, sorted(missing)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_default_in_a_table_is_the_one_in_the_code(path: Path) -> None:
    known = _settings()
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]+)`|(\(empty\))) \|", path.read_text("utf-8"), re.MULTILINE)
    wrong = {
        name: (value or empty, known.get(name)) for name, value, empty in rows if known.get(name) != (value or empty)
    }
    assert not wrong
