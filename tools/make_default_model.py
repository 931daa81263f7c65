#!/usr/bin/env python3
"""Makes models/default, the small sentence-embedding model that comes with hugot, from nothing:
texts of this machine, a tokenizer of their words, and vectors of all-MiniLM-L6-v2 to learn from.

    make_default_model.py [--stage texts,tokenizer,teacher,train,convert,evaluate] [--limit N]
                          [--work DIR] [--output DIR] [--hugot FILE] [--epochs N] ..

Needs a build, models/all-MiniLM-L6-v2 (tools/quickstart.sh) and Debian's wordnet-base. Files of each
stage stay in --work; a stage is a command of hugot that can be repeated by itself. docs/default_model.md
tells what came out.
"""
import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from operator import mul
from pathlib import Path

from benchmark import ROOT, glosses, paragraphs, say

HELD_OUT = 50          # one gloss of so many is for the evaluation
LONGEST = 700          # characters of a paragraph
PARAGRAPHS = 10000
RANDOM_PAIRS = 20000
NEIGHBOURS_OF = 300    # glosses whose nearest neighbours are ranked
NEIGHBOURS = 10
STOP_WORDS = set("a an and are as at be by for from has have in is it its not of on one or other "
                 "some something someone that the their they this to used was which who with "
                 "usually especially being very when more into than".split())


def held_out(text):
    return zlib.crc32(text.encode()) % HELD_OUT == 0


def synsets():
    """The words of each synset: "dog, domestic dog, Canis familiaris"."""
    for kind in ("noun", "verb", "adj", "adv"):
        with open(f"/usr/share/wordnet/data.{kind}", encoding="latin1") as file:
            for line in file:
                if line.startswith("  ") or "| " not in line:
                    continue
                head, gloss = line.split("| ", 1)
                fields = head.split()
                count = int(fields[3], 16)
                words = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ")
                         for word in fields[4:4 + 2 * count:2]]
                yield ", ".join(dict.fromkeys(words)), gloss.strip()


def parts_of(gloss):
    """The definition and the examples of a gloss that has both."""
    examples = re.findall(r'"([^"]+)"', gloss)
    definition = gloss.split('; "', 1)[0]
    return [definition, *examples] if examples else []


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
                    encoding="utf-8")


def read_rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def make_texts(args):
    rng = random.Random(7)
    evaluation = sorted({gloss for gloss in glosses() if held_out(gloss)})
    unseen = set(evaluation).union(*(parts_of(gloss) for gloss in evaluation))
    texts = {}
    for words, gloss in synsets():
        if held_out(gloss):
            continue
        for text in (gloss, words, *parts_of(gloss)):
            if text not in unseen:
                texts[text] = None
    man = list(dict.fromkeys(text[:LONGEST] for text in paragraphs(rng)))
    texts.update(dict.fromkeys(rng.sample(man, min(PARAGRAPHS, len(man)))))
    texts = list(texts)
    rng.shuffle(texts)
    if args.limit:
        texts = texts[:args.limit]
    write_rows(args.work / "texts.jsonl", ({"input": text} for text in texts))
    write_rows(args.work / "unseen.jsonl", ({"input": text} for text in evaluation))
    say(len(texts), "texts to learn from,", len(evaluation), "unseen glosses")


def hugot(args, *command):
    say("hugot", *command)
    begin = time.monotonic()
    subprocess.run([args.hugot, *map(str, command)], check=True)
    say(f"{time.monotonic() - begin:.0f} s")


def make_tokenizer(args):
    hugot(args, "tokenizer-train", "--type", "wordpiece", "--vocab-size", args.vocab_size,
          "--limit-alphabet", 200, "--model-max-length", args.max_length, "--force", "--output",
          args.work / "tokenizer", args.work / "texts.jsonl")


def embed(args, model, name, output, *options):
    """Vectors of length 1 of NAME.jsonl, as rows with "output"."""
    shutil.rmtree(args.work / output, ignore_errors=True)
    hugot(args, "run", "--type", "featureExtraction", "--normalize", "--model", model, "--format",
          "hf", "--input", args.work / f"{name}.jsonl", "--output", args.work / output, *options)
    return args.work / output / "result_0.jsonl"


def ask_teacher(args):
    # In int8 the teacher is four times as fast, and far closer to itself than a student will be.
    result = embed(args, args.teacher, "texts", "teacher", "--precision", "int8")
    with open(result, encoding="utf-8") as rows, \
            open(args.work / "train.jsonl", "w", encoding="utf-8") as out:
        for row in rows:
            text, vector = row.rsplit('"output":[', 1)
            out.write(f'{text}"embedding":[{vector}')
    result.unlink()
    embed(args, args.teacher, "unseen", "teacher-unseen")


def train(args):
    hugot(args, "new", "--architecture", "bert", "--layers", args.layers, "--hidden", args.hidden,
          "--heads", args.heads, "--intermediate", args.intermediate, "--max-length",
          args.max_length, "--dim", 384, "--normalize", "--tokenizer", args.work / "tokenizer",
          "--seed", 1, "--force", "--output", args.work / "new")
    optimizer = {"type": "adamw", "lr": args.lr, "weight_decay": 0.01, "schedule": "linear",
                 "warmup_ratio": 0.03, "clip_norm": 1, "betas": [0.9, 0.98],
                 "eps": 1e-12}  # gradients of mse are small numbers
    hugot(args, "train", "--model", args.work / "new", "--train", args.work / "train.jsonl",
          "--output", args.work / "trained", "--loss", "mse", "--epochs", args.epochs,
          "--batch-size", args.batch_size, "--optimizer-params", json.dumps(optimizer),
          "--resume" if args.resume else "--force")


CARD = """---
license: other
pipeline_tag: sentence-similarity
---

# default

A small sentence-embedding model for English: {layers} layers of {hidden}, {vocab_size} word pieces, 8-bit weights, vectors
of 384 numbers and length 1. Made by tools/make_default_model.py of hugot, which also tells its quality
(docs/default_model.md there).

It was trained on glosses, examples and words of WordNet 3.0 (LICENSE-WordNet) and on paragraphs of
manual pages of Debian packages, to give the vectors of sentence-transformers/all-MiniLM-L6-v2
(Apache-2.0). Of the texts it holds pieces of words, in tokenizer.json; of the teacher it holds no weight.
"""


def wordnet_license():
    text = Path("/usr/share/doc/wordnet-base/copyright").read_text(encoding="utf-8")
    text = text.split("License: WordNet3.0\n", 1)[1].split("\nFiles:", 1)[0]
    return re.sub(r"^ \.?", "", text, flags=re.M).strip() + "\n"


def convert(args):
    shutil.rmtree(args.output, ignore_errors=True)
    hugot(args, "convert", "--precision", "int8", "--embeddings", args.work / "trained",
          args.output)
    (args.output / "README.md").write_text(CARD.format(**vars(args)), encoding="utf-8")
    (args.output / "LICENSE-WordNet").write_text(wordnet_license(), encoding="utf-8")


# -- evaluation

def cosine(a, b):
    return sum(map(mul, a, b))


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for i in order[begin:end]:
            result[i] = (begin + end - 1) / 2
        begin = end
    return result


def pearson(x, y):
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    x, y = [a - mean_x for a in x], [b - mean_y for b in y]
    return cosine(x, y) / (cosine(x, x) * cosine(y, y)) ** 0.5


def spearman(x, y):
    return pearson(ranks(x), ranks(y))


def pairs_with_a_word(texts, rng):
    """Pairs of texts that share a word, each word as often as the others."""
    index = {}
    for i, text in enumerate(texts):
        for word in set(re.findall(r"[a-z]{3,}", text.lower())) - STOP_WORDS:
            index.setdefault(word, []).append(i)
    words = sorted(word for word, where in index.items() if 2 <= len(where))
    pairs = set()
    for word in words:
        for _ in range(4):
            pairs.add(tuple(sorted(rng.sample(index[word], 2))))
    return sorted(pairs)


def evaluate(args):
    rng = random.Random(11)
    teacher = read_rows(args.work / "teacher-unseen/result_0.jsonl")
    texts = [row["input"] for row in teacher]
    teacher = [row["output"] for row in teacher]
    directory = args.output
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    print(f"{directory}: {size / 1e6:.2f} MB")
    near = [(i, j) for i in rng.sample(range(len(texts)), NEIGHBOURS_OF)
            for _, j in sorted(((cosine(teacher[i], other), j) for j, other in enumerate(teacher)
                                if j != i), reverse=True)[:NEIGHBOURS]]
    kinds = {"random": [tuple(rng.sample(range(len(texts)), 2)) for _ in range(RANDOM_PAIRS)],
             "sharing a word": pairs_with_a_word(texts, rng), "nearest neighbours": near}
    kinds["all of these"] = [pair for pairs in kinds.values() for pair in pairs]
    for name, model in (("as trained", args.work / "trained"), ("as shipped", directory)):
        if not model.exists():
            continue
        rows = read_rows(embed(args, model, "unseen", "student-unseen"))
        student = [row["output"] for row in rows]
        closeness = sum(map(cosine, teacher, student)) / len(texts)
        print(f"{name}: cosine to the teacher's vectors {closeness:.4f} ({len(texts)} glosses)")
        for kind, pairs in kinds.items():
            expected = [cosine(teacher[i], teacher[j]) for i, j in pairs]
            actual = [cosine(student[i], student[j]) for i, j in pairs]
            print(f"  {kind}: Spearman {spearman(expected, actual):.4f}, Pearson "
                  f"{pearson(expected, actual):.4f} ({len(pairs)} pairs)", flush=True)


STAGES = {"texts": make_texts, "tokenizer": make_tokenizer, "teacher": ask_teacher, "train": train,
          "convert": convert, "evaluate": evaluate}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", default=",".join(STAGES))
    parser.add_argument("--work", type=Path, default=ROOT / "build/default-model")
    parser.add_argument("--output", type=Path, default=ROOT / "models/default")
    parser.add_argument("--hugot", type=Path, default=ROOT / "build/hugot")
    parser.add_argument("--teacher", type=Path, default=ROOT / "models/all-MiniLM-L6-v2")
    parser.add_argument("--limit", type=int, help="texts to learn from, to try something")
    parser.add_argument("--resume", action="store_true", help="of the training")
    for name, default in (("vocab-size", 12000), ("max-length", 128), ("layers", 2),
                          ("hidden", 256), ("heads", 4), ("intermediate", 1024), ("epochs", 4),
                          ("batch-size", 96)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    unknown = set(args.stage.split(",")) - set(STAGES)
    if unknown:
        sys.exit(f"make_default_model.py: no such stage: {', '.join(unknown)}")
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.stage.split(","):
        STAGES[name](args)


if __name__ == "__main__":
    main()
