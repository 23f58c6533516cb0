"""The pepper is made once, whoever comes first, and stays."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pydantic import SecretStr

from rag.access.pepper import FILE, load_pepper
from rag.runtime.errors import FailedPrecondition

NOTHING = SecretStr("")


def test_it_is_made_for_its_owner_alone_and_read_again(tmp_path):
    made = load_pepper(tmp_path, NOTHING)
    assert len(made) == 64
    assert load_pepper(tmp_path, NOTHING) == made
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / FILE).parent.iterdir()] == ["pepper"]


def test_many_that_start_at_once_have_the_same(tmp_path):
    count = 16
    barrier = Barrier(count)

    def start(_number):
        barrier.wait()
        return load_pepper(tmp_path, NOTHING)

    with ThreadPoolExecutor(count) as pool:
        assert len(set(pool.map(start, range(count)))) == 1
    assert [path.name for path in (tmp_path / FILE).parent.iterdir()] == ["pepper"]


def test_the_setting_wins_and_no_file_is_made(tmp_path):
    assert load_pepper(tmp_path, SecretStr("x" * 32)) == b"x" * 32
    assert not (tmp_path / FILE).exists()


def test_a_damaged_file_is_not_replaced(tmp_path):
    load_pepper(tmp_path, NOTHING)
    (tmp_path / FILE).write_text("")
    with pytest.raises(FailedPrecondition, match="damaged") as caught:
        load_pepper(tmp_path, NOTHING)
    assert caught.value.reason == "PEPPER_UNREADABLE"
    assert (tmp_path / FILE).read_text() == ""


def test_a_folder_that_cannot_be_written_is_said_with_the_way_out(tmp_path):
    (tmp_path / "gateway").write_text("a file, not a folder")
    with pytest.raises(FailedPrecondition, match="RAG_KEY_PEPPER"):
        load_pepper(tmp_path, NOTHING)
