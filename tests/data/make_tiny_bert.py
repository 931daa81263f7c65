#!/usr/bin/env python3
"""Makes tests/data/tiny-bert: a BERT with random weights as transformers would save it, and what a
float64 implementation of it in numpy gives. Needs numpy and tokenizers.

    make_tiny_bert.py [DIR]
"""
import json
import math
import string
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS, TYPES = 32, 2, 2, 64, 40, 2
EPSILON = 1e-12
TEXTS = ["Hello world", "hello, World!", "", "a quick brown fox jumps over the lazy dog",
         "naïve café", "unknown \u4e16\u754c signs", "x" * 30,
         "this text is much longer than the limit of thirty two tokens, so that it has to be cut "
         "somewhere in the middle of it and the separator stays at the end"]
PROMPT = "query: "

VOCABULARY = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(string.ascii_lowercase) +
              ["##" + c for c in string.ascii_lowercase] + list(".,!?:-'") +
              ["hello", "world", "the", "quick", "brown", "fox", "lazy", "dog", "over", "jump",
               "text", "this", "that", "is", "it", "limit", "token", "##s", "of", "query"])


def tokenizer_json():
    unique = list(dict.fromkeys(VOCABULARY))
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    added = [{"id": unique.index(t), "content": t, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True} for t in special]
    piece = lambda kind, name, type_id: {kind: {"id": name, "type_id": type_id}}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("SpecialToken", "[CLS]", 0), piece("Sequence", "A", 0),
                       piece("SpecialToken", "[SEP]", 0)],
            "pair": [piece("SpecialToken", "[CLS]", 0), piece("Sequence", "A", 0),
                     piece("SpecialToken", "[SEP]", 0), piece("Sequence", "B", 1),
                     piece("SpecialToken", "[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [unique.index(t)], "tokens": [t]}
                               for t in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(unique)}}}


def make_weights(vocabulary):
    rng = np.random.default_rng(7)
    weights = {}

    def matrix(name, rows, columns, deviation):
        weights[name] = rng.normal(0, deviation, (rows, columns)).astype(np.float32)

    def linear(name, out, into):
        matrix(name + ".weight", out, into, 1.2 / math.sqrt(into))
        weights[name + ".bias"] = rng.normal(0, 0.1, out).astype(np.float32)

    def norm(name):
        weights[name + ".weight"] = rng.normal(1, 0.1, HIDDEN).astype(np.float32)
        weights[name + ".bias"] = rng.normal(0, 0.1, HIDDEN).astype(np.float32)

    matrix("embeddings.word_embeddings.weight", vocabulary, HIDDEN, 0.8)
    matrix("embeddings.position_embeddings.weight", POSITIONS, HIDDEN, 0.4)
    matrix("embeddings.token_type_embeddings.weight", TYPES, HIDDEN, 0.4)
    norm("embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN)
        linear(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)
        norm(f"{layer}.output.LayerNorm")
    return weights


def bfloat16(array):
    """Bits of the nearest bfloat16, and the value."""
    bits = array.view(np.uint32)
    bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def save(path, weights):
    """safetensors; every element type that converters have to read occurs. Weights become what the
    file holds."""
    header, data = {}, b""
    for i, name in enumerate(sorted(weights)):
        array = weights[name]
        if i % 3 == 0:
            dtype, stored = "F16", array.astype(np.float16)
            weights[name] = stored.astype(np.float32)
        elif i % 3 == 1:
            dtype = "BF16"
            stored, weights[name] = bfloat16(array)
        else:
            dtype, stored = "F32", array
        raw = stored.tobytes()
        header["bert." + name] = {"dtype": dtype, "shape": list(array.shape),
                                  "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def forward(weights, ids):
    """last_hidden_state of one text in float64."""
    w = {k: v.astype(np.float64) for k, v in weights.items()}

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(name, x):
        centered = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centered ** 2).mean(-1, keepdims=True) + EPSILON)
        return centered / scale * w[name + ".weight"] + w[name + ".bias"]

    def heads(x):
        return x.reshape(len(ids), HEADS, HIDDEN // HEADS).transpose(1, 0, 2)

    e = "embeddings."
    x = (w[e + "word_embeddings.weight"][ids] + w[e + "token_type_embeddings.weight"][0] +
         w[e + "position_embeddings.weight"][:len(ids)])
    x = norm(e + "LayerNorm", x)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        q, k, v = (heads(linear(f"{layer}.attention.self.{part}", x))
                   for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        context = scores / scores.sum(-1, keepdims=True) @ v
        context = context.transpose(1, 0, 2).reshape(len(ids), HIDDEN)
        x = norm(f"{layer}.attention.output.LayerNorm",
                 linear(f"{layer}.attention.output.dense", context) + x)
        up = linear(f"{layer}.intermediate.dense", x)
        up = 0.5 * up * (1 + np.vectorize(math.erf)(up / math.sqrt(2)))
        x = norm(f"{layer}.output.LayerNorm", linear(f"{layer}.output.dense", up) + x)
    return x


def pooled(hidden):
    """The modes of 1_Pooling, by their names on the command line."""
    n = len(hidden)
    weights = np.arange(1, n + 1)[:, None]
    return {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0), "last": hidden[-1],
            "mean-sqrt-len": hidden.sum(0) / math.sqrt(n),
            "weighted-mean": (hidden * weights).sum(0) / weights.sum()}


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "tiny-bert")
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)

    def write(name, value):
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n",
                                   encoding="utf-8")

    tokenizer_text = json.dumps(tokenizer_json(), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(tokenizer_text + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_str(tokenizer_text)
    vocabulary = tokenizer.get_vocab_size()
    limit = 32
    write("config.json", {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "layer_norm_eps": EPSILON,
        "max_position_embeddings": POSITIONS, "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS, "pad_token_id": 0, "type_vocab_size": TYPES,
        "vocab_size": vocabulary, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    write("tokenizer_config.json", {"model_max_length": POSITIONS, "do_lower_case": True})
    write("sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    prefix = "sentence_transformers.models."
    write("modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": prefix + "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": prefix + "Pooling"}])
    write("1_Pooling/config.json", {
        "word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False})
    write("config_sentence_transformers.json",
          {"prompts": {"query": PROMPT}, "default_prompt_name": None})

    weights = make_weights(vocabulary)
    save(folder / "model.safetensors", weights)
    tokenizer.enable_truncation(limit)
    rounded = lambda vector: [float(f"{x:.9g}") for x in vector]
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        vectors = pooled(forward(weights, ids))
        prompted = pooled(forward(weights, tokenizer.encode(PROMPT + text).ids))["mean"]
        rows.append({"text": text, "ids": ids,
                     "vectors": {k: rounded(v) for k, v in vectors.items()},
                     "normalized": rounded(vectors["mean"] / np.linalg.norm(vectors["mean"])),
                     "query": rounded(prompted)})
    (folder / "golden.json").write_text(
        "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n",
        encoding="utf-8")


if __name__ == "__main__":
    main()
