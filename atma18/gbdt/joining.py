"""Join XGBoost's trees of several targets, so that a table is converted once for all of them."""

import json
from collections.abc import Sequence
from typing import Any


def joined(models: Sequence[bytes]) -> bytes:
    """Join models of one target each to one of T targets, whose predictions are the same to the bit.

    XGBoost knows such models: `tree_info` names the target of each tree. All trees together are one round, because the
    targets may have different numbers of them. A target's trees keep their order, and so does the sum of their leaves.

    Args:
        models: T models on the same features, in XGBoost's JSON.

    Returns:
        The joined model, in XGBoost's JSON.
    """
    learners: list[dict[str, Any]] = [json.loads(model)["learner"] for model in models]
    parts = [learner["gradient_booster"]["model"] for learner in learners]
    trees = [tree for part in parts for tree in part["trees"]]
    scores = [learner["learner_model_param"]["base_score"].strip("[]") for learner in learners]
    first = learners[0]
    numbers = first["learner_model_param"] | {"num_target": str(len(models)), "base_score": f"[{','.join(scores)}]"}
    model = parts[0] | {
        "trees": [tree | {"id": number} for number, tree in enumerate(trees)],
        "tree_info": [target for target, part in enumerate(parts) for _ in part["trees"]],
        "iteration_indptr": [0, len(trees)],
        "gbtree_model_param": parts[0]["gbtree_model_param"] | {"num_trees": str(len(trees))},
    }
    booster = first["gradient_booster"] | {"model": model}
    learner = first | {"attributes": {}, "learner_model_param": numbers, "gradient_booster": booster}
    return json.dumps(json.loads(models[0]) | {"learner": learner}).encode()
