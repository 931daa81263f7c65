#!/usr/bin/env python3
"""Drives `hugot train` under mpirun, with processes of this machine. Needs numpy and onnx.

    mpi_train_test.py HUGOT [--counts FILE]

The last line is `N passed, N failed, N skipped`.
"""
import os
import re
import signal
import subprocess
import time
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import cli_test
import cli_train_test
from cli_train_test import labelled, pairs, triplets

LONGEST = 120  # seconds until a job counts as hanging
# In a container: as root, more processes than processors, no copies from process to process.
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}
# mpirun waits for so many seconds before it passes an interrupt on, and again before it kills.
PATIENT = {**ENVIRONMENT, "OMPI_MCA_odls_base_sigkill_timeout": "3"}


def weights(output):
    model = onnx.load(output / "onnx/model.onnx")
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def ranks_of(launcher):
    """Process ids of the ranks, while all of them run."""
    path = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    return [int(child) for child in path.read_text().split()
            if Path(f"/proc/{child}/exe").resolve() == Path(cli_test.HUGOT)]


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class MpiTrain(cli_train_test.TrainCase):
    def command(self, count, rows, *args, output="out"):
        return ["mpirun", "--oversubscribe", "-n", str(count), cli_test.HUGOT,
                *map(str, self.arguments(rows, "--threads", 1, *args, output=output))]

    def mpi(self, count, rows, *args, output="out", code=0):
        result = subprocess.run(self.command(count, rows, *args, output=output),
                                capture_output=True, timeout=LONGEST, env=ENVIRONMENT)
        self.assertEqual(result.returncode, code, result.stderr.decode())
        self.assertEqual(result.stdout, b"")
        return self.work / output, result.stderr.decode()

    def assert_close(self, one, other, metric, weight):
        """Metrics by their relative, weights by their absolute difference."""
        expected, got = self.metrics(one), self.metrics(other)
        self.assertEqual(len(expected), len(got))
        for a, b in zip(expected, got):
            self.assertEqual(a.keys(), b.keys())
            for key in a:
                self.assertLessEqual(abs(a[key] - b[key]), metric * (abs(a[key]) + 1e-3), key)
        expected, got = weights(one), weights(other)
        self.assertEqual(expected.keys(), got.keys())
        for name, a in expected.items():
            if a.dtype.kind == "f" and a.size:
                self.assertLessEqual(np.abs(a - got[name]).max(), weight, name)

    def test_ranks_train_what_one_process_does(self):
        # 10 rows in batches of 4: the last one has 2 rows, fewer than there are ranks.
        for name, rows, args in (("cosine_similarity", pairs(10), []), ("mnrl", triplets(10), []),
                                 ("cross_entropy", labelled(10), ["--head", "classes:2"])):
            data = self.rows(rows)
            args = ["--loss", name, "--batch-size", 4, "--epochs", 2, "--lr", "1e-3", "--eval", data,
                    *args]
            exact = [*args, "--precision", "fp64"]
            simple = [*args, "--optimizer-params", '{"type": "sgd", "lr": 0.05}']
            one, _ = self.train(data, *exact, output=f"{name}-1")
            one_simple, _ = self.train(data, *simple, output=f"{name}-1s")
            for count in (2, 3, 4):
                with self.subTest(loss=name, processes=count):
                    many, err = self.mpi(count, data, *exact, output=f"{name}-{count}")
                    self.assertEqual(err.count("wrote "), 1, err)
                    self.assertIn(f", {count} processes", err)
                    self.assert_close(one, many, 1e-9, 1e-7)
            many, _ = self.mpi(3, data, *simple, output=f"{name}-3s")
            self.assert_close(one_simple, many, 1e-4, 1e-6)

    def start(self, count, data, *args, output, env=ENVIRONMENT):
        process = subprocess.Popen(self.command(count, data, *args, output=output),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.addCleanup(process.kill)
        return process

    def stopped(self, process, count, stop):
        """Stops a running job by stop(ranks): (exit code, messages). No process must be left."""
        ranks = ranks_of(process)
        self.assertEqual(len(ranks), count)
        stop(ranks)
        _, err = process.communicate(timeout=LONGEST)
        end = time.time() + LONGEST
        while any(map(runs, ranks)) and time.time() < end:
            time.sleep(0.01)
        self.assertFalse(any(map(runs, ranks)), "a process is left")
        self.assertNotEqual(process.returncode, 0)
        return err.decode()

    def test_equal_runs_and_resumed_ones_have_equal_bytes(self):
        data = self.rows(pairs(30))
        args = ["--batch-size", 4, "--epochs", 30, "--lr", "1e-3", "--save-steps", 3, "--eval", data]
        whole, _ = self.mpi(3, data, *args, output="whole/out")
        files = self.files(whole)
        again, _ = self.mpi(3, data, *args, output="again/out")
        self.assertEqual(files, self.files(again))

        with self.subTest("a process is killed"):
            process = self.start(3, data, *args, output="killed/out")
            self.wait_for(self.work / "killed/out", 20)
            self.stopped(process, 3, lambda ranks: os.kill(ranks[1], signal.SIGKILL))
            self.assertEqual(list((self.work / "killed/out").rglob("*.onnx")), [])
            output, err = self.mpi(3, data, *args, "--resume", output="killed/out")
            self.assertIn("going on after step", err)
            self.assertEqual(files, self.files(output))

        with self.subTest("a process is asked to end"):
            process = self.start(3, data, *args, output="asked/out")
            self.wait_for(self.work / "asked/out", 20)
            err = self.stopped(process, 3, lambda ranks: os.kill(ranks[-1], signal.SIGTERM))
            self.assertEqual(err.count("--resume goes on"), 1, err)
            step = re.search(r"stopped after step (\d+) of 240", err).group(1)
            output, err = self.mpi(3, data, *args, "--resume", output="asked/out")
            self.assertIn(f"going on after step {step} of 240", err)
            self.assertEqual(files, self.files(output))

    def test_interrupt(self):
        process = self.start(2, self.rows(pairs(10)), "--epochs", 1 << 20, output="out",
                             env=PATIENT)
        self.wait_for(self.work / "out", 1)
        err = self.stopped(process, 2, lambda ranks: process.send_signal(signal.SIGINT))
        self.assertEqual(err.count("--resume goes on"), 1, err)
        self.assertTrue((self.work / "out/checkpoints/last.npz").exists())

    def test_resumed_with_another_number_of_processes(self):
        data = self.rows(pairs(10))
        args = ["--batch-size", 4, "--epochs", 40, "--lr", "1e-3", "--precision", "fp64",
                "--save-steps", 1]
        whole, _ = self.train(data, *args, output="whole")
        process = self.start(2, data, *args, output="other")
        self.wait_for(self.work / "other", 10)
        self.stopped(process, 2, lambda ranks: os.kill(ranks[1], signal.SIGTERM))
        output, err = self.mpi(4, data, *args, "--resume", output="other")
        self.assertIn("going on after step", err)
        self.assert_close(whole, output, 1e-7, 1e-6)

    def test_errors_end_all_and_are_told_once(self):
        data = self.rows(pairs(4))
        for args, message in ((["--loss", "best"], "unknown loss 'best'"),
                              (["--eval", self.work / "none.jsonl"], "none.jsonl")):
            _, err = self.mpi(3, data, *args, code=2)
            self.assertEqual(err.count("hugot: "), 1, err)
            self.assertIn(message, err)
        self.assertFalse((self.work / "out").exists())
        (self.work / "out").mkdir()
        (self.work / "out/mine.txt").write_text("x")
        _, err = self.mpi(3, data, code=2)  # only one process looks at the output
        self.assertEqual(err.count("is not empty"), 1, err)

    def test_one_process_with_and_without_a_launcher(self):
        data = self.rows(pairs(10))
        plain, _ = self.train(data, output="a/out")
        asked, _ = self.train(data, "--mpi", output="b/out")
        launched, _ = self.mpi(1, data, output="c/out")
        self.assertEqual(self.files(plain), self.files(asked))
        self.assertEqual(self.files(plain), self.files(launched))


if __name__ == "__main__":
    cli_test.run_suite(__name__)
