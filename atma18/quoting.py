"""How a message quotes what somebody gave: on one line, and no more of it than tells what it is."""

from collections.abc import Iterable

_LONGEST_QUOTE = 60
_LONGEST_MESSAGE = 1200


def one_line(text: str, longest: int = _LONGEST_MESSAGE) -> str:
    """Escape whatever would break a line or move a cursor, and cut what is too long to be read."""
    head = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:longest])
    return head if len(text) <= longest else f"{head}…"


def shown(value: object) -> str:
    """Quote what somebody gave, for a message: on one line, and no more of it than tells what it is."""
    if not isinstance(value, str):
        return one_line(_spelt(value), _LONGEST_QUOTE)
    length = f"… ({len(value):,} characters)" if len(value) > _LONGEST_QUOTE else ""
    return repr(value[:_LONGEST_QUOTE]) + length


def _spelt(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python spells, or lists in lists in lists
        return f"a strange {type(value).__name__}"


def first_few(items: Iterable[object], limit: int = 3) -> str:
    """Name the first offenders and say how many there are: what an error message needs, and on one line."""
    found = list(items)
    rest = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(one_line(str(item), _LONGEST_MESSAGE // limit) for item in found[:limit]) + rest
