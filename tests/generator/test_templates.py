from __future__ import annotations

from pathlib import Path

import pytest

from rag.runtime.errors import FailedPrecondition
from services.generator.prompting import templates
from services.generator.prompting.templates import PLACEHOLDERS


def refused(folder: Path) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as caught:
        templates.load(folder)
    return caught.value


def test_ours_are_used_when_there_is_no_folder(tmp_path: Path) -> None:
    ours = templates.load()
    assert "cite the passage" in ours.answer.template
    assert "rewrite the last question" in ours.standalone.template
    assert templates.load(tmp_path).version == ours.version


def test_a_file_replaces_ours_and_what_is_lacking_is_ours(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("\ufeffAntworte. Daten hinter $boundary, Preise in $$.\n", encoding="utf-8")
    chosen = templates.load(tmp_path)
    assert chosen.answer.substitute(boundary="abc") == "Antworte. Daten hinter abc, Preise in $.\n"
    assert chosen.standalone.template == templates.load().standalone.template


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_the_version_changes_with_each_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("One $boundary")
    one = templates.load(tmp_path).version
    (tmp_path / name).write_text("Two $boundary")
    two = templates.load(tmp_path).version
    assert len({one, two, templates.load().version}) == 3


def test_the_version_tells_the_two_templates_apart(tmp_path: Path) -> None:
    versions = set()
    for first, second in [("a $boundary", "b $boundary"), ("b $boundary", "a $boundary")]:
        (tmp_path / "answer.txt").write_text(first)
        (tmp_path / "standalone.txt").write_text(second)
        versions.add(templates.load(tmp_path).version)
    assert len(versions) == 2


@pytest.mark.parametrize("name", PLACEHOLDERS)
@pytest.mark.parametrize(
    ("text", "placeholder"),
    [
        ("Data: $boundary. Speak $langauge.", "langauge"),
        ("Data: ${boundary} ${user}", "user"),
        ("No fence.", "boundary"),
    ],
)
def test_a_placeholder_that_is_unknown_or_missing_is_named_with_its_file(
    tmp_path: Path, name: str, text: str, placeholder: str
) -> None:
    (tmp_path / name).write_text(text)
    error = refused(tmp_path)
    assert (error.reason, error.metadata) == ("TEMPLATE_WRONG", {"file": name, "placeholder": placeholder})
    assert name in error.message
    assert f"${placeholder}" in error.message


def test_a_lone_dollar_sign_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("It costs $5 behind $boundary.")
    error = refused(tmp_path)
    assert (error.reason, error.metadata["file"]) == ("TEMPLATE_WRONG", "answer.txt")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "nowhere")
    assert error.reason == "TEMPLATES_MISSING"
    assert "nowhere" in error.message


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").write_text("$boundary")
    assert refused(tmp_path / "answer.txt").reason == "TEMPLATES_MISSING"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").mkdir()
    assert refused(tmp_path).reason == "TEMPLATE_UNREADABLE"


def test_a_file_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answer.txt").symlink_to(tmp_path / "gone.txt")
    assert refused(tmp_path).reason == "TEMPLATE_UNREADABLE"


@pytest.mark.parametrize("content", [b"\xff $boundary", b"$boundary " * 10_000], ids=["not UTF-8", "too large"])
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "standalone.txt").write_bytes(content)
    error = refused(tmp_path)
    assert (error.reason, error.metadata["file"]) == ("TEMPLATE_UNREADABLE", "standalone.txt")
