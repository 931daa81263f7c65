#!/usr/bin/env python3
"""Writes tests/data/tokenizer/*.json: small tokenizers and components with the results of Hugging
Face tokenizers 0.22.2. usage: make_tokenizer_fixtures.py [OUT_DIR]

bert.json is a tokenizer of its own; components.json is a list of {"kind", "name", "component" or
"tokenizer", "cases"}; tokenizer/golden_records.h describes the encodings in the cases.
"""
import itertools
import json
import os
import sys

from tokenizers import PreTokenizedString, Regex, Tokenizer, pre_tokenizers

TEXTS = [
    "", " ", "hello world", "Hello,  WORLD!", "  the quick\tbrown\nfox ", "unwanted running",
    "caf\u00e9 CAF\u00c9 cafe\u0301", "\u4e2d\u6587 a\u4e2db", "\u0130stanbul \u1e9e \ufb01ne",
    "a\u200bb\u00adc \ufeffx", "na\u00efve\u2014r\u00e9sum\u00e9", "\ud55c\uad6d\uc5b4", "x" * 120,
    "don't stop... now?", "\U0001f600 \U0001d400 \u00bd \u2168", "a\u0301\u0327 q\u0307\u0323",
    "\u05d0\u05b7\u05bc", "1 2\u0663 4", "[CLS] hello [SEP]", "the [MASK] ran", "x[MASK]y",
    "\u3000[MASK]  z", "<new> <NEW>word", "the\u2028fox", "\u0f73\u0f71", "$3.50 + 2 = ^_^",
]
WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the quick brown fox hello world un ##want ##ed run ##ning "
    "##ing cafe caf ##e na ##ive istanbul fine resume don ' t stop . now ? , ! a b c x y z ##x "
    "##b ##c \u4e2d \u6587 \u1112\u1161\u11ab ##\u1100\u116e\u11a8 1 2 3 50 $ + = ^ _ \u2014 ran"
).split()
VOCAB = {word: i for i, word in enumerate(WORDS)}
WORD_PIECE = {
    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100, "vocab": VOCAB,
}
WORD_LEVEL = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": VOCAB}


def special(token, type_id=0):
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def sequence(name, type_id):
    return {"Sequence": {"id": name, "type_id": type_id}}


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [special("[CLS]"), sequence("A", 0), special("[SEP]")],
    "pair": [special("[CLS]"), sequence("A", 0), special("[SEP]"), sequence("B", 1),
             special("[SEP]", 1)],
    "special_tokens": {t: {"id": t, "ids": [VOCAB[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
}
SEP_CLS = {"sep": ["[SEP]", VOCAB["[SEP]"]], "cls": ["[CLS]", VOCAB["[CLS]"]]}


def bert_normalizer(clean=True, chinese=True, accents=None, lower=True):
    return {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
            "strip_accents": accents, "lowercase": lower}


def added(content, token_id, **flags):
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False, "special": False, **flags}


SPECIALS = [added(t, VOCAB[t], special=True) for t in WORDS[:5]]


def tokenizer(**parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": SPECIALS,
            "normalizer": bert_normalizer(), "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": TEMPLATE,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": WORD_PIECE, **parts}


def to_bytes(text, offsets):
    ends = [0, *itertools.accumulate(len(c.encode()) for c in text)]
    return [ends[i] for i in offsets]


def record(t, encoding, texts=None):
    out = {"ids": encoding.ids, "off": [i for pair in encoding.offsets for i in pair],
           "wid": encoding.word_ids}
    if texts and not all(text.isascii() for text in texts):
        out["boff"] = [i for pair, s in zip(encoding.offsets, encoding.sequence_ids)
                       for i in to_bytes(texts[s or 0], pair)]
    if any(encoding.type_ids):
        out["type"] = encoding.type_ids
    if any(encoding.special_tokens_mask):
        out["stm"] = [i for i, m in enumerate(encoding.special_tokens_mask) if m]
    if not all(encoding.attention_mask):
        out["att"] = encoding.attention_mask
    if encoding.tokens != [t.id_to_token(i) for i in encoding.ids]:
        out["tok"] = encoding.tokens
    if encoding.n_sequences > 1:
        out["sid"] = encoding.sequence_ids
    if encoding.overflowing:
        out["ov"] = [record(t, e) for e in encoding.overflowing]
    return out


def encode_case(t, a, b=None, add=True):
    encoding = t.encode(a, b, add_special_tokens=add)
    padded = t.padding is not None
    case = {"a": a, "add": add,
            "out": record(t, encoding, None if padded else [x for x in (a, b) if x is not None])}
    if b is not None:
        case["b"] = b
    for key, skip in (("dec", False), ("decs", True)):
        case[key] = t.decode(encoding.ids, skip_special_tokens=skip)
    return case


def tokenizer_row(kind, name, description, pairs=True):
    t = Tokenizer.from_str(json.dumps(description))
    cases = [encode_case(t, text) for text in TEXTS]
    cases += [encode_case(t, text, add=False) for text in TEXTS[2:6]]
    if pairs:
        cases += [encode_case(t, a, b, add) for a, b, add in
                  zip(TEXTS[1:12], TEXTS[4:15], itertools.cycle((True, True, False)))]
    return {"kind": kind, "name": name, "tokenizer": description, "cases": cases}


def normalizer_row(component):
    n = Tokenizer.from_str(json.dumps(tokenizer(normalizer=component))).normalizer
    by_character = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    cases = []
    for text in TEXTS:
        pieces = PreTokenizedString(text)
        pieces.normalize(lambda s: n.normalize(s))
        by_character.pre_tokenize(pieces)
        splits = {unit: [i for s in pieces.get_splits("original", unit) for i in s[1]]
                  for unit in ("char", "byte")}
        cases.append([text, n.normalize_str(text), splits["char"], splits["byte"]])
    name = json.dumps({k: v for k, v in component.items() if k != "type"})
    return {"kind": "normalizer", "name": component["type"] + name, "component": component,
            "cases": cases}


def pre_tokenizer_row(component):
    p = Tokenizer.from_str(json.dumps(tokenizer(pre_tokenizer=component))).pre_tokenizer
    cases = []
    for text in TEXTS:
        pieces = PreTokenizedString(text)
        p.pre_tokenize(pieces)
        splits = {unit: pieces.get_splits("original", unit) for unit in ("char", "byte")}
        cases.append([text, [s[0] for s in splits["char"]],
                      *([i for s in splits[unit] for i in s[1]] for unit in ("char", "byte"))])
    return {"kind": "pre_tokenizer", "name": component["type"], "component": component,
            "cases": cases}


def seed(name):
    """A small tokenizer of the fuzz seeds, with everything that the reference insists on."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fuzz/seeds/tokenizer")
    with open(os.path.join(path, name + ".json"), encoding="utf-8") as file:
        description = {"version": "1.0", **json.load(file)}
    description["added_tokens"] = [
        added(t["content"], t["id"], **{k: v for k, v in t.items() if k not in ("content", "id")})
        for t in description.get("added_tokens", [])]
    normalizers = description["normalizer"].get("normalizers", [])
    description["normalizer"]["normalizers"] = [
        n for n in normalizers if n.get("precompiled_charsmap") != ""]
    return description


def rows():
    flags = [(True, True, None, True), (True, True, None, False), (False, False, True, False),
             (True, False, False, True), (False, True, True, True)]
    for f in flags:
        yield normalizer_row(bert_normalizer(*f))
    for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"):
        yield normalizer_row({"type": name})
    yield normalizer_row({"type": "Strip", "strip_left": True, "strip_right": True})
    yield normalizer_row({"type": "Replace", "pattern": {"String": "o"}, "content": "00"})
    yield normalizer_row({"type": "Prepend", "prepend": "\u2581"})
    yield normalizer_row({"type": "ByteLevel"})
    yield normalizer_row(seed("precompiled")["normalizer"])
    yield normalizer_row({"type": "Replace", "pattern": {"Regex": "\\s+|(?<=l)l"}, "content": "_"})

    for name in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit"):
        yield pre_tokenizer_row({"type": name})
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield pre_tokenizer_row({"type": "Punctuation", "behavior": behavior})
        yield pre_tokenizer_row({"type": "Split", "pattern": {"String": " "},
                                 "behavior": behavior, "invert": behavior == "Removed"})
    yield pre_tokenizer_row({"type": "Digits", "individual_digits": True})
    yield pre_tokenizer_row({"type": "FixedLength", "length": 3})
    yield pre_tokenizer_row({"type": "CharDelimiterSplit", "delimiter": "e"})

    for prefix, regex in itertools.product((True, False), repeat=2):
        yield pre_tokenizer_row({"type": "ByteLevel", "add_prefix_space": prefix,
                                 "trim_offsets": True, "use_regex": regex})
    for scheme, split in itertools.product(("always", "first", "never"), (True, False)):
        yield pre_tokenizer_row({"type": "Metaspace", "replacement": "\u2581",
                                 "prepend_scheme": scheme, "split": split})
    yield pre_tokenizer_row({"type": "UnicodeScripts"})
    for pattern in (r"\w+|[^\w\s]+", r"\p{Lu}(?i:ell)|\X", r"[\p{L}&&[^aeiou]]{2,}+", r"(.)\1|^.|.$"):
        yield pre_tokenizer_row({"type": "Split", "pattern": {"Regex": pattern},
                                 "behavior": "Isolated", "invert": False})

    for name in ("bpe", "unigram", "precompiled"):
        yield tokenizer_row("tokenizer", name, seed(name))
    yield tokenizer_row("tokenizer", "bert", tokenizer())
    yield tokenizer_row("tokenizer", "word level", tokenizer(model=WORD_LEVEL, decoder=None))
    legacy = {k: v for k, v in WORD_PIECE.items() if k != "type"}
    yield tokenizer_row("load", "no model type", tokenizer(model=legacy), pairs=False)
    roberta = {"type": "RobertaProcessing", **SEP_CLS, "trim_offsets": True,
               "add_prefix_space": False}
    for name, processor in (("bert", {"type": "BertProcessing", **SEP_CLS}), ("roberta", roberta),
                            ("none", None),
                            ("sequence", {"type": "Sequence", "processors": [TEMPLATE]})):
        yield tokenizer_row("post_processor", name, tokenizer(post_processor=processor))

    for bits in itertools.product((False, True), repeat=4):
        keys = ("single_word", "lstrip", "rstrip", "normalized")
        mask = added("[MASK]", VOCAB["[MASK]"], special=True, **dict(zip(keys, bits)))
        new = added("<new>", len(VOCAB), **dict(zip(keys, reversed(bits))))
        yield tokenizer_row("added_tokens", "flags " + "".join(str(int(b)) for b in bits),
                            tokenizer(added_tokens=[*SPECIALS[:4], mask, new]), pairs=False)

    for strategy, direction, stride, length in itertools.product(
            ("LongestFirst", "OnlyFirst", "OnlySecond"), ("Right", "Left"), (0, 1), (6, 9)):
        truncation = {"max_length": length, "strategy": strategy, "stride": stride,
                      "direction": direction}
        description = tokenizer(truncation=truncation)
        t = Tokenizer.from_str(json.dumps(description))
        cases = []
        for a, b in (("hello world the quick brown fox", None), ("the fox", "hello world, x y z"),
                     ("the quick brown fox ran now", "a b c a b c x")):
            try:
                cases.append(encode_case(t, a, b))
            except BaseException as error:  # cannot reach the length; panics are no Exception
                cases.append({"a": a, "add": True, "out": {"error": type(error).__name__},
                              **({} if b is None else {"b": b})})
        yield {"kind": "truncation", "name": f"{strategy} {direction} {stride} {length}",
               "tokenizer": description, "cases": cases}

    for strategy, direction, multiple in itertools.product(
            ("BatchLongest", {"Fixed": 9}), ("Right", "Left"), (None, 4)):
        padding = {"strategy": strategy, "direction": direction, "pad_to_multiple_of": multiple,
                   "pad_id": 0, "pad_type_id": 2, "pad_token": "[PAD]"}
        description = tokenizer(padding=padding)
        t = Tokenizer.from_str(json.dumps(description))
        batch = [["hello world"], ["the quick brown fox", "a b"], [""]]
        inputs = [x[0] if len(x) == 1 else tuple(x) for x in batch]
        yield {"kind": "padding", "name": f"{strategy} {direction} {multiple}",
               "tokenizer": description,
               "cases": [{"batch": batch, "out": [record(t, e) for e in t.encode_batch(inputs)]}]}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "tokenizer")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "bert.json"), "w", encoding="ascii") as file:
        json.dump(tokenizer(truncation={"max_length": 128, "strategy": "LongestFirst", "stride": 0},
                            padding={"strategy": {"Fixed": 128}, "direction": "Right",
                                     "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                                     "pad_token": "[PAD]"}), file, indent=1)
        file.write("\n")
    with open(os.path.join(out, "components.json"), "w", encoding="ascii") as file:
        lines = [json.dumps(row, separators=(",", ":")) for row in rows()]
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
