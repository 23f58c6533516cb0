"""Equal fingerprints mean equal versions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor import fingerprint as module
from services.ingestor.fingerprint import fingerprint
from services.ingestor.jobs import Upload
from services.ingestor.splitting import Sizes

UPLOAD = Upload(
    "t", "job_1", "doc", "a.txt", "A", "text/plain", "hash", 3, {"year": 2024.0, "kind": "law"}, 17, "secret"
)


@pytest.mark.parametrize(
    "change",
    [
        {"content_hash": "other"},
        {"name": "b.txt"},
        {"title": "B"},
        {"media_type": "text/markdown"},
        {"metadata": {"year": 2024.0}},
        {"metadata": {"year": 2024.0, "kind": "rule"}},
        {"metadata": {"year": "2024.0", "kind": "law"}},
    ],
    ids=str,
)
def test_it_tells_what_a_version_is_made_from(change):
    assert fingerprint(replace(UPLOAD, **change), Sizes()) != fingerprint(UPLOAD, Sizes())


@pytest.mark.parametrize("sizes", [Sizes(221, 40), Sizes(220, 41)], ids=str)
def test_it_tells_the_sizes_of_passages(sizes):
    assert fingerprint(UPLOAD, sizes) != fingerprint(UPLOAD, Sizes(220, 40))


def test_it_tells_the_way_of_splitting(monkeypatch):
    before = fingerprint(UPLOAD, Sizes())
    monkeypatch.setattr(module, "SPLITTER_VERSION", "another")
    assert fingerprint(UPLOAD, Sizes()) != before


@pytest.mark.parametrize("change", [{"job_id": "job_2"}, {"accepted_us": 18}, {"password": ""}], ids=str)
def test_it_does_not_tell_who_sent_it_or_when(change):
    assert fingerprint(replace(UPLOAD, **change), Sizes()) == fingerprint(UPLOAD, Sizes())


def test_the_order_of_metadata_does_not_matter():
    turned = dict(reversed(UPLOAD.metadata.items()))
    assert fingerprint(replace(UPLOAD, metadata=turned), Sizes()) == fingerprint(UPLOAD, Sizes())


@given(st.text(), st.text())
def test_it_is_short_whatever_the_names(name, title):
    assert len(fingerprint(replace(UPLOAD, name=name, title=title), Sizes())) == 64


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_pairs_of_name_and_title_read_the_same(name, title, other_name, other_title):
    one, other = (replace(UPLOAD, name=n, title=t) for n, t in ((name, title), (other_name, other_title)))
    same = (name, title) == (other_name, other_title)
    assert (fingerprint(one, Sizes()) == fingerprint(other, Sizes())) == same
