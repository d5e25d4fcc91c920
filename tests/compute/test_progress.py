"""Long work reports its progress on a terminal and in a log; short work adds nothing to a log."""

import io
import sys

from atma18.compute.progress import progress


class Clock:
    """A second of whose time passes whenever it is asked."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        self.now_s += 1.0
        return self.now_s


def test_short_work_is_quiet_in_a_log(capsys):
    assert list(progress(range(100), desc="train nn1", unit="epoch")) == list(range(100))

    assert capsys.readouterr().err == ""


def test_long_work_says_every_minute_how_much_is_left(capsys):
    with progress(total=300, desc="train nn1", unit="epoch") as bar:
        bar._time = Clock()
        bar.start_t = bar.last_print_t = 0.0
        for _ in range(300):
            bar.set_postfix(fold=2, refresh=False)
            bar.update()

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5  # of 300 seconds
    for line in lines:
        assert line.startswith("train nn1: ") and " of 300 epochs after 0" in line and line.endswith(" left, fold=2")


def test_a_terminal_shows_a_bar_at_once(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)

    list(progress(range(3), desc="examine runs", unit="run"))

    assert "examine runs: 100%" in terminal.getvalue()
