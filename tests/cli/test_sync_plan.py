from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from rag.cli.sync_plan import LocalFile, Plan, Remote, document_id, label_prefix, make_plan, sizes_of
from rag.ids import check_id

LABELS = st.sampled_from(["docs", "doc", "/srv/docs", "", "\u00e9"])
PATHS = st.sampled_from(["a", "b", "a/b", "a/b/c", "A", "a b", "\u00e9.md", "x" * 300])
FOLDERS = st.dictionaries(PATHS, st.sampled_from(["one", "two", "three"]))
Catalogue = dict[str, Remote]


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def catalogue_of(label: str, folder: dict[str, str]) -> Catalogue:
    return {
        (identity := document_id(label, path)): Remote(identity, path, digest(content), len(content))
        for path, content in folder.items()
    }


def local_of(label: str, folder: dict[str, str], catalogue: Catalogue) -> list[LocalFile]:
    """As the command sees it: only files of the size of their document are hashed."""
    sizes = sizes_of(catalogue.values())
    return [
        LocalFile(path, digest(content) if sizes.get(document_id(label, path)) == len(content) else "")
        for path, content in folder.items()
    ]


def apply(plan: Plan, label: str, folder: dict[str, str], catalogue: Catalogue) -> Catalogue:
    sent = catalogue_of(label, {path: folder[path] for path in (*plan.new, *plan.changed)})
    gone = {entry.document_id for entry in plan.removed}
    return {identity: entry for identity, entry in {**catalogue, **sent}.items() if identity not in gone}


@given(LABELS, FOLDERS, FOLDERS, LABELS, FOLDERS)
def test_after_a_sync_the_server_has_the_folder_and_nothing_else_of_its_label(
    label: str, folder: dict[str, str], before: dict[str, str], other: str, others: dict[str, str]
) -> None:
    foreign = catalogue_of(other, others) if other != label else {}
    catalogue = {**catalogue_of(label, before), **foreign}
    plan = make_plan(label, local_of(label, folder, catalogue), catalogue.values())
    after = apply(plan, label, folder, catalogue)
    assert after == {**catalogue_of(label, folder), **foreign}
    again = make_plan(label, local_of(label, folder, after), after.values())
    assert again.is_empty
    assert sorted(again.unchanged) == sorted(folder)


@given(LABELS, FOLDERS, FOLDERS)
def test_nothing_is_sent_that_is_there_already(label: str, folder: dict[str, str], before: dict[str, str]) -> None:
    catalogue = catalogue_of(label, before)
    plan = make_plan(label, local_of(label, folder, catalogue), catalogue.values())
    assert set(plan.unchanged) == {path for path, content in folder.items() if before.get(path) == content}
    assert set(plan.new) == folder.keys() - before.keys()
    assert {entry.path for entry in plan.removed} == before.keys() - folder.keys()


@given(LABELS, PATHS)
def test_a_document_id_is_well_formed_and_tells_its_label(label: str, path: str) -> None:
    identity = document_id(label, path)
    assert check_id(identity, "document_id").startswith(label_prefix(label))
    assert identity != document_id(f"{label}x", path)


def test_what_may_still_be_there_is_kept() -> None:
    catalogue = catalogue_of("l", {"locked/a": "x", "gone": "y"})
    plan = make_plan("l", [], catalogue.values(), is_unsure=lambda path: path.startswith("locked/"))
    assert [entry.path for entry in plan.removed] == ["gone"]


def test_a_file_whose_upload_is_under_way_waits_for_it_and_its_document_goes_with_it() -> None:
    here, gone = document_id("l", "here"), document_id("l", "gone")
    remote = [Remote(here, "here", digest("old"), 3), Remote(gone, "gone", "")]
    plan = make_plan("l", [LocalFile("here", digest("new"))], remote, under_way={here, gone})
    assert plan == Plan(under_way=("here",), removed=(remote[1],))


def test_a_document_that_exists_only_as_a_failed_job_is_sent_again() -> None:
    remote = [Remote(document_id("l", "a"), "a", "")]
    assert make_plan("l", [LocalFile("a", "")], remote) == Plan(new=("a",))
