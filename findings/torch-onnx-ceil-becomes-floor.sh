#!/usr/bin/env bash
# torch 2.14.1, torch.onnx.export(dynamo=False): a size that is rounded up, -(-n // 2), is rounded down in the graph.
#
# Convolutions with TensorFlow's "SAME" padding, as in EfficientNet, have outputs of half the size, rounded up; their
# padding follows from it. The old exporter traces the sizes as tensors. Python's // rounds down, towards minus
# infinity; ONNX's Div of integers, which it becomes, rounds towards zero. So every odd size is padded too little, and
# the graph's output is a column short. It is valid, onnxruntime runs it, and only a trace warning tells of sizes at all.
# The exporter of torch.export (dynamo=True) keeps the sizes as numbers and is right.
#
# Seen, of an input that is 9 wide:
#   torch (1, 1, 4, 5)
#   dynamo=False (1, 1, 4, 4)
#   dynamo=True (1, 1, 4, 5)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.31.0
cat > find.py <<'PY'
import io
import warnings

import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F


class Same(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, stride=2)

    def forward(self, x):
        size = x.shape[3]
        half = -(-size // 2)
        missing = (half - 1) * 2 + 3 - size
        return self.convolution(F.pad(x, (missing // 2, missing - missing // 2, 1, 1)))


def answered(graph):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].shape


net, x, traced = Same().eval(), torch.rand(1, 1, 8, 9), io.BytesIO()
warnings.simplefilter("ignore")
torch.onnx.export(net, (x,), traced, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
exported = torch.onnx.export(net, (x,), dynamo=True, verbose=False).model_proto.SerializeToString()
found = {"torch": tuple(net(x).shape), "dynamo=False": answered(traced.getvalue()), "dynamo=True": answered(exported)}
for name, shape in found.items():
    print(name, tuple(shape))
expected = {"torch": (1, 1, 4, 5), "dynamo=False": (1, 1, 4, 4), "dynamo=True": (1, 1, 4, 5)}
assert {name: tuple(shape) for name, shape in found.items()} == expected, "the behaviour has changed"
PY
env/bin/python find.py
