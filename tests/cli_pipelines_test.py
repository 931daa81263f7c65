#!/usr/bin/env python3
"""Rows of every pipeline of `hugot run` that are hostile, huge, empty or wrong.

    cli_pipelines_test.py HUGOT [--counts FILE]

Pipelines that the fixture of the repository cannot serve run on the shared models, where there are any. The last line is
`N passed, N failed, N skipped`.
"""
import json
import struct
import tempfile
import unittest
from pathlib import Path

import cli_test
from cli_test import hugot, lines

ZOO = cli_test.ROOT.parent / "shared/data/zoo"
MEGABYTE = "The quick brown fox jumps over the lazy dog. " * 23302  # 1 MiB

# Keys of a good row, by type, and a model of the zoo.
TYPES = {
    "featureExtraction": ({"input": "some text"}, "bert-mean"),
    "textClassification": ({"input": "some text"}, "cls-bert-regression"),
    "tokenClassification": ({"input": "some text"}, "ner-bert-cased"),
    "zeroShotClassification": ({"input": "some text", "labels": ["a", "b"]}, "zero-bert-nli"),
    "crossEncoder": ({"input": "some text", "pair": "more"}, "cross-bert-identity"),
    "questionAnswering": ({"question": "what", "context": "some text"}, "qa-bert"),
    "fillMask": ({"input": "some [MASK]"}, "fill-bert"),
}


def run(kind, rows, *args, model=None, style="hf", timeout=120):
    """(exit code, rows, messages)"""
    data = rows if isinstance(rows, bytes) else lines(*rows)
    code, out, err = hugot("run", "--model", model or ZOO / TYPES[kind][1], "--type", kind, "--format", style, *args,
                           stdin=data, timeout=timeout)
    return code, [json.loads(line) for line in out.decode().split("\n") if line], err


def needs_zoo(test):
    return unittest.skipUnless(ZOO.is_dir(), "no shared data")(test)


def each_type(test):
    """Calls test(self, kind, good row) for every type of texts."""
    @needs_zoo
    def all_types(self):
        for kind, (good, _) in TYPES.items():
            with self.subTest(kind):
                test(self, kind, good)
    return all_types


class EveryPipeline(unittest.TestCase):
    """The same of all types of texts."""

    @each_type
    def test_rows_that_are_wrong_fail_alone(self, kind, good):
        bad = []
        for key in good:
            bad.append({k: v for k, v in good.items() if k != key})
            bad += [dict(good, **{key: value}) for value in (7, None, True, {}, 1.5)]
        bad.append({})
        code, rows, err = run(kind, [good, *bad, good])
        self.assertEqual(code, 1)
        self.assertEqual(len(rows), len(bad) + 2)
        for row, given in zip(rows[1:-1], bad):
            self.assertIn("error", row, given)
            self.assertNotIn("output", row)
            self.assertEqual(given, {k: v for k, v in row.items() if k != "error"})
        self.assertEqual(rows[0]["output"], rows[-1]["output"])
        self.assertNotIn("terminate", err)

    @each_type
    def test_missing_keys_are_named(self, kind, good):
        for key in good:
            row = {k: v for k, v in good.items() if k != key}
            self.assertIn(key, run(kind, [row])[1][0]["error"])

    @each_type
    def test_lines_that_are_no_rows(self, kind, good):
        bad = b'[1]\n"x"\nnull\n{"input":\n{"input":"\xff"}\n{"input":"a\\ud800"}\n{"input":1e999}\n'
        code, rows, _ = run(kind, bad + lines(good))
        self.assertEqual(code, 1)
        self.assertEqual(len(rows), 8)
        self.assertTrue(all("error" in row for row in rows[:7]))
        self.assertIn("output", rows[7])

    @each_type
    def test_keys_beside_come_back(self, kind, good):
        row = dict(good, output="old", error="old", extra=[1, {"x": None}])
        code, rows, _ = run(kind, [row])
        self.assertEqual(code, 0)
        self.assertEqual(rows[0]["extra"], row["extra"])
        self.assertNotEqual(rows[0]["output"], "old")
        self.assertNotIn("error", rows[0])

    @each_type
    def test_a_text_of_a_megabyte(self, kind, good):
        key = list(good)[-1] if kind in ("questionAnswering", "crossEncoder") else "input"
        text = "some [MASK] " + MEGABYTE if kind == "fillMask" else MEGABYTE
        args = ["--max-length", 64, "--doc-stride", 8] if kind == "questionAnswering" else []
        code, rows, _ = run(kind, [dict(good, **{key: text})], *args, timeout=300)
        self.assertEqual(code, 0)
        self.assertIn("output", rows[0])

    @each_type
    def test_empty_texts(self, kind, good):
        for key in (k for k, v in good.items() if isinstance(v, str)):
            code, rows, _ = run(kind, [dict(good, **{key: ""})])
            fails = kind in ("questionAnswering", "fillMask", "zeroShotClassification")
            self.assertEqual(code, 1 if fails else 0, (key, rows))
            self.assertIn("error" if fails else "output", rows[0])

    @each_type
    def test_texts_of_every_kind(self, kind, good):
        texts = ["\u0000", "\n\t  ", "\u200b\ufeff", "😀" * 50, "e" + "\u0301" * 200, "[CLS] [SEP] [PAD]", "</s><s>",
                 "\u202eabc", "x" * 5000, "東京" * 100, "a\u2028b"]
        key = list(good)[-1] if kind in ("questionAnswering", "crossEncoder") else "input"
        mask = "[MASK] " if kind == "fillMask" else ""
        rows = [dict(good, **{key: mask + text}) for text in texts]
        for style in ("hf", "hugot"):
            code, got, _ = run(kind, rows, style=style)
            self.assertEqual(code, 0, [row.get("error") for row in got])
            self.assertEqual([row[key] for row in got], [row[key] for row in rows])

    @each_type
    def test_results_do_not_depend_on_the_batch(self, kind, good):
        key = list(good)[-1] if kind in ("questionAnswering", "crossEncoder") else "input"
        mask = "[MASK] " if kind == "fillMask" else ""
        rows = [dict(good, **{key: mask + "word " * n}) for n in (1, 30, 7, 2, 90)]
        self.assertEqual(run(kind, rows), run(kind, rows, "--batch-size", 1))

    def test_flags_of_other_types(self):
        for kind, flag in (("fillMask", "--doc-stride"), ("questionAnswering", "--targets"),
                           ("textClassification", "--max-answer-length"), ("tabular", "--top-k")):
            code, rows, err = run(kind, [], flag, "1", model=cli_test.MODEL)
            self.assertEqual((code, rows), (2, []))
            self.assertIn(flag, err)


class ZeroShot(unittest.TestCase):
    @needs_zoo
    def test_labels_of_every_kind(self):
        kind = "zeroShotClassification"
        code, rows, _ = run(kind, [{"input": "x", "labels": ["only"]}, {"input": "x", "labels": "one, two"},
                                   {"input": "x", "labels": ["same", "same"]}, {"input": "x", "labels": [""]}])
        self.assertEqual(code, 0)
        self.assertEqual(rows[0]["output"]["labels"], ["only"])
        self.assertEqual(sorted(rows[1]["output"]["labels"]), ["one", "two"])
        self.assertEqual(rows[2]["output"]["labels"], ["same", "same"])
        self.assertEqual(*rows[2]["output"]["scores"])
        code, rows, _ = run(kind, [{"input": "x", "labels": []}, {"input": "x", "labels": [1]},
                                   {"input": "x", "labels": {"a": 1}}, {"input": "x", "labels": ""}])
        self.assertEqual(code, 1)
        self.assertTrue(all("error" in row for row in rows), rows)


class Questions(unittest.TestCase):
    ROW = {"question": "Where?", "context": "caf\u00e9 in London"}

    @needs_zoo
    def test_shapes(self):
        kind = "questionAnswering"
        one = run(kind, [self.ROW])[1][0]["output"]
        self.assertEqual(set(one), {"score", "start", "end", "answer"})
        self.assertEqual(self.ROW["context"][one["start"]:one["end"]], one["answer"])
        many = run(kind, [self.ROW], "--top-k", 3)[1][0]["output"]
        self.assertEqual(len(many), 3)
        self.assertEqual(many[0], one)
        answers = run(kind, [self.ROW], "--top-k", 3, style="hugot")[1][0]["output"]
        context = self.ROW["context"].encode()
        for answer in answers:
            self.assertEqual(list(answer), ["Answer", "Score", "Start", "End"])
            self.assertEqual(context[answer["Start"]:answer["End"]].decode(), answer["Answer"])
        self.assertEqual(len(run(kind, [self.ROW], style="hugot")[1][0]["output"]), 1)

    @needs_zoo
    def test_what_cannot_be(self):
        kind = "questionAnswering"
        for args in (["--top-k", 0], ["--doc-stride", 45, "--max-length", 48], ["--max-length", 2],
                     ["--max-length", 100000]):
            code, rows, err = run(kind, [self.ROW], *args)
            self.assertEqual((code, rows), (2, []), args)
            self.assertEqual(err.count("\n"), 1, err)
        long = {"question": "why " * 500, "context": "because"}
        code, rows, _ = run(kind, [long, self.ROW])
        self.assertEqual(code, 1)
        self.assertIn("question leaves no room", rows[0]["error"])
        self.assertIn("output", rows[1])
        # Questions have no limit of their own.
        self.assertEqual(run(kind, [self.ROW], "--max-question-length", 1), run(kind, [self.ROW]))

    def test_a_model_without_answers(self):
        code, rows, _ = run("questionAnswering", [self.ROW], model=cli_test.MODEL)
        self.assertEqual(code, 1)
        self.assertIn("answers questions", rows[0]["error"])


class Masks(unittest.TestCase):
    """On the fixture: the numbers of a token's vector count as scores of the vocabulary's first tokens."""

    def fill(self, rows, *args, **options):
        return run("fillMask", rows, *args, model=cli_test.MODEL, **options)

    def test_shapes(self):
        one, two = self.fill([{"input": "the [MASK]"}, {"input": "[MASK] [MASK]"}], "--top-k", 2)[1]
        self.assertEqual(len(one["output"]), 2)
        self.assertEqual(set(one["output"][0]), {"score", "token", "token_str", "sequence"})
        self.assertEqual([len(mask) for mask in two["output"]], [2, 2])
        row = self.fill([{"input": "the [MASK]"}], "--top-k", 2, style="hugot")[1][0]
        self.assertEqual(list(row["output"][0][0]), ["Score", "Token", "TokenStr", "Sequence"])

    def test_more_than_there_is(self):
        row = self.fill([{"input": "[MASK]"}], "--top-k", 1 << 30)[1][0]
        self.assertEqual(len(row["output"]), 32)
        self.assertAlmostEqual(sum(x["score"] for x in row["output"]), 1, places=5)

    def test_targets(self):
        row = self.fill([{"input": "[MASK]"}], "--targets", "a, c,a")[1][0]
        self.assertEqual({x["token_str"] for x in row["output"]}, {"a", "c"})
        for targets in (",", " , "):
            self.assertEqual(self.fill([{"input": "[MASK]"}], "--targets", targets)[0], 2)

    def test_without_mask(self):
        code, rows, _ = self.fill([{"input": "nothing"}, {"input": "x " * 100 + "[MASK]"}])
        self.assertEqual(code, 1)
        self.assertIn("no mask token", rows[0]["error"])
        self.assertIn("behind the", rows[1]["error"])


class Words(unittest.TestCase):
    def test_words(self):
        kind = "tokenClassification"
        args = ["--aggregation", "first", "--ignore-labels", ""]
        rows = [{"words": ["hello!", "fox"]}, {"words": []}, {"words": ["", " ", "fox"]}]
        code, got, _ = run(kind, rows, *args, model=cli_test.MODEL)
        self.assertEqual(code, 0)
        self.assertLessEqual({entity["start"] for entity in got[0]["output"]}, {0, 7})
        self.assertEqual(got[1]["output"], [])
        self.assertEqual(got[2]["output"][-1]["end"], 6)
        code, got, _ = run(kind, [{"words": "text"}, {"words": [1]}, {"words": None}, {"words": [["x"]]}], *args,
                           model=cli_test.MODEL)
        self.assertEqual(code, 1)
        self.assertTrue(all("words" in row["error"] for row in got))


class Vectors(unittest.TestCase):
    def vectors(self, *args, rows=({"input": "hello world"}, {"input": ""})):
        code, got, err = run("featureExtraction", rows, *args, model=cli_test.MODEL)
        self.assertEqual(code, 0, err)
        return [row["output"] for row in got]

    def test_quantized(self):
        floats = self.vectors()
        for vector, bits, signed, small in zip(floats, self.vectors("--quantize", "ubinary"),
                                               self.vectors("--quantize", "binary"),
                                               self.vectors("--quantize", "int8")):
            want = [sum((vector[8 * k + i] > 0) << (7 - i) for i in range(8)) for k in range(4)]
            self.assertEqual(bits, want)
            self.assertEqual(signed, [x - 128 for x in want])
            most = max(map(abs, vector))
            self.assertEqual(max(map(abs, small)), 127)
            for x, q in zip(vector, small):
                self.assertLessEqual(abs(127 * x / most - q), 0.501)

    def test_tokens(self):
        tokens = self.vectors("--pooling", "none")
        self.assertEqual([len(text) for text in tokens], [4, 2])
        mean = self.vectors("--pooling", "mean")
        for text, vector in zip(tokens, mean):
            for column, x in zip(zip(*text), vector):
                self.assertAlmostEqual(sum(column) / len(column), x, places=5)
        short = self.vectors("--pooling", "none", "--truncate-dim", 8, "--quantize", "ubinary")
        self.assertTrue(all(len(vector) == 1 for vector in short[0]))
        code, rows, _ = run("featureExtraction", [{"ids": [1]}], "--pooling", "none", model=cli_test.MODEL)
        self.assertEqual(code, 1)
        self.assertIn("input", rows[0]["error"])


def field(number, value):
    """A field of a protobuf message: an integer, a float, or bytes."""
    def varint(x):
        out, x = b"", x % 2**64
        while True:
            out, x = out + bytes([x & 127 | (128 if x > 127 else 0)]), x >> 7
            if not x:
                return out
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def port(name, dtype, *dims):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def attribute(name, value):
    if isinstance(value, str):
        return field(1, name) + field(4, value) + field(20, 3)
    kind, number = {float: (6, 7), int: (7, 8), str: (8, 9)}[type(value[0])]
    return field(1, name) + b"".join(field(number, x) for x in value) + field(20, kind)


FLOAT, INT64, STRING = 1, 7, 8


def table(op, inputs, outputs, **attributes):
    """A model directory whose graph is one node of ai.onnx.ml."""
    node = b"".join([*(field(1, name) for name, *_ in inputs), *(field(2, name) for name, *_ in outputs), field(4, op),
                     field(7, "ai.onnx.ml"), *(field(5, attribute(k, v)) for k, v in attributes.items())])
    graph = b"".join([field(1, node), field(2, "g"), *(field(11, port(*p)) for p in inputs),
                      *(field(12, port(*p)) for p in outputs)])
    model = b"".join([field(1, 8), field(7, graph), field(8, field(1, "") + field(2, 15)),
                      field(8, field(1, "ai.onnx.ml") + field(2, 1))])
    folder = Path(tempfile.mkdtemp(dir=cli_test.WORK))
    (folder / "model.onnx").write_bytes(model)
    return folder


def classifier(**labels):
    return table("LinearClassifier", [("X", FLOAT, "N", 2)], [("label", INT64 if "classlabels_ints" in labels else STRING, "N"),
                 ("scores", FLOAT, "N", 2)], coefficients=[1.0, 0.0, 0.0, 1.0], intercepts=[0.0, 0.0], **labels)


class Tables(unittest.TestCase):
    def test_classifier(self):
        model = classifier(classlabels_strings=["big", "small"])
        rows = [{"input": [1, 2]}, {"input": {"X": [3, 2]}}, {"input": "[1, 2.5]"}]
        code, got, _ = run("tabular", rows, model=model)
        self.assertEqual(code, 0)
        self.assertEqual(got[0]["output"], [{"label": "small", "score": 2}, {"label": "big", "score": 1}])
        self.assertEqual(got[1]["output"][0], {"label": "big", "score": 3})
        self.assertEqual(got[2]["output"][0], {"label": "small", "score": 2.5})
        got = run("tabular", rows, model=model, style="hugot")[1]
        self.assertEqual(got[0]["output"], {"PredictedClass": "small", "Probabilities": [
            {"Label": "big", "Score": 1}, {"Label": "small", "Score": 2}]})
        (model / "config.json").write_text('{"id2label": {"0": "groß", "1": "klein"}}')
        got = run("tabular", rows, "--function", "softmax", model=model, style="hugot")[1]
        self.assertEqual(got[0]["output"]["PredictedClass"], "klein")
        self.assertAlmostEqual(sum(x["Score"] for x in got[0]["output"]["Probabilities"]), 1, places=6)

    def test_integer_labels_and_many_rows(self):
        rows = [{"input": [i, 1000.5]} for i in range(3000)]
        code, got, _ = run("tabular", rows, model=classifier(classlabels_ints=[7, -3]))
        self.assertEqual(code, 0)
        for i, row in enumerate(got):
            self.assertEqual(row["output"][0]["label"], "7" if i > 1000 else "-3")

    def test_regressor(self):
        model = table("LinearRegressor", [("X", FLOAT, "N", 2)], [("y", FLOAT, "N", 1)], coefficients=[2.0, 1.0],
                      intercepts=[0.5])
        code, got, _ = run("tabular", [{"input": [1, 2]}, {"input": [None, 2]}, {"input": [0, 0]}], model=model)
        self.assertEqual(code, 1)
        self.assertEqual([row.get("output") for row in got], [4.5, None, 0.5])
        self.assertIn("error", got[1])

    def test_text_columns(self):
        model = table("LabelEncoder", [("word", STRING, "N", 1)], [("code", INT64, "N", 1)],
                      classes_strings=["red", "green"])
        code, got, _ = run("tabular", [{"input": "green"}, {"input": ["red"]}, {"input": {"word": "red"}}, {"input": 1}],
                           model=model)
        self.assertEqual(code, 1)
        self.assertEqual([row["output"][0]["label"] for row in got[:3]], ["1", "0", "0"])
        self.assertIn("has to be a text", got[3]["error"])

    def test_rows_that_do_not_fit(self):
        bad = [[], [1], [1, 2, 3], {}, {"Y": [1, 2]}, {"X": 1}, {"X": [1, 2], "Z": 3}, ["a", 2], [[1], 2], [{}, 2], None, True,
               "text", "{}", 7, [1e300, 0]]
        code, got, _ = run("tabular", [{"input": b} for b in bad] + [{}, {"input": [1, 2]}],
                           model=classifier(classlabels_strings=["a", "b"]))
        self.assertEqual(code, 1)
        for row in got[:-1]:
            self.assertIn("error", row)
        self.assertIn("output", got[-1])

    def test_models_that_are_no_tables(self):
        code, rows, err = run("tabular", [{"input": [1]}], model=cli_test.MODEL)
        if code != 2:  # ids of a sequence look like columns
            self.assertTrue(all("error" in row or "output" in row for row in rows))
        images = table("Normalizer", [("X", FLOAT, "N", 3, 8, 8)], [("Y", FLOAT, "N", 3)], norm="L2")
        code, rows, err = run("tabular", [{"input": [1]}], model=images)
        self.assertEqual((code, rows), (2, []))
        self.assertIn("columns of a table", err)
        code, _, err = run("tabular", [], "--precision", "int8", model=images)
        self.assertEqual(code, 2)


if __name__ == "__main__":
    cli_test.run_suite(__name__)
