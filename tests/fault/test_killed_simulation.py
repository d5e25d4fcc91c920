"""A simulation that is killed leaves no drives, and the next one goes on from what was written."""

import os
import signal
import subprocess
import sys
import time

from atma18 import simulate
from atma18.simulate import Plan
from tests.drives import contents
from tests.store import PROJECT


def test_killed_process_leaves_no_drives_and_the_next_one_completes_them(tmp_path):
    words = [sys.executable, "-m", "steps.simulate", "--scenes=30", "--test_scenes=3", "--seed=5", "--workers=1"]
    with subprocess.Popen([*words, f"--out={tmp_path / 'out'}"], cwd=PROJECT, env=os.environ.copy()) as process:
        partial = tmp_path / ".out.partial" / "traffic_lights"
        deadline_s = time.monotonic() + 60
        while len(list(partial.glob("*.json"))) < 20 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists() and len(list(partial.glob("*.json"))) >= 20

    simulate.write_drives(tmp_path / "out", Plan(30, 3, seed=5))
    simulate.write_drives(tmp_path / "whole", Plan(30, 3, seed=5))

    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
