#!/usr/bin/env python3
"""Compares vocabularies without a tokenizer.json with what transformers 4.57 makes of them.

    tokenizer_families.py HUGOT DATA

DATA has tokenizers/ and tokenizer-golden/. For each class, a folder gets a vocabulary and the
settings beside it; ids and type ids of all texts have to be equal. The last line is `N passed, N
failed`; a case is a folder. tests/data/tokenizer/families.json holds some results of transformers.
"""
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import transformers

EXTRA_TEXTS = ["a <mask> b", "<extra_id_0> x <extra_id_99>", "hi </s> there <s>", "en_XX ok", "[CLS] q [MASK] r",
               "1,000, and 5,", "  lead  trail  ", "``quoted'' \"x\"", "new tok<new>en", "<a> b<b> c"]
UNIGRAM_CLASSES = ["XLMRoberta", "T5", "Albert", "Camembert", "MBart", "MBart50"]


def read(path):
    return lzma.open(path).read() if path.suffix == ".xz" else path.read_bytes()


def make_cases(data):
    """(class, name of the file in the class, its contents, other files)."""
    spm = data / "tokenizer-golden/spm"
    english = read(data / "tokenizers/spm-en/spiece.model")
    name_of = {"T5": "spiece.model", "Albert": "spiece.model"}
    for kind in UNIGRAM_CLASSES:
        for contents in (english, read(spm / "unigram_id.model"), read(spm / "unigram_nfkc_cf_bf.model.xz"),
                         read(spm / "unigram_keep_ws.model")):
            yield kind, name_of.get(kind, "sentencepiece.bpe.model"), contents, {}
    ten = {"extra_ids": 10, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(10)]}
    yield "T5", "spiece.model", english, {"tokenizer_config.json": ten}
    yield "T5", "spiece.model", english, {"tokenizer_config.json": {"legacy": False}}
    yield "Albert", "spiece.model", english, {"tokenizer_config.json": {"do_lower_case": False, "keep_accents": True}}
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    yield "XLMRoberta", "sentencepiece.bpe.model", english, {
        "special_tokens_map.json": {"additional_special_tokens": ["<a>", "<b>"], "mask_token": mask},
        "added_tokens.json": {"<new>": 9000}}
    for name in ("bpe_bf_llama.model", "bpe_bf_gemma.model"):
        for config in ({"legacy": True}, {"legacy": False}, {"legacy": True, "add_eos_token": True},
                       {"legacy": True, "add_bos_token": False}):
            yield "Llama", "tokenizer.model", read(spm / name), {"tokenizer_config.json": config}
    vocabulary = read(data / "tokenizers/bert-base-uncased/vocab.txt")
    yield "Bert", "vocab.txt", vocabulary, {}
    yield "Bert", "vocab.txt", vocabulary, {
        "special_tokens_map.json": {"unk_token": "[UNK]", "sep_token": "[SEP]", "additional_special_tokens": ["<a>"]},
        "added_tokens.json": {"<new>": 30522}}
    end = "<|endoftext|>"
    yield "GPT2", "vocab.json", read(data / "tokenizers/gpt2/vocab.json"), {
        "merges.txt": read(data / "tokenizers/gpt2/merges.txt"),
        "special_tokens_map.json": {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": "<pad>"},
        "added_tokens.json": {"<new>": 50257, "<pad>": 50258}}


def differences(hugot, folder, case, texts):
    kind, name, contents, others = case
    (folder / name).write_bytes(contents)
    others = {**others, "tokenizer_config.json": {"tokenizer_class": f"{kind}Tokenizer",
                                                  **others.get("tokenizer_config.json", {})}}
    for other, value in others.items():
        (folder / other).write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    reference = getattr(transformers, f"{kind}TokenizerFast").from_pretrained(str(folder))
    rows = [{"input": text, **({"pair": "b c"} if i % 5 == 0 else {})} for i, text in enumerate(texts)]
    result = subprocess.run([hugot, "tokenize", "--model", folder / name], capture_output=True, check=False,
                            input="".join(json.dumps(row) + "\n" for row in rows).encode())
    lines = [json.loads(line) for line in result.stdout.decode().split("\n") if line]
    if len(lines) != len(rows):
        return [result.stderr.decode()[-200:]]
    out = []
    for row, line in zip(rows, lines):
        wanted = reference(*row.values())
        if line.get("ids") != wanted["input_ids"] or line["type_ids"] != wanted.get("token_type_ids", line["type_ids"]):
            out.append(f"{row}: {line.get('error', line.get('ids'))} not {wanted['input_ids']}")
    return out


def main():
    hugot, data = sys.argv[1], Path(sys.argv[2])
    with open(data / "tokenizer-golden/texts.jsonl", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    texts = [text for text in texts if text and len(text) < 400 and "\ud800" not in text][:700] + EXTRA_TEXTS
    passed = failed = 0
    for case in make_cases(data):
        folder = Path(tempfile.mkdtemp())
        found = differences(hugot, folder, case, texts)
        shutil.rmtree(folder)
        passed, failed = passed + (not found), failed + bool(found)
        for text in found[:2]:
            print(f"FAIL {case[0]} {case[3].keys()}: {text[:400]}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
