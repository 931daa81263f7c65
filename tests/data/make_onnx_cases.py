"""Writes the conformance cases in tests/data/onnx-cases: control flow, functions and sequences beyond
those of the onnx project. Expected outputs come from onnxruntime, or from onnx's reference evaluator where
onnxruntime does not take a model. Needs the Python packages onnx 1.22, onnxruntime and numpy."""
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

onnxruntime.set_default_logger_severity(4)
OUT = pathlib.Path(__file__).parent / "onnx-cases"

HEAD = '<ir_version: 10, opset_import: ["" : %d, "local" : 1]>\n'


def data_proto(array, name):
    if isinstance(array, list):
        return numpy_helper.from_list(array, name)
    return numpy_helper.from_array(np.asarray(array), name)


def expected(model, inputs):
    """onnxruntime's answer; the reference evaluator's where that does not take the model."""
    try:
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    except Exception:
        return ReferenceEvaluator(model).run(None, inputs)


def save(name, model, *data_sets):
    """A folder with the model and one data set per dict of inputs."""
    folder = OUT / name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for number, inputs in enumerate(data_sets):
        outputs = expected(model, inputs)
        target = folder / f"test_data_set_{number}"
        target.mkdir()
        for kind, values, ports in (("input", [inputs[i.name] for i in model.graph.input],
                                     model.graph.input), ("output", outputs, model.graph.output)):
            for i, (array, port) in enumerate(zip(values, ports, strict=True)):
                proto = data_proto(array, port.name)
                (target / f"{kind}_{i}.pb").write_bytes(proto.SerializeToString())


def text(body, opset=20):
    return parser.parse_model(HEAD % opset + body)


def floats(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def functions():
    save("function_attributes", text("""
        main (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) {
          y = local.scaled <alpha = 3.0> (x)
          z = local.scaled (x)
        }
        <domain: "local", opset_import: ["" : 20]>
        scaled <alpha: float = 0.5, other: int = 1> (a) => (b) {
          c = Constant <value_float: float = @alpha> ()
          b = Mul (a, c)
        }"""), {"x": floats(2, 4)}, {"x": floats(0, 4)})
    save("function_nested", text("""
        main (float[N, 4] x) => (float[N, 4] y) {
          t = local.outer <factor = 2.0, axis = 1> (x)
          y = local.outer <factor = -1.0, axis = 0> (t)
        }
        <domain: "local", opset_import: ["" : 20, "local" : 1]>
        outer <factor, axis> (a) => (b) {
          t = local.inner <f: float = @factor> (a)
          u = local.inner <f = 10.0> (t)
          s = Softmax <axis: int = @axis> (u)
          b = Add (s, a)
        }
        <domain: "local", opset_import: ["" : 20]>
        inner <f> (t) => (u) {
          s = Constant <value_float: float = @f> ()
          u = Mul (t, s)
        }"""), {"x": floats(3, 4)})
    # The function is written for an opset of its own: axes are an attribute there.
    save("function_opset", text("""
        main (float[N, 1, 4] x) => (float[N] y) {
          y = local.flat (x)
        }
        <domain: "local", opset_import: ["" : 11]>
        flat (a) => (b) {
          t = Squeeze <axes = [1]> (a)
          b = ReduceSum <axes = [1], keepdims = 0> (t)
        }""", opset=13), {"x": floats(3, 1, 4)})
    save("function_subgraph", text("""
        main (float[N] x, bool flag) => (float[N] y) {
          y = local.choose <low = -0.5> (flag, x)
        }
        <domain: "local", opset_import: ["" : 20]>
        choose <low> (c, a) => (b) {
          b = If (c) <
            then_branch = g () => (t) { t = Relu (a) },
            else_branch = h () => (e) {
              l = Constant <value_float: float = @low> ()
              e = Max (a, l)
            }>
        }"""), {"x": floats(5), "flag": np.array(True)}, {"x": floats(5), "flag": np.array(False)})
    # An omitted input in the middle, and an output that the caller leaves out.
    save("function_omitted", text("""
        main (float[N] x, float limit) => (float[N] z) {
          "", z = local.bounded (x, "", limit)
        }
        <domain: "local", opset_import: ["" : 20]>
        bounded (a, low, high) => (b, b2) {
          b = Clip (a, low, high)
          b2 = Neg (b)
        }"""), {"x": floats(5), "limit": np.array(0.25, np.float32)})
    overloads = text("""
        main (float[N] x) => (float[N] y) {
          t = local.f (x)
          y = local.f (t)
        }
        <domain: "local", opset_import: ["" : 20]>
        f (a) => (b) { b = Add (a, a) }
        <domain: "local", overload: "square", opset_import: ["" : 20]>
        f (a) => (b) { b = Mul (a, a) }""")
    overloads.graph.node[1].overload = "square"
    save("function_overloads", overloads, {"x": floats(5)})


def branches():
    save("if_nested_captures", text("""
        main (float[N, 4] x, bool[1] a, bool b) => (float[M, 4] y) {
          twice = Add (x, x)
          y = If (a) <
            then_branch = g () => (t) {
              s = Mul (twice, x)
              t = If (b) <
                then_branch = g2 () => (u) { u = Concat <axis = 0> (s, twice, x) },
                else_branch = h2 () => (v) { v = Neg (x) }>
            },
            else_branch = h () => (e) {
              zero = Constant <value = int64[1] {0}> ()
              e = Slice (x, zero, zero, zero)
            }>
        }"""), *[{"x": floats(2, 4), "a": np.array([a]), "b": np.array(b)}
                 for a in (True, False) for b in (True, False)])
    # The branch that is not taken holds an operator that nobody has.
    model = text("""
        main (float[N] x) => (float[N] y) {
          c = Constant <value = bool {1}> ()
          w = Constant <value = float {2}> ()
          t = If (c) <
            then_branch = g () => (u) { u = Mul (x, w) },
            else_branch = h () => (v) { v = Abs (x) }>
          y = Add (t, x)
        }""")
    save("if_constant", model, {"x": floats(3)})


def loops():
    save("loop_growing", text("""
        main (int64 trips, float[N] x) => (float[M] last, float[T, 1] sums) {
          true = Constant <value = bool {1}> ()
          last, sums = Loop (trips, true, x) <
            body = g (int64 i, bool c, float[A] carried) => (bool c2, float[B] next, float[1] sum) {
              c2 = Identity (c)
              f = Cast <to = 1> (i)
              scaled = Add (x, f)
              next = Concat <axis = 0> (carried, scaled)
              sum = ReduceSum <keepdims = 1> (next)
            }>
        }"""), *[{"trips": np.array(trips), "x": floats(n)}
                 for trips, n in ((3, 2), (1, 4), (2, 0), (0, 3))])
    save("loop_until", text("""
        main (float x, float limit) => (float y, float[T] seen) {
          true = Constant <value = bool {1}> ()
          y, seen = Loop ("", true, x) <
            body = g (int64 i, bool c, float v) => (bool go, float next, float row) {
              next = Add (v, v)
              row = Identity (v)
              go = Less (next, limit)
            }>
        }"""), {"x": np.array(1, np.float32), "limit": np.array(100, np.float32)},
        {"x": np.array(7, np.float32), "limit": np.array(1, np.float32)})
    save("loop_in_loop", text("""
        main (int64 n, int64 m, float[N] x) => (float[N] y, float[T, S, N] table) {
          true = Constant <value = bool {1}> ()
          y, table = Loop (n, true, x) <
            body = outer (int64 i, bool c, float[N] v) => (bool c2, float[N] v2, float[S, N] rows) {
              c2 = Identity (c)
              fi = Cast <to = 1> (i)
              v2, rows = Loop (m, c, v) <
                body = inner (int64 j, bool d, float[N] w) => (bool d2, float[N] w2, float[N] row) {
                  d2 = Identity (d)
                  fj = Cast <to = 1> (j)
                  s = Mul (fi, fj)
                  t = Add (w, s)
                  w2 = Mul (t, x)
                  row = Add (w2, v)
                }>
            }>
        }"""), {"n": np.array(3), "m": np.array(2), "x": floats(3)})
    save("loop_sequence", text("""
        main (float[N, 2] x, int64 trips) => (float[M, 2] joined, int64 length) {
          true = Constant <value = bool {1}> ()
          empty = SequenceEmpty <dtype = 1> ()
          filled = Loop (trips, true, empty) <
            body = g (int64 i, bool c, seq(float[A, 2]) s) => (bool c2, seq(float[A, 2]) s2) {
              c2 = Identity (c)
              f = Cast <to = 1> (i)
              row = Add (x, f)
              s2 = SequenceInsert (s, row)
            }>
          joined = ConcatFromSequence <axis = 0> (filled)
          length = SequenceLength (filled)
        }"""), {"x": floats(3, 2), "trips": np.array(3)})


def scans():
    save("scan_directions", text("""
        main (float[2] s, float[2, T] x, float[T, 2] z) => (float[2] last, float[2, T] sums, float[T, 2] back) {
          last, sums, back = Scan <num_scan_inputs = 2, scan_input_axes = [1, 0],
              scan_input_directions = [1, 0], scan_output_axes = [-1, 0],
              scan_output_directions = [0, 1],
            body = g (float[2] a, float[2] b, float[2] c) => (float[2] a2, float[2] o, float[2] p) {
              t = Mul (b, c)
              a2 = Add (a, t)
              o = Sub (a2, s)
              p = Identity (b)
            }> (s, x, z)
        }"""), {"s": floats(2), "x": floats(2, 5, seed=2), "z": floats(5, 2, seed=3)})
    save("scan_without_state", text("""
        main (float[T, 3] x, float[3] w) => (float[T] y) {
          y = Scan <num_scan_inputs = 1,
            body = g (float[3] row) => (float o) {
              p = Mul (row, w)
              o = ReduceSum <keepdims = 0> (p)
            }> (x)
        }"""), {"x": floats(4, 3), "w": floats(3, seed=2)})


def sparse():
    """As initializer and in Constant nodes, with one index per value and with one per axis."""
    def tensor(name, dtype, values, indices, shape):
        lists = np.array(indices, np.int64)
        return helper.make_sparse_tensor(
            helper.make_tensor(name, dtype, [len(values)], values),
            helper.make_tensor("", onnx.TensorProto.INT64, lists.shape, lists.ravel()), shape)

    weight = tensor("weight", onnx.TensorProto.FLOAT, [1.5, -2, 4], [0, 5, 11], [4, 3])
    shift = tensor("", onnx.TensorProto.FLOAT, [10, 20], [[0, 1], [1, 2]], [2, 3])
    words = tensor("", onnx.TensorProto.STRING, [b"a", b"b"], [1, 2], [2, 2])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["t"]),
         helper.make_node("Constant", [], ["shift"], sparse_value=shift),
         helper.make_node("Constant", [], ["words"], sparse_value=words),
         helper.make_node("Add", ["t", "shift"], ["y"])], "sparse",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3]),
         helper.make_tensor_value_info("words", onnx.TensorProto.STRING, [2, 2])],
        sparse_initializer=[weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    dense = np.zeros((4, 3), np.float32)
    dense.flat[[0, 5, 11]] = [1.5, -2, 4]
    x = floats(2, 4)
    y = x @ dense + np.array([[0, 10, 0], [0, 0, 20]], np.float32)
    folder = OUT / "sparse"
    (folder / "test_data_set_0").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for name, array in (("input_0", x), ("output_0", y),
                        ("output_1", np.array([["", "a"], ["b", ""]], object))):
        (folder / "test_data_set_0" / f"{name}.pb").write_bytes(
            numpy_helper.from_array(array).SerializeToString())


shutil.rmtree(OUT, ignore_errors=True)
for make in (functions, branches, loops, scans, sparse):
    make()
