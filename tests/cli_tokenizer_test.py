#!/usr/bin/env python3
"""Drives `hugot tokenize` and `hugot tokenizer-train`. Python's standard library only.

    cli_tokenizer_test.py HUGOT [--counts FILE]

The last line is `N passed, N failed, N skipped`.
"""
import json
import unittest

import cli_test
from cli_test import hugot, lines


class Tokenize(unittest.TestCase):
    def tokenize(self, *args, stdin, model=None):
        code, out, err = hugot("tokenize", "--model", model or cli_test.MODEL, *args, stdin=stdin)
        return code, [json.loads(line) for line in out.decode().splitlines()], err

    def test_ids_and_back(self):
        code, rows, _ = self.tokenize(stdin=lines({"input": "Hello wörld!", "id": 1},
                                                  {"input": "a", "pair": "b"}))
        self.assertEqual(code, 0)
        self.assertEqual(rows[0]["tokens"], ["[CLS]", "hello", "world", "!", "[SEP]"])
        self.assertEqual(rows[0]["offsets"], [[0, 0], [0, 5], [6, 11], [11, 12], [0, 0]])
        self.assertEqual(rows[0]["word_ids"], [None, 0, 1, 2, None])
        self.assertEqual(rows[0]["special_tokens_mask"], [1, 0, 0, 0, 1])
        self.assertEqual(rows[0]["overflowing"], [])
        self.assertEqual(rows[0]["id"], 1)
        self.assertEqual(rows[1]["type_ids"], [0, 0, 0, 1, 1])
        _, decoded, _ = self.tokenize("--decode", "--skip-special-tokens",
                                      stdin=lines({"ids": rows[0]["ids"]}),
                                      model=cli_test.MODEL / "tokenizer.json")
        self.assertEqual(decoded[0]["text"], "hello world!")

    def test_bytes_windows_and_bad_rows(self):
        code, rows, _ = self.tokenize("--offsets", "bytes", "--no-special-tokens",
                                      stdin=lines({"input": "wörld x"}))
        self.assertEqual((code, rows[0]["offsets"]), (0, [[0, 6], [7, 8]]))
        code, rows, _ = self.tokenize("--max-length", 5, "--stride", 1,
                                      stdin=lines({"input": "a b c d e"}))
        self.assertEqual(len(rows[0]["ids"]), 5)
        self.assertEqual([len(w["ids"]) for w in rows[0]["overflowing"]], [5])
        code, rows, err = self.tokenize(stdin=b'{"input": 1}\n{"input": "\xff"}\n{"input": "a"}\n')
        self.assertEqual(code, 1)
        self.assertEqual(["error" in row for row in rows], [True, True, False])
        self.assertEqual(self.tokenize("--stride", 1, stdin=b"")[0], 2)
        self.assertEqual(self.tokenize(stdin=b"", model=cli_test.WORK / "none")[0], 2)

    def test_words_padding_and_what_the_file_says(self):
        code, rows, _ = self.tokenize("--pad-to", 6, stdin=lines(
            {"input": ["wörld", "x"]}, {"words": ["a"], "pair": ["b", "c"]}, {"input": ["a", 1]}))
        self.assertEqual(code, 1)
        self.assertEqual(rows[0]["word_ids"], [None, 0, 1, None, None, None])
        self.assertEqual(rows[0]["offsets"][1:3], [[0, 5], [0, 1]])
        self.assertEqual(rows[0]["attention_mask"], [1, 1, 1, 1, 0, 0])
        self.assertEqual(rows[1]["type_ids"], [0, 0, 0, 1, 1, 1])
        self.assertIn("list of strings", rows[2]["error"])
        _, rows, _ = self.tokenize("--pad-to-multiple-of", 4, "--padding-side", "left",
                                   stdin=lines({"input": "a b c"}))
        self.assertEqual(rows[0]["attention_mask"], [0, 0, 0, 1, 1, 1, 1, 1])
        self.assertEqual(rows[0]["tokens"][0], "[PAD]")
        document = json.loads((cli_test.MODEL / "tokenizer.json").read_text())
        document["truncation"] = {"direction": "Right", "max_length": 4, "stride": 0,
                                  "strategy": "LongestFirst"}
        document["padding"] = {"strategy": {"Fixed": 7}, "direction": "Right", "pad_id": 0,
                               "pad_type_id": 0, "pad_token": "[PAD]", "pad_to_multiple_of": None}
        file = cli_test.WORK / "cut.json"
        file.write_text(json.dumps(document))
        row = lines({"input": "a b c [SEP]"})
        _, rows, _ = self.tokenize(stdin=row, model=file)
        self.assertEqual(len(rows[0]["ids"]), 6)
        _, rows, _ = self.tokenize("--file-truncation", "--file-padding", stdin=row, model=file)
        self.assertEqual((len(rows[0]["ids"]), sum(rows[0]["attention_mask"])), (7, 4))
        self.assertEqual([sum(w["attention_mask"]) for w in rows[0]["overflowing"]], [4])
        _, rows, _ = self.tokenize("--encode-special-tokens", stdin=row)
        self.assertNotIn("[SEP]", rows[0]["tokens"][:-1])
        self.assertEqual(self.tokenize("--padding-side", "left", stdin=b"")[0], 2)


class TokenizerTrain(unittest.TestCase):
    TEXT = "".join(f"the {word} cats and {word} dogs\n" for word in
                   ("small", "tall", "taller", "smallest", "fall", "falling") * 3)

    def train(self, *args, stdin=b""):
        return hugot("tokenizer-train", *args, stdin=stdin)

    def test_every_model_makes_files_that_load(self):
        text, rows = cli_test.WORK / "train.txt", cli_test.WORK / "train.jsonl"
        text.write_text(self.TEXT)
        rows.write_bytes(lines(*({"input": line + "\n"} for line in self.TEXT.splitlines())))
        for kind, size in (("wordpiece", 60), ("bpe", 280), ("unigram", 40)):
            made = []
            for source in (text, rows):
                folder = cli_test.WORK / f"trained-{kind}"
                code, _, err = self.train("--type", kind, "--vocab-size", size, "--output", folder,
                                          "--force", source)
                self.assertEqual(code, 0, err)
                made.append((folder / "tokenizer.json").read_bytes())
            self.assertEqual(made[0], made[1])
            vocabulary = json.loads(made[0])["model"]["vocab"]
            self.assertLessEqual(len(vocabulary), size)
            for name in ("tokenizer_config.json", "special_tokens_map.json"):
                self.assertIn("pad_token", json.loads((folder / name).read_text()))
            code, out, err = hugot("tokenize", "--model", folder / "tokenizer.json",
                                   stdin=lines({"input": "the tallest dog"}))
            self.assertEqual(code, 0, err)
            self.assertNotIn("unk", out.decode().lower())

    def test_options_and_mistakes(self):
        folder = cli_test.WORK / "trained-options"
        code, _, err = self.train("--type", "bpe", "--pipeline", "bert", "--vocab-size", 60,
                                  "--special-tokens", "<pad>,<unk>", "--end-of-word-suffix", "</w>",
                                  "--initial-alphabet", "xyz", "--min-frequency", 3, "-o", folder,
                                  stdin=lines({"input": self.TEXT}))
        self.assertEqual(code, 0, err)
        document = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = document["model"]["vocab"]
        self.assertEqual((vocabulary["<pad>"], vocabulary["<unk>"]), (0, 1))
        self.assertIn("the</w>", vocabulary)
        self.assertIn("z", vocabulary)
        self.assertEqual(document["decoder"], {"type": "BPEDecoder", "suffix": "</w>"})
        again = ("--type", "bpe", "--output", folder)
        for args, stdin, words in (
                (again, lines({"input": "a"}), "--force"),
                ((*again, "--force"), b"", "no text"),
                ((*again, "--force"), b'{"input": 1}\n', ":1"),
                ((*again, "--force", cli_test.WORK / "none.txt"), b"", "none.txt"),
                ((*again, "--force", "--max-piece-length", 3), b"", "--type unigram"),
                ((*again, "--force", "--cased"), b"", "--pipeline bert"),
                (("--type", "unigram", "--vocab-size", 6, "-o", cli_test.WORK / "small"),
                 lines({"input": "abcdef"}), "vocabulary")):
            code, _, err = self.train(*args, stdin=stdin)
            self.assertEqual(code, 2, err)
            self.assertIn(words, err)


if __name__ == "__main__":
    cli_test.run_suite(__name__)
