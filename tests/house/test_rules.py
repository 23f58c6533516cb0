"""The rules of the house, read from the source: who imports whom, what a domain may know, how large a room may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("embedder", "retriever", "generator", "ingestor", "gateway")
ROOMS = {"__init__", "__main__", "settings", "wiring", "service"}
TECHNOLOGY = {
    "docx", "fastapi", "fsspec", "google", "grpc", "grpc_health", "grpc_status", "httpx", "ijson", "lxml", "milvus_lite", "onnx", "onnxruntime",
    "openai", "openpyxl", "pptx", "pymilvus", "pypdf", "rag.metadata", "rag.passage_proto", "rag.runtime.peers", "rag.runtime.redis", "rag.v1", "redis", "starlette",
    "tenacity", "tokenizers", "trafilatura", "uvicorn",
}  # fmt: skip
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 45
DRAWERS = re.compile(r"utils?|helpers?|common|managers?|misc")


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in files if (ROOT / "rag" / "v1") not in path.parents)


ALL = sources("rag", "services")
TOLD = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sources("bench", "scripts")]
"""What tells people about words of make."""
IDS = {"ids": lambda path: str(path.relative_to(ROOT))}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_package(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_domain(path: Path) -> bool:
    parts = path.relative_to(ROOT / "services").parts
    return (
        len(parts) > 1
        and parts[0] in SERVICES
        and path.stem not in ROOMS
        and not {"adapters", "http", "messages", "readers"} & set(parts)
    )


def test_every_service_has_the_same_rooms() -> None:
    for service in SERVICES:
        present = {path.stem for path in (ROOT / "services" / service).glob("*.py")}
        assert present >= ROOMS, f"{service} lacks {ROOMS - present}"
        assert (ROOT / "services" / service / "adapters").is_dir()


@pytest.mark.parametrize("path", ALL, **IDS)
def test_no_service_imports_another(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    own = f"services.{parts[1]}" if parts[0] == "services" and parts[1] in SERVICES else None
    for name in imports(path):
        if parts[0] == "rag":
            assert not of_package(name, "services"), f"the shared rooms import {name}"
        elif own and of_package(name, "services") and name != "services":
            assert of_package(name, own), f"{own} imports {name}"


@pytest.mark.parametrize("path", [path for path in sources("services") if is_domain(path)], **IDS)
def test_the_domain_knows_no_technology(path: Path) -> None:
    if path.stem == "edge":
        return  # the gateway's pass-through is about gRPC itself
    known = {name for name in imports(path) for technology in TECHNOLOGY if of_package(name, technology)}
    assert not known, f"{path.name} knows {sorted(known)}"


@pytest.mark.parametrize("path", sources("services"), **IDS)
def test_only_the_composition_root_imports_adapters(path: Path) -> None:
    if path.stem == "wiring" or "adapters" in path.parts:
        return
    assert not [name for name in imports(path) if ".adapters" in name]


@pytest.mark.parametrize("path", ALL, **IDS)
def test_the_environment_is_read_in_one_module(path: Path) -> None:
    if path == ROOT / "rag" / "runtime" / "settings.py":
        return
    read = [
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if node.attr in {"environ", "getenv", "environb", "putenv"}
    ]
    assert not read


@pytest.mark.parametrize("path", ALL, **IDS)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", ALL, **IDS)
def test_no_drawers(path: Path) -> None:
    for part in path.relative_to(ROOT).with_suffix("").parts:
        assert not any(DRAWERS.fullmatch(word) for word in part.split("_")), f"{part} has no subject"


@pytest.mark.parametrize("path", ALL, **IDS)
def test_importing_does_no_work(path: Path) -> None:
    """At the top of a module stand definitions and constants; nothing connects, reads, writes or starts."""
    busy = {"open", "connect", "start", "run", "read_text", "read_bytes", "write_text", "mkdir", "sleep", "print"}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If):
            continue
        called = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
        names = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}
        assert not names & busy


@pytest.mark.parametrize("path", TOLD, **IDS)
def test_words_of_make_exist(path: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE)) <= known
