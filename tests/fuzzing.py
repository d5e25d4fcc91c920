"""Helpers of the fuzz tests, which read hostile input.

ATMA18_FUZZ multiplies the number of examples of each property.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = float(os.environ.get("ATMA18_FUZZ", "1"))
LONGEST_MESSAGE = 2500


def often(count):
    """Test a property with `count` examples and no deadline."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=max(1, round(count * FACTOR)), deadline=None, suppress_health_check=slow)


def refusal(call, *args, **named):
    """Call, and return the message of the ValueError, or None without one; any other error fails the test."""
    try:
        call(*args, **named)
    except ValueError as error:
        return helpful(str(error))
    return None


def helpful(message):
    """Check that a message is one short line with what was expected and what was found, and return it."""
    assert message.isprintable(), repr(message)
    assert len(message) <= LONGEST_MESSAGE, len(message)
    assert "expected" in message, message
    return message


@st.composite
def damaged(draw, whole):
    """Some bytes with up to three parts changed, removed, repeated or inserted."""
    content = whole
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        new = draw(st.binary(max_size=12) | st.just(content[start:end] * 2) | st.just(b""))
        content = content[:start] + new + content[end:]
    return content


hostile_texts = st.sampled_from(
    [
        *("", "\0", "a_20\0", "\n", "a_20\n", "../a_20", "/etc/passwd", "a/../b_20", "..", ".", "~", "$(touch x)_20"),
        *("'; DROP TABLE runs; --", '" OR 1=1 --', "`id`", "a_20; rm -rf .", "%s%n", "{0}", "\x1b[2J", "‮a_20"),
        *("\udcff", "🚗_20", "٣_20", "a" * 10_000_000, "x\r\ny", "models:/x/1' or '1", "-rf", "--help", "%00"),
    ]
) | st.text(max_size=20)
