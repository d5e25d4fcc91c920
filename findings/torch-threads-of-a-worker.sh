#!/usr/bin/env bash
# torch 2.14.1: `torch.set_num_threads` in a worker thread neither stays in that thread nor reaches the whole process.
#
# Folds that train side by side in threads are each given one core by `torch.set_num_threads(1)` in their thread. The
# thread that started them keeps its own number; threads that start later begin with the worker's number. So the
# caller must set the number again after the workers have ended, although its own never seemed to change.
#
# Seen:
#   main thread, a thread that starts: 4 4
#   after set_num_threads(1) in a worker: 4 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.14.1 numpy==2.4.6
cat > find.py <<'PY'
from threading import Thread

import torch


def in_thread(work):
    found = []
    thread = Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


torch.set_num_threads(4)
print("main thread, a thread that starts:", torch.get_num_threads(), in_thread(torch.get_num_threads))
in_thread(lambda: torch.set_num_threads(1))
main, later = torch.get_num_threads(), in_thread(torch.get_num_threads)
print("after set_num_threads(1) in a worker:", main, later)
assert (main, later) == (4, 1)
PY
env/bin/python find.py
