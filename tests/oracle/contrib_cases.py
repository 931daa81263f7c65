"""Random nodes of the operators of com.microsoft, for contrib.py."""
import numpy as np
from onnx import TensorProto, helper

from contrib_case import Case, floats, maybe, pack, pick

# -- norms and activations

def skip_layer_norm(rng):
    b, s, h = rng.integers(1, 4), rng.integers(1, 6), pick(rng, 8, 20, 33)
    x = floats(rng, b, s, h)
    skip = pick(rng, floats(rng, b, s, h), floats(rng, 1, s, h), floats(rng, s, h))
    if rng.random() < 0.2:
        x, skip = floats(rng, s, h), floats(rng, s, h)
    inputs = [x, skip, floats(rng, h), maybe(rng, floats(rng, h), 0.7), maybe(rng, floats(rng, h))]
    whole = rng.random() < 0.5
    return Case("SkipLayerNormalization", inputs, {"epsilon": 1e-5}, 4 if whole else 1,
                skip_outputs=(1, 2))


def skip_rms_norm(rng):
    b, s, h = rng.integers(1, 4), rng.integers(1, 6), pick(rng, 8, 20, 33)
    skip = pick(rng, floats(rng, b, s, h), floats(rng, 1, s, h), floats(rng, s, h))
    inputs = [floats(rng, b, s, h), skip, floats(rng, h), maybe(rng, floats(rng, h))]
    return Case("SkipSimplifiedLayerNormalization", inputs, {"epsilon": 1e-6}, pick(rng, 1, 4),
                skip_outputs=(1, 2))


def rms_norm(rng):
    h = pick(rng, 8, 20, 33)
    return Case("SimplifiedLayerNormalization", [floats(rng, 2, rng.integers(1, 5), h),
                                                 floats(rng, h)],
                {"axis": -1, "epsilon": 1e-5}, domain="", opset=pick(rng, 13, 17))


def embed(rng, b=None):
    b, s, h = rng.integers(1, 4), rng.integers(1, 8), pick(rng, 8, 20)
    segments = rng.random() < 0.7
    ids = rng.integers(0, 30, (b, s)).astype(np.int32)
    mask = (rng.random((b, s)) < 0.7).astype(np.int32)
    inputs = [ids, rng.integers(0, 2, (b, s)).astype(np.int32) if segments else None,
              floats(rng, 30, h), floats(rng, 16, h), floats(rng, 2, h) if segments else None,
              floats(rng, h), floats(rng, h), maybe(rng, mask),
              maybe(rng, rng.integers(0, 16, (b, s)).astype(np.int32), 0.3)]
    return Case("EmbedLayerNormalization", inputs, {"epsilon": 1e-12}, pick(rng, 1, 2, 3))


def quantized_embed(rng):
    b, s, h = rng.integers(1, 4), rng.integers(1, 8), pick(rng, 8, 20)
    segments = rng.random() < 0.7

    def table(*shape):
        return rng.integers(0, 256, shape).astype(np.uint8)

    inputs = [rng.integers(0, 30, (b, s)).astype(np.int32),
              rng.integers(0, 2, (b, s)).astype(np.int32) if segments else None,
              table(30, h), table(16, h), table(2, h) if segments else None, table(h), table(h),
              maybe(rng, (rng.random((b, s)) < 0.7).astype(np.int32))]
    inputs += [np.float32(rng.uniform(0.01, 0.1)) for _ in range(5)]
    inputs += [np.uint8(rng.integers(100, 150)) for _ in range(5)]
    if not segments:
        inputs[10] = inputs[15] = None
    inputs = [None if x is None else np.asarray(x) for x in inputs]
    return Case("QEmbedLayerNormalization", inputs, {"epsilon": 1e-12}, 2,
                constant=range(2, 18))


def activation(op, bias):
    def make(rng):
        h = pick(rng, 5, 16, 33)
        x = floats(rng, 2, rng.integers(1, 5), h, scale=2)
        inputs = [x] if bias is None else [x, maybe(rng, floats(rng, h), bias)]
        attributes = {"alpha": pick(rng, 1.0, 1.702)} if op == "QuickGelu" else {}
        return Case(op, inputs, attributes)
    return make


# -- products

def fused_matmul(op):
    def make(rng):
        batch = pick(rng, (), (3,), (2, 3))
        m, k, n = rng.integers(1, 7, 3)
        attributes = {"alpha": float(pick(rng, 1.0, 0.25)), "transA": int(rng.integers(2)),
                      "transB": int(rng.integers(2))}
        a = (k, m) if attributes["transA"] else (m, k)
        b = (n, k) if attributes["transB"] else (k, n)
        a, b = (*batch, *a), (*pick(rng, batch, ()), *b)
        if op == "FusedMatMul" and batch and b[:-2] == batch and rng.random() < 0.4:
            for name, shape in (("transBatchA", "a"), ("transBatchB", "b")):
                if rng.random() < 0.5:
                    attributes[name] = 1
                    given = a if shape == "a" else b
                    given = (given[-2], *given[:-2], given[-1])
                    a, b = (given, b) if shape == "a" else (a, given)
        return Case(op, [floats(rng, *a), floats(rng, *b)], attributes)
    return make


def fused_gemm(rng):
    m, k, n = rng.integers(1, 7, 3)
    attributes = {"transA": int(rng.integers(2)), "transB": int(rng.integers(2)),
                  "alpha": 0.5, "beta": 2.0}
    name = pick(rng, "Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSigmoid", "Softplus")
    attributes["activation"] = name
    if name in ("LeakyRelu", "Elu", "HardSigmoid"):
        attributes["activation_alpha"] = 0.3
    if name == "HardSigmoid":
        attributes["activation_beta"] = 0.4
    a = (k, m) if attributes["transA"] else (m, k)
    b = (n, k) if attributes["transB"] else (k, n)
    return Case("FusedGemm", [floats(rng, *a), floats(rng, *b),
                              maybe(rng, floats(rng, n), 0.7)], attributes)


def fused_conv(rng):
    c, o = pick(rng, 2, 4), pick(rng, 2, 6)
    x, w = floats(rng, 2, c, 7, 6), floats(rng, o, c, 3, 3)
    name = pick(rng, "Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Clip")
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "activation": name}
    if name == "LeakyRelu":
        attributes["activation_params"] = [0.2]
    if name in ("HardSigmoid", "Clip"):
        attributes["activation_params"] = [0.1, 0.6]
    z = floats(rng, 2, o, 7, 6) if rng.random() < 0.5 else None
    return Case("FusedConv", [x, w, maybe(rng, floats(rng, o)), z], attributes)


def nhwc_conv(rng):
    groups = pick(rng, 1, 2)
    c, o, k = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)), pick(rng, 1, 3)
    attributes = {"kernel_shape": [k, k], "pads": [1, 0, 1, 1], "group": groups,
                  "strides": [pick(rng, 1, 2), 1]}
    x, w = floats(rng, 2, 7, 6, c), floats(rng, o, k, k, c // groups)
    bias = maybe(rng, floats(rng, o))
    first = [helper.make_node("Transpose", [f"x{i}"], [f"t{i}"], perm=[0, 3, 1, 2])
             for i in range(2)]
    conv = helper.make_node("Conv", ["t0", "t1"] + ([] if bias is None else ["x2"]), ["c"],
                            **attributes)
    last = helper.make_node("Transpose", ["c"], ["y0"], perm=[0, 2, 3, 1])
    return Case("NhwcConv", [x, w, bias], attributes, expansion=[*first, conv, last])


def nhwc_fused_conv(rng):
    c, o = int(rng.integers(1, 5)), int(rng.integers(1, 8))
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    x, w = floats(rng, 2, 5, 6, c), floats(rng, o, c, 3, 3)
    z = floats(rng, 2, 5, 6, o) if rng.random() < 0.5 else None
    nodes = [helper.make_node("Transpose", ["x0"], ["t"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["t", "x1", "x2"], ["c"], **attributes),
             helper.make_node("Transpose", ["c"], ["n"], perm=[0, 2, 3, 1])]
    if z is not None:
        nodes.append(helper.make_node("Add", ["n", "x3"], ["s"]))
    nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], ["y0"]))
    return Case("NhwcFusedConv", [x, w, floats(rng, o), z], {**attributes, "activation": "Relu"},
                expansion=nodes)


def nhwc_max_pool(rng):
    x = rng.integers(0, 256, (2, 7, 8, int(rng.integers(1, 6)))).astype(np.uint8)
    attributes = {"kernel_shape": [pick(rng, 2, 3), 3], "strides": [pick(rng, 1, 2), 2],
                  "pads": [1, 1, 0, 1], "ceil_mode": 0, "dilations": [1, pick(rng, 1, 2)]}
    return Case("NhwcMaxPool", [x if rng.random() < 0.5 else (x - 128).astype(np.int8)],
                attributes)


def tokenizer(rng):
    letters = ["a", "b", "c", "B", "1", "2", " ", " ", "-", ",", "\u00e9", "\u4e2d", "\U0001f600"]
    texts = ["".join(letters[i] for i in rng.integers(0, len(letters), rng.integers(0, 15)))
             for _ in range(6)]
    shape = pick(rng, (6,), (2, 3), (6, 1))
    attributes = {"mark": int(rng.integers(2)), "pad_value": pick(rng, "", "#", "pad"),
                  "mincharnum": int(rng.integers(1, 4))}
    if rng.random() < 0.5:
        attributes["tokenexp"] = pick(rng, "[a-z]+", "\\w+", "a|ab|abc", "[^ ,]+", "\\d+|[A-Z]",
                                      "\\b\\w", "[a-c]*", "(?i)b+", "\\p{Han}|.\\x{e9}")
    else:
        lists = ([" "], [",", " "], ["-|--", " +"], ["[ ,-]+"], ["ab", "b", "a"], ["\\s"],
                 ["^a", " "], ["\u00e9|\u4e2d"], ["(,|-)+ ?"])
        attributes["separators"] = lists[rng.integers(len(lists))]
    if rng.random() < 0.15:
        attributes.pop("tokenexp", None)
        attributes.update(separators=[""], mincharnum=1)
    return Case("Tokenizer", [np.array(texts).reshape(shape)], attributes)


def matmul_nbits(rng):
    bits, block = pick(rng, 4, 4, 8), pick(rng, 16, 32, 64)
    k, n = int(rng.integers(1, 100)), int(rng.integers(1, 40))
    blocks = -(-k // block)
    codes = rng.integers(0, 1 << bits, (n, blocks, block))
    zeros = pick(rng, None, pack(rng.integers(0, 1 << bits, (n, blocks)), bits).reshape(-1),
                 (8 if bits == 4 else 128) + floats(rng, n, blocks))
    shape = pick(rng, (3, k), (2, 3, k), (1, k))
    scales = floats(rng, n * blocks, scale=0.1) if zeros is None or zeros.ndim == 1 else \
        floats(rng, n, blocks, scale=0.1)
    return Case("MatMulNBits", [floats(rng, *shape), pack(codes, bits), scales, zeros, None,
                                maybe(rng, floats(rng, n))],
                {"K": k, "N": n, "bits": bits, "block_size": block}, constant=(1, 2, 3, 5))


def matmul_bnb4(rng):
    block = pick(rng, 16, 32, 64)
    k, n = int(rng.integers(1, 100)), int(rng.integers(1, 40))
    codes = rng.integers(0, 256, (n * k + 1) // 2).astype(np.uint8)
    scales = np.abs(floats(rng, (n * k + block - 1) // block))
    return Case("MatMulBnb4", [floats(rng, 2, 3, k), codes, scales],
                {"K": k, "N": n, "block_size": block, "quant_type": int(rng.integers(2))},
                constant=(1, 2))


def gather_blocks(rng):
    block = pick(rng, 16, 32)
    blocks = int(rng.integers(1, 4))
    rows, width = int(rng.integers(2, 9)), block * blocks
    form = pick(rng, "uint4", "int4", "uint8", "uint8")
    bits = pick(rng, 4, 8) if form == "uint8" else 4
    codes = rng.integers(0, 1 << bits, (rows, width))
    zeros = rng.integers(0, 1 << bits, (rows, blocks))
    indices = rng.integers(0, rows, pick(rng, (3,), (2, 4))).astype(pick(rng, np.int32, np.int64))
    attributes = {"block_size": block, "gather_axis": 0, "quantize_axis": 1}
    if form == "uint8":
        attributes["bits"] = bits
        data, zero = pack(codes, bits), pack(zeros, bits)
    else:
        kind = TensorProto.UINT4 if form == "uint4" else TensorProto.INT4
        shift = 0 if form == "uint4" else 8
        data = helper.make_tensor("x", kind, codes.shape, (codes - shift).reshape(-1))
        zero = helper.make_tensor("x", kind, zeros.shape, (zeros - shift).reshape(-1))
    return Case("GatherBlockQuantized", [data, indices, floats(rng, rows, blocks),
                                         maybe(rng, zero)], attributes, constant=(0, 3), opset=21)


def mixture(rng):
    tokens, hidden, inner, experts = int(rng.integers(1, 9)), 16, 16, 4
    kind = pick(rng, "relu", "silu", "identity", "swiglu")
    attributes = {"k": int(rng.integers(1, 4)), "activation_type": kind,
                  "normalize_routing_weights": int(rng.integers(2))}
    rows = inner
    if kind == "swiglu":
        attributes.update(swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0,
                          swiglu_limit=7.0)
        rows = 2 * inner
    inputs = [floats(rng, tokens, hidden), floats(rng, tokens, experts),
              floats(rng, experts, rows, hidden, scale=0.3), maybe(rng, floats(rng, experts, rows)),
              floats(rng, experts, hidden, inner, scale=0.3),
              maybe(rng, floats(rng, experts, hidden))]
    return Case("MoE", inputs, attributes)


def quantized_mixture(rng):
    tokens, hidden, inner, experts, bits = int(rng.integers(1, 9)), 32, 32, 4, pick(rng, 4, 8)
    block = pick(rng, 0, 16, 32)
    kind = pick(rng, "silu", "relu", "swiglu")
    rows = 2 * inner if kind == "swiglu" else inner
    attributes = {"k": int(rng.integers(1, 4)), "activation_type": kind,
                  "normalize_routing_weights": 1, "expert_weight_bits": bits}
    if block:
        attributes["block_size"] = block
    if kind == "swiglu":
        attributes.update(swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0,
                          swiglu_limit=7.0)

    def layer(n, k):
        codes = pack(rng.integers(0, 1 << bits, (experts, n, k)), bits)
        shape = (experts, n, k // block) if block else (experts, n)
        return codes, np.abs(floats(rng, *shape, scale=0.05 if bits == 4 else 0.003))

    up, up_scale = layer(rows, hidden)
    down, down_scale = layer(hidden, inner)
    inputs = [floats(rng, tokens, hidden), floats(rng, tokens, experts), up, up_scale,
              maybe(rng, floats(rng, experts, rows)), down, down_scale,
              maybe(rng, floats(rng, experts, hidden))]
    return Case("QMoE", inputs, attributes, constant=(2, 3, 5, 6))


# -- attention

def positions_mask(rng, kind, b, s, t):
    if kind == "ends":
        return rng.integers(1, t + 1, b).astype(np.int32)
    if kind == "ends and starts":
        ends = rng.integers(1, t + 1, b)
        return np.concatenate([ends, rng.integers(0, ends)]).astype(np.int32)
    if kind == "keys":
        mask = (rng.random((b, t)) < 0.7).astype(np.int32)
        mask[:, 0] = 1
        return mask
    if kind == "queries and keys":
        mask = (rng.random((b, s, t)) < 0.7).astype(np.int32)
        mask[:, :, 0] = 1
        return mask
    return None


def ms_attention(rng):
    n, size = int(rng.integers(1, 4)), pick(rng, 4, 8)
    b, s, width, d = int(rng.integers(1, 4)), int(rng.integers(1, 7)), pick(rng, 8, 12), n * size
    value = d if rng.random() < 0.7 else n * 4
    causal = int(rng.random() < 0.3)
    past = int(rng.integers(0, 4)) if value == d and rng.random() < 0.4 else None
    t = s + (past or 0)
    kind = pick(rng, None, None, "ends", "ends and starts", "keys", "queries and keys")
    attributes = {"num_heads": n, "unidirectional": causal}
    if value != d:
        attributes["qkv_hidden_sizes"] = [d, d, value]
    if rng.random() < 0.3:
        attributes["mask_filter_value"] = -1000.0
    if rng.random() < 0.3:
        attributes["scale"] = 0.4
    bias = None
    if kind is None and rng.random() < 0.4:
        bias = floats(rng, pick(rng, 1, b), pick(rng, 1, n), s, t)
    inputs = [floats(rng, b, s, width), floats(rng, width, 2 * d + value, scale=0.3),
              floats(rng, 2 * d + value), positions_mask(rng, kind, b, s, t),
              None if past is None else floats(rng, 2, b, n, past, size), bias]
    return Case("Attention", inputs, attributes, 1 if past is None else 2,
                constant=(1, 2) if rng.random() < 0.5 else ())


def multi_head(rng):
    n, size = int(rng.integers(1, 4)), pick(rng, 4, 8)
    b, s, d = int(rng.integers(1, 4)), int(rng.integers(1, 7)), n * size
    form = pick(rng, "self", "self", "cross", "packed", "packed keys", "cached", "past")
    keys = s if form in ("self", "packed", "past") else int(rng.integers(1, 8))
    past = int(rng.integers(0, 4)) if form == "past" else None
    t = keys + (past or 0)
    value = d if form not in ("self", "cross") or rng.random() < 0.7 else n * 4
    query, key, values = floats(rng, b, s, d), floats(rng, b, keys, d), floats(rng, b, keys, value)
    if form == "packed":
        query, key, values = floats(rng, b, s, n, 3, size), None, None
    elif form == "packed keys":
        key, values = floats(rng, b, keys, n, 2, size), None
    elif form == "cached":
        key, values = floats(rng, b, n, keys, size), floats(rng, b, n, keys, size)
    kind = pick(rng, None, None, "ends", "keys", "queries and keys")
    attributes = {"num_heads": n}
    if form in ("self", "past") and rng.random() < 0.3:
        attributes["unidirectional"] = 1
    if rng.random() < 0.3:
        attributes["mask_filter_value"] = -1000.0
    bias = floats(rng, 2 * d + value) if form != "packed keys" and rng.random() < 0.5 else None
    added = floats(rng, pick(rng, 1, b), pick(rng, 1, n), s, t) if rng.random() < 0.3 else None
    history = [None, None] if past is None else [floats(rng, b, n, past, size) for _ in range(2)]
    inputs = [query, key, values, bias, positions_mask(rng, kind, b, s, t), added, *history]
    outputs = 3 if form == "past" or (form == "self" and rng.random() < 0.3) else 1
    if outputs == 3 and "unidirectional" not in attributes and rng.random() < 0.5:
        outputs = 4
    return Case("MultiHeadAttention", inputs, attributes, outputs)


def quantized_attention(rng):
    n, size = int(rng.integers(1, 4)), 8
    b, s, width, d = int(rng.integers(1, 4)), int(rng.integers(1, 7)), 16, n * size
    kind = pick(rng, None, "ends", "keys")
    signed = rng.random() < 0.5
    weight = rng.integers(-60, 60, (width, 3 * d)).astype(np.int8) if signed else \
        rng.integers(0, 120, (width, 3 * d)).astype(np.uint8)
    columns = rng.random() < 0.5
    scale = rng.uniform(0.005, 0.02, 3 * d if columns else ()).astype(np.float32)
    zero = np.zeros(3 * d if columns else (), weight.dtype) + (0 if signed else 60)
    inputs = [rng.integers(0, 256, (b, s, width)).astype(np.uint8), weight, floats(rng, 3 * d),
              np.float32(0.02), scale, positions_mask(rng, kind, b, s, s), np.uint8(120),
              zero.astype(weight.dtype)]
    inputs = [None if x is None else np.asarray(x) for x in inputs]
    return Case("QAttention", inputs, {"num_heads": n, "unidirectional": int(rng.integers(2))},
                constant=(1, 2, 4, 7))


def rotary(rng):
    n, size = int(rng.integers(1, 4)), 8
    b, s = int(rng.integers(1, 4)), int(rng.integers(1, 6))
    x = floats(rng, b, s, n * size) if rng.random() < 0.6 else floats(rng, b, n, s, size)
    half = size // 2
    attributes = {"interleaved": int(rng.integers(2))}
    if x.ndim == 3 and rng.random() < 0.5:
        half = size // 4
        attributes.update(num_heads=n, rotary_embedding_dim=2 * half)
    angles = rng.uniform(0, 6, (20, half)).astype(np.float32)
    where = pick(rng, np.array([3]), rng.integers(0, 20, (b, s))).astype(np.int64)
    return Case("RotaryEmbedding", [x, where, np.cos(angles), np.sin(angles)], attributes)


def grouped_query(rng):
    kv = int(rng.integers(1, 3))
    n, size, b = kv * int(rng.integers(1, 4)), pick(rng, 16, 32), int(rng.integers(1, 4))
    prompt = rng.random() < 0.5
    if prompt:
        s = int(rng.integers(1, 8))
        lengths = rng.integers(1, s + 1, b)
        lengths[0] = s
        total, past = s, 0
    else:
        s = 1 if b > 1 else int(rng.integers(1, 5))
        past = int(rng.integers(1, 7))
        lengths = rng.integers(s, past + s + 1, b)
        lengths[0] = past + s
        total = past + s
    attributes = {"num_heads": n, "kv_num_heads": kv}
    if rng.random() < 0.3:
        attributes["local_window_size"] = int(rng.integers(1, 6))
    if rng.random() < 0.3:
        attributes["softcap"] = 3.0
    if rng.random() < 0.3:
        attributes["scale"] = 0.3
    sink = None
    if rng.random() < 0.3:
        sink = floats(rng, n)
    elif rng.random() < 0.2:
        attributes["smooth_softmax"] = 1
    cos = sin = positions = None
    if rng.random() < 0.6:
        angles = rng.uniform(0, 6, (20, size // 2)).astype(np.float32)
        cos, sin = np.cos(angles), np.sin(angles)
        attributes.update(do_rotary=1, rotary_interleaved=int(rng.integers(2)))
    bias = floats(rng, pick(rng, 1, b), pick(rng, 1, n), s, total) if rng.random() < 0.3 else None
    packed = rng.random() < 0.5
    joined = floats(rng, b, s, (n + 2 * kv) * size if packed else n * size)
    fresh = [None, None] if packed else [floats(rng, b, s, kv * size) for _ in range(2)]
    cache = [floats(rng, b, kv, past, size) for _ in range(2)]
    scales = [None, None]
    if rng.random() < 0.4:
        bits, kind = pick(rng, 4, 8), pick(rng, "PER_TENSOR", "PER_CHANNEL")
        attributes.update(k_quant_type=kind, v_quant_type=kind, kv_cache_bit_width=bits)
        codes = rng.integers(0, 1 << bits, (2, b, kv, past, size))
        cache = [pack(c, 4) if bits == 4 else (c - 128).astype(np.int8) for c in codes]
        scales = [rng.uniform(0.5, 1, kv * size if kind == "PER_CHANNEL" else 1).astype(np.float32)
                  * np.float32(0.4 if bits == 4 else 0.02) for _ in range(2)]
    scores = rng.random() < 0.3
    if scores:
        attributes["qk_output"] = int(rng.integers(1, 3))
    inputs = [joined, *fresh, *cache, (lengths - 1).astype(np.int32), np.array(total, np.int32),
              cos, sin, positions, bias, sink, *scales]
    # What is behind the end of a row is nobody's.
    new = (lengths - s) if not prompt else np.zeros(b, np.int64)
    valid = {0: np.arange(s)[None] + new[:, None] < lengths[:, None]}
    keys = np.arange(total)[None] < lengths[:, None]
    valid[1] = valid[2] = np.broadcast_to(keys[:, None], (b, kv, total))
    valid[3] = np.broadcast_to(valid[0][:, None, :, None] & keys[:, None, None], (b, n, s, total))
    return Case("GroupQueryAttention", inputs, attributes, 4 if scores else 3, valid=valid)


# -- quantized operators

def quantized(rng, *shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    zero = 128 if dtype == np.uint8 else 3
    return [rng.integers(info.min, info.max + 1, shape).astype(dtype),
            np.asarray(np.float32(rng.uniform(0.01, 0.05))), np.asarray(dtype(zero))]


def q_binary(op):
    def make(rng):
        dtype = pick(rng, np.uint8, np.int8)
        shape = (2, 3, 5)
        return Case(op, [*quantized(rng, *shape, dtype=dtype),
                         *quantized(rng, *pick(rng, shape, (5,), (3, 1)), dtype=dtype),
                         *quantized(rng, dtype=dtype)[1:]])
    return make


def q_unary(op, **attributes):
    def make(rng):
        dtype = pick(rng, np.uint8, np.int8)
        own = dict(attributes)
        result = quantized(rng, dtype=dtype)[1:]
        if op == "QLinearSoftmax":
            own.update(opset=pick(rng, 11, 13), axis=pick(rng, 1, 2))
            result = [np.asarray(np.float32(1 / 256)), np.asarray(dtype(np.iinfo(dtype).min))]
        shape = (2, 3, 5, 4) if op == "QLinearGlobalAveragePool" else (2, 3, 5)
        if op == "QLinearGlobalAveragePool":
            own["channels_last"] = int(rng.integers(2))
        return Case(op, [*quantized(rng, *shape, dtype=dtype), *result], own,
                    constant=(1, 2, 3, 4))
    return make


def q_concat(rng):
    parts = [quantized(rng, 2, int(rng.integers(1, 5)), 3) for _ in range(rng.integers(1, 4))]
    return Case("QLinearConcat", [*quantized(rng)[1:], *[x for part in parts for x in part]],
                {"axis": 1})


def q_where(rng):
    return Case("QLinearWhere", [rng.random((2, 3)) < 0.5, *quantized(rng, 2, 3),
                                 *quantized(rng, *pick(rng, (2, 3), (1,))), *quantized(rng)[1:]])


def q_gemm(rng):
    m, k, n = (int(x) for x in rng.integers(1, 9, 3))
    attributes = {"transA": int(rng.integers(2)), "transB": int(rng.integers(2)),
                  "alpha": pick(rng, 1.0, 0.5)}
    a = quantized(rng, *((k, m) if attributes["transA"] else (m, k)))
    b = quantized(rng, *((n, k) if attributes["transB"] else (k, n)),
                  dtype=pick(rng, np.int8, np.uint8))
    c = rng.integers(-3000, 3000, n).astype(np.int32) if rng.random() < 0.6 else None
    result = quantized(rng)[1:] if rng.random() < 0.6 else []
    return Case("QGemm", [*a, *b, c, *result], attributes)


def dynamic_matmul(rng):
    k, n = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    columns = rng.random() < 0.5
    scale = rng.uniform(0.01, 0.05, n if columns else ()).astype(np.float32)
    zero = np.full(n if columns else (), 100, np.uint8)
    return Case("DynamicQuantizeMatMul", [floats(rng, 2, 3, k),
                                          rng.integers(0, 256, (k, n)).astype(np.uint8), scale,
                                          maybe(rng, zero), maybe(rng, floats(rng, n))],
                constant=(1, 2, 3, 4))


def integer_to_float(rng):
    k, n = int(rng.integers(1, 20)), int(rng.integers(1, 20))
    a, b = quantized(rng, 2, 3, k), quantized(rng, k, n)
    return Case("MatMulIntegerToFloat", [a[0], b[0], a[1], b[1], maybe(rng, a[2]),
                                         maybe(rng, b[2]), maybe(rng, floats(rng, n))],
                constant=(1, 3, 5))


CASES = {
    "Attention": ms_attention,
    "BiasGelu": activation("BiasGelu", 1),
    "DynamicQuantizeMatMul": dynamic_matmul,
    "EmbedLayerNormalization": embed,
    "FastGelu": activation("FastGelu", 0.5),
    "FusedConv": fused_conv,
    "FusedGemm": fused_gemm,
    "FusedMatMul": fused_matmul("FusedMatMul"),
    "GatherBlockQuantized": gather_blocks,
    "Gelu": activation("Gelu", None),
    "GroupQueryAttention": grouped_query,
    "MatMulBnb4": matmul_bnb4,
    "MatMulIntegerToFloat": integer_to_float,
    "MatMulNBits": matmul_nbits,
    "MoE": mixture,
    "MultiHeadAttention": multi_head,
    "NhwcConv": nhwc_conv,
    "NhwcFusedConv": nhwc_fused_conv,
    "NhwcMaxPool": nhwc_max_pool,
    "QAttention": quantized_attention,
    "QEmbedLayerNormalization": quantized_embed,
    "QGemm": q_gemm,
    "QLinearAdd": q_binary("QLinearAdd"),
    "QLinearConcat": q_concat,
    "QLinearGlobalAveragePool": q_unary("QLinearGlobalAveragePool"),
    "QLinearLeakyRelu": q_unary("QLinearLeakyRelu", alpha=0.2),
    "QLinearMul": q_binary("QLinearMul"),
    "QLinearSigmoid": q_unary("QLinearSigmoid"),
    "QLinearSoftmax": q_unary("QLinearSoftmax"),
    "QLinearWhere": q_where,
    "QMoE": quantized_mixture,
    "QuickGelu": activation("QuickGelu", None),
    "RotaryEmbedding": rotary,
    "SimplifiedLayerNormalization": rms_norm,
    "SkipLayerNormalization": skip_layer_norm,
    "SkipSimplifiedLayerNormalization": skip_rms_norm,
    "Tokenizer": tokenizer,
    "TransposeMatMul": fused_matmul("TransposeMatMul"),
}
