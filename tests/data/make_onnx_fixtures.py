"""Writes the small models in tests/data/onnx. Needs the Python packages onnx 1.22 and numpy."""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).parent / "onnx"


def save(name, graph, opset=17, **fields):
    functions = fields.pop("functions", [])
    imports = [helper.make_opsetid("", opset)] + fields.pop("imports", [])
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions,
                              producer_name="fixtures", **fields)
    (OUT / name).write_bytes(model.SerializeToString())
    return model


def value(name, dtype=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, dtype, shape)


def mlp():
    """Symbolic, fixed and unnamed dimensions, a default input, an omitted input, metadata."""
    rng = np.random.default_rng(1)
    weights = numpy_helper.from_array(rng.standard_normal((4, 8)).astype(np.float32), "weight")
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [8], [i / 8 for i in range(8)])
    constant = helper.make_tensor("", TensorProto.FLOAT, [], [6.0])
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["product"], name="product_node"),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Constant", [], ["limit"], value=constant),
        helper.make_node("Clip", ["sum", "", "limit"], ["y"], name="clip"),
    ]
    graph = helper.make_graph(
        nodes, "mlp",
        [value("x", shape=["batch", 3, None, 4]), value("bias", shape=[8])],
        [value("y", shape=["batch", 3, None, 8])], [weights, bias],
        value_info=[value("product", shape=[1, 2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx", 17),
                                                    helper.make_opsetid("unused.domain", 3)],
                              ir_version=8, producer_name="fixtures", doc_string="a test")
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "hugot"
    (OUT / "mlp.onnx").write_bytes(model.SerializeToString())


def dtypes():
    """Every element type twice: as raw_data (raw_X) and in its typed field (typed_X)."""
    initializers = []

    def pair(name, dtype, count, raw, field, values):
        first = TensorProto(name="raw_" + name, data_type=dtype, dims=[count], raw_data=raw)
        second = TensorProto(name="typed_" + name, data_type=dtype, dims=[count])
        getattr(second, field).extend(values)
        initializers.extend([first, second])

    for name, dtype in [("int8", "i1"), ("uint8", "u1"), ("int16", "i2"), ("uint16", "u2"),
                        ("int32", "i4"), ("int64", "i8"), ("uint32", "u4"), ("uint64", "u8"),
                        ("float32", "f4"), ("float64", "f8"), ("bool", "?")]:
        array = np.array([0, 1, 1, 0, 1] if dtype == "?" else [0, 1, 100, 7, 127]).astype(dtype)
        if dtype[0] == "i":
            array[3] = -5
        field = {"f4": "float_data", "f8": "double_data", "i8": "int64_data", "u4": "uint64_data",
                 "u8": "uint64_data"}.get(dtype, "int32_data")
        number = helper.np_dtype_to_tensor_dtype(array.dtype)
        pair(name, number, 5, array.tobytes(), field,
             array.astype(int).tolist() if dtype == "?" else array.tolist())
    half = np.array([1.5, -2.25, 65504, 6e-8, 0], np.float16)
    pair("float16", TensorProto.FLOAT16, 5, half.tobytes(), "int32_data",
         half.view(np.uint16).tolist())
    brain = (np.array([1.5, -2.25, 3e38, 1e-40, 0], np.float32).view(np.uint32) >> 16).astype("u2")
    pair("bfloat16", TensorProto.BFLOAT16, 5, brain.tobytes(), "int32_data", brain.tolist())
    for name in ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"]:
        pair(name.lower(), getattr(TensorProto, name), 3, bytes([1, 128, 255]), "int32_data",
             [1, 128, 255])
    for name in ["UINT4", "INT4", "FLOAT4E2M1"]:
        pair(name.lower(), getattr(TensorProto, name), 3, bytes([0xF1, 0x07]), "int32_data",
             [0xF1, 0x07])
    for name in ["UINT2", "INT2"]:
        pair(name.lower(), getattr(TensorProto, name), 5, bytes([0xE4, 0x02]), "int32_data",
             [0xE4, 0x02])
    single = np.array([1 + 2j, -3.5j], np.complex64)
    pair("complex64", TensorProto.COMPLEX64, 2, single.tobytes(), "float_data",
         single.view(np.float32).tolist())
    double = np.array([1 + 2j, -3.5j], np.complex128)
    pair("complex128", TensorProto.COMPLEX128, 2, double.tobytes(), "double_data",
         double.view(np.float64).tolist())
    initializers.append(helper.make_tensor("typed_string", TensorProto.STRING, [2],
                                           ["grün".encode(), b""]))
    initializers.append(helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], []))
    initializers.append(helper.make_tensor("scalar", TensorProto.FLOAT, [], [2.5]))
    nodes = [helper.make_node("Identity", [t.name], ["out_" + t.name]) for t in initializers]
    graph = helper.make_graph(nodes, "dtypes", [],
                              [value("out_" + t.name, t.data_type, list(t.dims))
                               for t in initializers], initializers)
    save("dtypes.onnx", graph)


def external():
    """Two weights and a Constant attribute in a file beside the model."""
    data = np.arange(64, dtype=np.float32)
    (OUT / "external.bin").write_bytes(b"\x07" * 64 + data.tobytes() + b"abc")

    def tensor(name, offset, length, dims):
        proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims,
                            data_location=TensorProto.EXTERNAL)
        for key, text in [("location", "external.bin"), ("offset", offset), ("length", length)]:
            proto.external_data.add(key=key, value=str(text))
        return proto

    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor("", 64 + 128, 64, [16])),
        helper.make_node("Add", ["w", "c"], ["s"]),
        helper.make_node("Add", ["s", "v"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "external", [], [value("y", shape=[16])],
                              [tensor("w", 64, 64, [16]), tensor("v", 128, 64, [16])])
    save("external.onnx", graph)


def control():
    """An If that reads values of the graph around it, one through two levels."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [2], [1, 2])
    inner_then = helper.make_graph(
        [helper.make_node("Add", ["x", "weight"], ["t"])], "inner_then", [], [value("t")])
    inner_else = helper.make_graph(
        [helper.make_node("Neg", ["early"], ["e"])], "inner_else", [], [value("e")])
    then_branch = helper.make_graph(
        [helper.make_node("If", ["flag"], ["then_out"], then_branch=inner_then,
                          else_branch=inner_else)], "then", [], [value("then_out")])
    else_branch = helper.make_graph(
        [helper.make_node("Mul", ["y0", "weight"], ["else_out"])], "else", [], [value("else_out")])
    nodes = [
        helper.make_node("If", ["flag"], ["result"], name="choice", then_branch=then_branch,
                         else_branch=else_branch),
        # Behind its reader: the order has to be found.
        helper.make_node("Relu", ["x"], ["y0"]),
        helper.make_node("Abs", ["x"], ["early"]),
    ]
    graph = helper.make_graph(nodes, "control",
                              [value("flag", TensorProto.BOOL, []), value("x", shape=[2])],
                              [value("result", shape=[2])], [weight])
    save("control.onnx", graph)


def features():
    """Sparse tensors, a local function, an unknown operator, a sequence output, tied names."""
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [2], [3, 4]),
        helper.make_tensor("", TensorProto.INT64, [2, 2], [0, 1, 2, 0]), [3, 2])
    function = helper.make_function("local", "Twice", ["a"], ["b"],
                                    [helper.make_node("Add", ["a", "a"], ["b"])],
                                    [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Twice", ["sparse"], ["twice"], domain="local"),
        helper.make_node("Mystery", ["twice"], ["m", "", "n"], domain="unknown.domain", level=3),
        helper.make_node("SequenceConstruct", ["m", "twice"], ["s"]),
        helper.make_node("Optional", [], ["o"],
                         type=helper.make_tensor_type_proto(TensorProto.INT64, [1])),
    ]
    graph = helper.make_graph(
        nodes, "features", [],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None), value("n")],
        value_info=[value("m", shape=[3, 2])])
    graph.sparse_initializer.append(sparse)
    save("features.onnx", graph, functions=[function],
         imports=[helper.make_opsetid("local", 1)])


def tensors():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    (OUT / "tensor.pb").write_bytes(numpy_helper.from_array(array, "x").SerializeToString())
    sequence = numpy_helper.from_list([array, array], "s")
    (OUT / "sequence.pb").write_bytes(sequence.SerializeToString())


OUT.mkdir(exist_ok=True)
for make in (mlp, dtypes, external, control, features, tensors):
    make()
