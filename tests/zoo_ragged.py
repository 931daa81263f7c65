#!/usr/bin/env python3
"""The promise of ragged mode on every encoder of texts and of images of a model zoo.

    zoo_ragged.py --hugot COMMAND --zoo FOLDER [--filter TEXT]

For each graph that takes token ids and nothing but what follows from them, and for each of its
outputs:

* the result of every text is the same, digit by digit, in random batches of random order, with one
  thread and with two, as alone;
* alone it equals `hugot infer` of that text in exact mode, with the pooling of the model directory
  applied in numpy.

The same for graphs that take pixels, with `hugot infer --ragged`; a graph that takes both counts as
an encoder of each kind, for the outputs that need nothing of the other.

The texts are random token ids of random lengths, 1 and the model's maximum among them. Graphs with
operators that this version does not have are skipped; the reason is printed. The last line is
`N passed, N failed, N skipped`.
"""
import argparse
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

# Largest difference from exact mode, times max(1, |reference|).
TOLERANCE = 1e-4
# Files that round to half precision (or to integers) between nodes: a fusion skips roundings.
TOLERANCE_HALF = 5e-3
TOLERANCE_INTEGER = 2e-2

# What a graph may ask for so that ids are enough.
TEXT_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}

# The same for images.
IMAGE_INPUTS = {"pixel_values", "pixel_mask"}
IMAGE_SIZE = 64        # where the graph leaves it open

# Folders whose graphs take token ids but are no encoders of texts.
EXCLUDED = {}

MAX_LENGTH = 64        # of texts, for models without a smaller limit of their own
TEXTS = 9
SEED = 20240229
NOT_IMPLEMENTED = re.compile(r"is not (implemented|in this version)")

HUGOT = ""


def hugot(*args, stdin=""):
    result = subprocess.run([HUGOT, *map(str, args)], input=stdin, capture_output=True, text=True,
                            timeout=120)
    return result.returncode, result.stdout, result.stderr.strip()


class Failure(Exception):
    pass


class Skip(Exception):
    pass


# -- the reference: pooling and dense layers as sentence_transformers has them

def read_json(path, default=None):
    return json.loads(path.read_text()) if path.exists() else default


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] != "F32":
            raise Failure(f"{path}: {name} is {entry['dtype']}")
        tensors[name] = np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"])
    return tensors


POOLINGS = {
    "pooling_mode_cls_token": lambda rows: rows[0],
    "pooling_mode_max_tokens": lambda rows: rows.max(0),
    "pooling_mode_mean_tokens": lambda rows: rows.mean(0),
    "pooling_mode_mean_sqrt_len_tokens": lambda rows: rows.sum(0) / np.sqrt(len(rows)),
    "pooling_mode_weightedmean_tokens":
        lambda rows: np.average(rows, axis=0, weights=np.arange(1, len(rows) + 1)),
    "pooling_mode_lasttoken": lambda rows: rows[-1],
}

ACTIVATIONS = {"Identity": lambda x: x, "Tanh": np.tanh, "ReLU": lambda x: np.maximum(x, 0),
               "Sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def pooling_module(folder):
    config = read_json(folder / "config.json")
    chosen = [pool for flag, pool in POOLINGS.items() if config.get(flag)]
    if not chosen:
        raise Failure(f"{folder}: no pooling")
    return lambda rows: np.concatenate([pool(rows) for pool in chosen])


def dense_module(folder):
    config = read_json(folder / "config.json")
    activation = ACTIVATIONS[config["activation_function"].split(".")[-1]]
    tensors = read_safetensors(folder / "model.safetensors")
    weight = tensors["linear.weight"].astype(np.float64)
    bias = tensors.get("linear.bias", np.zeros(len(weight)))
    return lambda x: activation(weight @ x + bias)


def normalize(x):
    return x / max(np.linalg.norm(x), 1e-12)


def head_of(folder):
    """The modules behind the transformer as functions; without modules.json nothing."""
    steps = []
    for module in read_json(folder / "modules.json", []):
        kind = module["type"].split(".")[-1]
        path = folder / module["path"]
        if kind == "Pooling":
            steps.append(pooling_module(path))
        elif kind == "Dense":
            steps.append(dense_module(path))
        elif kind == "Normalize":
            steps.append(normalize)
    return steps


# -- one graph

# Rows have ids already; so that they can be run for tokenizers that are not there yet, the folders
# get one that is as simple as possible.
TOKENIZER = {"version": "1.0", "added_tokens": [], "normalizer": None, "truncation": None,
             "padding": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
             "decoder": None,
             "model": {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##",
                       "max_input_chars_per_word": 100, "vocab": {"?": 0, "a": 1}}}


def without_tokenizer(folder, work):
    """A copy made of links."""
    copy = work / folder.name
    if not copy.exists():
        copy.mkdir()
        for path in folder.iterdir():
            if path.name != "tokenizer.json":
                (copy / path.name).symlink_to(path.resolve())
        (copy / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return copy


class Output:
    def __init__(self, name, kind, shape):
        self.name = name
        self.integers = "int" in kind
        # [batch, tokens, ..] or [batch, size]
        self.per_token = len(shape) > 1 and isinstance(shape[1], str)


class Graph:
    def __init__(self, folder, file, description):
        self.folder = folder
        self.file = file
        self.name = f"{folder.name}/{Path(file).name}"
        self.inputs = description["inputs"]
        self.outputs = [Output(name, *port) for name, port in description["outputs"].items()]
        operators = {name.split(".")[-1] for name in description["ops"]}
        kinds = {kind for kind, _ in description["outputs"].values()}
        if any(re.search("Quantize|Integer", name) for name in operators):
            self.tolerance = TOLERANCE_INTEGER
        elif "float16" in description["exporter"] or "half" in description["exporter"] or \
                "tensor(float16)" in kinds:
            self.tolerance = TOLERANCE_HALF
        else:
            self.tolerance = TOLERANCE
        # The same texts in every run, others for every graph.
        self.random = random.Random(SEED + zlib.crc32(self.name.encode()))
        self.passed = 0
        self.failures = []
        self.worst = 0.0
        self.note = ""

    def run(self, texts, *options):
        """The texts of "output" of each row, as they were printed."""
        rows = "".join(json.dumps({"ids": ids}) + "\n" for ids in texts)
        code, out, err = hugot("run", "--model", self.folder, "--onnx-filename", self.file,
                               "--type", "featureExtraction", *options, stdin=rows)
        lines = out.splitlines()
        if code != 0 or len(lines) != len(texts):
            raise Failure(f"{' '.join(map(str, options))}: {err}")
        return [line[line.index('"output":') + 9:].rstrip("}") for line in lines]

    def make_texts(self):
        config = read_json(self.folder / "config.json")
        config = {**config, **config.get("text_config", {})}
        vocabulary = config["vocab_size"]
        rows = json.dumps({"ids": [0] * 10000}) + "\n"
        _, out, _ = hugot("run", "--model", self.folder, "--onnx-filename", self.file, "--type",
                          "featureExtraction", "--output-name", self.outputs[0].name, stdin=rows)
        limit = re.search(r"limit of (\d+)", out)
        longest = min(int(limit[1]), MAX_LENGTH) if limit else MAX_LENGTH
        lengths = [1, 1, longest, 2] + [self.random.randint(1, longest) for _ in range(TEXTS - 4)]
        self.random.shuffle(lengths)
        return [[self.random.randrange(vocabulary) for _ in range(n)] for n in lengths]

    def check_batches(self, texts, alone, options, rounds):
        for threads, batch_size in rounds:
            chosen = [i for _ in range(3) for i in self.random.sample(range(TEXTS), TEXTS)]
            got = self.run([texts[i] for i in chosen], "--threads", threads, "--batch-size",
                           batch_size, *options)
            for i, output in zip(chosen, got):
                if output != alone[i]:
                    raise Failure(f"a text of {len(texts[i])} tokens differs in batches of "
                                  f"{batch_size} with {threads} threads")

    def check_reference(self, alone, references, steps):
        for printed, reference in zip(alone, references):
            wanted = reference
            for step in steps:
                wanted = step(wanted)
            got = np.array(json.loads(printed), np.float64)
            if got.shape != wanted.shape:
                raise Failure(f"{got.shape} numbers instead of {wanted.shape}")
            difference = float((np.abs(got - wanted) / np.maximum(1, np.abs(wanted))).max())
            self.worst = max(self.worst, difference)
            if not difference <= self.tolerance:
                raise Failure(f"{difference:.2g} away from exact mode")

    def infer(self, texts, work):
        """The outputs of each text in exact mode."""
        results = []
        for i, ids in enumerate(texts):
            values = {"input_ids": ids, "attention_mask": [1] * len(ids),
                      "token_type_ids": [0] * len(ids), "position_ids": list(range(len(ids)))}
            arrays = {name: np.array([values[name]], np.int32 if kind == "tensor(int32)" else
                                     np.int64)
                      for name, (kind, _) in self.inputs.items() if name in values}
            for name in IMAGE_INPUTS & set(self.inputs):
                arrays[name] = np.zeros(image_shape(self.inputs, 1, name), np.float32)
            results.append(self.infer_arrays(arrays, f"{work}/{re.sub('[^a-z0-9]', '_', self.name)}"))
        return results

    def infer_arrays(self, arrays, stem, *options):
        np.savez(f"{stem}.in.npz", **arrays)
        code, _, err = hugot("infer", "--model", self.folder / self.file, "--inputs",
                             f"{stem}.in.npz", "--outputs", f"{stem}.out.npz", *options)
        if code != 0:
            raise (Skip if NOT_IMPLEMENTED.search(err) else Failure)(f"hugot infer: {err}")
        with np.load(f"{stem}.out.npz") as found:
            return {name: found[name][0].astype(np.float64) if not options else found[name]
                    for name in found.files}

    def inspect(self, *options):
        _, out, err = hugot("inspect", "--model", self.folder, "--onnx-filename", self.file,
                            "--output-name", self.outputs[0].name, *options)
        line = re.search(r"ragged mode: (.*)", out)
        if line is None:
            raise Failure(f"hugot inspect: {err}")
        if NOT_IMPLEMENTED.search(line[1]):
            raise Skip(line[1])
        loops = re.search(r"\bloop (\d+)", out)
        return f"{loops[1] if loops else 0} loops" if line[1].startswith("yes") else line[1]

    def case(self, name, check):
        try:
            check()
            self.passed += 1
        except Failure as failure:
            self.failures.append(f"{self.name} {name}: {failure}")

    def check_output(self, output, texts, exact):
        references = [result[output.name] for result in exact]
        head = head_of(self.folder)
        # Behind an output with a row per text the modules are in the graph already.
        ways = [([], head if output.per_token else [])]
        if output.per_token:
            references = [rows.reshape(len(rows), -1) for rows in references]
            if not head:
                ways = [([], [POOLINGS["pooling_mode_mean_tokens"]])]
            ways += [(["--pooling", "cls"], [lambda rows: rows[0], *head[1:]]),
                     (["--pooling", "last"], [lambda rows: rows[-1], *head[1:]])]
        for options, steps in ways:
            options = ["--output-name", output.name, *options]
            label = " ".join(options[1:])
            alone = []

            def run_alone():
                alone.extend(self.run(texts, "--batch-size", 1, "--threads", 1, *options))

            def reference():
                self.check_reference(alone, references, steps)

            rounds = [(1, 4), (2, 7), (2, 40), (1, 40)] if len(options) == 2 else [(2, 7)]
            self.case(label, run_alone)
            if not alone:
                continue
            self.case(label, lambda: self.check_batches(texts, alone, options, rounds))
            self.case(label, reference)

    def check(self, work):
        self.folder = without_tokenizer(self.folder, Path(work))
        self.note = self.inspect()
        texts = self.make_texts()
        exact = self.infer(texts, work)
        for output in self.outputs:
            if not output.integers:
                self.check_output(output, texts, exact)
        return self


def image_shape(inputs, count, name="pixel_values"):
    """Of `count` images; of masks the channels are left out by the graph."""
    shape = inputs[name][1]
    return [count] + [n if isinstance(n, int) else IMAGE_SIZE for n in shape[1:]]


class ImageGraph(Graph):
    def check(self, work):
        stem = f"{work}/images_{re.sub('[^a-z0-9]', '_', self.name)}"
        random_state = np.random.default_rng(SEED + zlib.crc32(self.name.encode()))
        shape = image_shape(self.inputs, TEXTS)
        images = random_state.standard_normal(shape).astype(np.float32)
        exact = []
        for image in images:
            arrays = {"pixel_values": image[None]}
            for name, (kind, _) in self.inputs.items():
                if name == "pixel_mask":
                    arrays[name] = np.ones(image_shape(self.inputs, 1, name), np.int64)
                elif name in TEXT_INPUTS:
                    arrays[name] = np.ones((1, 3), np.int64)
            exact.append(self.infer_arrays(arrays, stem))
        symbols = {n for n in self.inputs["pixel_values"][1][2:] if isinstance(n, str)}
        dims = ",".join(f"{symbol}={IMAGE_SIZE}" for symbol in sorted(symbols))
        self.note = self.inspect(*(["--dims", dims] if dims else []))
        for output in self.outputs:
            self.check_output(output, images, exact, stem)
        return self

    def run_images(self, output, images, stem, threads, batch_size):
        return self.infer_arrays({"pixel_values": images}, stem, "--ragged", output.name,
                                 "--threads", threads, "--batch-size", batch_size)[output.name]

    def check_output(self, output, images, exact, stem):
        alone = []

        def run_alone():
            alone.extend(self.run_images(output, images, stem, 1, 1))

        def batches():
            for threads, batch_size in [(1, 2), (1, 0), (2, 4), (2, 0), (2, 1)]:
                order = [i for _ in range(2) for i in self.random.sample(range(TEXTS), TEXTS)]
                got = self.run_images(output, images[order], stem, threads, batch_size)
                for i, result in zip(order, got):
                    if not np.array_equal(result, alone[i]):
                        raise Failure(f"an image differs in batches of {batch_size} with "
                                      f"{threads} threads")

        def reference():
            for got, wanted in zip(alone, exact):
                wanted = wanted[output.name].ravel()
                difference = float((np.abs(got.ravel() - wanted) /
                                    np.maximum(1, np.abs(wanted))).max())
                self.worst = max(self.worst, difference)
                if not difference <= self.tolerance:
                    raise Failure(f"{difference:.2g} away from exact mode")

        self.case(output.name, run_alone)
        if alone:
            self.case(output.name, batches)
            self.case(output.name, reference)


def outputs_without(description, name):
    """Outputs whose shapes share no symbol with that input."""
    foreign = {n for n in description["inputs"].get(name, ("", []))[1] if isinstance(n, str)}
    return {output: port for output, port in description["outputs"].items()
            if not foreign & set(map(str, port[1]))}


def find_graphs(zoo, wanted):
    graphs = []
    for folder in sorted(path for path in zoo.iterdir() if path.is_dir()):
        golden = read_json(folder / "golden.json")
        if golden is None or folder.name in EXCLUDED:
            continue
        for file, description in golden.get("files", {}).items():
            inputs = set(description.get("inputs", {}))
            kinds = [("input_ids", "pixel_values", Graph),
                     ("pixel_values", "input_ids", ImageGraph)]
            for own, other, kind in kinds:
                if own not in inputs or not inputs <= TEXT_INPUTS | IMAGE_INPUTS:
                    continue
                if kind is Graph and not (folder / "tokenizer.json").exists():
                    continue
                graph = kind(folder, file,
                             {**description, "outputs": outputs_without(description, other)})
                if wanted in graph.name:
                    graphs.append(graph)
    return graphs


def main():
    global HUGOT
    parser = argparse.ArgumentParser()
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--filter", default="")
    options = parser.parse_args()
    HUGOT = options.hugot
    passed, failed, skipped = 0, 0, 0
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(2) as pool:
        graphs = find_graphs(options.zoo, options.filter)
        for graph, job in [(graph, pool.submit(graph.check, work)) for graph in graphs]:
            try:
                job.result()
            except Skip as reason:
                skipped += 1
                print(f"skip {graph.name}: {reason}")
                continue
            except Failure as failure:
                graph.failures.append(f"{graph.name}: {failure}")
            passed += graph.passed
            failed += len(graph.failures)
            print(f"{'ok' if not graph.failures else 'BAD'} {graph.name}: {graph.passed} passed, "
                  f"{graph.worst:.1e} from exact mode, {graph.note}")
            for failure in graph.failures:
                print(f"FAIL {failure}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
