#!/usr/bin/env python3
"""Compares the speed of zero-shot classification and cross-encoders with Python's and writes a table.

    benchmark_pipelines.py [--rounds N] [--threads N] [--rows N] [--python EXE] [--output FILE]

zero-shot: ZeroShotClassificationPipeline of transformers, 10 labels per text, all in one batch of the
model; cross-encoder: CrossEncoder.rank of sentence-transformers, 100 documents per query. Both run
their models on ONNX Runtime. The model has the size of MiniLM (6 layers, 384 wide) and random
weights; texts are the glosses and manual paragraphs of tools/benchmark.py. Every run is a process of
its own, rounds alternate their order (A B B A); loading is not counted, nor a first row of
Python's. Scores have to agree within 1e-4; the exit code says whether they do.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import benchmark

WORK = benchmark.ROOT / "build/benchmark-pipelines"
LABELS = ["science", "sport", "politics", "music", "a person", "an animal", "a place", "food",
          "software", "money"]
DOCUMENTS = 100
# Encoder weights by `hugot convert`, the head of BertForSequenceClassification behind it.
MAKE_MODEL = """
import json, shutil, subprocess, sys
import numpy as np, onnx, torch
from onnx import helper, numpy_helper
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification
hugot, tokenizer, target, labels = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
torch.manual_seed(1)
config = BertConfig(num_hidden_layers=6, hidden_size=384, num_attention_heads=12,
                    intermediate_size=1536, id2label=dict(enumerate(labels)),
                    label2id={label: i for i, label in enumerate(labels)})
model = BertForSequenceClassification(config).eval()
torch.nn.init.normal_(model.classifier.weight, std=0.3)
source = target.with_name(target.name + "-source")
model.bert.save_pretrained(source)
for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
    shutil.copy(tokenizer / name, source)
subprocess.run([hugot, "convert", "--force", source, target], check=True, stdout=subprocess.DEVNULL)
shutil.rmtree(source)
path = target / "onnx/model.onnx"
graph = onnx.load(path)
def weights(name, value):
    graph.graph.initializer.append(numpy_helper.from_array(value.detach().numpy(), name))
weights("pooler.weight", model.bert.pooler.dense.weight)
weights("pooler.bias", model.bert.pooler.dense.bias)
weights("classifier.weight", model.classifier.weight)
weights("classifier.bias", model.classifier.bias)
graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "first"))
hidden = graph.graph.output[0].name
graph.graph.node.extend([
    helper.make_node("Gather", [hidden, "first"], ["cls"], axis=1),
    helper.make_node("Gemm", ["cls", "pooler.weight", "pooler.bias"], ["pooled"], transB=1),
    helper.make_node("Tanh", ["pooled"], ["activated"]),
    helper.make_node("Gemm", ["activated", "classifier.weight", "classifier.bias"], ["logits"], transB=1)])
del graph.graph.output[:]
graph.graph.output.append(helper.make_tensor_value_info("logits", 1, ["batch", len(labels)]))
onnx.save(graph, path)
model.save_pretrained(target)  # CrossEncoder wants weights, although it will not use them
"""
# The class around the session is what the libraries' own backends for ONNX do, without their packages.
PEER = """
import json, os, sys, time
os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
import numpy as np, onnxruntime, torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, ZeroShotClassificationPipeline
from transformers.modeling_outputs import SequenceClassifierOutput
kind, path, rows, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
torch.set_num_threads(threads)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path + "/onnx/model.onnx", options, ["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
class OnBoard(PreTrainedModel):
    config_class = AutoConfig
    main_input_name = "input_ids"
    calls = 0
    def __init__(self, config):
        super().__init__(config)
        self.nothing = torch.nn.Parameter(torch.zeros(1))
    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **ignored):
        given = dict(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        OnBoard.calls += 1
        logits = session.run(["logits"], {name: given[name].numpy() for name in names})[0]
        return SequenceClassifierOutput(logits=torch.from_numpy(logits))
config = AutoConfig.from_pretrained(path)
tokenizer = AutoTokenizer.from_pretrained(path)
model = OnBoard(config).eval()
rows = [json.loads(line) for line in open(rows, encoding="utf-8")]
if kind == "zeroShotClassification":
    pipeline = ZeroShotClassificationPipeline(model=model, tokenizer=tokenizer, device=torch.device("cpu"))
    def work(row):
        result = pipeline(row["input"], row["labels"], batch_size=len(row["labels"]))
        return dict(zip(result["labels"], result["scores"]))
else:
    from sentence_transformers import CrossEncoder
    cross = CrossEncoder(path, device="cpu", max_length=512)
    cross[0].model = model
    def work(row):
        found = cross.rank(row["input"], row["documents"], show_progress_bar=False)
        return {str(item["corpus_id"]): float(item["score"]) for item in found}
with torch.inference_mode():
    work(rows[0])
    assert OnBoard.calls > 0, "the library runs something else than this session"
    start = time.perf_counter()
    results = [work(row) for row in rows]
    print(json.dumps({"seconds": time.perf_counter() - start, "results": results}))
"""


def make_rows(kind, count, path):
    rng = random.Random(7)
    glosses, paragraphs = benchmark.glosses(), benchmark.paragraphs(rng)
    rng.shuffle(glosses)
    rows = []
    for i in range(count):
        if kind == "zeroShotClassification":
            rows.append({"input": paragraphs[i % len(paragraphs)], "labels": LABELS})
        else:
            begin = i * (DOCUMENTS + 1) % (len(glosses) - DOCUMENTS - 1)
            rows.append({"input": glosses[begin],
                         "documents": glosses[begin + 1:begin + 1 + DOCUMENTS]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def ours(args, kind, model, rows):
    result = subprocess.run([args.hugot, "run", "--model", model, "--type", kind, "--input", rows,
                             "--threads", str(args.threads), "--format", "hf", "--stats"],
                            check=True, capture_output=True, text=True)
    outputs = [json.loads(line)["output"] for line in result.stdout.splitlines()]
    if kind == "zeroShotClassification":
        outputs = [dict(zip(out["labels"], out["scores"])) for out in outputs]
    else:
        outputs = [{str(d["corpus_id"]): d["score"] for d in out} for out in outputs]
    return json.loads(result.stderr)["run_seconds"], outputs


def theirs(args, kind, model, rows):
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads),
                   "RAYON_NUM_THREADS": str(args.threads)}
    result = subprocess.run([args.python, "-c", PEER, kind, model, rows, str(args.threads)],
                            check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found = json.loads(result.stdout)
    return found["seconds"], found["results"]


def worst(a, b):
    return max(abs(x[key] - y[key]) for x, y in zip(a, b) for key in x)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hugot", type=Path, default=benchmark.ROOT / "build/hugot")
    parser.add_argument("--tokenizer", type=Path,
                        default=benchmark.ROOT / "models/all-MiniLM-L6-v2")
    parser.add_argument("--python", type=Path, default=benchmark.VENV / "bin/python",
                        help="one with onnx, onnxruntime and sentence-transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=50, help="texts, and queries")
    parser.add_argument("--output", type=Path, default=benchmark.ROOT / "docs/benchmarks_pipelines.md")
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=benchmark.ROOT, text=True,
                            capture_output=True, check=False).stdout.strip()
    lines = ["# Speed of pipelines", "", "Written by `tools/benchmark_pipelines.py`; see there how "
             f"runs are made. hugot at commit {commit}; medians over {args.rounds} rounds, "
             f"{args.threads} threads.", "",
             f"- Machine: {benchmark.processor()}, {len(os.sched_getaffinity(0))} processors.",
             "- Model: 6 layers, 384 wide, random weights, float32.", "",
             "| pipeline | work | hugot rows/s | Python rows/s | factor | largest difference of scores |"
             " load average |", "|---|---|---|---|---|---|---|"]
    agree = True
    for kind, labels, work in (
            ("zeroShotClassification", ["contradiction", "neutral", "entailment"],
             f"{len(LABELS)} labels per paragraph"),
            ("crossEncoder", ["score"], f"{DOCUMENTS} glosses per query")):
        model, rows = WORK / kind, WORK / f"{kind}.jsonl"
        if not (model / "onnx/model.onnx").exists() or not (model / "config.json").exists():
            benchmark.say("making a model for", kind)
            subprocess.run([args.python, "-c", MAKE_MODEL, args.hugot, args.tokenizer, model,
                            json.dumps(labels)], check=True)
        make_rows(kind, args.rows, rows)
        seconds, results, loads = {ours: [], theirs: []}, {}, []
        for number in range(args.rounds):
            order = [ours, theirs]
            for who in order if number % 2 == 0 else order[::-1]:
                time, results[who] = who(args, kind, model, rows)
                seconds[who].append(time)
                loads.append(os.getloadavg()[0])
        difference = worst(results[ours], results[theirs])
        agree &= difference < 1e-4
        speed = {who: args.rows / statistics.median(times) for who, times in seconds.items()}
        lines.append(f"| {kind} | {work} | {speed[ours]:.2f} | {speed[theirs]:.2f} | "
                     f"{speed[ours] / speed[theirs]:.1f} | {difference:.1e} | {max(loads):.1f} |")
        print(lines[-1], flush=True)
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
