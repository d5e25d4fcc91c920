"""An interrupted training continues with bit-identical results; a checkpoint that it cannot use gives a message."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atma18.cache import CHECKPOINTS, Cache
from atma18.compute import Compute
from atma18.config import NetConfig, StageConfig
from atma18.nets import training
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("small_backbone")

MACHINE = Compute("cpu", 1, bfloat16=False)
STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=1e-2, num_epochs=2)
CONFIG = NetConfig(STAGE, replace(STAGE, num_epochs=3), backbone="small", hidden=8, num_layers=1, inference_batch=16)
STOPPING = replace(CONFIG, first=replace(STAGE, patience=1), second=replace(STAGE, num_epochs=4, patience=2))
FOLDS, EPOCHS = 2, 5


@pytest.fixture(scope="module")
def drives(tiny):
    """Samples, targets and 2 folds of 6 scenes."""
    return tiny.train, tiny.targets_m, np.unique(tiny.train.scenes, return_inverse=True)[1] % FOLDS


@pytest.fixture
def cache(tmp_path):
    return Cache.open(tmp_path / "cache")


def train(config, drives, step, on_epoch=lambda epoch: None, checkpoints=None):
    return training.train(step, config, *drives, MACHINE, on_epoch=on_epoch, checkpoints=checkpoints)


def train_kept(cache, config, drives, step, on_epoch=lambda epoch: None, *, run_id="r", threads=1):
    with Checkpoints.open(cache, "key", run_id, threads) as checkpoints:
        return train(config, drives, step, on_epoch, checkpoints)


def interrupt_after(count):
    """What is called after each epoch, and breaks in after so many."""
    seen = []

    def on_epoch(epoch):
        seen.append(epoch)
        if len(seen) == count:
            raise KeyboardInterrupt

    return on_epoch


def weights(model):
    return [{name: value.clone() for name, value in fold.net.state_dict().items()} for fold in model.folds]


def assert_same_bits(model, other):
    for ours, theirs in zip(weights(model), weights(other), strict=True):
        assert list(ours) == list(theirs)
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.fixture(scope="module")
def uninterrupted(drives, small_backbone):
    """Both nets trained in one go, with all that was reported."""
    found = {}
    for step in ("nn1", "nn2"):
        seen = []
        found[step] = train(CONFIG, drives, step, seen.append), seen
    return found


@pytest.mark.parametrize("count", range(1, FOLDS * EPOCHS + 1))
@pytest.mark.parametrize("step", ["nn1", "nn2"])
def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(drives, cache, uninterrupted, step, count):
    """An interruption in the report of an epoch comes before that epoch is saved: it is trained again."""
    expected, reported = uninterrupted[step]
    with pytest.raises(KeyboardInterrupt):
        train_kept(cache, CONFIG, drives, step, interrupt_after(count))

    seen, before = [], torch.get_rng_state()
    model = train_kept(cache, CONFIG, drives, step, seen.append)

    assert_same_bits(model, expected)
    assert seen == reported
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("step", ["nn1", "nn2"])
def test_one_that_stops_early_is_interrupted_again_and_again_and_comes_to_the_same_end(drives, cache, step):
    reported = []
    expected = train(STOPPING, drives, step, reported.append)

    for count in range(
        2, len(reported) + 1
    ):  # each try repeats what was saved, saves one epoch more, and is broken off
        with pytest.raises(KeyboardInterrupt):
            train_kept(cache, STOPPING, drives, step, interrupt_after(count))
    seen = []
    model = train_kept(cache, STOPPING, drives, step, seen.append)

    assert_same_bits(model, expected)
    assert seen == reported


def test_a_fold_that_is_done_is_not_trained_again(drives, cache, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train_kept(cache, CONFIG, drives, "nn1", interrupt_after(EPOCHS + 2))
    trained = []
    train_epoch = Trainer._train_epoch

    def counted(trainer, *given):
        trained.append(trainer.fold)
        return train_epoch(trainer, *given)

    monkeypatch.setattr(Trainer, "_train_epoch", counted)
    train_kept(cache, CONFIG, drives, "nn1")

    assert trained == [1] * (EPOCHS - 1)


def test_another_number_of_threads_starts_the_folds_again_and_says_so(drives, cache, uninterrupted, caplog):
    with pytest.raises(KeyboardInterrupt):
        train_kept(cache, CONFIG, drives, "nn1", interrupt_after(EPOCHS + 2), threads=8)

    model = train_kept(cache, CONFIG, drives, "nn1", threads=1)

    said = caplog.text
    for fold in (0, 1):
        assert f"fold {fold} starts again: its checkpoint was made with 8 threads, not 1" in said
    assert_same_bits(model, uninterrupted["nn1"][0])


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(lambda content: bytes(len(content)), id="zeroed"),
        pytest.param(lambda content: content[:2000] + bytes([content[2000] ^ 1]) + content[2001:], id="one bit"),
    ],
)
def test_a_damaged_checkpoint_is_not_gone_on_from(drives, cache, uninterrupted, caplog, harm):
    with pytest.raises(KeyboardInterrupt):
        train_kept(cache, CONFIG, drives, "nn1", interrupt_after(2))
    file = cache.place(CHECKPOINTS, "key") / "fold0.pt"
    file.write_bytes(harm(file.read_bytes()))

    model = train_kept(cache, CONFIG, drives, "nn1")

    assert f"{file}: expected a whole checkpoint, found a damaged one: fold 0 starts again" in caplog.text
    assert_same_bits(model, uninterrupted["nn1"][0])


def test_only_the_newest_checkpoint_of_a_fold_is_kept(drives, cache):
    files = []

    def look(epoch):
        files.append(sorted(path.name for path in cache.place(CHECKPOINTS, "key").glob("fold*")))

    train_kept(cache, CONFIG, drives, "nn1", look)

    assert files[0] == []
    assert files[1:EPOCHS] == [["fold0.pt"]] * (EPOCHS - 1)
    assert files[-1] == ["fold0.pt", "fold1.pt"]


def test_a_fold_that_is_done_keeps_its_weights_alone(drives, cache):
    train_kept(cache, CONFIG, drives, "nn1")

    saved = torch.load(cache.place(CHECKPOINTS, "key") / "fold0.pt", weights_only=True)
    assert set(saved) == {"net", "epochs", "done", "threads"}


def test_the_run_that_left_a_checkpoint_is_named(drives, cache):
    with Checkpoints.open(cache, "key", "first", 1) as checkpoints:
        assert checkpoints.resumed_from is None
    with Checkpoints.open(cache, "key", "second", 1) as checkpoints:
        assert checkpoints.resumed_from is None  # the first left nothing behind
        checkpoints.save(0, {"done": False})
    with Checkpoints.open(cache, "key", "third", 1) as checkpoints:
        assert checkpoints.resumed_from == "second"
    with Checkpoints.open(cache, "another", "fourth", 1) as checkpoints:
        assert checkpoints.resumed_from is None


def test_two_at_once_do_not_write_into_each_other(cache):
    with Checkpoints.open(cache, "key", "first", 1) as one, Checkpoints.open(cache, "key", "second", 1) as other:
        assert one is not None
        assert other is None
    with Checkpoints.open(cache, "key", "third", 1) as one:
        assert one is not None


def test_what_is_forgotten_is_gone_and_what_is_in_use_is_not_removed(cache):
    with Checkpoints.open(cache, "key", "first", 1) as checkpoints:
        checkpoints.save(0, {"done": False})
        [entry] = cache.entries()
        assert (entry.kind, entry.key) == (CHECKPOINTS, "key")
        assert not cache.remove(entry)

        Checkpoints.forget(cache, "key")
        assert cache.entries() == [entry]

    Checkpoints.forget(cache, "key")

    assert cache.entries() == []
    assert list(cache.place(CHECKPOINTS, "key").parent.iterdir()) == []


def test_a_checkpoint_that_is_a_program_is_not_executed(cache, tmp_path):
    class Program:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "executed",))

    with Checkpoints.open(cache, "key", "first", 1) as checkpoints:
        torch.save({"threads": 1, "program": Program()}, checkpoints.folder / "fold0.pt")
        with pytest.raises(Exception, match="Weights only load failed"):
            checkpoints.load(0)

    assert not (tmp_path / "executed").exists()
