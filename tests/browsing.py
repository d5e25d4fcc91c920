"""A headless browser without a network."""

import html
import re
import shutil
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """The HTML of a page after its scripts have run."""

    dom: str

    def texts(self, pattern):
        """Return the matches of a pattern's only group, as text."""
        return [html.unescape(re.sub(r"<[^>]+>", "", found)).strip() for found in re.findall(pattern, self.dom, re.S)]


def opened(url, profile, height_px=3000):
    """Open a page and run its scripts, in a browser that can reach only this machine."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: apt-get install -y chromium"
    words = [
        browser,
        f"--window-size=2400,{height_px}",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]
    words += [f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--timeout=60000"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--dump-dom", url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Page(done.stdout)
