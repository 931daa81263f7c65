"""One random node, for contrib_cases.py."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

MS = "com.microsoft"


class Case:
    """A node. `inputs`: arrays, None where omitted; `constant`: numbers of those that are
    initializers; `valid`: what of an output counts; `expansion`: nodes from x0, x1 .. to y0 that
    onnxruntime runs instead, for operators that it has on other devices only."""

    def __init__(self, op, inputs, attributes=None, outputs=1, constant=(), domain=MS, opset=18,
                 valid=None, skip_outputs=(), expansion=None):
        self.op, self.inputs, self.attributes = op, inputs, attributes or {}
        self.outputs, self.constant, self.domain = outputs, set(constant), domain
        self.opset, self.valid, self.skip_outputs = opset, valid or {}, set(skip_outputs)
        self.expansion = expansion

    def model(self, expanded=False):
        names = ["" if x is None else f"x{i}" for i, x in enumerate(self.inputs)]
        outputs = ["" if i in self.skip_outputs else f"y{i}" for i in range(self.outputs)]
        given, constants = [], []
        for i, x in enumerate(self.inputs):
            if x is None:
                continue
            tensor = x if isinstance(x, TensorProto) else numpy_helper.from_array(x, names[i])
            tensor.name = names[i]
            if i in self.constant:
                constants.append(tensor)
            else:
                given.append(helper.make_tensor_value_info(names[i], tensor.data_type, x.shape))
        node = helper.make_node(self.op, names, outputs, domain=self.domain, **self.attributes)
        results = [helper.make_empty_tensor_value_info(name) for name in outputs if name]
        if self.op == "MultiHeadAttention" and self.outputs == 4:  # has a type variable of its own
            results[-1].type.tensor_type.elem_type = TensorProto.FLOAT
        nodes = self.expansion if expanded and self.expansion else [node]
        graph = helper.make_graph(nodes, "case", given, results, constants)
        return helper.make_model(graph, ir_version=10, opset_imports=[
            helper.make_opsetid("", self.opset), helper.make_opsetid(MS, 1)])

    def feed(self):
        return {f"x{i}": x for i, x in enumerate(self.inputs)
                if x is not None and i not in self.constant}


def floats(rng, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def maybe(rng, value, chance=0.5):
    return value if rng.random() < chance else None


def pick(rng, *values):
    return values[rng.integers(len(values))]


def pack(codes, bits):
    """Codes along the last axis, the first in the low bits."""
    per = 8 // bits
    pad = -codes.shape[-1] % per
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, pad)])
    codes = codes.reshape(*codes.shape[:-1], codes.shape[-1] // per, per).astype(np.uint8)
    return np.bitwise_or.reduce(codes << (np.arange(per) * bits).astype(np.uint8), axis=-1)
