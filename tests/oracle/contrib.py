#!/usr/bin/env python3
"""Random cases of the operators of com.microsoft: hugot against onnxruntime.

    contrib.py --hugot COMMAND [--cases N] [--filter OPERATOR] [--seed N] [--record FOLDER]

Makes graphs of one node with random shapes, masks and optional inputs, runs them in onnxruntime and
in `hugot infer`, and compares within 1e-4 relative to the largest number of an output (results that
are integers: within one step). Cases that onnxruntime refuses are not counted. With --record the
first two cases of every operator that agree are written as folders for `hugot onnx-test`. The last
line is `N passed, N failed`.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# QMoE with 8 bits in blocks otherwise rounds tokens to int8 in front of each layer, which makes
# results differ by percents from those of the decoded weights.
os.environ.setdefault("ORT_QMOE_CPU_QNBIT_GEMM", "fp32")
import onnxruntime
from onnx import helper, numpy_helper

from contrib_cases import CASES

TOLERANCE = 1e-4


def run_onnxruntime(case, model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, case.feed())))


def run_hugot(command, case, model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "model.onnx").write_bytes(model.SerializeToString())
        np.savez(path / "in.npz", **case.feed())
        run = subprocess.run([command, "infer", "--model", path / "model.onnx", "--inputs",
                              path / "in.npz", "--outputs", path / "out.npz"],
                             capture_output=True, text=True, timeout=60)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip()[-400:])
        return dict(np.load(path / "out.npz"))


def difference(case, got, want):
    """Empty when all outputs agree."""
    for name, expected in want.items():
        actual = got[name]
        if expected.dtype == object:
            if actual.shape != expected.shape or actual.astype(object).tolist() != expected.tolist():
                return f"{name} is {actual.tolist()}, not {expected.tolist()}"
            continue
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            return f"{name} is {actual.dtype}{actual.shape}, not {expected.dtype}{expected.shape}"
        valid = case.valid.get(int(name[1:]))
        if valid is not None:
            actual, expected = actual[valid], expected[valid]
        a, b = actual.astype(np.float64), expected.astype(np.float64)
        integers = np.issubdtype(expected.dtype, np.integer)
        limit = 1 if integers else TOLERANCE * max(1.0, np.abs(b).max(initial=0))
        worst = np.abs(a - b).max(initial=0)
        if not worst <= limit:
            return f"{name} differs by {worst:.3g}, allowed is {limit:.3g}"
    return ""


def record(folder, case, model, want):
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "test_data_set_0"
    data.mkdir(exist_ok=True)
    for output, array in zip(model.graph.output, want.values()):
        output.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, arrays in (("input", case.feed().values()), ("output", want.values())):
        for i, array in enumerate(arrays):
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--filter", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    passed = failed = 0
    for op, make in CASES.items():
        if options.filter and options.filter != op:
            continue
        agreed = refused = wrong = recorded = 0
        reason = ""
        rng = np.random.default_rng([options.seed, *op.encode()])
        while agreed + wrong < options.cases and refused < 4 * options.cases:
            case = make(rng)
            model = case.model()
            try:
                want = run_onnxruntime(case, case.model(expanded=True))
            except Exception as error:  # whatever it does not take
                refused += 1
                reason = str(error)[-200:]
                continue
            try:
                what = difference(case, run_hugot(options.hugot, case, model), want)
            except RuntimeError as error:
                what = str(error)
            if what:
                wrong += 1
                inputs = [None if x is None else getattr(x, "shape", getattr(x, "dims", None))
                          for x in case.inputs]
                print(f"FAIL {op} {case.attributes} {inputs}: {what}")
            else:
                agreed += 1
                comparable = all(np.issubdtype(y.dtype, np.floating) for y in want.values())
                whole = all(valid.all() for valid in case.valid.values())
                if options.record and recorded < 2 and comparable and whole:
                    record(options.record / f"contrib_{op}_{recorded}", case, model, want)
                    recorded += 1
        print(f"{op}: {agreed} agree, {wrong} differ, {refused} refused by onnxruntime"
              f"{' (' + reason + ')' if agreed + wrong == 0 else ''}", flush=True)
        passed, failed = passed + agreed, failed + wrong
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
