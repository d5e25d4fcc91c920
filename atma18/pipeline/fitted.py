"""Steps whose models are fitted to samples, targets and folds alone, with the `fit` of their entry in `STEPS`."""

from typing import Any

from atma18.bundle.servable import predict_all
from atma18.bundle.steps import STEPS
from atma18.pipeline.step import NO_INPUTS, Step
from atma18.run_context import RunContext
from atma18.tracking import Identity, StepRun


def fitted(step: str, context: RunContext, config: Any) -> Step:  # noqa: ANN401 - any configuration dataclass
    """Fit a step's model in each fold.

    Args:
        step: one of `STEPS` that has a `fit`.
        context: the dataset, folds, seed, machine and cache.
        config: the configuration of the step.

    Raises:
        ValueError: If the step has no `fit`.
    """
    fit, dataset = STEPS[step].fit, context.dataset
    if fit is None:
        raise ValueError(f"expected a step that is fitted to samples alone, found {step}")

    def work(run: StepRun) -> None:
        folds = context.folds.of(dataset.train.ids)
        with run.phase("fit", len(dataset.train)):
            model = fit(dataset.train, dataset.targets_m, folds)
        with run.phase("predict", len(dataset.train) + len(dataset.test) * context.folds.count):
            predictions = predict_all(model, dataset.train, folds, dataset.test, NO_INPUTS, context.machine.device)
        run.keep_predictions(predictions)
        run.keep_servable(model, {})

    return Step(Identity.of(step, context, config, {}), context, config, {}, work)
