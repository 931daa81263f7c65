#!/usr/bin/env python3
"""Drives `hugot bench`: what it prints, never how fast it is. Python's standard library only.

    bench_test.py HUGOT

The last line is `N passed, N failed, N skipped`.
"""
import json
import unittest

import cli_test
from cli_test import hugot, lines

KEYS = ["texts_per_s", "tokens_per_s", "p50_ms", "p99_ms", "load_s", "rss_mb", "isa", "peak_gflops",
        "fraction_of_peak", "threads", "texts", "tokens", "precision", "rounds", "tokens_per_cpu_s"]
TEXTS = [{"input": "a cat"}, {"input": "the dog sleeps on the sofa"}, {"input": ""}]
IDS = [{"ids": [2, 5, 3]}, {"ids": [2, 5, 6, 7, 3]}]


def bench(*args, rows=TEXTS, **options):
    return hugot("bench", "--model", cli_test.MODEL, *args, stdin=lines(*rows), **options)


class Model(unittest.TestCase):
    def results(self, *args, rows=TEXTS, **options):
        code, out, err = bench("--json", "-", "--rounds", 2, *args, rows=rows, **options)
        self.assertEqual((code, err), (0, ""), args)
        self.assertEqual(out.count(b"\n"), 1)
        return json.loads(out)

    def test_keys(self):
        for args in ([], ["--one-by-one"], ["--one-by-one", "--callers", 2],
                     ["--threads", 2], ["--max-length", 4]):
            results = self.results(*args)
            self.assertEqual(list(results), KEYS)
            self.assertEqual((results["texts"], results["rounds"]), (3, 2))
            self.assertEqual(results["precision"], "fp32")
            for key in ("texts_per_s", "tokens_per_s", "p50_ms", "rss_mb", "peak_gflops"):
                self.assertGreater(results[key], 0, key)
            self.assertGreaterEqual(results["p99_ms"], results["p50_ms"])
            self.assertGreater(results["fraction_of_peak"], 0)
        self.assertEqual(self.results("--threads", 2)["threads"], 2)

    def test_tokens(self):
        self.assertEqual(self.results(rows=IDS)["tokens"], 8)
        self.assertEqual(self.results("--limit", 1, rows=IDS)["tokens"], 3)
        self.assertGreater(self.results()["tokens"], self.results("--max-length", 3)["tokens"])

    def test_instruction_set(self):
        self.assertEqual(self.results(env={"HUGOT_ISA": "scalar"})["isa"], "scalar")

    def test_table_profile_and_file(self):
        file = cli_test.WORK / "bench.json"
        code, out, err = bench("--seconds", 0.01, "--profile", "--json", file)
        self.assertEqual((code, err), (0, ""))
        for part in (b"texts/s", b"tokenizing included", b"GFLOP/s calibrated", b"\nLinear ",
                     b"LayerNormalization", b"all operators"):
            self.assertIn(part, out)
        self.assertEqual(list(json.loads(file.read_text())), KEYS)
        code, out, _ = bench("--rounds", 1, "--one-by-one", rows=IDS)
        self.assertEqual(code, 0)
        self.assertIn(b"as ids", out)
        self.assertNotIn(b"LayerNormalization", out)

    def test_bad_input(self):
        for rows, part in (([], "no rows"), ([{"x": 1}], ":1: the row has no \"input\""),
                           (TEXTS + IDS, ":4: rows with"), ([{"ids": [-1]}], "token ids"),
                           ([{"ids": [10 ** 6]}], "row 1: token id 1000000")):
            code, out, err = bench("--rounds", 1, rows=rows)
            self.assertEqual((code, out), (2, b""), part)
            self.assertIn(part, err)
        for args in (["--rounds", 1, "--seconds", 1], ["--rounds", 0], ["--seconds", "x"],
                     ["--limit", 0], ["--rounds", 1, "--callers", 2], ["--input", cli_test.WORK / "no such file"],
                     ["--rounds", 1, "--json", cli_test.WORK / "no/such/folder"]):
            self.assertEqual(bench(*args)[0], 2, args)
        for args in ([], ["--model", "no such model"]):
            code, out, err = hugot("bench", *args, stdin=lines(*TEXTS))
            self.assertEqual((code, out), (2, b""), args)
            self.assertIn("model", err)


class Kernels(unittest.TestCase):
    def test_results_and_comparison(self):
        for number in "12":
            code, out, err = hugot("bench", "kernels", "--filter", "k=384 n=312", "--json",
                                   cli_test.WORK / f"kernels{number}.json")
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out.count(b" GFLOP/s ("), 5)
        results = json.loads((cli_test.WORK / "kernels1.json").read_text())
        self.assertEqual([entry["name"] for entry in results["entries"]],
                         [f"gemm m={m} k=384 n=312" for m in (1, 16, 64, 128, 256)])
        for entry in results["entries"]:
            self.assertLessEqual(entry["low"], entry["median"])
            self.assertLessEqual(entry["median"], entry["high"])
            self.assertEqual(entry["unit"], "GFLOP/s")
        code, out, err = hugot("bench", "kernels", "--compare", cli_test.WORK / "kernels1.json",
                               cli_test.WORK / "kernels2.json")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out.decode(), r"\n\d+ faster, \d+ slower, \d+ same\n$")

    def test_every_family(self):
        for part in ("attention s=16 d=32", "gelu", "softmax columns=64", "layer_norm", "exp"):
            code, out, err = hugot("bench", "kernels", "--filter", part, "--threads", 2, "--json",
                                   "-")
            self.assertEqual((code, err), (0, ""), part)
            self.assertIn(part, json.loads(out)["entries"][0]["name"])

    def test_bad_input(self):
        bad = cli_test.WORK / "bad.json"
        bad.write_text('{"entries": 1}')
        for args, part in ((["--filter", "nothing"], "nothing"), (["--compare", bad], "--compare"),
                           (["--compare", bad, bad], "bench kernels"),
                           (["--compare", bad, cli_test.WORK / "absent"], "absent"),
                           (["--threads", -1], "--threads")):
            code, out, err = hugot("bench", "kernels", *args)
            self.assertEqual((code, out), (2, b""), args)
            self.assertIn(part, err)


if __name__ == "__main__":
    cli_test.run_suite(__name__)
