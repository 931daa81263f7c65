#!/usr/bin/env python3
"""Rows of the shared tabular models through `hugot run --type tabular`, against ONNX Runtime's outputs. Needs numpy.

    tabular_golden.py --hugot HUGOT --data FOLDER

FOLDER has golden.json, golden.npz and the graphs. A case is a row in one format. The last line is `N passed, N failed, N skipped`.
"""
import argparse
import json
import math
import subprocess
from pathlib import Path

import numpy as np

TOLERANCE = 1e-4


def close(a, b):
    return isinstance(a, (int, float)) and abs(a - b) <= TOLERANCE * max(1.0, abs(b))


def cells(values):
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values]


def rows_of(model, arrays):
    """A list of columns for a single input, otherwise an object."""
    inputs = {}
    for name, source in model["inputs"].items():
        values = source["strings"] if "strings" in source else arrays[source["npz"]].tolist()
        inputs[name] = [cells(v) if isinstance(v, list) else [v] for v in values]
    count = len(next(iter(inputs.values())))
    for i in range(count):
        if len(inputs) == 1:
            yield {"input": next(iter(inputs.values()))[i]}
        else:
            yield {"input": {name: v[i][0] if len(v[i]) == 1 else v[i] for name, v in inputs.items()}}


def expected(model, count):
    """(choice or None, names or None, scores) of every row."""
    choice, names, columns = None, None, []
    for name, output in model["outputs"].items():
        values, kind = output["values"], output["type"]
        if kind.startswith("seq(map"):
            names = [list(row) for row in values]
            columns.append([list(row.values()) for row in values])
        elif kind in ("tensor(int64)", "tensor(string)"):
            choice = [str(v[0] if isinstance(v, list) else v) for v in values]
        else:
            columns.append(np.reshape(values, (count, -1)).tolist())
    for i in range(count):
        yield (choice[i] if choice else None, names[i] if names else None,
               [score for column in columns for score in column[i]])


def agrees(got, want, style):
    choice, names, scores = want
    if choice is None:
        return close(got, scores[0]) if len(scores) == 1 else \
            isinstance(got, list) and len(got) == len(scores) and all(map(close, got, scores))
    key, value = ("label", "score") if style == "hf" else ("Label", "Score")
    if style == "hugot":
        if got.get("PredictedClass") != choice:
            return False
        got = got["Probabilities"]
    if len(got) != len(scores):
        return False
    if len(scores) == 1:
        return got[0][key] == choice and close(got[0][value], scores[0])
    by_name = {x[key]: x[value] for x in got}
    order = [x[value] for x in got]
    if style == "hf" and order != sorted(order, reverse=True):
        return False
    # Without names in the outputs classes are 0, 1, .. in all of these models.
    names = names or [str(k) for k in range(len(scores))]
    return set(by_name) == set(names) and all(close(by_name[n], s) for n, s in zip(names, scores))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    golden = json.loads((args.data / "golden.json").read_text())
    arrays = np.load(args.data / golden["tensors"])
    passed = failed = skipped = 0
    for model in golden["models"]:
        rows = list(rows_of(model, arrays))
        wants = list(expected(model, len(rows)))
        for style in ("hf", "hugot"):
            for batch in ("3", "256"):
                run = subprocess.run([args.hugot, "run", "--model", args.data, "--type", "tabular", "--onnx-filename",
                                      model["file"], "--format", style, "--batch-size", batch],
                                     input="".join(json.dumps(row) + "\n" for row in rows).encode(),
                                     capture_output=True)
                lines = [json.loads(line) for line in run.stdout.decode().splitlines()]
                if b"is not implemented" in run.stderr:  # an operator that this version lacks
                    skipped += len(rows)
                    continue
                if len(lines) != len(rows):
                    print(f"FAIL {model['name']}: {run.stderr.decode().strip()}")
                    failed += len(rows)
                    continue
                for i, (row, want) in enumerate(zip(lines, wants)):
                    if "output" in row and agrees(row["output"], want, style):
                        passed += 1
                    else:
                        failed += 1
                        print(f"FAIL {model['name']} {style} row {i}: {row.get('output', row.get('error'))}, want {want}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
