#!/usr/bin/env bash
# torch 2.14.1 and torchvision 0.29.1: a step that computes nothing imports torch's compiler, for seconds.
#
# Tensors on the device `meta` have shapes and no numbers; people use them to check weights before they load them, and
# expect it to be free. The first division on `meta` imports torch._dynamo, and SymPy with it, which nothing compiles
# with; so does `import torchvision`, and so does the first optimiser. The same division on the CPU does not, nor does a
# layer that is made on `meta`.
#
# Seen, the compiler's modules after each step in a process of its own:
#   import torch: False
#   divide on the CPU: False
#   make a layer on meta: False
#   divide on meta: True
#   import torchvision: True
#   make an optimiser: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cat > find.py <<'PY'
import subprocess
import sys

STEPS = {
    "import torch": "pass",
    "divide on the CPU": "torch.ones(2) / 3",
    "make a layer on meta": "torch.nn.Conv2d(3, 4, 3, device='meta')",
    "divide on meta": "torch.ones(2, device='meta') / 3",
    "import torchvision": "import torchvision",
    "make an optimiser": "torch.optim.SGD([torch.zeros(1, requires_grad=True)])",
}
EXPECTED = [False, False, False, True, True, True]
found = []
for name, step in STEPS.items():
    code = f"import sys, torch\n{step}\nprint({{'torch._dynamo', 'sympy'}} <= set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found.append(done.stdout.strip() == "True")
    print(f"{name}: {found[-1]}")
assert found == EXPECTED, found
PY
env/bin/python find.py
