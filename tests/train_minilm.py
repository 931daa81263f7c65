#!/usr/bin/env python3
"""Trains the real all-MiniLM-L6-v2 and compares with what torch and sentence-transformers give.

    train_minilm.py --hugot HUGOT --model FOLDER --data SHARED/data [--suite steps|wordnet]

steps: five steps of AdamW with CosineSimilarity on Hugot's sample rows and with MNRL, losses and
gradient norms by training-golden/minilm/golden.json; then what evaluation says of more epochs, and
that a training stops when it no longer improves. wordnet: one epoch of training-golden/wordnet in
the order of the file, retrieval before and after; where onnxruntime is installed, the model that was
written gives the same vectors there. The last line is `N passed, N failed`.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

passed = 0
failures = []


def check(ok, what):
    global passed
    print("ok  " if ok else "FAIL", what)
    if ok:
        passed += 1
    else:
        failures.append(what)


def read_rows(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def hugot(*args, stdin=b""):
    done = subprocess.run([A.hugot, *map(str, args)], input=stdin, capture_output=True, timeout=3600)
    if done.returncode != 0:
        sys.exit(f"hugot {args[0]}: {done.stderr.decode()[-1000:]}")
    return done.stdout


def train(output, rows, *args):
    """Runs a training; returns the rows of its steps and those of its evaluations."""
    hugot("train", "--model", A.model, "--train", rows, "--output", output, "--max-length", 256, *args)
    metrics = read_rows(output / "metrics.jsonl")
    return [row for row in metrics if "loss" in row], [row for row in metrics if "loss" not in row]


def vectors(model, texts, *args):
    rows = "".join(json.dumps({"input": text}) + "\n" for text in texts).encode()
    out = hugot("run", "--model", model, "--type", "featureExtraction", *args, stdin=rows)
    return np.array([json.loads(line)["output"] for line in out.decode().splitlines()], np.float32)


def optimizer(settings):
    """--optimizer-params for what a golden file says."""
    names = ("type", "lr", "betas", "eps", "weight_decay", "schedule", "warmup_steps", "clip_norm")
    return json.dumps({name: settings[name] for name in names if name in settings})


# -- steps


def compare_steps(name, rows, batch, epochs, work):
    golden = json.loads((A.golden / "minilm/golden.json").read_text())
    steps, _ = train(work / name, rows, "--loss", name, "--batch-size", batch, "--epochs", epochs,
                     "--no-shuffle", "--optimizer-params", optimizer(golden["optimizer"]))
    want = golden[name]
    for key, limit in (("loss", 1e-4), ("grad_norm", 1e-3)):
        off = [abs(step[key] - value) / max(value, 1e-2 if key == "loss" else 0)
               for step, value in zip(steps, want[key])]
        check(len(off) == len(want[key]) and max(off) <= limit,
              f"{name}: {key} of {len(off)} steps, off by {max(off):.2g} (relative)")
    return steps, want


def suite_steps(work):
    rows = A.data / "hugot/semanticSimilarityTest.jsonl"
    compare_steps("cosine_similarity", rows, 32, 3, work)
    steps, want = compare_steps("mnrl", A.golden / "minilm/pairs64.jsonl", 64, 6, work)
    off = abs(steps[5]["loss"] - want["loss_on_first_batch_afterwards"])
    check(off <= 1e-3, f"mnrl: loss after five steps, off by {off:.2g}")
    _, evaluations = train(work / "evaluated", rows, "--eval", rows, "--epochs", 5)
    errors = [row["eval_loss"] for row in evaluations]
    check(len(errors) == 5 and errors[-1] < errors[0] and min(errors) < 0.7 * errors[0],
          f"the error of the evaluation falls: {errors[0]:.4g} to {errors[-1]:.4g}")
    _, evaluations = train(work / "stopped", rows, "--eval", rows, "--epochs", 40, "--patience", 2,
                           "--tolerance", 0.01)
    grown = [row["eval_spearman"] for row in evaluations]
    reference, since = grown[0], 0
    for value in grown[1:]:
        reference, since = (value, 0) if value > reference + 0.01 else (reference, since + 1)
    check(len(grown) < 40 and since == 2,
          f"stopped after {len(grown)} of 40 epochs, spearman {grown[0]:.4g} to {grown[-1]:.4g}")


# -- wordnet


def retrieval(queries, candidates):
    """accuracy@1 and MRR@10 of the own partner among all candidates, as sentence-transformers."""
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    ranks = (scores > np.diag(scores)[:, None]).sum(1)
    return {"accuracy_at_1": float((ranks == 0).mean()),
            "mrr_at_10": float(np.where(ranks < 10, 1 / (ranks + 1), 0).mean())}


def both_directions(model):
    rows = read_rows(A.golden / "wordnet/test.jsonl")
    sides = [vectors(model, [row[key] for row in rows], "--normalize")
             for key in ("anchor", "positive")]
    return {"anchor_to_positive": retrieval(*sides),
            "positive_to_anchor": retrieval(*reversed(sides))}


def compare_retrieval(when, got, want, limits):
    for direction, metrics in got.items():
        for name, value in metrics.items():
            off = abs(value - want[direction][name])
            check(off <= limits[name] + 1e-9,
                  f"{when}, {direction}: {name} {value:.4f}, expected {want[direction][name]:.4f}")


def compare_onnxruntime(model):
    try:
        import onnxruntime
    except ImportError:
        print("onnxruntime is not installed: the vectors are not compared")
        return
    session = onnxruntime.InferenceSession(str(model / "onnx/model.onnx"),
                                           providers=["CPUExecutionProvider"])
    texts = [row["anchor"] for row in read_rows(A.golden / "wordnet/test.jsonl")[:64]]
    rows = "".join(json.dumps({"input": text}) + "\n" for text in texts).encode()
    out = hugot("tokenize", "--model", model, stdin=rows)
    worst = 0.0
    for line, own in zip(out.decode().splitlines(), vectors(model, texts, "--normalize")):
        ids = np.array([json.loads(line)["ids"]], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids),
                 "token_type_ids": np.zeros_like(ids)}
        feed = {i.name: given[i.name] for i in session.get_inputs()}
        mean = session.run(None, feed)[0][0].mean(0)
        worst = max(worst, float(np.abs(mean / np.linalg.norm(mean) - own).max()))
    check(worst <= 1e-5, f"vectors of onnxruntime from the written model, off by {worst:.2g}")


def suite_wordnet(work):
    folder = A.golden / "wordnet"
    golden = json.loads((folder / "golden.json").read_text())
    tolerance = golden["tolerance"]
    before = {"accuracy_at_1": tolerance["before"], "mrr_at_10": tolerance["before"]}
    after = {name: tolerance[f"after_{name}"] for name in before}
    first = both_directions(A.model)
    compare_retrieval("before", first, golden["before"], before)
    begin = time.monotonic()
    steps, _ = train(work / "tuned", folder / "train.jsonl", "--loss", golden["loss"], "--loss-params",
                     json.dumps({"scale": golden["scale"]}), "--batch-size", golden["batch_size"],
                     "--epochs", golden["epochs"], "--no-shuffle", "--optimizer-params",
                     optimizer(golden["optimizer"]))
    print(f"     {len(steps)} steps in {time.monotonic() - begin:.0f} s")
    off = [abs(step["loss"] - loss) for step, loss in zip(steps, golden["train_loss"])]
    check(len(off) == golden["steps"], f"{len(off)} steps")
    check(max(off[:20]) <= tolerance["train_loss_first_20_steps"],
          f"losses of the first 20 steps, off by {max(off[:20]):.2g}")
    check(max(off[20:]) <= tolerance["train_loss_later"],
          f"losses of the others, off by {max(off[20:]):.2g}")
    second = both_directions(work / "tuned")
    compare_retrieval("after", second, golden["after"], after)
    for name, least in (("accuracy_at_1", 0.025), ("mrr_at_10", 0.03)):
        gain = second["anchor_to_positive"][name] - first["anchor_to_positive"][name]
        check(gain >= least, f"{name} gains {gain:.4f}")
    compare_onnxruntime(work / "tuned")


def main():
    global A
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--suite", choices=("steps", "wordnet"))
    A = parser.parse_args()
    A.golden = A.data / "training-golden"
    with tempfile.TemporaryDirectory() as folder:
        if A.suite != "wordnet":
            suite_steps(Path(folder))
        if A.suite != "steps":
            suite_wordnet(Path(folder))
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
