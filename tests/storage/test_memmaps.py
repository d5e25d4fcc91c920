"""A new memory-mapped array contains zeros, writes to its file, and has its disk space reserved."""

import errno
import os

import numpy as np
import pytest

from atma18.storage import memmaps


def test_what_is_written_is_read_again(tmp_path):
    array = memmaps.create(tmp_path / "a.npy", np.float16, (3, 5))
    assert not array.any()
    array[1] = 7
    array.flush()

    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [[0] * 5, [7] * 5, [0] * 5])


def test_its_space_is_reserved(tmp_path):
    memmaps.create(tmp_path / "a.npy", np.uint8, (2**22,))

    found = (tmp_path / "a.npy").stat()
    assert found.st_blocks * 512 >= found.st_size > 2**22


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    def full(descriptor, start, length):
        assert (start, length) == (0, os.fstat(descriptor).st_size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OSError, match="No space left"):
        memmaps.create(tmp_path / "a.npy", np.uint8, (100,))


def test_nothing_at_all_is_an_array_too(tmp_path):
    assert memmaps.create(tmp_path / "a.npy", np.uint8, (1, 0)).size == 0
