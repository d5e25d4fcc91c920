"""An entry of the cache is complete or absent, and is made once for any number of processes."""

import multiprocessing
import os
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

from atma18.cache import Cache, Entry, default_limit_bytes, default_root, surplus, unused_since
from atma18.nets.checkpoints import Checkpoints

PROJECT = Path(__file__).resolve().parents[2]


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
        pytest.param({"XDG_CACHE_HOME": "users"}, "/home/me/.cache/atma18", id="relative, against the specification"),
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


@pytest.fixture
def generous():
    """A process that makes everything for everybody to read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(root):
    """The folders in a cache that others could look into; what lies in a closed one is out of their reach."""
    found = [path for path in root.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077]
    return [path.name for path in found]


def use(cache):
    """Let a cache make all that it ever makes: an entry, scratch, a place of work, and the list of what is held."""
    cache.get("notes", "one", write("secret"))
    with cache.scratch("scraps") as scratch, Checkpoints.open(cache, "key", "run", threads=1) as checkpoints:
        scratch.mkdir()
        checkpoints.save(0, {})


def test_nobody_else_can_look_into_a_cache(tmp_path, generous):
    root = tmp_path / "a" / "b" / "c"
    use(Cache.open(root))

    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (root, root.parent, root.parent.parent)] == [0o700] * 3
    assert {path.name for path in root.iterdir()} == {".held", "notes", "scraps", "checkpoints"}
    assert open_to_others(root) == []


def test_nobody_else_can_look_into_the_folders_of_a_cache_that_was_open_before(tmp_path, generous):
    root = tmp_path / "shared"
    for name in (".held", "notes", "scraps", "checkpoints"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)

    use(Cache.open(root))

    assert stat.S_IMODE(root.stat().st_mode) == 0o755, "the folder itself is the user's to open"
    assert open_to_others(root) == []


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir(mode=0o755)

    def not_ours(path, mode):
        raise PermissionError(f"not the owner of {path}")

    monkeypatch.setattr(Path, "chmod", not_ours)

    with pytest.raises(ValueError, match=r"notes: expected the user's own folder .*: set ATMA18_CACHE to another"):
        Cache.open(tmp_path).get("notes", "one", forbidden)


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
    """What a reader would find: everything but locks and notes of sizes."""
    return [path.name for path in folder.iterdir() if path.suffix not in (".lock", ".size")]


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
    together.wait(timeout=120)
    entry = Cache.open(root).get("notes", "one", make_slowly)
    answers.put([(entry / str(part)).read_text() for part in range(10)])


def test_two_processes_that_ask_at_once_get_one_whole_entry(tmp_path):
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may stand still
    together, answers = spawn.Barrier(2), spawn.Queue()
    processes = [spawn.Process(target=fill, args=(tmp_path, together, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = answers.get(timeout=120), answers.get(timeout=120)
    for process in processes:
        process.join(timeout=20)

    assert [process.exitcode for process in processes] == [0, 0]
    assert first == second
    assert len(set(first)) == 1
    assert len(list((tmp_path / "notes").glob("made-by-*"))) == 1


@contextmanager
def another_process(body, *words):
    """A process that runs `body` with the cache's root and these words, and then waits until it is killed."""
    script = f"import sys, time\nfrom pathlib import Path\nfrom atma18.cache import Cache\n{dedent(body)}"
    command = [sys.executable, "-c", script, *map(str, words)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


MAKING = """
    def make(path):
        path.mkdir()
        (path / "first").write_text("half")
        print("ready", flush=True)
        time.sleep(60)
    Cache.open(Path(sys.argv[1])).get("notes", "one", make)
"""
HOLDING = """
    cache = Cache.open(Path(sys.argv[1]))
    cache.get("notes", "one", lambda path: path.write_text("mine"))
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_maker_left_is_known_as_such_and_the_next_one_makes_it_anew(tmp_path):
    cache = Cache.open(tmp_path)
    with another_process(MAKING, tmp_path) as maker:
        assert cache.leftovers() == []  # somebody is at it
        [half] = [path for path in (tmp_path / "notes").iterdir() if path.is_dir()]
    maker.wait()

    assert cache.leftovers() == [half]
    assert cache.entries() == []
    assert cache.get("notes", "one", write("whole")).read_text() == "whole"
    assert cache.leftovers() == []
    assert seen_in(tmp_path / "notes") == ["one"]


def test_what_a_killed_maker_left_can_be_cleaned(tmp_path):
    cache = Cache.open(tmp_path)
    with another_process(MAKING, tmp_path) as maker:
        pass
    maker.wait()

    for left in cache.leftovers():
        cache.discard(left)

    assert seen_in(tmp_path / "notes") == []


def test_an_entry_that_another_process_holds_stays_until_that_ends(tmp_path):
    cache = Cache.open(tmp_path)
    with another_process(HOLDING, tmp_path) as holder:
        [entry] = cache.entries()
        assert entry.holder == holder.pid
        assert not cache.remove(entry)
        assert unused_since([entry], time.time() + 1) == surplus([entry], 0) == []
    holder.wait()

    [entry] = cache.entries()
    assert entry.holder is None
    assert cache.remove(entry)
    assert cache.entries() == []
    assert list((tmp_path / "notes").iterdir()) == []


def test_what_this_process_asked_for_is_held(tmp_path):
    cache = Cache.open(tmp_path)
    cache.get("notes", "one", write("mine"))

    [entry] = Cache.open(tmp_path).entries()

    assert entry.holder == os.getpid()
    assert not Cache.open(tmp_path).remove(entry)


def test_entries_know_their_size_and_when_they_were_last_asked_for(tmp_path):
    cache = Cache.open(tmp_path)
    before_s = time.time()
    cache.get("notes", "older", write("12345"))
    folder = cache.get("notes", "newer", Path.mkdir)
    (folder / "a").write_text("123")
    (folder / "b").write_text("4567")
    os.utime(tmp_path / "notes" / ".older.lock", (0, 0))

    older, newer = cache.entries()

    assert (older.kind, older.key, older.size_bytes, older.used_s) == ("notes", "older", 5, 0)
    assert (newer.key, newer.size_bytes) == ("newer", 7)
    assert before_s - 2 <= newer.used_s <= time.time() + 2
    cache.get("notes", "older", forbidden)
    assert [entry.key for entry in cache.entries()] == ["newer", "older"]


def entry(key, size_bytes=1, used_s=0.0, kind="notes", holder=None):
    return Entry(kind, key, size_bytes, used_s, holder)


@pytest.mark.parametrize(
    ("limit_bytes", "gone"),
    [
        pytest.param(60, [], id="all fit"),
        pytest.param(59, ["oldest"], id="a byte too much"),
        pytest.param(50, ["oldest"], id="just enough"),
        pytest.param(49, ["oldest", "middle"], id="one is not enough"),
        pytest.param(0, ["oldest", "middle", "newest"], id="nothing fits"),
    ],
)
def test_the_least_recently_used_make_room(limit_bytes, gone):
    entries = [entry("newest", 30, used_s=3), entry("oldest", 10, used_s=1), entry("middle", 20, used_s=2)]

    assert [chosen.key for chosen in surplus(entries, limit_bytes)] == gone


def test_folds_results_that_wait_and_what_is_held_make_no_room():
    entries = [entry("folds", 10, kind="folds"), entry("held", 10, holder=7), entry("free", 10, used_s=9)]
    entries.append(entry("a result", 10, kind="outbox"))

    assert [chosen.key for chosen in surplus(entries, 0)] == ["free"]
    assert [chosen.key for chosen in unused_since(entries, 10)] == ["free"]


def test_a_cache_that_is_full_lets_the_oldest_go_when_it_gets_a_new_entry(tmp_path, monkeypatch):
    Cache.open(tmp_path).get("notes", "first", write("12345"))
    Cache.open(tmp_path).get("folds", "kept", write("12345"))
    os.utime(tmp_path / "notes" / ".first.lock", (1, 1))
    Cache.open(tmp_path).get("notes", "second", write("12345"))
    monkeypatch.setenv("ATMA18_CACHE_LIMIT_GB", "15e-9")

    full = Cache.open(tmp_path)
    full.get("notes", "third", write("12345"))

    assert {entry.key for entry in full.entries()} == {"kept", "second", "third"}


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(text, monkeypatch, tmp_path):
    monkeypatch.setenv("ATMA18_CACHE_LIMIT_GB", text)

    with pytest.raises(ValueError, match=f"a number of gigabytes above 0, found '{text}'"):
        Cache.open(tmp_path)


def test_no_limit_is_set_unless_somebody_sets_one():
    assert default_limit_bytes({}) is default_limit_bytes({"ATMA18_CACHE_LIMIT_GB": ""}) is None
    assert default_limit_bytes({"ATMA18_CACHE_LIMIT_GB": "2.5"}) == 2_500_000_000


def test_a_forgotten_entry_is_made_anew_although_it_is_held(tmp_path):
    cache = Cache.open(tmp_path)
    cache.get("notes", "one", write("wrong"))

    cache.forget("notes", "one")

    assert cache.get("notes", "one", write("right")).read_text() == "right"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda entry: (entry / "a").write_text("12"), id="cut"),
        pytest.param(lambda entry: (entry / "b").unlink(), id="a file is missing"),
        pytest.param(lambda entry: (entry / "c").write_text("3"), id="a file too many"),
        pytest.param(lambda entry: (entry.parent / ".one.size").unlink(), id="never finished"),
    ],
)
def test_an_entry_of_another_size_than_it_was_made_is_made_again(tmp_path, damage, caplog):
    def make(path):
        path.mkdir()
        (path / "a").write_text("123")
        (path / "b").write_text("4567")

    entry = Cache.open(tmp_path).get("notes", "one", make)
    damage(entry)

    assert Cache.open(tmp_path).get("notes", "one", make) == entry

    assert {path.name: path.read_text() for path in entry.iterdir()} == {"a": "123", "b": "4567"}
    assert f"{entry}: damaged from outside, made again" in caplog.text


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_place_that_can_be_no_folder_is_refused(tmp_path, place):
    (tmp_path / "file").touch()

    with pytest.raises(ValueError, match=r"expected a folder for the cache .* set ATMA18_CACHE to another"):
        Cache.open(tmp_path / place)


def test_who_waits_for_another_process_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("atma18.cache.locks.PATIENCE_S", 0.1)
    with another_process(MAKING, tmp_path) as maker:
        waiting = Thread(target=Cache.open(tmp_path).get, args=("notes", "one", write("whole")))
        waiting.start()
        time.sleep(0.5)
        maker.kill()
        waiting.join(timeout=20)

    assert caplog.messages == ["waiting for another process that makes notes/one"]
    assert (tmp_path / "notes" / "one").read_text() == "whole"
