#!/usr/bin/env python3
"""What image processors of transformers make of small pictures.

    make_processor_fixtures.py [--out DIR] [--seed N] [--pictures N] [--largest N]

Needs transformers 5, numpy and Pillow 13. cases.json lists the preprocessor_config.json of each case;
golden.npz has picture/K (uint8, RGB), values/CASE/K and, for processors that pad, mask/CASE/K.
image_processor_test.cc reads the folder; another one when HUGOT_PROCESSOR_CASES names it.
"""
import argparse
import importlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

# The class, and what its file says besides.
CASES = [
    ("ViT", {"size": {"height": 16, "width": 20}, "resample": 2}),
    ("ViT", {"size": 13, "do_normalize": False}),
    ("DeiT", {"size": {"height": 20, "width": 20}, "crop_size": {"height": 16, "width": 16}}),
    ("Beit", {"size": {"height": 18, "width": 18}, "do_center_crop": True, "crop_size": {"height": 15, "width": 12}}),
    ("CLIP", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}),
    ("CLIP", {"size": 12, "crop_size": 15}),
    ("CLIP", {"size": {"shortest_edge": 11}, "do_center_crop": False, "resample": 1}),
    ("Bit", {"size": {"shortest_edge": 20}, "crop_size": {"height": 17, "width": 13}}),
    ("Siglip", {"size": {"height": 14, "width": 14}}),
    ("Blip", {"size": {"height": 14, "width": 16}}),
    ("ConvNext", {"size": {"shortest_edge": 14}, "crop_pct": 0.875}),
    ("ConvNext", {"size": {"shortest_edge": 15}, "crop_pct": 0.95, "resample": 2}),
    ("ConvNext", {"size": {"shortest_edge": 15}}),
    ("MobileNetV1", {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}),
    ("MobileNetV2", {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}),
    ("MobileViT", {"size": {"shortest_edge": 18}, "crop_size": {"height": 20, "width": 20}, "resample": 2}),
    ("EfficientNet", {"size": {"height": 15, "width": 15}, "resample": 0}),
    ("EfficientNet", {"size": {"height": 15, "width": 15}, "include_top": False, "rescale_offset": True,
                      "rescale_factor": 1 / 127.5}),
    ("Levit", {"size": {"shortest_edge": 14}, "crop_size": {"height": 14, "width": 14}}),
    ("PoolFormer", {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}, "crop_pct": 0.9}),
    ("PoolFormer", {"size": {"height": 16, "width": 16}, "crop_size": {"height": 15, "width": 15}, "crop_pct": 0.8}),
    ("Perceiver", {"size": {"height": 14, "width": 14}, "crop_size": {"height": 16, "width": 16}}),
    ("Pvt", {"size": {"height": 16, "width": 16}}),
    ("Detr", {"size": {"shortest_edge": 16, "longest_edge": 24}}),
    ("Detr", {"size": {"shortest_edge": 16, "longest_edge": 24}, "pad_size": {"height": 26, "width": 25}}),
    ("Detr", {"size": {"height": 12, "width": 16}}),
    ("ConditionalDetr", {"size": {"max_height": 15, "max_width": 22}}),
    ("DeformableDetr", {"size": {"shortest_edge": 13, "longest_edge": 17}, "do_rescale": False}),
    ("Yolos", {"size": {"shortest_edge": 35, "longest_edge": 55}}),
    ("RTDetr", {"size": {"height": 20, "width": 20}}),
    ("ViT", {"size": {"height": 10, "width": 10}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.3, 0.2]}),
    ("ViT", {"do_resize": False}),
]


def processor(name, config):
    folders = {"MobileNetV1": "mobilenet_v1", "MobileNetV2": "mobilenet_v2", "ConditionalDetr": "conditional_detr",
               "DeformableDetr": "deformable_detr", "RTDetr": "rt_detr"}
    folder = folders.get(name, name.lower())
    module = importlib.import_module(f"transformers.models.{folder}.image_processing_pil_{folder}")
    return getattr(module, f"{name}ImageProcessorPil")(**config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "image-processors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--largest", type=int, default=40)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    golden, cases = {}, []
    pictures = []
    for k in range(args.pictures):
        width, height = (int(v) for v in rng.integers(args.largest // 3, args.largest, 2))
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        planes = [127 + 90 * np.sin(x * rng.uniform(0.1, 1) + y * rng.uniform(0.1, 1)) for _ in range(3)]
        noise = rng.normal(0, 10, (height, width, 3))
        pictures.append(np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8))
        golden[f"picture/{k}"] = pictures[-1]
    for i, (name, config) in enumerate(CASES):
        made = processor(name, config)
        for k, picture in enumerate(pictures):
            out = made(Image.fromarray(picture), return_tensors="np")
            golden[f"values/{i}/{k}"] = np.asarray(out["pixel_values"][0], dtype=np.float32)
            if "pixel_mask" in out:
                golden[f"mask/{i}/{k}"] = np.asarray(out["pixel_mask"][0], dtype=np.int64)
        kind = "FeatureExtractor" if i % 7 == 6 else "ImageProcessorFast" if i % 7 == 5 else "ImageProcessor"
        key = "feature_extractor_type" if kind == "FeatureExtractor" else "image_processor_type"
        cases.append({key: name + kind, **config})
    (args.out / "cases.json").write_text("[" + ",\n".join(json.dumps(case) for case in cases) + "]\n")
    np.savez_compressed(args.out / "golden.npz", **golden)


main()
