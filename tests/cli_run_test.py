#!/usr/bin/env python3
"""Drives `hugot run` as a tool: resuming, streaming, memory, flags by type, progress, statistics.

    cli_run_test.py HUGOT [--counts FILE]

The last line is `N passed, N failed, N skipped`.
"""
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import cli_test
from cli_test import hugot, lines

ROWS = 6000


def command(*args, model=None, kind="featureExtraction"):
    return [cli_test.HUGOT, "run", "--model", str(model or cli_test.MODEL), "--type", kind,
            *map(str, args)]


def run(*args, stdin=b"", timeout=120, **options):
    """(exit code, standard output, messages)."""
    result = subprocess.run(command(*args), input=stdin, capture_output=True, timeout=timeout,
                            **options)
    return result.returncode, result.stdout, result.stderr.decode()


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def folder():
    return Path(tempfile.mkdtemp(dir=cli_test.WORK))


class Resume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.input = cli_test.WORK / "resume.jsonl"
        rng = random.Random(5)
        with open(cls.input, "w", encoding="utf-8") as file:
            for i in range(ROWS):
                text = " ".join(rng.choices(["some", "words", "é<&>", "to", "embed"], k=8))
                file.write({500: "no JSON\n", 501: "\n", 502: '{"id": 502}\n'}.get(
                    i, json.dumps({"id": i, "input": text, "x": 1.50},
                                  ensure_ascii=i % 2 == 0) + "\n"))
        out = folder()
        code, _, err = run("--input", cls.input, "--output", out)
        assert code == 1, err
        cls.wanted = (out / "result_0.jsonl").read_bytes()
        assert [path.name for path in out.iterdir()] == ["result_0.jsonl"]

    def paths(self, out):
        return [out / ("result_0.jsonl" + ending) for ending in ("", ".partial", ".run")]

    def state(self, out):
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def kill_at(self, out, size, *args):
        """Starts a run and kills it when the partial file has grown by `size`."""
        partial = self.paths(out)[1]
        begin = partial.stat().st_size if partial.exists() else 0
        process = subprocess.Popen(command("--input", self.input, "--output", out, "--batch-size",
                                           "16", "--threads", "1", *args),
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if partial.exists() and partial.stat().st_size >= begin + size:
                process.kill()
        return process.wait()

    def waiting(self, out):
        """A run that has done some rows and waits for more input."""
        process = subprocess.Popen(command("--output", out), stdin=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        partial = self.paths(out)[1]
        process.stdin.write(b"".join(self.input.read_bytes().splitlines(True)[:700]))
        process.stdin.flush()
        while not partial.exists() or partial.read_bytes().count(b"\n") < 699:  # one is blank
            self.assertIsNone(process.poll())
            time.sleep(0.001)
        return process

    def begun(self, out=None):
        """A folder with an unfinished run that was killed."""
        out = out or folder()
        process = self.waiting(out)
        process.kill()
        process.communicate()
        return out

    def finish(self, out, *args, code=1):
        got, _, err = run("--input", self.input, "--output", out, "--resume", *args)
        self.assertEqual(got, code, err)
        self.assertEqual((out / "result_0.jsonl").read_bytes(), self.wanted)
        self.assertEqual([path.name for path in out.iterdir()], ["result_0.jsonl"])
        return err

    def refused(self, out, *args, words, source=None):
        before = self.state(out)
        code, _, err = run("--input", source or self.input, "--output", out, *args)
        self.assertEqual(code, 2, err)
        self.assertEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(self.state(out), before)

    def test_killed_again_and_again(self):
        rng = random.Random(6)
        for _ in range(3):
            out = folder()
            for _ in range(5):
                code = self.kill_at(out, rng.choice([0, 1, 5000, 50000, 200000]), "--resume")
                self.assertIn(code, (-signal.SIGKILL, 1))
                # Complete, or not there at all.
                if (out / "result_0.jsonl").exists():
                    self.assertEqual((out / "result_0.jsonl").read_bytes(), self.wanted)
            self.finish(out, "--batch-size", rng.choice([7, 256]))

    def test_nothing_is_computed_twice(self):
        out = self.begun()
        done = self.paths(out)[1].read_bytes().count(b"\n")
        err = self.finish(out, "--stats")
        stats = json.loads(next(line for line in err.splitlines() if line.startswith("{")))
        self.assertIn(f"going on behind {done} rows", err)
        self.assertEqual(stats["rows"], ROWS - 1)
        self.assertEqual(stats["TotalQueries"], ROWS - 1 - 2 - (done if done < 500 else done - 2))

    def test_torn_and_damaged_ends(self):
        for ending in (b"", b'{"id": 1', b"\0" * 4096, b"\0" * 100 + b"\n", b"\n", b"{}}\n{}\n",
                       b'{"id":7,"output":\n'):
            out = self.begun()
            partial = self.paths(out)[1]
            data = partial.read_bytes()
            partial.write_bytes(data[:data.rfind(b"\n") + 1] + ending)
            err = self.finish(out)
            self.assertEqual("damaged" in err, ending.endswith(b"\n"), (ending, err))
        out = self.begun()
        partial = self.paths(out)[1]
        with open(partial, "r+b") as file:  # a hole, as a machine that went down may leave
            file.seek(3000)
            file.write(b"\0" * 4096)
        self.assertIn("damaged", self.finish(out))

    def test_only_a_torn_row_is_no_run(self):
        out = folder()
        self.paths(out)[1].write_bytes(b'{"id": 0, "inp')
        code, _, _ = run("--input", self.input, "--output", out)
        self.assertEqual(code, 1)
        self.assertEqual((out / "result_0.jsonl").read_bytes(), self.wanted)

    def test_what_does_not_fit_is_refused_and_nothing_lost(self):
        out = self.begun()
        partial, description = self.paths(out)[1:]
        self.refused(out, words=["--resume", str(partial)])
        self.refused(out, "--resume", "--normalize", words=["--normalize", "remove"])
        self.refused(out, "--resume", "--format", "hf", words=["--format", "hf"])
        before = self.state(out)
        result = subprocess.run(command("--output", out, "--resume", kind="tokenClassification"),
                                input=b"", capture_output=True, timeout=60)
        self.assertEqual((result.returncode, self.state(out)), (2, before))
        self.assertIn(b"made with --type featureExtraction", result.stderr)
        other = folder() / "other.jsonl"
        text = self.input.read_bytes()
        other.write_bytes(text.replace(b'"id": 3,', b'"id": 33,', 1))
        self.refused(out, "--resume", source=other, words=["row 4", f"{other}:4"])
        other.write_bytes(b"".join(text.splitlines(True)[:5]))
        self.refused(out, "--resume", source=other, words=["no more rows"])
        saved = description.read_bytes()
        for text in (b"", b"[]", b"{}", b'{"model": 1, "options": {}}', b"\xff"):
            description.write_bytes(text)
            self.refused(out, "--resume", words=["damaged"])
        description.unlink()
        self.refused(out, "--resume", words=["result_0.jsonl.run"])
        description.write_bytes(saved)
        self.finish(out)

    def test_another_model(self):
        out = self.begun()
        model = folder() / "model"
        shutil.copytree(cli_test.MODEL, model)
        arguments = command("--input", self.input, "--output", out, "--resume", model=model)
        with open(model / "config.json", "a", encoding="utf-8") as file:
            file.write("\n")
        result = subprocess.run(arguments, capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"another config.json", result.stderr)
        shutil.copyfile(cli_test.MODEL / "config.json", model / "config.json")
        result = subprocess.run(arguments, capture_output=True, timeout=60)  # a copy is the same
        self.assertEqual(result.returncode, 1)
        self.assertEqual((out / "result_0.jsonl").read_bytes(), self.wanted)

    def test_resume_of_nothing(self):
        self.finish(folder(), "--resume")
        code, _, err = run("--resume", stdin=b"")
        self.assertEqual(code, 2)
        self.assertIn("--output", err)

    def test_standard_input_and_options_without_influence(self):
        out = self.begun()
        code, _, _ = run("--output", out, "--resume", "--threads", 2, "--truncate-dim", 32,
                         stdin=self.input.read_bytes())
        self.assertEqual(code, 2)  # another option
        code, _, err = run("--output", out, "--resume", "--threads", 2, "--batch-size", 3,
                           "--format", "hugot", stdin=self.input.read_bytes())
        self.assertEqual(code, 1, err)
        self.assertEqual((out / "result_0.jsonl").read_bytes(), self.wanted)

    def test_interrupt_says_how_to_go_on(self):
        out = folder()
        partial = self.paths(out)[1]
        process = self.waiting(out)
        process.send_signal(signal.SIGTERM)
        process.wait(60)  # with its input open: at the end of the input a run would be complete
        err = process.communicate()[1].decode()
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(f"finished rows are kept in {partial}", err)
        self.assertIn("--resume", err)
        self.finish(out)

    def test_the_old_result_stays_until_the_new_one_is_there(self):
        out = folder()
        result = self.paths(out)[0]
        result.write_bytes(b"old\n")
        self.begun(out)
        self.assertEqual(result.read_bytes(), b"old\n")
        self.finish(out)

    def test_two_runs_in_one_folder(self):
        out = folder()
        process = subprocess.Popen(command("--output", out), stdin=subprocess.PIPE)
        while not self.paths(out)[2].exists():
            time.sleep(0.001)
        code, _, err = run("--output", out, "--resume", stdin=b"")
        self.assertEqual(code, 2)
        self.assertIn("another process", err)
        process.communicate(lines({"input": "x"}), timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len(rows_of(self.paths(out)[0].read_bytes())), 1)

    def test_a_run_that_cannot_begin_leaves_nothing(self):
        out = folder()
        result = subprocess.run(command("--output", out, "--output-name", "none"), input=b"",
                                capture_output=True, timeout=60)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(list(out.iterdir()), [])

    def test_no_room_for_the_rows(self):
        for limit in (30000, 30001, 123456):
            out = folder()
            code, _, err = run("--input", self.input, "--output", out, preexec_fn=lambda:
                               resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
            self.assertEqual(code, 2)
            partial = self.paths(out)[1]
            self.assertIn(f"cannot write {partial}: File too large", err)
            self.assertIn(f"kept in {partial}", err)
            data = partial.read_bytes()
            self.assertTrue(data.endswith(b"}\n"))
            self.assertEqual(data, self.wanted[:len(data)])
            self.finish(out)


class Streams(unittest.TestCase):
    def peak(self, rows):
        source = cli_test.WORK / "memory.jsonl"
        with open(source, "wb") as file:
            for i in range(rows):
                file.write(b'{"id": %d, "input": "%s"}\n' % (i, b"a few words " * 5))
        # The address sanitizer keeps what is freed.
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
        process = subprocess.Popen(command("--input", source, "--output", folder(), "--threads",
                                           "1"), env={**os.environ, "ASAN_OPTIONS": options})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        self.assertEqual(status, 0)
        return usage.ru_maxrss / 1024

    def test_memory_does_not_grow_with_the_input(self):
        small, large = self.peak(3000), self.peak(60000)
        self.assertLess(large, 1.25 * small + 4, "MiB")

    def test_results_come_while_the_input_goes_on(self):
        process = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(3):
            process.stdin.write(lines({"input": "x", "id": i}))
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["id"], i)
        process.stdin.close()
        self.assertEqual((process.stdout.read(), process.wait(60)), (b"", 0))
        process.stdout.close()

    def test_folders_in_the_order_of_their_paths(self):
        data = folder()
        for name in ("b.jsonl", "a/z.jsonl", "a/b/c.jsonl", "a.jsonl", "B.jsonl", "a b.jsonl"):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(lines({"input": name}))
        out = data / "out"
        for _ in range(2):  # the second time a result lies in the folder
            code, _, err = run("--input", data, "--output", out)
            self.assertEqual(code, 0, err)
            self.assertEqual([row["input"] for row in rows_of((out / "result_0.jsonl").read_bytes())],
                             ["B.jsonl", "a/b/c.jsonl", "a/z.jsonl", "a b.jsonl", "a.jsonl",
                              "b.jsonl"])

    def test_progress(self):
        source = cli_test.WORK / "progress.jsonl"
        source.write_bytes(lines({"input": "some words"}) * 6000)
        master, slave = pty.openpty()
        process = subprocess.Popen(command("--input", source, "--output", folder(), "--batch-size",
                                           "5", "--threads", "1"), stderr=slave, stdout=slave)
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 4096):
                shown += part
        except OSError:
            pass
        os.close(master)
        self.assertEqual(process.wait(60), 0)
        self.assertRegex(shown.decode(),
                         r"\r\x1b\[K\[#*-*\] +\d+%, \d+ rows, [\d.]+ rows/s, \d+:\d\d left")
        self.assertTrue(shown.endswith(b"\r\x1b[K"))
        # On a terminal that shows the rows themselves it would be in their way.
        master, slave = pty.openpty()
        source.write_bytes(lines({"input": "some words"}) * 50)
        process = subprocess.Popen(command("--input", source, "--batch-size", "1"), stderr=slave,
                                   stdout=slave)
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 4096):
                shown += part
        except OSError:
            pass
        os.close(master)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(len(rows_of(shown.replace(b"\r\n", b"\n"))), 50)


class Options(unittest.TestCase):
    def table(self):
        """{flag: types} from the help, which groups flags by the types that have them."""
        text = hugot("run", "--help")[1].decode()
        types = re.search(r"--type TEXT REQUIRED\s+pipeline: (.*?)\n  -", text, re.S).group(1)
        types = re.sub(r"\s+", " ", types).replace(" or ", ", ").split(", ")
        flags, group = {}, None
        for line in text.splitlines():
            if re.fullmatch(r"\S.*:", line):
                group = line[:-1].split(", ")
            elif group and group[0] in types and line.startswith("  -"):
                flags[re.match(r"  (--[a-z-]+)", line).group(1)] = (group, " " in line.strip()
                                                                    and "TEXT" in line)
        return types, flags, text

    def test_flags_of_other_types(self):
        types, flags, text = self.table()
        self.assertGreater(len(flags), 10)
        for flag, (owners, _) in flags.items():
            self.assertLessEqual(set(owners), set(types), flag)
            value = re.search(r"  %s\b[^ ]* (TEXT|INT|FLOAT)(?::\{(\w+))?" % flag, text)
            value = [] if not value else [value.group(2) or "1"]
            for kind in types:
                code, _, err = hugot("run", "--model", "none", "--type", kind, flag, *value)
                self.assertEqual(code, 2)
                if kind in owners:
                    self.assertNotIn("is no option of", err)
                else:
                    self.assertIn(f"{flag} is no option of --type {kind}", err)
                    for owner in owners:
                        self.assertIn(owner, err)

    def test_the_type_is_looked_at_first(self):
        code, _, err = hugot("run", "--model", "none", "--type", "x", "--normalize")
        self.assertEqual(code, 2)
        self.assertIn("unknown --type", err)

    def test_statistics(self):
        code, _, err = run("--stats", "--batch-size", 2, stdin=lines({"input": "a b"}) * 5)
        self.assertEqual(code, 0)
        self.assertEqual(err.count("\n"), 1)
        stats = json.loads(err)
        self.assertEqual(stats["TokenizerExecutionCount"], 3)
        self.assertEqual(stats["OnnxExecutionCount"], 3)
        self.assertEqual((stats["TotalQueries"], stats["TotalDocuments"]), (5, 5))
        self.assertEqual(stats["FilteredResults"], 0)
        self.assertAlmostEqual(stats["AverageBatchSize"], 5 / 3)
        for part in ("Tokenizer", "Onnx"):
            self.assertIsInstance(stats[part + "TotalTime"], int)
            self.assertAlmostEqual(stats[part + "AvgQueryTime"], stats[part + "TotalTime"] / 3,
                                   delta=1)
        self.assertGreater(stats["AverageLatency"], 0)


class DefaultModel(unittest.TestCase):
    ROW = lines({"input": "hello world"})

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=cli_test.WORK)
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "bin/hugot"
        self.program.parent.mkdir()
        shutil.copy(cli_test.HUGOT, self.program)

    def run_default(self, *args):
        result = subprocess.run([self.program, "run", *args], input=self.ROW, capture_output=True,
                                timeout=60)
        return result.returncode, result.stdout, result.stderr.decode()

    def test_it_lies_near_the_program(self):
        expected = json.loads(run(stdin=self.ROW)[1])["output"]
        for place in ("share/hugot/models/default", "bin/models/default"):
            shutil.copytree(cli_test.MODEL, self.folder / place)
            for model in ([], ["--model", "default"], ["--model-folder", cli_test.WORK / "none"]):
                code, out, err = self.run_default("--type", "featureExtraction", *model)
                self.assertEqual(code, 0, err)
                self.assertEqual(json.loads(out)["output"], expected)
            shutil.rmtree(self.folder / place)

    def test_other_types_need_a_model(self):
        code, out, err = self.run_default("--type", "textClassification")
        self.assertEqual((code, out), (2, b""))
        self.assertIn("--model is required for --type textClassification", err)

    def test_places_are_named_when_there_is_none(self):
        code, out, err = self.run_default("--type", "featureExtraction")
        if code == 0:
            self.skipTest("there is one inside of the program, or installed")
        self.assertEqual((code, out), (2, b""))
        self.assertIn(str(self.folder / "share/hugot/models/default"), err)


if __name__ == "__main__":
    cli_test.run_suite(__name__)
