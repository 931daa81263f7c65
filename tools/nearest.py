#!/usr/bin/env python3
"""Prints the rows of a result file of `hugot run`, shortened, and the most similar pairs.

    nearest.py RESULT.jsonl [--pairs N]
"""
import argparse
import itertools
import json
import math
import sys


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return sum(x * y for x, y in zip(a, b)) / max(norm, 1e-12)


def shortened(row):
    vector = row["output"]
    numbers = ",".join(f"{x:.7g}" for x in vector[:3])
    return json.dumps(row["input"], ensure_ascii=False) + f": [{numbers},.. {len(vector)} numbers]"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if "output" in row]
    if not rows:
        sys.exit(f"{options.file}: no row with an output")
    for row in rows:
        print(shortened(row))
    pairs = sorted(((cosine(a["output"], b["output"]), a["input"], b["input"])
                    for a, b in itertools.combinations(rows, 2)), reverse=True)
    print("\ncosine  nearest pairs")
    for similarity, a, b in pairs[:options.pairs]:
        print(f"{similarity:6.3f}  {a}  |  {b}")


if __name__ == "__main__":
    main()
