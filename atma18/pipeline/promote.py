"""promote: compute a verdict on a blend, then move the alias `champion`."""

from atma18 import checks, tracking
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.data.predictions import Predictions
from atma18.geometry.kinematics import MotionModel
from atma18.metrics.scores import TESTMIX, training_parts
from atma18.metrics.verdict import Check, Gain, Verdict, code_is_known, reproduces, same_setting
from atma18.schema import FloatArray
from atma18.serving import rehearsal
from atma18.tracking import BlendVersion


def promote(
    run_id: str, candidate: str, data: str | None, min_gain_m: float, *, force: bool, note: str | None, cache: Cache
) -> Verdict:
    """Judge a registered blend, and make it champion if the verdict accepts it.

    Args:
        run_id: the run that holds the record of the promotion.
        candidate: a version of atma18-blend, or the ID of its run.
        data: the dataset folder that it predicted; None for the folder's place when the run was made.
        min_gain_m: by how much its test-mix MAE must be lower than the champion's, metres.
        force: accept it in spite of failed checks that are a matter of judgement; the version is marked for ever.
        note: the user's text for the record.
        cache: the cache of decoded frames.

    Raises:
        ValueError: If there is no such blend, or the dataset cannot be read.
    """
    tracking.check_may_register("blend")
    with tracking.exclusive():
        finished = tracking.finish_interrupted()
    version = tracking.blend_version(candidate)
    if int(version.version) in finished:
        return Verdict((Check("champion", True, "a promotion of it that was cut off is finished now"),), force)
    lineage = tracking.trace(version, cache)
    if lineage.broken:
        verdict = Verdict((Check("lineage", False, "; ".join(lineage.broken)),), force)
        tracking.refuse(run_id, version, verdict, note)
        return verdict
    ours = tracking.open_blend(version, cache)
    dataset = Dataset.open(ours.upstream.config["data"] if data is None else data, cache)
    judged = [
        Check("lineage", True, f"{len(lineage.runs)} runs, every file as its manifest says"),
        code_is_known({run.name: run.git for run in lineage.runs}),
        _drives(ours, dataset, cache),
    ]
    gains: dict[str, Gain] = {}
    if judged[-1].passed:
        judged.append(_servable(ours, dataset, cache))
        gains["gain_over_motion"] = _over_motion(ours, dataset)
        judged.append(gains["gain_over_motion"].over_motion())
    with tracking.exclusive():
        found, gain = _beside_champion(ours, dataset, min_gain_m, cache)
        verdict = Verdict((*judged, *found), force)
        tracking.promote(run_id, ours, verdict, gains if gain is None else gains | {"gain": gain}, note)
    return verdict


def roll_back(run_id: str, *, note: str | None, cache: Cache) -> BlendVersion:
    """Make the previous champion the champion again, and return its version.

    Raises:
        ValueError: If there is no previous champion, or it is not intact.
    """
    tracking.check_may_register("blend")
    with tracking.exclusive():
        tracking.finish_interrupted()
        previous = tracking.version_with(tracking.PREVIOUS)
        if previous is None:
            raise ValueError(
                "expected a version with the alias previous, found none: the champion is the first one; "
                "promote another blend instead, with force=true if it has other data or folds"
            )
        to = tracking.open_blend(previous, cache)
        tracking.roll_back(run_id, to, note)
    return to


def _drives(blend: BlendVersion, dataset: Dataset, cache: Cache) -> Check:
    """Check that the dataset is the one that the candidate predicted; only then can predictions be compared.

    What looks wrong about it is told; nothing of it is certain, so it decides nothing.
    """
    expected, found = blend.upstream.data_sha256, dataset.sha256
    if expected == found:
        looks = "".join(f"; they look wrong: {suspicion}" for suspicion in checks.check_once(dataset, cache))
        return Check("drives", True, f"those that were predicted, {found[:12]}…{looks}")
    said = f"expected the drives that were predicted, {expected[:12]}…, found {found[:12]}… in {dataset.folder}"
    return Check("drives", False, f"{said}: name them with data")


def _servable(blend: BlendVersion, dataset: Dataset, cache: Cache) -> Check:
    """Check that the registered servable reproduces its run's stored predictions from raw frames."""
    try:
        found = tracking.check_serving(blend.uri, blend.upstream, dataset, cache)
    except ValueError as error:
        return Check("servable", False, str(error))
    return reproduces(found.worst_m, found.share, found.samples, rehearsal.TOLERANCE_M, same_machine=found.same_machine)


def _beside_champion(
    ours: BlendVersion, dataset: Dataset, min_gain_m: float, cache: Cache
) -> tuple[list[Check], Gain | None]:
    """Compare with the current champion: cross-fitted, paired by sample, weighted as the test split."""
    version = tracking.version_with(tracking.CHAMPION)
    if version is None:
        return [Check("champion", True, "there was none to beat")], None
    if int(version.version) == ours.number:
        return [Check("champion", False, f"version {ours.number} is the champion already")], None
    try:
        champion = tracking.open_blend(version, cache)
    except ValueError as error:
        return [Check("champion", False, f"nobody can compare with a broken one: {error}", overrulable=True)], None
    settings = [
        {"data": blend.upstream.data_sha256, "folds": blend.upstream.folds_sha256} for blend in (ours, champion)
    ]
    setting = same_setting(*settings)
    if not setting.passed or dataset.sha256 != ours.upstream.data_sha256:
        return [setting], None
    gain = _gain(_stored(ours, dataset).oof_m, _stored(champion, dataset).oof_m, dataset)
    return [setting, gain.over_champion(min_gain_m)], gain


def _over_motion(blend: BlendVersion, dataset: Dataset) -> Gain:
    """Compare with the motion model that is fitted in the same folds, weighted as the test split."""
    stored = _stored(blend, dataset)
    motion_m = MotionModel.predict_oof(dataset.train.signals, dataset.targets_m, dataset.train.scenes, stored.folds)
    return _gain(stored.oof_m, motion_m, dataset)


def _stored(blend: BlendVersion, dataset: Dataset) -> Predictions:
    return blend.upstream.stored_predictions.aligned(dataset.train.ids, dataset.test.ids, blend.uri)


def _gain(ours_m: FloatArray, other_m: FloatArray, dataset: Dataset) -> Gain:
    [mix] = [part for part in training_parts(dataset.train, dataset.test) if part.name == TESTMIX]
    return Gain.of(ours_m, other_m, dataset.targets_m, mix, dataset.train.scenes)
