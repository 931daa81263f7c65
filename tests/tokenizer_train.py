#!/usr/bin/env python3
"""Compares `hugot tokenizer-train` with the trainers of Hugging Face tokenizers 0.22.2.

    tokenizer_train.py HUGOT TEXT..

Texts are text files or .jsonl files with "input". Byte-level BPE has to have the same tokens with
the same ids and the same merges. Where the reference numbers characters with a prefix or suffix in
the order of a random hash table, and breaks ties of frequency by those numbers, the sets of tokens
are compared: no more than 2% may differ. Of Unigram, whose sums depend on the order of threads,
as well; besides the likelihood of the text under our tokens has to be within 0.5% of theirs. Files
have to load in the reference and to give it the same ids as us. The last line is `N passed, N
failed`.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
XLMR_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def read_texts(files):
    texts = []
    for file in files:
        with open(file, encoding="utf-8", newline="\n") as lines:
            texts += [json.loads(line)["input"] for line in lines] if file.suffix == ".jsonl" else list(lines)
    return texts


def byte_level_bpe(size, **options):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer, trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=["<|endoftext|>"],
                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)


def bert(model, trainer, lowercase=True, **options):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainer(show_progress=False, **options)


def unigram(size, **options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=XLMR_TOKENS,
                                              unk_token="<unk>", **options)


# Name, options of ours, what makes theirs, and how they are compared.
CASES = [
    ("byte-level", "--type bpe --vocab-size 4000", lambda: byte_level_bpe(4000, min_frequency=2), "exact"),
    ("byte-level, all merges", "--type bpe --vocab-size 12000 --min-frequency 0",
     lambda: byte_level_bpe(12000, min_frequency=0), "exact"),
    ("byte-level, short tokens", "--type bpe --vocab-size 3000 --max-token-length 5",
     lambda: byte_level_bpe(3000, min_frequency=2, max_token_length=5), "exact"),
    ("characters", "--type bpe --pipeline bert --vocab-size 3000 --limit-alphabet 60 --cased "
     "--initial-alphabet 0123456789",
     lambda: bert(models.BPE(unk_token="<unk>"), trainers.BpeTrainer, lowercase=False, vocab_size=3000,
                  min_frequency=2, limit_alphabet=60, special_tokens=XLMR_TOKENS,
                  initial_alphabet=list("0123456789")), "exact"),
    ("characters with suffix", "--type bpe --pipeline bert --vocab-size 3000 --end-of-word-suffix </w>",
     lambda: bert(models.BPE(unk_token="<unk>"), trainers.BpeTrainer, vocab_size=3000, min_frequency=2,
                  limit_alphabet=1000, special_tokens=XLMR_TOKENS, end_of_word_suffix="</w>"), "sets"),
    ("WordPiece", "--type wordpiece --vocab-size 3000",
     lambda: bert(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer, vocab_size=3000,
                  min_frequency=2, limit_alphabet=1000, special_tokens=BERT_TOKENS), "sets"),
    ("WordPiece, all merges", "--type wordpiece --vocab-size 8000 --min-frequency 0 --cased",
     lambda: bert(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer, lowercase=False, vocab_size=8000,
                  min_frequency=0, limit_alphabet=1000, special_tokens=BERT_TOKENS), "sets"),
    ("Unigram", "--type unigram --vocab-size 2000", lambda: unigram(2000), "likelihood"),
    ("Unigram, other settings", "--type unigram --vocab-size 4000 --shrinking-factor 0.6 --max-piece-length 8 "
     "--n-sub-iterations 3", lambda: unigram(4000, shrinking_factor=0.6, max_piece_length=8, n_sub_iterations=3),
     "likelihood"),
]


def vocabulary(document):
    vocab = document["model"]["vocab"]
    return {token: i for i, (token, _) in enumerate(vocab)} if isinstance(vocab, list) else vocab


def likelihood(tokenizer, texts):
    """Of the best segmentations: the mean log probability of a character."""
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    total = sum(scores[token] for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)
                for token in encoding.tokens if token in scores)
    return total / sum(map(len, texts))


def problems(hugot, files, texts, flags, make, how):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([hugot, "tokenizer-train", *flags.split(), "--output", folder, *files], check=True,
                       stderr=subprocess.DEVNULL)
        path = Path(folder) / "tokenizer.json"
        ours = json.loads(path.read_text(encoding="utf-8"))
        ours_loaded = Tokenizer.from_file(str(path))
        rows = "".join(json.dumps({"input": text}) + "\n" for text in texts[:2000])
        lines = subprocess.run([hugot, "tokenize", "--model", path], input=rows.encode(), check=True,
                               capture_output=True).stdout.decode().splitlines()
    out = []
    theirs_ids = [encoding.ids for encoding in ours_loaded.encode_batch(texts[:2000])]
    if [json.loads(line)["ids"] for line in lines] != theirs_ids:
        out.append("the reference reads other ids")
    tokenizer, trainer = make()
    tokenizer.train_from_iterator(texts, trainer)
    theirs = json.loads(tokenizer.to_str())
    mine, wanted = vocabulary(ours), vocabulary(theirs)
    common = len(mine.keys() & wanted.keys())
    if len(mine) != len(wanted):
        out.append(f"{len(mine)} tokens, not {len(wanted)}")
    if how == "exact":
        if mine != wanted:
            out.append(f"{common} of {len(wanted)} tokens are common, not all ids are equal")
        merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in theirs["model"]["merges"]]
        if ours["model"]["merges"] != merges:
            out.append("merges differ")
    elif common < 0.98 * len(wanted):
        out.append(f"only {common} of {len(wanted)} tokens are common")
    note = f"{common} of {len(wanted)} tokens common"
    if how == "likelihood":
        have, want = likelihood(ours_loaded, texts), likelihood(tokenizer, texts)
        note += f", log likelihood per character {have:.5f}, theirs {want:.5f}"
        if have < want - 0.005 * abs(want):
            out.append("the text is less likely")
    return out, note


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hugot")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    texts = read_texts(args.files)
    failed = 0
    for name, flags, make, how in CASES:
        found, note = problems(args.hugot, args.files, texts, flags, make, how)
        failed += bool(found)
        print(f"{'FAIL' if found else 'ok'} {name}: {'; '.join([*found, note])}", flush=True)
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
