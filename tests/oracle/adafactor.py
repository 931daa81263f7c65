#!/usr/bin/env python3
"""Records ten steps of transformers.Adafactor for the tests: tests/data/optimizers.

    adafactor.py [--output FOLDER]

adafactor.json: the settings of each case, under the names of --optimizer-params. adafactor.npz: for
each case and tensor CASE/TENSOR/start, gradients [10, ..] and steps [10, ..], the tensor after every
step, in float32.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers.optimization import Adafactor

STEPS = 10
SHAPES = {"matrix": (7, 5), "tall": (12, 3), "vector": (6,), "cube": (2, 3, 4)}
CASES = {
    "relative": {},
    "warmup": {"warmup_init": True},
    "unscaled": {"scale_parameter": False},
    "rate": {"lr": 0.003, "relative_step": False, "scale_parameter": False},
    "scaled rate": {"lr": 0.02, "relative_step": False, "weight_decay": 0.1},
    "moment": {"lr": 0.01, "relative_step": False, "beta1": 0.9, "clip_threshold": 0.5},
    "all": {"lr": 0.01, "relative_step": False, "beta1": 0.5, "clip_threshold": 2.0,
            "decay_rate": -0.5, "eps": [1e-12, 0.1], "weight_decay": 0.01},
}


def record(settings, seed):
    rng = np.random.default_rng(seed)
    arrays, parameters = {}, {}
    for name, shape in SHAPES.items():
        # Some tensors are smaller than eps[1], so that both sides of that limit are seen.
        start = rng.normal(0, 1e-4 if name == "tall" else 0.3, shape).astype(np.float32)
        scale = 10.0 ** rng.uniform(-3, 1, (STEPS,) + (1,) * len(shape))
        gradients = (rng.normal(0, 1, (STEPS, *shape)) * scale).astype(np.float32)
        arrays[name] = {"start": start, "gradients": gradients}
        parameters[name] = torch.nn.Parameter(torch.from_numpy(start.copy()))
    given = {key: tuple(value) if key == "eps" else value for key, value in settings.items()}
    optimizer = Adafactor(parameters.values(), **given)
    steps = {name: [] for name in SHAPES}
    for k in range(STEPS):
        for name, parameter in parameters.items():
            parameter.grad = torch.from_numpy(arrays[name]["gradients"][k].copy())
        optimizer.step()
        for name, parameter in parameters.items():
            steps[name].append(parameter.detach().numpy().copy())
    for name in SHAPES:
        arrays[name]["steps"] = np.stack(steps[name])
    return arrays


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=here.parent / "data/optimizers")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    everything = {}
    for seed, (case, settings) in enumerate(CASES.items()):
        for name, arrays in record(settings, seed).items():
            everything.update({f"{case}/{name}/{key}": x for key, x in arrays.items()})
    np.savez_compressed(folder / "adafactor.npz", **everything)
    text = {case: {"type": "adafactor", "no_decay": "none", **settings}
            for case, settings in CASES.items()}
    (folder / "adafactor.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
