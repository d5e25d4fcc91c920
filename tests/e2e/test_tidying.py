"""`python -m steps.cache` lists the entries and marks what can be removed; it removes them only with clean=true."""

import os
import time

import pytest

from atma18.cache import Cache
from steps import cache as command
from tests.store import call, ran, refused

DAY_S = 24 * 3600


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where `mlflow run` makes its folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("MLFLOW_TMP_DIR", str(folder))
    return folder


def keep(kind, key, *, days_ago=0.0, text="12345"):
    """Put an entry into the cache that was last asked for some days ago; nobody holds it."""
    entry = Cache.open().get(kind, key, lambda path: path.write_text(text))
    then_s = time.time() - days_ago * DAY_S
    os.utime(entry.with_name(f".{key}.lock"), (then_s, then_s))


def kept():
    return sorted(f"{entry.kind}/{entry.key}" for entry in Cache.open().entries())


def line_of(output, key):
    [line] = [line for line in output.splitlines() if key in line]
    return line


def test_an_empty_cache_is_said_to_be_empty(temporary):
    output = ran(call(command))

    assert f"{Cache.open().root}: 0 entries, 0.0 MB, no limit" in output
    assert "clean=true" not in output


def test_every_entry_is_listed_and_nothing_is_removed(temporary, monkeypatch):
    monkeypatch.setenv("ATMA18_CACHE_LIMIT_GB", "1.5")
    keep("frames", "a" * 64, text="x" * 2_300_000)
    keep("checkpoints", "ancient", days_ago=15)
    keep("checkpoints", "recent", days_ago=13)

    output = ran(call(command))

    assert "3 entries, 2.3 MB, limit 1.5 GB" in output
    assert line_of(output, "a" * 16).split()[:3] == ["frames", "a" * 16, "2.3"]
    day = time.strftime("%Y-%m-%d", time.localtime(time.time() - 13 * DAY_S))
    assert day in line_of(output, "recent")
    assert "a checkpoint of over 14 days" in line_of(output, "ancient")
    assert "checkpoint of" not in line_of(output, "recent")
    assert "clean=true removes these" in output
    assert kept() == ["checkpoints/ancient", "checkpoints/recent", f"frames/{'a' * 64}"]


def test_cleaning_removes_old_checkpoints_and_leaves_the_rest(temporary):
    keep("checkpoints", "old", days_ago=15)
    keep("checkpoints", "new", days_ago=13)
    keep("frames", "old", days_ago=1000)

    assert "removed 1 entries" in ran(call(command, "--clean=true"))
    assert kept() == ["checkpoints/new", "frames/old"]


def test_what_nobody_has_asked_for_in_so_many_days_goes_except_folds(temporary):
    keep("frames", "old", days_ago=31)
    keep("frames", "new", days_ago=29)
    keep("folds", "old", days_ago=31)

    ran(call(command, "--clean=true", "--unused_days=30"))

    assert kept() == ["folds/old", "frames/new"]


def test_the_oldest_go_until_the_rest_fits(temporary):
    for days, key in enumerate(("newest", "middle", "oldest")):
        keep("frames", key, days_ago=days)

    assert "beyond 1e-08 GB" in ran(call(command, "--limit_gb=1e-8"))
    ran(call(command, "--clean=true", "--limit_gb=1e-8"))

    assert kept() == ["frames/middle", "frames/newest"]


def test_what_a_process_holds_is_named_and_stays(temporary):
    cache = Cache.open()
    cache.get("frames", "mine", lambda path: path.write_text("12345"))

    output = ran(call(command, "--clean=true", "--limit_gb=1e-9"))

    assert f"in use by process {os.getpid()}" in line_of(output, "mine")
    assert kept() == ["frames/mine"]


def test_half_made_entries_and_the_folders_of_mlflow_run_are_counted_and_go(temporary):
    half = Cache.open().root / "frames" / ".making-1-0badcafe"
    half.mkdir(parents=True)
    (half.parent / f".{half.name}.lock").touch()
    (half / "frames.npy").write_text("half")
    for name in ("tmpabcdefgh", "tmp_2345678", "tmpnewnewne", "tmpinuseinu", "something"):
        (temporary / name).mkdir()
    (temporary / "tmpinuseinu" / "file").touch()
    for name in ("tmpabcdefgh", "tmp_2345678", "tmpinuseinu", "something"):
        os.utime(temporary / name, (1, 1))

    output = ran(call(command))
    assert "half made by processes that are gone: 1" in output
    assert "empty temporary folders of mlflow run, a day old or more: 2" in output
    assert half.exists()

    assert "1 half-made ones and 2 folders" in ran(call(command, "--clean=true"))
    assert not half.exists()
    assert sorted(path.name for path in temporary.iterdir()) == ["something", "tmpinuseinu", "tmpnewnewne"]


def test_a_limit_that_is_no_size_is_refused(temporary, monkeypatch):
    monkeypatch.setenv("ATMA18_CACHE_LIMIT_GB", "plenty")

    assert "ATMA18_CACHE_LIMIT_GB: expected a number of gigabytes" in refused(call(command))
    monkeypatch.delenv("ATMA18_CACHE_LIMIT_GB")
    assert "limit_gb: expected a number of gigabytes above 0" in refused(call(command, "--limit_gb=1e400"))
