#!/usr/bin/env python3
"""Writes tests/data/onnx-cases/quantized_*: quantized operators of com.microsoft, whose results come from ONNX Runtime.

    python3 -m venv V && V/bin/pip install numpy onnx onnxruntime && V/bin/python make_quantized_cases.py

Each case is a graph of one node. Numbers are small, random and the same in every run.
"""
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

CASES = Path(__file__).parent / "onnx-cases"
RANDOM = np.random.default_rng(20240229)
TYPES = {np.dtype(name): number for name, number in [
    ("float32", T.FLOAT), ("int8", T.INT8), ("uint8", T.UINT8), ("int16", T.INT16),
    ("uint16", T.UINT16)]}


def floats(*shape, low=-2.0, high=3.0):
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def integers(dtype, *shape):
    info = np.iinfo(dtype)
    return RANDOM.integers(info.min, info.max + 1, shape).astype(dtype)


def write(name, op_type, inputs, dtype, **attributes):
    """inputs: arrays, None for an operand that is omitted."""
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(inputs)]
    given = {n: array for n, array in zip(names, inputs) if n}
    node = helper.make_node(op_type, names, ["y"], domain="com.microsoft", **attributes)
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, TYPES[a.dtype], a.shape) for n, a in given.items()],
        [helper.make_tensor_value_info("y", TYPES[np.dtype(dtype)], None)])
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    (y,) = session.run(None, given)
    folder = CASES / f"quantized_{name}"
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    for i, array in enumerate(given.values()):
        (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    (data / "output_0.pb").write_bytes(numpy_helper.from_array(y, "y").SerializeToString())


def linear_cases():
    x = floats(2, 3, 5, low=-9, high=9)
    scale, scales = np.float32(0.05), floats(3, low=0.01, high=0.1)
    for dtype in ("int8", "uint8", "int16", "uint16"):
        zero, zeros = integers(dtype, 1)[0], integers(dtype, 3)
        write(f"quantize_{dtype}", "QuantizeLinear", [x, np.array(scale), np.array(zero)], dtype)
        write(f"quantize_axis_{dtype}", "QuantizeLinear", [x, scales, zeros], dtype, axis=1)
        q = integers(dtype, 2, 3, 5)
        write(f"dequantize_{dtype}", "DequantizeLinear", [q, np.array(scale), np.array(zero)],
              "float32")
        write(f"dequantize_axis_{dtype}", "DequantizeLinear", [q, scales, zeros], "float32", axis=-2)


def product_cases():
    bias = floats(11)
    for dtype in ("int8", "uint8"):
        for columns in (False, True):
            w = integers(dtype, 20, 11)
            scale = floats(11 if columns else 1, low=0.001, high=0.01)
            zero = integers(dtype, 11 if columns else 1)
            label = f"{dtype}_columns" if columns else dtype
            write(f"dynamic_matmul_{label}", "DynamicQuantizeMatMul",
                  [floats(2, 7, 20), w, scale, zero, bias], "float32")
            write(f"matmul_to_float_{label}", "MatMulIntegerToFloat",
                  [integers("uint8", 2, 7, 20), w, np.array([0.02], np.float32), scale,
                   integers("uint8", 1), zero, bias], "float32")
    w = integers("int8", 20, 11)
    write("dynamic_matmul_plain", "DynamicQuantizeMatMul",
          [floats(7, 20), w, np.array([0.01], np.float32)], "float32")
    write("dynamic_matmul_bias_only", "DynamicQuantizeMatMul",
          [floats(7, 20), w, np.array([0.01], np.float32), None, bias], "float32")


linear_cases()
product_cases()
