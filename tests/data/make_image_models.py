#!/usr/bin/env python3
"""Model directories for the tests of image pipelines, small enough to compute by hand.

    make_image_models.py [--out DIR]

Pictures are scaled to values between 0 and 1 and averaged, so r, g, b are the mean of each channel.
classifier: logits 10 r, 10 g, 10 b. detector, for images of any size and with pixel_mask: three queries whose
logits are (10 r, 10 g, 10 b, 5), with one more class than labels, and a box each. sigmoid: the same without
the class of nothing. clip: image_embeds is (r, g, b) of length 1, text_embeds the mean of one-hot vectors of the
words red, green, blue of length 1, logits_per_image 8 times their product. vit: last_hidden_state [batch, 2, 3]
with the rows (r, g, b) and 2 (r, g, b).
"""
import argparse
import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def constant(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def write(folder, nodes, inputs, outputs, constants, config, processor):
    def info(items):
        return [helper.make_tensor_value_info(*item) for item in items]

    graph = helper.make_graph([helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes],
                              folder.name, info(inputs), info(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=7)
    checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(processor) + "\n")


MEAN = ("ReduceMean", ["pixel_values"], ["mean"], {"axes": [2, 3], "keepdims": 0})
FIXED = {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 6}, "do_normalize": False}
ANY = {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 8, "longest_edge": 16},
       "do_normalize": False}
LABELS = {"0": "red", "1": "green", "2": "blue"}
BOXES = [[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 0.2], [0, 0, 0.5, 0.5]]


def detector(folder, weight, bias):
    classes = weight.shape[1]
    write(folder,
          [MEAN,
           ("Cast", ["pixel_mask"], ["mask"], {"to": FLOAT}),
           ("ReduceMean", ["mask"], ["share"], {"axes": [1, 2], "keepdims": 0}),
           ("Unsqueeze", ["share", "last"], ["column"], {}),
           ("Div", ["mean", "column"], ["seen"], {}),
           ("Gemm", ["seen", "weight", "bias"], ["scores"], {}),
           ("Unsqueeze", ["scores", "last"], ["one"], {}),
           ("Reshape", ["one", "shape"], ["row"], {}),
           ("Mul", ["row", "queries"], ["logits"], {}),
           ("Mul", ["row", "none"], ["nothing"], {}),
           ("ReduceSum", ["nothing", "last_axis"], ["zero"], {"keepdims": 1}),
           ("Add", ["zero", "boxes"], ["pred_boxes"], {})],
          [("pixel_values", FLOAT, ["batch", 3, "height", "width"]), ("pixel_mask", INT64, ["batch", "height", "width"])],
          [("logits", FLOAT, ["batch", 3, classes]), ("pred_boxes", FLOAT, ["batch", 3, 4])],
          [constant("weight", weight), constant("bias", bias), constant("last", [1], np.int64),
           constant("shape", [-1, 1, classes], np.int64), constant("queries", [[[1], [1], [0.1]]]),
           constant("none", np.zeros((1, 3, 1))), constant("last_axis", [2], np.int64),
           constant("boxes", [BOXES])],
          {"id2label": LABELS}, ANY)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "image-models")
    out = parser.parse_args().out
    image = ("pixel_values", FLOAT, ["batch", 3, 8, 6])
    write(out / "classifier", [MEAN, ("Mul", ["mean", "ten"], ["logits"], {})], [image],
          [("logits", FLOAT, ["batch", 3])], [constant("ten", 10)], {"id2label": LABELS}, FIXED)
    eye = np.eye(3) * 10
    detector(out / "detector", np.concatenate([eye, np.zeros((3, 1))], 1), [0, 0, 0, 5])
    detector(out / "sigmoid", eye, [-5, -5, -5])
    write(out / "vit",
          [MEAN, ("Unsqueeze", ["mean", "one"], ["row"], {}), ("Mul", ["row", "two"], ["double"], {}),
           ("Concat", ["row", "double"], ["last_hidden_state"], {"axis": 1})],
          [image], [("last_hidden_state", FLOAT, ["batch", 2, 3])],
          [constant("one", [1], np.int64), constant("two", 2)], {}, FIXED)
    words = ["[UNK]", "[PAD]", "a", "photo", "of", "red", "green", "blue"]
    table = np.zeros((8, 3))
    table[5:] = np.eye(3)
    write(out / "clip",
          [MEAN,
           ("LpNormalization", ["mean"], ["image_embeds"], {"axis": -1, "p": 2}),
           ("Gather", ["table", "input_ids"], ["words"], {}),
           ("ReduceMean", ["words"], ["text"], {"axes": [1], "keepdims": 0}),
           ("LpNormalization", ["text"], ["text_embeds"], {"axis": -1, "p": 2}),
           ("Transpose", ["text_embeds"], ["columns"], {"perm": [1, 0]}),
           ("MatMul", ["image_embeds", "columns"], ["cosines"], {}),
           ("Mul", ["cosines", "scale"], ["logits_per_image"], {})],
          [("input_ids", INT64, ["texts", "length"]), image],
          [("logits_per_image", FLOAT, ["batch", "texts"]), ("text_embeds", FLOAT, ["texts", 3]),
           ("image_embeds", FLOAT, ["batch", 3])],
          [constant("table", table), constant("scale", 8)], {"model_type": "clip"}, FIXED)
    (out / "clip" / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(words)}, "unk_token": "[UNK]"}}) + "\n")


main()
