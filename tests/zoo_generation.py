#!/usr/bin/env python3
"""Every decoder graph of a zoo of language models against its golden logits.

    zoo_generation.py --hugot COMMAND --zoo FOLDER [--filter TEXT]

For each folder with golden.json: the prompt at once, three steps on the cache that follow, the
prompt in two pieces, a long prompt and a step more, and a padded batch with a step more, each
through `hugot infer`. The last line is `N passed, N failed`.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

DTYPES = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16,
          onnx.TensorProto.INT64: np.int64, onnx.TensorProto.INT32: np.int32,
          onnx.TensorProto.BOOL: np.bool_}

HUGOT = ""


class Failure(Exception):
    pass


class Decoder:
    """A decoder graph, whatever its flavour."""

    def __init__(self, folder):
        self.path = folder / "model.onnx"
        model = onnx.load(self.path, load_external_data=False)
        constants = {i.name for i in model.graph.initializer}
        self.inputs = {i.name: DTYPES[i.type.tensor_type.elem_type] for i in model.graph.input
                       if i.name not in constants}
        self.past = [name for name in self.inputs if name.startswith("past_key_values")]
        config = json.loads((folder / "config.json").read_text())
        heads = config.get("num_attention_heads", config.get("n_head"))
        self.heads = config.get("num_key_value_heads", heads)
        self.size = config.get("head_dim") or \
            config.get("hidden_size", config.get("n_embd")) // heads
        # Layers with a sliding cache keep as many positions as their window from the start.
        self.room = {}
        for node in model.graph.node:
            values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if values.get("sliding_window_cache"):
                for name in node.input[3:5]:
                    self.room[name] = values["local_window_size"]

    def step(self, call, past=None):
        """Logits and cache of one call; `past` is the cache of the call before."""
        batch = len(call["input_ids"])
        feed = {name: np.asarray(call[name]) for name in
                ("input_ids", "attention_mask", "position_ids")}
        first = past is None
        for name in self.past:
            length = self.room.get(name, 1 if "use_cache_branch" in self.inputs else 0)
            feed[name] = np.zeros((batch, self.heads, length, self.size)) if first else past[name]
        feed["use_cache_branch"] = np.array([not first])
        feed = {name: feed[name].astype(dtype) for name, dtype in self.inputs.items()}
        with tempfile.TemporaryDirectory() as scratch:
            inputs, outputs = Path(scratch, "in.npz"), Path(scratch, "out.npz")
            np.savez(inputs, **feed)
            run = subprocess.run([HUGOT, "infer", "--model", self.path, "--inputs", inputs,
                                  "--outputs", outputs], capture_output=True, text=True,
                                 timeout=120)
            if run.returncode != 0:
                raise Failure(run.stderr.strip()[-300:])
            results = dict(np.load(outputs))
        present = {name.replace("present", "past_key_values"): value
                   for name, value in results.items() if name.startswith("present")}
        return results["logits"].astype(np.float32), present


class Checks:
    def __init__(self, folder):
        self.golden = json.loads((folder / "golden.json").read_text())
        self.arrays = np.load(folder / "golden.npz")
        self.folder = folder
        # Operands of quantized weights are rounded (accuracy_level 4): there are arrays for that.
        nodes = onnx.load(folder / "model.onnx", load_external_data=False).graph.node
        self.rounds = any(a.name == "accuracy_level" and a.i == 4 for node in nodes
                          if node.op_type == "MatMulNBits" for a in node.attribute)
        self.passed = self.failed = 0

    def case(self, name, body):
        try:
            body()
            self.passed += 1
        except Failure as failure:
            self.failed += 1
            print(f"FAIL {self.folder.name} {name}: {failure}")

    def compare(self, got, key, mask=None):
        """`mask`: positions of a padded batch that count."""
        want = self.arrays[key]
        tolerance = self.golden["tolerance"]["logits_atol"]
        if self.rounds:
            # Rows are rounded one by one, so the pieces of a prompt are what they are at once.
            key = "prefill.logits" if key == "chunked.logits" else key
            want = self.arrays["int8." + key]
            tolerance = self.golden["tolerance"]["int8_logits_atol"]
        # Graphs that compute fewer positions than the golden file has, and the other way round.
        shared = min(want.shape[1], got.shape[1])
        got, want = got[:, -shared:], want[:, -shared:]
        if got.shape != want.shape:
            raise Failure(f"logits are {got.shape}, expected {want.shape}")
        difference = np.abs(got - want)
        if mask is not None:
            difference = difference[np.asarray(mask)[:, -shared:] == 1]
        worst = float(difference.max())
        if self.rounds and tolerance < worst <= self.golden["tolerance"]["int8_flip_atol"]:
            # A number on the border of two integers may fall to either side, which the zoo allows.
            print(f"flip {self.folder.name} {key}: {worst:.3g}")
            return
        if not worst <= tolerance:
            raise Failure(f"logits differ by {worst:.3g}, allowed are {tolerance:.3g}")

    def run(self):
        golden, skipped = self.golden, list(self.golden["not_applicable"])
        if self.rounds:  # no arrays
            skipped += ["left_padded", "right_padded"]
        decoder = Decoder(self.folder)

        def sequence():
            call = golden["prefill"]
            logits, past = decoder.step(call)
            self.compare(logits, call["logits"])
            seen = list(call["input_ids"][0])
            for step in golden["decode"]:
                seen += step["input_ids"][0]
                if decoder.past:
                    logits, past = decoder.step(step, past)
                else:
                    logits, past = decoder.step(whole(seen))
                self.compare(logits[:, -1:], step["logits"])

        def chunked():
            call = golden["chunked"]
            _, past = decoder.step(call["first"])
            logits, _ = decoder.step(call["second"], past)
            self.compare(logits, call["logits"])

        def long():
            call = golden["long"]
            logits, past = decoder.step(call)
            self.compare(logits, call["logits"])
            step = call["decode"]
            if not decoder.past:
                return
            logits, _ = decoder.step(step, past)
            self.compare(logits, step["logits"])

        def padded(side):
            call = golden[side]
            logits, past = decoder.step(call)
            if logits.shape[1] > 1 or side == "left_padded":
                self.compare(logits, call["logits"], call["attention_mask"])
            if not decoder.past or side + ".decode" in skipped:
                return
            logits, _ = decoder.step(call["decode"], past)
            self.compare(logits, call["decode"]["logits"])

        cases = {"sequence": sequence, "long": long, "left_padded": lambda: padded("left_padded"),
                 "right_padded": lambda: padded("right_padded")}
        if decoder.past:
            cases["chunked"] = chunked
        for name, body in cases.items():
            if name not in skipped and name in golden or name == "sequence":
                self.case(name, body)


def whole(ids):
    return {"input_ids": [ids], "attention_mask": [[1] * len(ids)],
            "position_ids": [list(range(len(ids)))]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--zoo", required=True, type=Path)
    parser.add_argument("--filter", default="")
    options = parser.parse_args()
    global HUGOT
    HUGOT = options.hugot
    passed = failed = 0
    for folder in sorted(options.zoo.iterdir()):
        if not (folder / "golden.json").exists() or options.filter not in folder.name:
            continue
        checks = Checks(folder)
        checks.run()
        passed, failed = passed + checks.passed, failed + checks.failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
