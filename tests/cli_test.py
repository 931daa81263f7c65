#!/usr/bin/env python3
"""Drives the `hugot` command with good and bad input. Python's standard library only.

    cli_test.py HUGOT [--counts FILE]

The last line is `N passed, N failed, N skipped`.
"""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from dot import parse_dot

ROOT = Path(__file__).resolve().parent.parent
HUGOT = ""
WORK = None    # a folder for all cases
MODEL = None   # the converted fixture


def hugot(*args, stdin=b"", timeout=60, **options):
    result = subprocess.run([HUGOT, *map(str, args)], input=stdin, capture_output=True,
                            timeout=timeout, **options)
    return result.returncode, result.stdout, result.stderr.decode()


def run(*args, stdin=b"", model=None, **options):
    """featureExtraction with the fixture: (exit code, rows, messages)."""
    code, out, err = hugot("run", "--model", model or MODEL, "--type", "featureExtraction", *args,
                           stdin=stdin, **options)
    return code, [json.loads(line) for line in out.decode().splitlines()], err


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Usage(unittest.TestCase):
    def test_version_and_help(self):
        code, out, _ = hugot("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out.decode(), r"^hugot \d+\.\d+\.\d+\n$")
        for args in (["help"], ["--help"], ["run", "--help"], ["infer", "--help"]):
            code, out, _ = hugot(*args)
            self.assertEqual(code, 0, args)
            self.assertIn(b"--", out)

    def test_wrong_usage_is_2(self):
        for args in ([], ["dance"], ["run"], ["run", "--model"], ["run", "--nonsense", "1"],
                     ["run", "--model", "x", "--type", "featureExtraction", "--batch-size", "0"],
                     ["run", "--model", "x", "--type", "featureExtraction", "--format", "xml"]):
            code, out, err = hugot(*args)
            self.assertEqual(code, 2, args)
            self.assertEqual(out, b"", args)
            self.assertNotEqual(err, "", args)

    def test_unknown_type_lists_the_known_ones(self):
        code, _, err = hugot("run", "--model", MODEL, "--type", "featureextraction")
        self.assertEqual(code, 2)
        self.assertIn("featureExtraction", err)

    def test_types_and_options_of_later_versions(self):
        for args in (["--type", "textGeneration"], ["--device", "cuda:0"]):
            kind = [] if args[0] == "--type" else ["--type", "featureExtraction"]
            code, _, err = hugot("run", "--model", MODEL, *kind, *args)
            self.assertEqual(code, 2, args)
            self.assertIn(args[-1], err)

    def test_precision(self):
        row = lines({"input": "hello world"})
        exact = run(stdin=row)[1][0]["output"]
        for precision, tolerance in (("fp32", 0), ("bf16", 0.05), ("int8", 0.1)):
            code, rows, _ = run("--precision", precision, stdin=row)
            self.assertEqual(code, 0)
            worst = max(abs(a - b) for a, b in zip(exact, rows[0]["output"]))
            self.assertLessEqual(worst, tolerance, precision)
            self.assertEqual(worst > 0, precision != "fp32")

    def test_cache(self):
        row = lines({"input": "hello world"})
        with tempfile.TemporaryDirectory(dir=WORK) as folder:
            cache = Path(folder) / "cache"
            wanted = run("--cache", "", stdin=row)
            self.assertEqual(wanted[0], 0)
            self.assertEqual(run("--cache", cache, stdin=row), wanted)
            files = list(cache.iterdir())
            self.assertEqual(len(files), 1)
            written = files[0].stat().st_ino
            self.assertEqual(run("--cache", cache, stdin=row), wanted)
            self.assertEqual(files[0].stat().st_ino, written)
            os.truncate(files[0], files[0].stat().st_size // 2)
            self.assertEqual(run("--cache", cache, stdin=row), wanted)
            self.assertNotEqual(files[0].stat().st_ino, written)
            # Where nothing can be written it works all the same, without a word.
            self.assertEqual(run("--cache", files[0] / "below", stdin=row), wanted)
            self.assertEqual(run(stdin=row, env={**os.environ, "HUGOT_CACHE": ""}), wanted)

    def test_both_spellings(self):
        row = lines({"input": "hello"})
        a = run("--batchSize", 1, "--maxLength", 8, "--truncateDim", 3, stdin=row)
        b = run("--batch-size", 1, "--max-length", 8, "--truncate-dim", 3, stdin=row)
        self.assertEqual(a, b)
        self.assertEqual(a[0], 0)
        self.assertEqual(len(a[1][0]["output"]), 3)


class Models(unittest.TestCase):
    def fails_with(self, model, *parts, code=2):
        got, out, err = run(stdin=lines({"input": "x"}), model=model)
        self.assertEqual(got, code)
        self.assertEqual(out, [])
        self.assertEqual(err.count("\n"), 1, err)
        for part in parts:
            self.assertIn(str(part), err)

    def broken_copy(self):
        target = Path(tempfile.mkdtemp(dir=WORK)) / "model"
        shutil.copytree(MODEL, target)
        return target

    def test_no_such_model(self):
        self.fails_with(WORK / "nothing", "nothing", "not found")

    def test_directory_without_graph(self):
        model = self.broken_copy()
        (model / "onnx/model.onnx").unlink()
        self.fails_with(model, "no .onnx file", "convert")

    def test_directory_without_tokenizer(self):
        model = self.broken_copy()
        (model / "tokenizer.json").unlink()
        self.fails_with(model, "tokenizer.json")

    def test_truncated_graph(self):
        for size in (0, 10, 1000, -100):
            model = self.broken_copy()
            graph = model / "onnx/model.onnx"
            data = graph.read_bytes()
            graph.write_bytes(data[:size])
            self.fails_with(model, "model.onnx")

    def test_malformed_json(self):
        for name in ("config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json"):
            model = self.broken_copy()
            (model / name).write_text('{"a": ')
            self.fails_with(model, name)

    def test_name_below_model_folder(self):
        folder = Path(tempfile.mkdtemp(dir=WORK))
        shutil.copytree(MODEL, folder / "owner_tiny")
        code, rows, _ = run("--model-folder", folder, model="owner/tiny",
                            stdin=lines({"input": "x"}))
        self.assertEqual((code, len(rows)), (0, 1))


class Rows(unittest.TestCase):
    def test_bytes_of_a_row_are_kept(self):
        line = '{ "b": 1.50, "input":"caf\\u00e9",  "a" : [1e3, {"x":"}\\""}] }'
        code, out, _ = hugot("run", "--model", MODEL, "--type", "featureExtraction",
                             stdin=line.encode())
        self.assertEqual(code, 0)
        self.assertTrue(out.startswith(line[:-1].encode() + b',"output":['), out[:100])
        self.assertTrue(out.endswith(b"]}\n"))

    def test_an_output_that_is_there_is_replaced(self):
        for line in ('{"output": 1, "input": "x"}', '{"input": "x", "output": [1, "}"]}',
                     '{"input": "x", "output": 1, "error": "y"}'):
            code, rows, _ = run(stdin=line.encode())
            self.assertEqual(code, 0)
            self.assertEqual(sorted(rows[0]), ["input", "output"])
            self.assertEqual(len(rows[0]["output"]), 32)

    def test_bad_rows_among_good_ones(self):
        good = b'{"input": "hello", "id": %d}'
        bad = [b'{"input": "x"', b'{"id": 1}', b'{"input": 5, "id": 2}', b'[1]', b'{"input": "\xff"}',
               b'nonsense', b'{"ids": ["x"]}', b'{"ids": [99999]}', b'{"input": null}']
        data = b"\n".join(line for i, b in enumerate(bad) for line in (good % i, b)) + b"\n"
        for batch in (1, 4, 100):
            code, rows, err = run("--batch-size", batch, stdin=data)
            self.assertEqual(code, 1)
            self.assertEqual(len(rows), 2 * len(bad))
            self.assertTrue(all("output" in row for row in rows[::2]))
            self.assertTrue(all(row["error"] and "output" not in row for row in rows[1::2]))
            self.assertEqual(rows[1]["line"], 2)
            self.assertEqual(rows[3]["id"], 1)
            self.assertIn("standard input:2", err)

    def test_error_names_file_and_line(self):
        path = WORK / "line7.jsonl"
        path.write_bytes(b'{"input": "x"}\n' * 6 + b'{"input": x}\n')
        code, rows, err = run("--input", path)
        self.assertEqual(code, 1)
        self.assertIn(f"{path}:7: invalid JSON at byte 11", err)
        self.assertEqual([i for i, row in enumerate(rows) if "error" in row], [6])

    def test_blank_lines_carriage_returns_and_a_missing_last_newline(self):
        code, rows, _ = run(stdin=b'\xef\xbb\xbf{"input": "a"}\r\n\n  \n{"input": "b"}')
        self.assertEqual((code, [row["input"] for row in rows]), (0, ["a", "b"]))

    def test_no_rows(self):
        self.assertEqual(run(stdin=b"")[:2], (0, []))

    def test_a_long_line_and_deep_nesting(self):
        code, rows, _ = run(stdin=lines({"input": "word " * 200000}))
        self.assertEqual((code, len(rows)), (0, 1))
        deep = b'{"input": "x", "y": ' + b"[" * 100000 + b"]" * 100000 + b"}"
        code, out, _ = hugot("run", "--model", MODEL, "--type", "featureExtraction", stdin=deep)
        self.assertEqual((code, out[:len(deep) - 1]), (0, deep[:-1]))

    def test_folder_input_in_order(self):
        folder = Path(tempfile.mkdtemp(dir=WORK))
        (folder / "b").mkdir()
        (folder / "b/1.jsonl").write_bytes(lines({"input": "3"}))
        (folder / "a.jsonl").write_bytes(lines({"input": "1"}, {"input": "2"}))
        (folder / "note.txt").write_text("no JSON")
        code, rows, _ = run("--input", folder)
        self.assertEqual((code, [row["input"] for row in rows]), (0, ["1", "2", "3"]))
        self.assertEqual(run("--input", folder / "none")[0], 2)

    def test_output_folder(self):
        folder = WORK / "deep/out"
        for _ in range(2):
            code, rows, _ = run("--output", folder, stdin=lines({"input": "x"}))
            self.assertEqual((code, rows), (0, []))
        text = (folder / "result_0.jsonl").read_text()
        self.assertEqual(len(json.loads(text)["output"]), 32)

    def test_ids_and_stats(self):
        code, rows, err = run("--stats", stdin=lines({"ids": [2, 64, 65, 3]},
                                                     {"input": "Hello world"}))
        self.assertEqual(rows[0]["output"], rows[1]["output"])
        stats = json.loads(err)
        self.assertEqual((stats["rows"], stats["failed_rows"], stats["tokens"]), (2, 0, 8))

    def test_numbers_of_both_formats(self):
        rows = lines(*({"input": word} for word in "a quick brown fox , jumps over it".split()))
        go = run(stdin=rows)[1]
        plain = run("--format", "hf", stdin=rows)[1]
        self.assertEqual(go, plain)
        text = hugot("run", "--model", MODEL, "--type", "featureExtraction", stdin=rows)[1].decode()
        self.assertIsNone(re.search(r"e-0[0-6]", text))


class System(unittest.TestCase):
    def test_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            result = subprocess.run([HUGOT, "run", "--model", MODEL, "--type", "featureExtraction"],
                                    input=lines({"input": "x"}), stdout=full,
                                    stderr=subprocess.PIPE, timeout=60)
        self.assertIn(result.returncode, (1, 2))
        self.assertEqual(result.stderr.decode(),
                         "hugot: cannot write standard output: No space left on device\n")

    def test_output_that_cannot_be_made(self):
        (WORK / "plain-file").write_text("")
        for folder in (WORK / "plain-file", WORK / "plain-file/below"):
            code, _, err = run("--output", folder, stdin=lines({"input": "x"}))
            self.assertEqual(code, 2)
            self.assertIn(str(folder), err)

    def test_a_reader_that_goes_away(self):
        rows = lines({"input": "x"}) * 3000
        source = WORK / "many.jsonl"
        source.write_bytes(rows)
        process = subprocess.Popen([HUGOT, "run", "--model", MODEL, "--type", "featureExtraction",
                                    "--input", source, "--batch-size", "8"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(60), 1)
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()

    def test_interrupt_while_waiting_for_input(self):
        process = subprocess.Popen([HUGOT, "run", "--model", MODEL, "--type", "featureExtraction",
                                    "--batch-size", "1"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(lines({"input": "x"}))
        process.stdin.flush()
        self.assertIn(b"output", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        self.assertIn(b"after 1 rows", process.stderr.read())
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def test_interrupt_keeps_the_rows_that_are_done(self):
        source = WORK / "endless.jsonl"
        source.write_bytes(lines({"input": "some words to embed"}) * 200000)
        folder = WORK / "interrupted"
        process = subprocess.Popen([HUGOT, "run", "--model", MODEL, "--type", "featureExtraction",
                                    "--input", source, "--output", folder, "--batch-size", "16"],
                                   stderr=subprocess.PIPE)
        result = folder / "result_0.jsonl.partial"
        while not (result.exists() and result.stat().st_size > 0):
            self.assertIsNone(process.poll())
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        message = process.stderr.read().decode()
        process.stderr.close()
        done = [json.loads(line) for line in result.read_text().splitlines()]
        self.assertIn(f"after {len(done)} rows", message)
        self.assertTrue(done and all("output" in row for row in done))

    def test_progress_only_on_terminals(self):
        rows = lines({"input": "some words"}) * 2000
        source = WORK / "progress.jsonl"
        source.write_bytes(rows)
        command = [HUGOT, "run", "--model", MODEL, "--type", "featureExtraction", "--input", source,
                   "--batch-size", "10"]
        quiet = subprocess.run(command, capture_output=True, timeout=120)
        self.assertEqual((quiet.returncode, quiet.stderr), (0, b""))
        master, slave = pty.openpty()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        os.close(master)
        self.assertEqual(process.wait(60), 0)
        self.assertIn(b"rows/s", shown)


class Graphs(unittest.TestCase):
    def test_infer_needs_its_files(self):
        graph = MODEL / "onnx/model.onnx"
        for args in (["--model", WORK / "none.onnx", "--inputs", "x.npz"],
                     ["--model", graph, "--inputs", WORK / "none.npz"]):
            code, _, err = hugot("infer", *args, "--outputs", WORK / "out.npz")
            self.assertEqual(code, 2)
            self.assertIn("none", err)
        empty = WORK / "empty.npz"
        empty.write_bytes(b"PK\5\6" + bytes(18))
        code, _, err = hugot("infer", "--model", graph, "--inputs", empty, "--outputs", "/dev/null")
        self.assertEqual(code, 2)
        self.assertIn("input_ids", err)

    def test_onnx_test_without_cases(self):
        empty = Path(tempfile.mkdtemp(dir=WORK))
        code, out, _ = hugot("onnx-test", empty)
        self.assertEqual((code, out), (2, b"0 passed, 0 failed\n"))
        self.assertEqual(hugot("onnx-test", WORK / "none")[0], 2)

    def test_convert_to_int8(self):
        narrow = WORK / "narrow"
        code, _, err = hugot("convert", "--precision", "int8", MODEL, narrow)
        self.assertEqual(code, 0, err)
        rows = b'{"input":"a fox"}\n{"input":"the dog sleeps"}\n'
        run = ("run", "--type", "featureExtraction", "--model")
        as_stored = hugot(*run, narrow, stdin=rows)[1]
        self.assertEqual(as_stored, hugot(*run, MODEL, "--precision", "int8", stdin=rows)[1])
        self.assertNotEqual(as_stored, hugot(*run, MODEL, stdin=rows)[1])

    def test_convert_embeddings(self):
        weights, both = WORK / "narrow-weights", WORK / "narrow-both"
        for output, flags in ((weights, []), (both, ["--embeddings"])):
            code, _, err = hugot("convert", "--precision", "int8", *flags, MODEL, output)
            self.assertEqual(code, 0, err)
        sizes = [(path / "onnx/model.onnx").stat().st_size for path in (weights, both)]
        self.assertLess(sizes[1], sizes[0] - 2 * 32 * 40)
        row = lines({"input": "a fox jumps over the lazy dog"})
        (_, exact, _), (_, narrow, _) = run(stdin=row), run(stdin=row, model=both)
        worst = max(abs(a - b) for a, b in zip(exact[0]["output"], narrow[0]["output"]))
        self.assertLess(worst, 0.1)
        code, _, err = hugot("convert", "--embeddings", MODEL, WORK / "not-narrow")
        self.assertEqual(code, 2)
        self.assertIn("int8 or bf16", err)

    def test_convert_refuses_what_is_there(self):
        code, _, err = hugot("convert", ROOT / "tests/data/tiny-bert", MODEL)
        self.assertEqual(code, 2)
        self.assertIn("--force", err)


def message(number, content):
    """A field of a protobuf message: bytes, text, a message, or a small number."""
    def varint(value):
        start = b""
        while value > 127:
            start, value = start + bytes([value & 127 | 128]), value >> 7
        return start + bytes([value])
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


class Inspect(unittest.TestCase):
    CONTROL = ROOT / "tests/data/onnx/control.onnx"

    def inspect(self, *args, model=None):
        code, out, err = hugot("inspect", "--model", model or MODEL, *args)
        self.assertEqual((code, err), (0, ""))
        return out.decode()

    def test_default(self):
        text = self.inspect()
        for part in ("producer: ", "opsets: ai.onnx ", "input_ids", "last_hidden_state",
                     "largest parameters:", "exact mode: yes", "ragged mode: yes", "fusions: ",
                     "batching rules: ", "memory for batch_size=64, sequence_length=64:",
                     "memory for 64 texts of 64 tokens at once:",
                     "these dimensions do not fit"):  # the fixture has 40 positions
            self.assertIn(part, text)
        self.assertRegex(text, r"parameters: \d+ in \d+ tensors, [\d.]+ kB")
        self.assertRegex(text, r"float32 +\d+ +elements in +\d+ +tensors")
        self.assertRegex(text, r"operators: \d+ kinds in (\d+) nodes, \1 of them can run here")
        self.assertRegex(text, r"nodes +operator +version +cpu +cuda +gradient\n")
        self.assertRegex(text, r"\n +\d+ +MatMul +13 +yes +yes +yes\n")
        self.assertRegex(text, r"values: \d+; shapes: \d+ known, \d+ symbolic, 0 unknown")
        self.assertLess(text.count("\n"), 60)
        self.assertEqual(text, self.inspect())

    def test_dims(self):
        def activations(*args):
            text = self.inspect(*args)
            return [int(float(number) * {"kB": 1000, "MB": 1000000}[unit]) for number, unit in
                    re.findall(r"slots, ([\d.]+) (kB|MB);", text)]
        small = activations("--dims", "batch_size=8,sequence_length=16")
        large = activations("--dims", "sequence_length=16,batch_size=800")
        self.assertEqual(len(small), 2)
        for a, b in zip(small, large):
            self.assertAlmostEqual(b / a, 100, delta=5)
        self.assertIn("memory for batch_size=64, sequence_length=7:",
                      self.inspect("--dims", "sequence_length=7"))
        for dims, part in (("rows=3", "'batch_size' or 'sequence_length'"), ("batch", "NAME=NUMBER"),
                           ("batch=x", "'x'"), ("batch=-1", "'-1'"),
                           ("batch=99999999999999999999", "no dimension"), (",", "NAME=NUMBER")):
            code, out, err = hugot("inspect", "--model", MODEL, "--dims", dims)
            self.assertEqual((code, out), (2, b""), dims)
            self.assertIn(part, err)
        huge = self.inspect("--dims", "batch_size=1099511627776,sequence_length=39")
        self.assertIn("values of unknown size are not counted", huge)

    def test_nodes(self):
        self.assertNotIn("\nnodes:\n", self.inspect())
        listed = self.inspect("--nodes").split("\nnodes:\n")[1].splitlines()
        count = int(re.search(r"ragged mode: yes, (\d+) nodes", self.inspect()).group(1))
        self.assertEqual(len(listed), count)
        fused = self.inspect("--nodes").split("\nfused:\n")[1].split("\nnodes:\n")[0].splitlines()
        self.assertTrue(any(re.match(r"  attention: ", line) for line in fused))
        self.assertNotIn("not fused", self.inspect())
        self.assertTrue(all(re.match(r"  (packed|rows|segments|loop|by length|shared) ", line)
                            for line in listed))
        self.assertIn("\nnodes:\n", self.inspect("--nodes", model=self.CONTROL))

    def test_passes(self):
        text = self.inspect("--passes")
        passes = re.findall(r"^== pass (\d+), (\w+): (.*)$", text, re.M)
        self.assertEqual([int(number) for number, _, _ in passes], list(range(1, len(passes) + 1)))
        names = [name for _, name, _ in passes]
        self.assertEqual(names[0], "specialize")
        for name in ("fold_constants", "simplify", "eliminate_common", "fuse_layer_norm",
                     "fuse_gelu", "fuse_attention", "fuse_linear", "detach_known"):
            self.assertIn(name, names)
        for _, name, what in passes[1:]:
            self.assertRegex(what, r"^(no changes|\d+ changes, \d+ nodes, verified)$")
        changed = [what for _, _, what in passes if what != "no changes"]
        self.assertEqual(text.count("\ninput input_ids: "), len(changed))
        self.assertIn("== pass 1, expand_composites", self.inspect("--passes", model=self.CONTROL))

    def test_dump(self):
        text = self.inspect("--dump")
        self.assertIn("\ninput input_ids: int64[1,S]\n", text)
        self.assertIn(" = LayerNormalization(", text)
        self.assertTrue(text.endswith("\noutput last_hidden_state\n"))

    def picture(self, model=None):
        file = WORK / "graph.dot"
        self.inspect("--dot", file, model=model)
        text = file.read_text()
        if shutil.which("dot"):
            subprocess.run(["dot", "-Tsvg", "-o", WORK / "graph.svg", file], check=True, timeout=60)
        return parse_dot(text)

    def test_picture(self):
        nodes, edges, _ = self.picture()
        labels = [node.get("label", "") for node in nodes.values()]
        self.assertTrue(any(label.startswith("input_ids ") for label in labels))
        self.assertIn("last_hidden_state", labels)
        self.assertGreater(labels.count("LayerNormalization"), 2)
        self.assertTrue(all("fillcolor" in node for node in nodes.values()
                            if node.get("shape") != "ellipse"))
        self.assertTrue(all("[" in edge["label"] for _, _, edge in edges))
        code, _, err = hugot("inspect", "--model", MODEL, "--dot", WORK / "no/such/folder.dot")
        self.assertEqual(code, 2)
        self.assertIn("folder.dot", err)

    def test_picture_of_subgraphs(self):
        nodes, edges, clusters = self.picture(self.CONTROL)
        titles = [cluster["label"] for cluster in clusters.values()]
        self.assertEqual(titles.count("then_branch"), 2)
        self.assertEqual(titles.count("else_branch"), 2)
        heads = [edge["lhead"] for _, _, edge in edges if "lhead" in edge]
        self.assertEqual(sorted(heads), sorted(clusters))
        self.assertRegex(self.inspect(model=self.CONTROL),
                         r"subgraphs: 4 with \d+ of the nodes, nested up to 2 deep")

    def test_softmax_that_is_no_part_of_an_attention(self):
        def node(kind, inputs, output, attributes=b""):
            return message(1, b"".join(message(1, name) for name in inputs) + message(2, output) +
                           message(3, output) + message(4, kind) + attributes)
        def value(field, name, kind, dims):
            shape = b"".join(message(1, message(2, dim)) for dim in dims)
            return message(field, message(1, name) +
                           message(2, message(1, message(1, kind) + message(2, shape))))
        table = message(5, message(1, 2) + message(1, 4) + message(2, 1) + message(8, "table") +
                        message(9, bytes(32)))
        perm = message(5, message(1, "perm") + message(8, 0) + message(8, 2) + message(8, 1) +
                       message(20, 7))
        graph = (node("Gather", ["table", "input_ids"], "x") +
                 node("Transpose", ["x"], "xt", perm) + node("MatMul", ["x", "xt"], "products") +
                 node("Tanh", ["products"], "scores") + node("Softmax", ["scores"], "weights") +
                 node("MatMul", ["weights", "x"], "y") + message(2, "odd") + table +
                 value(11, "input_ids", 7, ["batch", "length"]) + message(12, message(1, "y")))
        model = WORK / "odd_attention.onnx"
        model.write_bytes(message(1, 8) + message(7, graph) + message(8, message(2, 17)))
        self.assertRegex(self.inspect(model=model), r"\n  not fused: Softmax 'weights': its scores ")

    def test_operators_that_are_missing_and_odd_names(self):
        def node(kind, name, source, target):
            return message(1, message(1, source) + message(2, target) + message(3, name) +
                           message(4, kind))
        graph = (node("Relu", '/a/b/x"\\', "x", "y") + node("Relu", "/a/b/c/r", "y", "u") +
                 node("NoSuch", "/a/d/\n", "u", "z") + message(2, "odd") +
                 message(11, message(1, "x")) + message(12, message(1, "z")))
        model = WORK / "odd.onnx"
        model.write_bytes(message(1, 8) + message(7, graph) + message(8, message(2, 17)))
        text = self.inspect(model=model)
        self.assertIn("operators: 2 kinds in 3 nodes, 2 of them can run here", text)
        self.assertRegex(text, r"cuda  gradient\n +1  NoSuch +opset 17 .*NOT IMPLEMENTED\n")
        self.assertIn("exact mode: no: ", text)
        self.assertRegex(text, r"shapes: 0 known, 0 symbolic, 3 unknown\n  without shape: 'y' \(Relu\)")
        nodes, _, clusters = self.picture(model)
        self.assertIn("NoSuch", [n.get("label") for n in nodes.values()])
        self.assertEqual(sorted(c["label"] for c in clusters.values()), ["a", "b", "c", "d"])


def run_suite(module):
    """Runs the cases of a module against the command that the arguments name, and exits."""
    global HUGOT, WORK, MODEL
    counts = sys.argv[sys.argv.index("--counts") + 1] if "--counts" in sys.argv else None
    HUGOT = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        WORK = Path(folder)
        os.environ["HUGOT_CACHE"] = str(WORK / "cache")
        MODEL = WORK / "tiny"
        subprocess.run([HUGOT, "convert", ROOT / "tests/data/tiny-bert", MODEL], check=True,
                       capture_output=True)
        suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[module])
        result = unittest.TextTestRunner().run(suite)
    failed = len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    passed = result.testsRun - failed - skipped
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if counts:
        Path(counts).write_text(json.dumps({"passed": passed, "failed": failed,
                                            "skipped": skipped}))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_suite(__name__)
