#!/usr/bin/env python3
"""Compares the speed of hugot's tokenizers with Hugging Face tokenizers and writes a table.

    benchmark_tokenizers.py NAME=TOKENIZER.JSON.. [--rounds N] [--threads 1,2] [--output FILE]

Texts are the glosses and manual paragraphs of tools/benchmark.py. "ids": `hugot bench tokenize`
against encode_batch_fast; "all": with tokens, offsets and masks, against encode_batch. Every run is
a process of its own; rounds alternate their order (A B B A). A cell is the median over rounds of
what a process reports as its best pass. Ids have to be equal; the exit code says whether they are.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import venv
from pathlib import Path

import benchmark

REFERENCE = "tokenizers==0.22.2"
VENV = benchmark.ROOT / "build/benchmark-tokenizers-venv"
PEER = """
import array, hashlib, json, sys, time
from tokenizers import Tokenizer
path, corpus, kind, seconds = sys.argv[1:]
texts = [json.loads(line)["input"] for line in open(corpus, encoding="utf-8")]
start = time.perf_counter()
tokenizer = Tokenizer.from_file(path)
load = time.perf_counter() - start
tokenizer.no_padding()
tokenizer.no_truncation()
encode = tokenizer.encode_batch_fast if kind == "ids" else tokenizer.encode_batch
best, stop = 1e9, None
while stop is None or time.perf_counter() < stop:
    start = time.perf_counter()
    encodings = encode(texts)
    best = min(best, time.perf_counter() - start)
    stop = stop or time.perf_counter() + float(seconds)
digest = hashlib.sha256(b"".join(array.array("i", e.ids).tobytes() for e in encodings)).hexdigest()
size = sum(len(text.encode()) for text in texts)
print(json.dumps({"mb_per_s": size / best / 1e6, "load_seconds": load, "ids_sha256": digest}))
"""


def make_corpora(folder, megabytes):
    rng = random.Random(7)
    sizes = {}
    for name, texts in (("glosses", benchmark.glosses()), ("man", benchmark.paragraphs(rng))):
        rng.shuffle(texts)
        size, lines = 0, []
        for text in texts:
            lines.append(json.dumps({"input": text}, ensure_ascii=False) + "\n")
            size += len(text.encode())
            if size >= megabytes * 1e6:
                break
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        sizes[name] = (len(lines), size)
    return sizes


def python_with_reference():
    python = VENV / "bin/python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", REFERENCE], check=True)
    return python


def run(command, threads):
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads),
                   "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
    return json.loads(subprocess.run(command, env=environment, check=True, text=True,
                                     stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizers", nargs="+", help="NAME=TOKENIZER.JSON")
    parser.add_argument("--hugot", type=Path, default=benchmark.ROOT / "build/hugot")
    parser.add_argument("--python", type=Path, help=f"one that has {REFERENCE}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=1, help="of each process")
    parser.add_argument("--megabytes", type=float, default=3, help="of each corpus")
    parser.add_argument("--kinds", default="ids,all")
    parser.add_argument("--corpora", default="glosses,man")
    parser.add_argument("--output", type=Path,
                        default=benchmark.ROOT / "docs/benchmarks_tokenizers.md")
    args = parser.parse_args()
    python = args.python or python_with_reference()
    folder = benchmark.ROOT / "build/benchmark-tokenizers"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = make_corpora(folder, args.megabytes)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=benchmark.ROOT, text=True,
                            capture_output=True, check=False).stdout.strip()
    lines = ["# Speed of tokenizers", "", "Written by `tools/benchmark_tokenizers.py`; see there "
             f"for how runs are made. hugot at commit {commit} against {REFERENCE}; megabytes of "
             f"text per second, medians over {args.rounds} rounds.", "",
             f"- Machine: {benchmark.processor()}, {len(os.sched_getaffinity(0))} processors."]
    lines += [f"- {name}: {count} texts, {size / 1e6:.1f} MB." for name, (count, size)
              in sizes.items()]
    lines += ["", "| tokenizer | texts | output | threads | hugot MB/s | theirs MB/s | factor | "
              "load ms, hugot | theirs | ids equal |", "|---|---|---|---|---|---|---|---|---|---|"]
    all_equal = True
    note = lines.index("", 4)  # behind the machine and the texts
    lines.insert(note, "")
    loads = []
    for given in args.tokenizers:
        name, path = given.split("=", 1)
        for corpus in args.corpora.split(","):
            for kind in args.kinds.split(","):
                for threads in map(int, args.threads.split(",")):
                    texts = folder / f"{corpus}.jsonl"
                    ours = [args.hugot, "bench", "tokenize", "--model", path, "--input", texts,
                            "--threads", str(threads), "--seconds", str(args.seconds), "--json",
                            "-", *(["--all"] if kind == "all" else [])]
                    theirs = [python, "-c", PEER, path, texts, kind, str(args.seconds)]
                    results = {"ours": [], "theirs": []}
                    loads.append(os.getloadavg()[0])
                    lines[note] = f"- Load average while running: at most {max(loads):.1f}."
                    for number in range(args.rounds):
                        order = [("ours", ours), ("theirs", theirs)]
                        for who, command in order if number % 2 == 0 else order[::-1]:
                            results[who].append(run(command, threads))

                    def median(who, key):
                        return statistics.median(result[key] for result in results[who])

                    digests = {r["ids_sha256"] for rows in results.values() for r in rows}
                    all_equal &= len(digests) == 1
                    speeds = [median(who, "mb_per_s") for who in ("ours", "theirs")]
                    loads = [1e3 * median(who, "load_seconds") for who in ("ours", "theirs")]
                    lines.append(f"| {name} | {corpus} | {kind} | {threads} | {speeds[0]:.1f} | "
                                 f"{speeds[1]:.2f} | {speeds[0] / speeds[1]:.1f} | {loads[0]:.1f} "
                                 f"| {loads[1]:.1f} | {'yes' if len(digests) == 1 else '**no**'} |")
                    print(lines[-1], flush=True)
                    args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all_equal else 1


if __name__ == "__main__":
    sys.exit(main())
