"""One thread for each process, the tests that take long first, and the fixtures where tests are run."""

import gc
import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # read on import

LONGEST_FIRST = ("postgres", "load", "fault", "e2e", "browser", "fuzz")
"""Folders whose tests take long: begun late, they would keep one process at work while the others are done."""


def pytest_configure(config):
    """Spare a process that only hands tests out to others what takes it ten seconds to import."""
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not hands_out:
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_collection_finish():
    """Spare the collector what stays: the million objects of the libraries took it a tenth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(items):
    """Begin with the folders of tests that take long."""

    def place(item):
        folder = item.path.parent.name
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)
