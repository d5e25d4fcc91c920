"""What follows from samples alone is computed once for them: nets, trees and folds ask for the same numbers."""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
_KEPT = "_computed_once"


def once(compute: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Keep what a function returns for an object as long as the object lives, by the other arguments.

    Neither the object nor what is returned may be changed, and the other arguments are hashable.
    """

    @wraps(compute)
    def known(given: S, /, *settings: P.args, **named: P.kwargs) -> R:
        return kept(given, (compute, *settings, *named.items()), lambda: compute(given, *settings, **named))

    return known


def kept(given: object, key: Hashable, compute: Callable[[], R]) -> R:
    """Return what is kept for an object under a key, which is computed the first time."""
    known: dict[Hashable, R] = vars(given).setdefault(_KEPT, {})
    if key not in known:
        known[key] = compute()
    return known[key]
