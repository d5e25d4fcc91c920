"""An entry of the cache is whole or not there, and is made once however many ask for it."""

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest

from atma18.cache import Cache, default_root


def forbidden(path):
    raise AssertionError(f"asked to make {path} again")


def write(text):
    """A maker of a file with this text."""
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        pytest.param({"ATMA18_CACHE": "/chosen", "XDG_CACHE_HOME": "/users"}, "/chosen", id="the project's own"),
        pytest.param({"XDG_CACHE_HOME": "/users"}, "/users/atma18", id="the user's cache folder"),
        pytest.param({"ATMA18_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/atma18", id="empty is not set"),
        pytest.param({}, "/home/me/.cache/atma18", id="nothing set"),
        pytest.param({"ATMA18_CACHE": "~/drives"}, "/home/me/drives", id="home folder"),
    ],
)
def test_the_environment_that_is_given_says_where_the_cache_is(monkeypatch, environment, root):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("ATMA18_CACHE", "/from/the/process")  # the argument decides, not the process
    assert default_root(environment) == Path(root)


def test_a_relative_place_is_relative_to_where_the_process_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cache = Cache.open(Path("here"))
    assert default_root({"ATMA18_CACHE": "there"}) == tmp_path / "there"
    assert cache.root == tmp_path / "here"


def test_the_cache_opens_where_the_process_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ATMA18_CACHE", str(tmp_path / "elsewhere"))
    assert Cache.open().root == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").is_dir()


def test_a_new_cache_is_private_to_its_user(tmp_path):
    root = tmp_path / "a" / "b"
    Cache.open(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_opening_a_cache_again_keeps_its_entries(tmp_path):
    entry = Cache.open(tmp_path).get("notes", "one", write("kept"))
    assert Cache.open(tmp_path).get("notes", "one", forbidden) == entry
    assert entry.read_text() == "kept"


def test_an_entry_is_made_once_and_found_at_its_place(tmp_path):
    cache = Cache.open(tmp_path)

    made = cache.get("notes", "one", write("first"))
    again = cache.get("notes", "one", forbidden)

    assert made == again == cache.place("notes", "one") == tmp_path / "notes" / "one"
    assert made.read_text() == "first"


def test_keys_and_kinds_are_entries_of_their_own(tmp_path):
    cache = Cache.open(tmp_path)
    entries = [
        cache.get(kind, key, write(kind + key)).read_text() for kind, key in (("a", "1"), ("a", "2"), ("b", "1"))
    ]
    assert entries == ["a1", "a2", "b1"]


def test_an_entry_may_be_a_folder(tmp_path):
    def make(path):
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "file").write_text("deep")

    folder = Cache.open(tmp_path).get("folders", "one", make)
    assert (folder / "inner" / "file").read_text() == "deep"


def seen_in(folder):
    """What a reader would find: everything but the locks."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def write_half_a_file(path):
    path.write_text("half")
    raise KeyError("out of luck")


def write_half_a_folder(path):
    path.mkdir()
    (path / "first").write_text("half")
    raise KeyError("out of luck")


def write_nothing(path):
    raise KeyError("out of luck")


@pytest.mark.parametrize("fail", [write_half_a_file, write_half_a_folder, write_nothing])
def test_a_maker_that_fails_leaves_nothing_and_the_next_one_may_try(tmp_path, fail):
    cache = Cache.open(tmp_path)

    with pytest.raises(KeyError, match="out of luck"):
        cache.get("notes", "one", fail)

    assert seen_in(tmp_path / "notes") == []
    assert cache.get("notes", "one", write("whole")).read_text() == "whole"
    assert seen_in(tmp_path / "notes") == ["one"]


def test_an_entry_is_not_at_its_place_while_it_is_made(tmp_path):
    cache = Cache.open(tmp_path)

    def make(path):
        path.write_text("half")
        assert not cache.place("notes", "one").exists()
        assert path.parent == cache.place("notes", "one").parent  # the same file system: renaming is atomic

    cache.get("notes", "one", make)


@pytest.mark.parametrize("kept", [False, True], ids=["made", "kept"])
def test_an_entry_appears_in_one_piece(tmp_path, kept):
    """A rename: a copy would be half there for a while, and for good if the process dies."""
    cache, made = Cache.open(tmp_path), []

    def make(path):
        path.write_text("whole")
        made.append(path.stat().st_ino)

    if kept:
        with cache.scratch("notes") as scratch:
            make(scratch)
            entry = cache.keep(scratch, "notes", "one")
    else:
        entry = cache.get("notes", "one", make)

    assert [entry.stat().st_ino] == made


def test_scratch_is_removed_unless_it_was_kept(tmp_path):
    cache = Cache.open(tmp_path)
    with cache.scratch("notes") as dropped:
        dropped.mkdir()
        (dropped / "file").write_text("half")
    with cache.scratch("notes") as kept:
        kept.write_text("whole")
        assert cache.keep(kept, "notes", "one") == cache.place("notes", "one")

    assert seen_in(tmp_path / "notes") == ["one"]


def test_what_has_the_name_already_stays(tmp_path):
    cache = Cache.open(tmp_path)
    cache.get("notes", "one", write("first"))

    with cache.scratch("notes") as scratch:
        scratch.write_text("second")
        kept = cache.keep(scratch, "notes", "one")

    assert kept.read_text() == "first"
    assert seen_in(tmp_path / "notes") == ["one"]


def make_slowly(path):
    """Say that it began, and write long enough for the other process to come in between."""
    (path.parent / f"made-by-{os.getpid()}").touch()
    path.mkdir()
    for part in range(10):
        (path / str(part)).write_text(str(os.getpid()))
        time.sleep(0.02)


def fill(root, together, answers):
    together.wait(timeout=20)
    entry = Cache.open(root).get("notes", "one", make_slowly)
    answers.put([(entry / str(part)).read_text() for part in range(10)])


def test_two_processes_that_ask_at_once_get_one_whole_entry(tmp_path):
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may stand still
    together, answers = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=fill, args=(tmp_path, together, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = answers.get(timeout=20), answers.get(timeout=20)
    for process in processes:
        process.join(timeout=20)

    assert [process.exitcode for process in processes] == [0, 0]
    assert first == second
    assert len(set(first)) == 1
    assert len(list((tmp_path / "notes").glob("made-by-*"))) == 1
