#!/usr/bin/env python3
"""Drives `hugot train`. Python's standard library only.

    cli_train_test.py HUGOT [--counts FILE]

The last line is `N passed, N failed, N skipped`.
"""
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import cli_test
from cli_test import hugot, lines

WORDS = "hello world good bad the a cat dog runs sleeps".split()


def sentence(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 8)))


def pairs(count, seed=1):
    rng = random.Random(seed)
    return [{"sentence1": sentence(rng), "sentence2": sentence(rng),
             "score": round(rng.random(), 2)} for _ in range(count)]


def triplets(count, seed=2):
    rng = random.Random(seed)
    return [{"anchor": sentence(rng), "positive": sentence(rng), "negative": sentence(rng)}
            for _ in range(count)]


def labelled(count, seed=3, names=("no", "yes")):
    rng = random.Random(seed)
    return [{"text": ("good " if i % 2 else "bad ") + sentence(rng), "label": names[i % 2]}
            for i in range(count)]


class TrainCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(dir=cli_test.WORK)
        self.work = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def rows(self, rows, name="train.jsonl"):
        path = self.work / name
        path.write_bytes(rows if isinstance(rows, bytes) else lines(*rows))
        return path

    def arguments(self, rows, *args, output="out"):
        data = rows if isinstance(rows, Path) else self.rows(rows)
        return ["train", "--model", cli_test.MODEL, "--train", data, "--output",
                self.work / output, *args]

    def train(self, rows, *args, output="out", code=0):
        got, out, err = hugot(*self.arguments(rows, *args, output=output))
        self.assertEqual(got, code, err)
        self.assertEqual(out, b"")
        return self.work / output, err

    def metrics(self, output):
        return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]

    def files(self, output):
        return {path.relative_to(output): path.read_bytes()
                for path in sorted(output.rglob("*")) if path.is_file()}

    def embed(self, model, text="hello good world"):
        code, out, err = hugot("run", "--model", model, "--type", "featureExtraction", "--format",
                               "hf", stdin=lines({"input": text}))
        self.assertEqual(code, 0, err)
        return json.loads(out)["output"]

    def wait_for(self, output, steps):
        end = time.time() + 60
        while time.time() < end:
            try:
                if len(self.metrics(output)) >= steps:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.002)
        self.fail("the training does not come to its steps")


class Train(TrainCase):
    def test_output_is_a_model_directory(self):
        output, err = self.train(pairs(20), "--batch-size", 8, "--epochs", 2, "--lr", "1e-3")
        self.assertIn("after 6 steps", err)  # the last batch of 4 rows counts
        rows = self.metrics(output)
        self.assertEqual([row["step"] for row in rows], list(range(1, 7)))
        self.assertEqual(rows[0].keys(), {"step", "loss", "lr", "grad_norm", "epoch"})
        source = {path.relative_to(cli_test.MODEL) for path in cli_test.MODEL.rglob("*")
                  if path.is_file()}
        here = set(self.files(output))
        self.assertLessEqual(source, here)
        self.assertEqual({str(path) for path in here - source},
                         {"README.md", "loss.svg", "metrics.jsonl"})
        self.assertNotEqual(self.embed(output), self.embed(cli_test.MODEL))
        self.assertIn("cosine_similarity", (output / "README.md").read_text())
        self.assertTrue((output / "loss.svg").read_text().startswith("<svg"))

    def test_a_model_from_nothing(self):
        texts = self.rows([{"input": sentence(random.Random(i))} for i in range(40)], "texts.jsonl")
        code, _, err = hugot("tokenizer-train", "--type", "wordpiece", "--vocab-size", 60, "--output",
                             self.work / "tokenizer", texts)
        self.assertEqual(code, 0, err)
        made = ["new", "--architecture", "bert", "--layers", 1, "--hidden", 16, "--heads", 2,
                "--intermediate", 32, "--max-length", 20, "--dim", 6, "--normalize", "--tokenizer"]
        for name, options in (("new", [self.work / "tokenizer"]), ("again", [self.work / "tokenizer"]),
                              ("other", [self.work / "tokenizer/tokenizer.json", "--seed", 3])):
            code, out, err = hugot(*made, *options, "--output", self.work / name)
            self.assertEqual((code, out), (0, b""), err)
        new = self.files(self.work / "new")
        self.assertEqual(new, self.files(self.work / "again"))
        self.assertNotEqual(new, self.files(self.work / "other"))
        vector = self.embed(self.work / "new")
        self.assertEqual(len(vector), 6)
        self.assertAlmostEqual(sum(x * x for x in vector), 1, 5)
        rows = [{"input": sentence(random.Random(i)), "embedding": [float(i % 6 == j) for j in range(6)]}
                for i in range(12)]
        code, _, err = hugot("train", "--model", self.work / "new", "--train", self.rows(rows),
                             "--output", self.work / "out", "--lr", "1e-2", "--epochs", 20)
        self.assertEqual(code, 0, err)
        losses = [row["loss"] for row in self.metrics(self.work / "out")]
        self.assertLess(losses[-1], losses[0] / 2)
        self.assertNotEqual(self.embed(self.work / "out"), vector)
        for arguments, part in ((made[:-1], "--tokenizer"), (made + [self.work / "none"], "none"),
                                (made + [self.work / "tokenizer", "--heads", 3], "--heads")):
            code, _, err = hugot(*arguments, "--output", self.work / "bad")
            self.assertEqual(code, 2, arguments)
            self.assertIn(part, err)
            self.assertFalse((self.work / "bad").exists())

    def test_zero_rate_changes_nothing(self):
        output, _ = self.train(pairs(8), "--optimizer-params", '{"type": "sgd", "lr": 0}')
        self.assertEqual((output / "onnx/model.onnx").read_bytes(),
                         (cli_test.MODEL / "onnx/model.onnx").read_bytes())

    def test_every_loss(self):
        data = {"cosine_similarity": pairs(8), "cosent": pairs(8), "angle": pairs(8),
                "mnrl": triplets(8), "mnrl_symmetric": triplets(8), "triplet": triplets(8),
                "contrastive": [{**row, "score": i % 2} for i, row in enumerate(pairs(8))],
                "online_contrastive": [{**row, "score": i % 2} for i, row in enumerate(pairs(8))]}
        for loss, rows in data.items():
            output, _ = self.train(rows, "--loss", loss, "--lr", "1e-3", "--epochs", 3, "--batch-size", 8,
                                   output=loss)
            losses = [row["loss"] for row in self.metrics(output)]
            self.assertLess(losses[-1], losses[0] + 1e-9, loss)
        rows = [{"sentence1": row["sentence1"], "sentence2": row["sentence2"], "label": i % 3}
                for i, row in enumerate(pairs(9))]
        output, _ = self.train(rows, "--loss", "softmax", "--loss-params",
                               '{"num_labels": 3, "multiply": true}', output="softmax")
        self.assertTrue((output / "head.npz").exists())
        params = {"loss": "mnrl", "dims": [32, 8], "weights": [1, 0.5]}
        self.train(triplets(8), "--loss", "matryoshka", "--loss-params", json.dumps(params),
                   output="matryoshka")
        size = len(self.embed(cli_test.MODEL))
        self.train([{"sentence": "hello", "embedding": [0.1] * size}], "--loss", "mse",
                   output="mse")

    def test_mini_batches_change_nothing_but_memory(self):
        arguments = ["--batch-size", 8, "--precision", "fp64", "--no-shuffle", "--lr", "1e-3"]
        whole, _ = self.train(triplets(16), *arguments, output="whole")
        parts, _ = self.train(triplets(16), *arguments, "--loss", "cached_mnrl", "--loss-params",
                              '{"mini_batch_size": 5}', output="parts")
        for a, b in zip(self.metrics(whole), self.metrics(parts)):
            self.assertAlmostEqual(a["loss"], b["loss"], 9)
            self.assertAlmostEqual(a["grad_norm"], b["grad_norm"], 9)

    def test_accumulation_is_the_mean_of_batches(self):
        arguments = ["--precision", "fp64", "--no-shuffle", "--lr", "1e-3"]
        whole, _ = self.train(pairs(16), *arguments, "--batch-size", 8, output="whole")
        parts, _ = self.train(pairs(16), *arguments, "--batch-size", 4, "--accumulation", 2,
                              output="parts")
        for a, b in zip(self.metrics(whole), self.metrics(parts)):
            self.assertAlmostEqual(a["loss"], b["loss"], 9)
            self.assertAlmostEqual(a["grad_norm"], b["grad_norm"], 9)

    def test_equal_runs_are_equal_whatever_the_threads(self):
        arguments = ["--batch-size", 4, "--epochs", 2, "--lr", "1e-3", "--seed", 7]
        one, _ = self.train(pairs(20), *arguments, "--threads", 1, output="one/out")
        two, _ = self.train(pairs(20), *arguments, "--threads", 2, output="two/out")
        self.assertEqual(self.files(one), self.files(two))
        other, _ = self.train(pairs(20), *arguments[:-1], 8, output="three/out")
        self.assertNotEqual(self.metrics(one), self.metrics(other))

    def test_dropout_average_and_adafactor(self):
        arguments = ["--batch-size", 4, "--epochs", 2, "--seed", 7, "--dropout", "0.2", "--ema", "0.9",
                     "--optimizer-params", '{"type": "adafactor"}']
        data = self.rows(pairs(20))
        one, err = self.train(data, *arguments, "--eval", data, "--threads", 1, output="one/out")
        self.assertIn("dropout at 7 places: 1 of embeddings, 2 of attention probabilities", err)
        two, _ = self.train(data, *arguments, "--eval", data, "--threads", 2, output="two/out")
        self.assertEqual(self.files(one), self.files(two))
        self.assertAlmostEqual(self.metrics(one)[0]["lr"], 0.01)
        card = (one / "README.md").read_text()
        self.assertIn("| dropout | 0.2 |", card)
        self.assertIn("| average of weights | decay 0.9 |", card)
        plain, err = self.train(data, *arguments[:6], "--untie", output="three/out")
        self.assertNotIn("dropout", err + (plain / "README.md").read_text())

    def test_freeze(self):
        code, _, err = hugot(*self.arguments(pairs(8), "--freeze", "layers:7"))
        self.assertEqual(code, 2)
        self.assertIn("has no layer 7", err)
        code, _, err = hugot(*self.arguments(pairs(8), "--freeze", "embeddings,layers:0-1"))
        self.assertEqual(code, 2)
        self.assertIn("everything is frozen", err)
        _, err = self.train(pairs(8), "--freeze", "embeddings,layers:0")
        self.assertRegex(err, r"16 tensors to train, 21 frozen")

    def test_lora(self):
        output, err = self.train(pairs(16), "--lora-rank", 4, "--lr", "1e-2", "--epochs", 5)
        self.assertRegex(err, "24 tensors to train, 37 frozen")  # 2 of 6 matrices in 2 layers
        losses = [row["loss"] for row in self.metrics(output)]
        self.assertLess(losses[-1], losses[0])
        old, new = ((root / "onnx/model.onnx").read_bytes() for root in (cli_test.MODEL, output))
        self.assertEqual(len(old), len(new))
        # What was trained with adapters is what the merged weights give.
        arguments = ["--no-shuffle", "--epochs", 3, "--batch-size", 16]
        adapted, _ = self.train(pairs(16), *arguments, "--lora-rank", 4, "--lr", "1e-2",
                                "--eval", self.rows(pairs(16), "eval.jsonl"), output="adapted")
        evaluations = [row["eval_loss"] for row in self.metrics(adapted) if "eval_loss" in row]
        code, _, err = hugot("train", "--model", adapted, "--train", self.rows(pairs(16)),
                             "--output", self.work / "check", "--no-shuffle", "--batch-size", 16)
        self.assertEqual(code, 0, err)
        self.assertTrue(any(abs(self.metrics(self.work / "check")[0]["loss"] - loss) < 1e-5
                            for loss in evaluations))
        code, _, err = hugot(*self.arguments(pairs(4), "--lora-rank", 500, output="none"))
        self.assertEqual(code, 2)
        self.assertIn("low rank", err)

    def test_classifier_on_top(self):
        rows = labelled(24)
        output, _ = self.train(rows, "--head", "classes:2", "--lr", "1e-2", "--epochs", 10, "--eval",
                               self.rows(rows, "eval.jsonl"))
        config = json.loads((output / "config.json").read_text())
        self.assertEqual(config["id2label"], {"0": "no", "1": "yes"})
        self.assertEqual(config["architectures"], ["BertForSequenceClassification"])
        self.assertFalse((output / "modules.json").exists())
        self.assertEqual(len(list(output.rglob("*.onnx"))), 1)
        texts = lines(*({"input": row["text"], "label": row["label"]} for row in rows))
        code, out, err = hugot("run", "--model", output, "--type", "textClassification", "--format",
                               "hf", stdin=texts)
        self.assertEqual(code, 0, err)
        got = [json.loads(line) for line in out.decode().splitlines()]
        right = sum(row["output"][0]["label"] == row["label"] for row in got)
        last = [row for row in self.metrics(output) if "eval_accuracy" in row]
        best = max(last, key=lambda row: row["eval_f1"])
        self.assertAlmostEqual(right / len(rows), best["eval_accuracy"])
        self.assertGreater(right / len(rows), 0.9)

    def test_evaluation_and_early_stopping(self):
        rows = pairs(12)
        output, err = self.train(rows, "--eval", self.rows(rows, "eval.jsonl"), "--lr", "1e-3",
                                 "--epochs", 50, "--patience", 2, "--tolerance", 10)
        self.assertIn("stopped early", err)
        evaluations = [row for row in self.metrics(output) if "eval_loss" in row]
        self.assertEqual(len(evaluations), 3)
        self.assertNotIn("loss", evaluations[0])
        self.assertIn("eval_spearman", evaluations[0])
        output, _ = self.train(triplets(12), "--eval", self.rows(triplets(12), "e.jsonl"),
                               output="triplets")
        self.assertLessEqual({"eval_triplet_accuracy", "eval_mrr@10", "eval_ndcg@10",
                              "eval_accuracy@1"}, set(self.metrics(output)[-1]))
        code, _, err = hugot(*self.arguments(rows, "--patience", 1, output="none"))
        self.assertEqual(code, 2)
        self.assertIn("needs data for evaluation", err)

    def test_bad_rows_are_named_before_anything_happens(self):
        good = pairs(2)
        cases = [(lines(*good) + b'{"sentence1": "a", "sentence2": 3, "score": 1}\n', ":3: 'sentence2'"),
                 (lines(*good) + b'\n{"sentence1": "a", "score": 1}\n', ":4: the row has no 'sentence2'"),
                 (lines(*good) + b'{"sentence1": "a"\n', ":3: "),
                 (lines(*good) + b'{"sentence1": "a", "sentence2": "\xff", "score": 1}\n', ":3: "),
                 (lines({**good[0], "score": "x"}), ":1: 'score' has to be a number"),
                 (lines({**good[0], "score": 1e300}), ":1: 'score' is too large"),
                 (lines({"text": "a", "score": 1}), ":1: the loss needs 2 texts per row"),
                 (lines({"question": "a"}), ":1: the row has no text"),
                 (b"", "there are no rows"), (b"[1]\n", ":1: ")]
        for rows, message in cases:
            code, _, err = hugot(*self.arguments(self.rows(rows), "--loss", "cosine_similarity"))
            self.assertEqual(code, 2, rows)
            self.assertIn(message, err)
            self.assertFalse((self.work / "out").exists())

    def test_wrong_usage(self):
        for args, message in ((["--loss", "best"], "unknown loss 'best'"),
                              (["--loss-params", '{"skale": 1}'], "unknown parameter 'skale'"),
                              (["--loss-params", "{"], "loss parameters"),
                              (["--optimizer-params", '{"type": "sgdd"}'], "unknown optimizer"),
                              (["--optimizer-params", '{"lr": -1}'], "lr"),
                              (["--optimizer-params", "[]"], "JSON object"),
                              (["--optimizer-params", '{"type": "adafactor", "eps": 1e-8}'], "list of numbers"),
                              (["--dropout", 1], "probability below 1"),
                              (["--ema", "-0.5"], "decay below 1"),
                              (["--head", "3"], "classes:N"),
                              (["--head-init", "x.npz"], "needs a head"),
                              (["--max-length", 4000], "positions"),
                              (["--freeze", "everything"], "neither embeddings nor layers"),
                              (["--precision", "fp8"], "fp8"),
                              (["--epochs", 0], "epochs"),
                              (["--loss", "triplet"], "needs 3 texts")):
            code, _, err = hugot(*self.arguments(pairs(4), *args))
            self.assertEqual(code, 2, args)
            self.assertIn(message, err)
        (self.work / "out").mkdir()
        (self.work / "out" / "mine.txt").write_text("x")
        for args in ([], ["--force"]):
            code, _, err = hugot(*self.arguments(pairs(4), *args))
            self.assertEqual(code, 2)
            self.assertTrue((self.work / "out" / "mine.txt").exists())

    def test_numbers_that_are_not_finite(self):
        code, _, err = hugot(*self.arguments(pairs(8), "--optimizer-params", '{"type": "sgd", "lr": 1e30}',
                                             "--batch-size", 4))
        self.assertEqual(code, 2)
        self.assertRegex(err, r"step 2, batch of \S+train\.jsonl:\d+, \d.*is (nan|infinite)")
        self.assertIn("last.npz", err)
        self.assertTrue((self.work / "out/checkpoints/last.npz").exists())
        self.assertEqual(list((self.work / "out").rglob("*.onnx")), [])

    ARGUMENTS = ["--batch-size", 4, "--epochs", 30, "--lr", "1e-3", "--save-steps", 3]

    def interrupted(self, data, number, steps, output):
        process = subprocess.Popen([cli_test.HUGOT, *map(str, self.arguments(
            data, *self.ARGUMENTS, "--eval", data, "--resume", output=output))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait_for(self.work / output, steps)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        return process.returncode, err.decode()

    def test_killed_and_resumed_is_the_same(self):
        data = self.rows(pairs(30))
        whole, _ = self.train(data, *self.ARGUMENTS, "--eval", data, output="whole/out")
        for steps in (5, 50, 100):
            code, _ = self.interrupted(data, signal.SIGKILL, steps, "killed/out")
            self.assertIn(code, (-signal.SIGKILL, 0))
        killed = self.work / "killed/out"
        if (killed / "checkpoints").exists():
            self.train(data, *self.ARGUMENTS, "--eval", data, "--resume", output="killed/out")
        self.assertEqual(self.files(whole), self.files(killed))

    def test_interrupt_and_resume(self):
        data = self.rows(pairs(30))
        whole, _ = self.train(data, *self.ARGUMENTS, "--eval", data, output="whole/out")
        code, err = self.interrupted(data, signal.SIGINT, 20, "stopped/out")
        self.assertEqual(code, 130, err)
        self.assertIn("--resume goes on", err)
        _, err = self.train(data, *self.ARGUMENTS, "--eval", data, "--resume", output="stopped/out")
        self.assertIn("going on after step", err)
        self.assertEqual(self.files(whole), self.files(self.work / "stopped/out"))

    def test_resume_wants_the_same_training(self):
        data = self.rows(pairs(30))
        code, err = self.interrupted(data, signal.SIGINT, 10, "out")
        self.assertEqual(code, 130, err)
        code, _, err = hugot(*self.arguments(data, *self.ARGUMENTS, "--resume", "--seed", 3))
        self.assertEqual(code, 2)
        self.assertIn("seed was 0 and is 3", err)
        code, _, err = hugot(*self.arguments(pairs(30, seed=9), *self.ARGUMENTS, "--resume"))
        self.assertEqual(code, 2)
        self.assertIn("data", err)
        checkpoint = self.work / "out/checkpoints/last.npz"
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
        code, _, err = hugot(*self.arguments(data, *self.ARGUMENTS, "--resume"))
        self.assertEqual(code, 2)
        self.assertIn("last.npz", err)

    def test_a_complete_training_is_not_resumed(self):
        self.train(pairs(8))
        code, _, err = hugot(*self.arguments(pairs(8), "--resume"))
        self.assertEqual(code, 2)
        self.assertIn("complete", err)
        self.train(pairs(8), "--force")


if __name__ == "__main__":
    cli_test.run_suite(__name__)
