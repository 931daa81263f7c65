#!/usr/bin/env python3
"""Runs Hugot's own sample files and compares what comes back with what Hugot writes.

    hugot_samples.py --hugot HUGOT --shared FOLDER [--minilm MODEL] [--counts FILE]

The models are small ones with random weights, so scores are not those of Hugot's documentation; the
form is: every row, in order, its own keys kept, `output` in the shape of Hugot's structs with the
keys in their order, and the text that encoding/json of Go writes: numbers (shortest float32, fixed
notation for 1e-6 <= |x| < 1e21), no blanks, escapes of <, >, & and U+2028. The last line is
`N passed, N failed`.
"""
import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

passed = 0
failures = []


def check(ok, *what):
    global passed
    if ok:
        passed += 1
    else:
        failures.append(" ".join(map(str, what)))
        print("FAIL", failures[-1])


def go_float(x):
    """The text of a float32 as encoding/json has it, by trying digits: slow and independent."""
    if x == 0:
        return "-0" if str(x).startswith("-") else "0"
    for digits in range(1, 10):
        text = f"{x:.{digits - 1}e}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == x:
            break
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa.startswith("-") else ""
    number = mantissa.lstrip("-").replace(".", "").rstrip("0") or "0"
    exponent = int(exponent)
    if not struct.unpack("f", struct.pack("f", 1e-6))[0] <= abs(x) < 1e21:
        tail = "." + number[1:] if number[1:] else ""
        return f"{sign}{number[0]}{tail}e{exponent:+d}"
    if exponent < 0:
        return sign + "0." + "0" * (-exponent - 1) + number
    number = number.ljust(exponent + 1, "0")
    head, tail = number[:exponent + 1], number[exponent + 1:]
    return sign + head + ("." + tail if tail else "")


def go_string(text):
    out = json.dumps(text, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        out = out.replace(char, f"\\u{ord(char):04x}")
    return out  # with \\b and \\f, as Go 1.22 and later


def go_text(value):
    """encoding/json of Go for what hugot wrote; numbers with a fraction are float32."""
    if isinstance(value, dict):
        return "{" + ",".join(go_string(k) + ":" + go_text(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(go_text, value)) + "]"
    if isinstance(value, str):
        return go_string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    return go_float(struct.unpack("f", struct.pack("f", value))[0])


def shape_of(value):
    """Keys in order, recursively; the first item stands for a list."""
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    if isinstance(value, list):
        shapes = [shape_of(v) for v in value]
        check(all(s == shapes[0] for s in shapes), "items of a list differ in shape")
        return shapes[:1]
    if value is None:
        return None
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) \
        else type(value).__name__


class Samples:
    def __init__(self, hugot):
        self.hugot = hugot

    def run(self, name, model, kind, lines, shape, *flags, code=0):
        """Rows of `lines` (bytes); every output has to have one of the shapes."""
        command = [self.hugot, "run", "--model", model, "--type", kind, *map(str, flags)]
        result = subprocess.run(command, input=b"\n".join(lines) + b"\n", capture_output=True,
                                check=False, timeout=300)
        check(result.returncode == code, name, "exit code", result.returncode, result.stderr)
        got = result.stdout.split(b"\n")
        check(got.pop() == b"", name, "ends without a line end")
        check(len(got) == len(lines), name, len(got), "rows of", len(lines))
        outputs = []
        for line, row in zip(lines, got):
            begin = line.strip()[:-1] + b',"output":'
            check(row.startswith(begin) and row.endswith(b"}"), name, "changed the row", row[:200])
            text = row[len(begin):-1].decode()
            value = json.loads(text, parse_float=float)
            check(any(shape_of(value) == s for s in shape), name, "has the shape", shape_of(value))
            check(go_text(value) == text, name, "is not written as Go does:", text[:300])
            outputs.append(value)
        return outputs


def lines_of(path):
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hugot", required=True)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--minilm", type=Path)
    parser.add_argument("--counts", type=Path)
    args = parser.parse_args()
    data, zoo = args.shared / "data/hugot", args.shared / "data/zoo"
    samples = Samples(args.hugot)

    # Every pair of Hugot's numbers and this script's opinion of Go, from its documentation.
    for x, text in ((0.99752176, "0.99752176"), (1e-6, "0.000001"), (1e-7, "1e-7"), (100.0, "100"),
                    (1e21, "1e+21"), (-0.5, "-0.5"), (1.5e-9, "1.5e-9"), (123456.7, "123456.7")):
        x = struct.unpack("f", struct.pack("f", x))[0]
        check(go_float(x) == text, "go_float", x, go_float(x))

    label = [[{"Label": "str", "Score": "number"}]]
    texts = lines_of(data / "textClassification.jsonl")
    for model in ("cls-distilbert-sst2", "cls-deberta-3", "cls-modernbert-4"):
        for out in samples.run(f"textClassification {model}", zoo / model, "textClassification",
                               texts, label):
            check(len(out) == 1 and 0 <= out[0]["Score"] <= 1, "one label", out)
    model = zoo / "cls-roberta-multilabel"
    names = list(json.loads((model / "config.json").read_text())["id2label"].values())
    for out in samples.run("textClassification multi-label", model, "textClassification", texts,
                           label, "--multi-label"):
        check([item["Label"] for item in out] == names, "labels in the order of the model", out)

    merged = {"Entity": "str", "Score": "number", "Scores": None, "Index": "number", "Word": "str",
              "TokenID": None, "Start": "number", "End": "number", "IsSubword": "bool"}
    single = {**merged, "Scores": ["number"], "TokenID": ["number"]}
    expected = json.loads((data / "tokenExpected.json").read_text())
    texts = lines_of(data / "tokenClassification.jsonl") + [json.dumps({"input": text}).encode()
            for text in ("My name is Wolfgang and I live in Berlin.", "Microsoft incorporated.",
                         "Yesterday I went to Berlin and met with Jack Brown.", "Luan Lorenzo")]
    check(set(expected["0"]["entities"][0][0]) <= set(merged), "keys of tokenExpected.json")
    for model in ("ner-distilbert-plain", "ner-bert-cased", "ner-roberta", "ner-xlmr"):
        for aggregation in ("simple", "first", "average", "max", "none"):
            shape = single if aggregation == "none" else merged
            for line, out in zip(texts, samples.run(
                    f"tokenClassification {model} {aggregation}", zoo / model,
                    "tokenClassification", texts, [[shape], None], "--aggregation", aggregation)):
                text = json.loads(line)["input"].encode()
                for item in out or []:
                    check(0 <= item["Start"] < item["End"] <= len(text), "offsets", item)
                    check(aggregation == "none" or item["Entity"][:2] not in ("B-", "I-"), item)
                    check((item["Index"] > 0) == (aggregation == "none"), "Index", item)

    pairs = [{"input": row["sentence1"], "pair": row["sentence2"], "score": row["score"]}
             for name in ("semanticSimilarityTest.jsonl", "semanticSimilarityTestEval.jsonl")
             for row in map(json.loads, lines_of(data / name))]
    check(len(pairs) >= 35, "rows of the similarity files")
    lines = [json.dumps(pair).encode() for pair in pairs]
    samples.run("crossEncoder pairs", zoo / "cross-bert-identity", "crossEncoder", lines,
                ["number"])
    documents = [pair["pair"] for pair in pairs] + ["a<b>&c\u2028d \u0001\b\f\t\"\\ é"]
    out = samples.run("crossEncoder documents", zoo / "cross-xlmr-sigmoid", "crossEncoder",
                      [json.dumps({"input": pairs[0]["input"], "documents": documents}).encode()],
                      [[{"Document": "str", "Score": "number", "Index": "number"}]])[0]
    check(sorted(item["Index"] for item in out) == list(range(len(documents))), "all documents")
    check(all(documents[item["Index"]] == item["Document"] for item in out), "documents by index")
    check(all((-a["Score"], a["Index"]) < (-b["Score"], b["Index"])
              for a, b in zip(out, out[1:])), "sorted by score, ties by index")

    zero = [{"Sequence": "str", "SortedValues": [{"Key": "str", "Value": "number"}]}]
    rows = [{"input": "Please don't bother me, I'm in a rush",
             "labels": ["busy", "relaxed", "stressed"]}, {"input": "a <b> & c", "labels": "x, y"}]
    for model in ("zero-bert-nli", "zero-deberta-2label", "zero-roberta-entail-first"):
        for flags in ([], ["--multi-label"]):
            outs = samples.run(f"zeroShotClassification {model}", zoo / model,
                               "zeroShotClassification", [json.dumps(r).encode() for r in rows],
                               zero, *flags)
            for row, out in zip(rows, outs):
                values = [item["Value"] for item in out["SortedValues"]]
                check(out["Sequence"] == row["input"], "Sequence", out)
                check(values == sorted(values, reverse=True), "sorted", values)
                check(flags or abs(sum(values) - 1) < 1e-5, "values add up to 1", values)

    # The same model with names that do not tell: the last class is taken, and somebody is told.
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(zoo / "zero-bert-nli", model)
        config = json.loads((model / "config.json").read_text())
        config["id2label"] = {key: f"LABEL_{key}" for key in config["id2label"]}
        (model / "config.json").write_text(json.dumps(config))
        result = subprocess.run([args.hugot, "run", "--model", model, "--type",
                                 "zeroShotClassification"], input=json.dumps(rows[0]).encode(),
                                capture_output=True, check=False, timeout=60)
        last = f"'LABEL_{len(config['id2label']) - 1}'"
        check(result.returncode == 0 and b"warning" in result.stderr and
              last.encode() in result.stderr, "warning", result.stderr)
    models = [zoo / "bert-mean", zoo / "distilbert-mean"]
    if args.minilm and args.minilm.is_dir():
        models.append(args.minilm)
    rows = [json.dumps({"input": pair["input"], "other": [1.50, None]}).encode() for pair in pairs]
    for model in models:
        outs = samples.run(f"featureExtraction {model.name}", model, "featureExtraction", rows,
                           [["number"]])
        check(len({len(out) for out in outs}) == 1, "vectors of one length")

    print(f"{passed} passed, {len(failures)} failed")
    if args.counts:
        args.counts.write_text(json.dumps({"passed": passed, "failed": len(failures),
                                           "skipped": 0}))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
