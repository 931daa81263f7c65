"""Drives another engine over token ids for tools/benchmark.py, in that script's Python environment.

    benchmark_peer.py ENGINE MODE --model DIR --weights DIR --corpus PREFIX --threads N --limit N
                      [--precision fp32|bf16|int8] [--batch N] [--vectors FILE] [--cache DIR]

One line of JSON: speed and, call by call, latency. What is timed goes from ids to normalised vectors,
padding and pooling included; sentence-transformers begins with texts, because that is its interface.
`--vectors` receives the vectors as raw float32.

Modes: order (batches of 32 or --batch in the order of arrival), one (a text per call), sorted (batches
of 32, by length), budget (by length, at most 512 padded tokens per batch), processes (budget, in as
many processes of one thread as there are threads), callers (one text per call, from as many threads
at once, each call on one thread of the engine).
"""
import argparse
import itertools
import json
import multiprocessing
import os
import sys
import threading
import time

os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1",
                  HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
START = time.perf_counter()

import numpy as np  # noqa: E402

BUDGET = 512


def batches(ids, mode, batch=32):
    everything = list(range(len(ids)))
    if mode in ("one", "callers"):
        return [[i] for i in everything]
    if mode != "order":
        everything.sort(key=lambda i: -len(ids[i]))
    if mode in ("order", "sorted"):
        return [everything[i:i + batch] for i in range(0, len(ids), batch)]
    result = [[]]
    for i in everything:  # the first text of a batch is the longest
        if result[-1] and len(ids[result[-1][0]]) * (len(result[-1]) + 1) > BUDGET:
            result.append([])
        result[-1].append(i)
    return result


def padded(ids, rows):
    length = max(len(ids[i]) for i in rows)
    x = np.zeros((len(rows), length), np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    for row, i in enumerate(rows):
        x[row, :len(ids[i])] = ids[i]
        mask[row, :len(ids[i])] = 1
    return x, mask


def pooled(hidden, mask):
    weights = mask.astype(np.float32)
    mean = np.matmul(weights[:, None, :], hidden)[:, 0] / weights.sum(1, keepdims=True)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)


def measure(ids, mode, run, batch=32):
    """run(x, mask) gives the last hidden state. A warm-up, then one timed pass."""
    todo = batches(ids, mode, batch)
    for rows in todo[:30] if mode in ("one", "callers") else todo[:2] + todo[-2:]:
        x, mask = padded(ids, rows)
        pooled(run(x, mask), mask)
    vectors, latencies = None, []
    cpu, begin, start = time.process_time(), time.time(), time.perf_counter()
    for rows in todo:
        call = time.perf_counter()
        x, mask = padded(ids, rows)
        result = pooled(run(x, mask), mask)
        if vectors is None:
            vectors = np.empty((len(ids), result.shape[1]), np.float32)
        vectors[rows] = result
        latencies.append(time.perf_counter() - call)
    seconds = time.perf_counter() - start
    return vectors, latencies, (begin, begin + seconds), time.process_time() - cpu


def measure_callers(ids, threads, run):
    """Every thread takes the next text until there is none."""
    for i in range(min(30, len(ids))):
        pooled(run(*padded(ids, [i])), np.ones((1, len(ids[i])), np.int64))
    latencies, position = [], itertools.count()

    def work():
        for i in position:
            if i >= len(ids):
                return
            call = time.perf_counter()
            x, mask = padded(ids, [i])
            pooled(run(x, mask), mask)
            latencies.append(time.perf_counter() - call)
    workers = [threading.Thread(target=work) for _ in range(threads)]
    cpu, start = time.process_time(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return None, latencies, (0, time.perf_counter() - start), time.process_time() - cpu


def quantized(args):
    """The graph with weights in 8 bits, made once."""
    file = os.path.join(args.cache, "quantized.onnx")
    if not os.path.exists(file):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(args.graph, file, weight_type=QuantType.QInt8)
    return file


def onnxruntime_runner(args, threads):
    import onnxruntime
    graph = quantized(args) if args.precision == "int8" else args.graph
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options,
                                           providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}

    def run(x, mask):
        feeds = {"input_ids": x, "attention_mask": mask, "token_type_ids": x * 0}
        return session.run(None, {k: v for k, v in feeds.items() if k in names})[0]
    return run


def openvino_runner(args, threads):
    import openvino
    core = openvino.Core()
    model = core.compile_model(core.read_model(args.graph), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, 
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[args.precision],
        "PERFORMANCE_HINT": "LATENCY" if args.mode == "one" else "THROUGHPUT"})
    names = {name for port in model.inputs for name in port.get_names()}
    request = model.create_infer_request()

    def run(x, mask):
        feeds = {"input_ids": x, "attention_mask": mask, "token_type_ids": x * 0}
        request.infer({k: v for k, v in feeds.items() if k in names}, share_inputs=True)
        return request.get_output_tensor(0).data
    return run


def ctranslate2_runner(args, threads):
    import ctranslate2
    folder = os.path.join(args.cache, "ctranslate2")
    if not os.path.exists(os.path.join(folder, "model.bin")):
        from ctranslate2.converters import TransformersConverter
        TransformersConverter(args.weights).convert(folder, force=True)
        # Again without what the conversion left in memory.
        os.execv(sys.executable, [sys.executable, *sys.argv])
    encoder = ctranslate2.Encoder(folder, device="cpu", inter_threads=1,
                                  intra_threads=threads, compute_type={
                                      "fp32": "float32", "int8": "int8"}[args.precision])

    def run(x, mask):
        ids = [row[:n].tolist() for row, n in zip(x, mask.sum(1))]
        return np.array(encoder.forward_batch(ids).last_hidden_state)
    return run


def sentence_transformers(args, threads):
    import torch
    from sentence_transformers import SentenceTransformer
    torch.set_num_threads(threads)
    model = SentenceTransformer(args.weights, device="cpu")
    load = time.perf_counter() - START
    with open(args.corpus + ".jsonl", encoding="utf-8") as file:
        texts = [json.loads(line)["input"] for line in file][:args.limit]
    model.encode(texts[:64], batch_size=args.batch)
    latencies, vectors = [], []
    cpu, start = time.process_time(), time.perf_counter()
    for part in [[text] for text in texts] if args.mode == "one" else [texts]:
        call = time.perf_counter()
        vectors.append(model.encode(part, batch_size=args.batch, normalize_embeddings=True))
        latencies.append(time.perf_counter() - call)
    seconds = time.perf_counter() - start
    return np.concatenate(vectors), latencies, (0, seconds), time.process_time() - cpu, load


RUNNERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner,
           "ctranslate2": ctranslate2_runner}


def child(args, ids, barrier, queue):
    run = RUNNERS[args.engine](args, 1)
    for rows in batches(ids, "budget")[-3:]:
        run(*padded(ids, rows))
    barrier.wait()
    vectors, _, span, cpu = measure(ids, "budget", run)
    queue.put((vectors, span, cpu, most_memory()))


def in_processes(args, ids):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(args.threads + 1), context.Queue()
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    parts = [[ids[i] for i in order[k::args.threads]] for k in range(args.threads)]
    processes = [context.Process(target=child, args=(args, part, barrier, queue)) for part in parts]
    for process in processes:
        process.start()
    barrier.wait(timeout=120)
    load = time.perf_counter() - START
    done = [queue.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    span = min(d[1][0] for d in done), max(d[1][1] for d in done)
    return None, [], span, sum(d[2] for d in done), load, sum(d[3] for d in done)


def most_memory():
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=[*RUNNERS, "sentence-transformers"])
    parser.add_argument("mode", choices=["order", "one", "sorted", "budget", "processes",
                                         "callers"])
    parser.add_argument("--precision", choices=["fp32", "bf16", "int8"], default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    for name in ("model", "weights", "corpus", "vectors", "cache"):
        parser.add_argument("--" + name)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--limit", type=int, required=True)
    args = parser.parse_args()
    args.graph = os.path.join(args.model, "onnx/model.onnx")
    with open(args.corpus + ".ids.jsonl", encoding="utf-8") as file:
        ids = [json.loads(line)["ids"] for line in file][:args.limit]
    memory = None
    if args.mode == "processes":
        vectors, latencies, span, cpu, load, memory = in_processes(args, ids)
    elif args.engine == "sentence-transformers":
        vectors, latencies, span, cpu, load = sentence_transformers(args, args.threads)
    else:
        run = RUNNERS[args.engine](args, 1 if args.mode == "callers" else args.threads)
        load = time.perf_counter() - START
        vectors, latencies, span, cpu = (
            measure_callers(ids, args.threads, run) if args.mode == "callers"
            else measure(ids, args.mode, run, args.batch))
    if args.vectors and vectors is not None:
        vectors.astype(np.float32).tofile(args.vectors)
    seconds, tokens = span[1] - span[0], sum(map(len, ids))
    result = {"texts_per_s": len(ids) / seconds, "tokens_per_s": tokens / seconds,
              "tokens_per_cpu_s": tokens / cpu, "load_s": load,
              "rss_mb": memory or most_memory()}
    if args.mode in ("one", "callers"):
        result.update(p50_ms=1e3 * float(np.percentile(latencies, 50)),
                      p99_ms=1e3 * float(np.percentile(latencies, 99)))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
