#include "kernels/matmul/einsum.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "graph/exec/ragged.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "tests/graph_builder.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

// Walks over all indices of all letters. The equation has "->" and neither ellipsis nor spaces.
// Sums in float64, or in uint64, which wraps as every integer type does.
template <class Sum>
Tensor contracted(const std::string& equation, const std::vector<Tensor>& inputs) {
  const size_t arrow = equation.find("->");
  std::vector<std::string> terms = {""};
  for (const char c : equation.substr(0, arrow)) {
    if (c == ',') {
      terms.emplace_back();
    } else {
      terms.back() += c;
    }
  }
  const std::string result = equation.substr(arrow + 2);
  std::map<char, int64_t> lengths;
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (size_t axis = 0; axis < terms[i].size(); ++axis) {
      int64_t& length = lengths.try_emplace(terms[i][axis], 1).first->second;
      const int64_t own = inputs[i].shape()[static_cast<int>(axis)];
      if (own != 1) length = own;
    }
  }
  std::vector<std::pair<char, int64_t>> letters(lengths.begin(), lengths.end());
  int64_t points = 1;
  for (const auto& entry : letters) points *= entry.second;
  std::vector<int64_t> dims;
  for (const char c : result) dims.push_back(lengths[c]);
  const Shape shape{std::span<const int64_t>(dims)};
  std::vector<Sum> sums(static_cast<size_t>(std::max<int64_t>(shape.size(), 1)), 0);
  std::map<char, int64_t> index;
  const auto offset = [&](const std::string& term, const Shape& own) {
    int64_t at = 0;
    for (size_t axis = 0; axis < term.size(); ++axis) {
      const int64_t length = own[static_cast<int>(axis)];
      at = at * length + (length == 1 ? 0 : index[term[axis]]);
    }
    return at;
  };
  const DType dtype = inputs[0].dtype();
  Tensor y(dtype, shape);
  dispatch(NumberTypes{}, dtype, [&]<class T>() {
    for (int64_t point = 0; point < points; ++point) {
      int64_t rest = point;
      for (const auto& entry : letters) {
        index[entry.first] = rest % entry.second;
        rest /= entry.second;
      }
      Sum product = 1;
      for (size_t i = 0; i < inputs.size(); ++i) {
        product *= convert<Sum>(inputs[i].data<T>()[offset(terms[i], inputs[i].shape())]);
      }
      sums[static_cast<size_t>(offset(result, shape))] += product;
    }
    for (int64_t i = 0; i < y.size(); ++i) {
      y.data<T>()[i] = convert<T>(sums[static_cast<size_t>(i)]);
    }
  });
  return y;
}

Tensor reference(const std::string& equation, const std::vector<Tensor>& inputs) {
  return is_float(inputs[0].dtype()) ? contracted<double>(equation, inputs)
                                     : contracted<uint64_t>(equation, inputs);
}

Attributes equation(const std::string& text) { return {{"equation", text}}; }

struct Form {
  std::string equation;
  std::vector<Shape> shapes;
  std::string plain = "";  // for the reference, when the equation has more than letters
};

// What occurs in models, and every kind of label: in both operands or one, kept or summed.
const std::vector<Form>& forms() {
  static const std::vector<Form> all = {
      {"ij,jk->ik", {{3, 4}, {4, 5}}},
      {"ij,kj->ik", {{3, 4}, {5, 4}}},
      {"ij,jk->ki", {{3, 4}, {4, 5}}},
      {"ji,jk->ik", {{4, 3}, {4, 5}}},
      {"bhqd,bhkd->bhqk", {{2, 3, 4, 5}, {2, 3, 6, 5}}},
      {"bqhd,bkhd->bhqk", {{2, 4, 3, 5}, {2, 6, 3, 5}}},
      {"bhqk,bkhd->bqhd", {{2, 3, 4, 6}, {2, 6, 3, 5}}},
      {"ibnd,jbnd->bnij", {{3, 2, 4, 5}, {6, 2, 4, 5}}},
      {"ibh,hnd->ibnd", {{3, 2, 8}, {8, 2, 4}}},
      {"bld,de->ble", {{2, 3, 17}, {17, 33}}},
      {"bnij->ijbn", {{2, 3, 4, 5}}},
      {"i,i->", {{7}, {7}}},
      {"bi,bi->b", {{5, 7}, {5, 7}}},
      {"i,j->ij", {{3}, {4}}},
      {"i,j->ji", {{3}, {4}}},
      {"bi,bj->bij", {{2, 3}, {2, 4}}},
      {"bi,b->bi", {{2, 3}, {2}}},
      {"b,bi->ib", {{2}, {2, 3}}},
      {"ij,ij->ij", {{3, 4}, {3, 4}}},
      {"ij,ji->ij", {{3, 4}, {4, 3}}},
      {"ij->", {{3, 4}}},
      {"ij->j", {{3, 4}}},
      {"ijk->ki", {{3, 4, 5}}},
      {"ij,k->k", {{3, 4}, {5}}},
      {"ij,jk->", {{3, 4}, {4, 5}}},
      {"ii->i", {{4, 4}}},
      {"ii->", {{4, 4}}},
      {"iij->ji", {{3, 3, 4}}},
      {"iijj->ij", {{3, 3, 2, 2}}},
      {"iii,ij->j", {{3, 3, 3}, {3, 4}}},
      {"ii,jj->ij", {{3, 3}, {2, 2}}},
      {"ab,bc,cd->ad", {{2, 3}, {3, 4}, {4, 5}}},
      {"i,j,ij->", {{3}, {4}, {3, 4}}},
      {"ik,jk,kl->ijl", {{2, 3}, {4, 3}, {3, 5}}},
      {"ij,ij,ij->ij", {{2, 3}, {2, 3}, {2, 3}}},
      {"a,b,c,d,abcd->", {{2}, {3}, {2}, {3}, {2, 3, 2, 3}}},
      {"a,a,a,a,a->a", {{3}, {3}, {3}, {3}, {3}}},
      {"->", {{}}},
      {",->", {{}, {}}},
      {",ij->ji", {{}, {2, 3}}},
      {"Aa,aB->BA", {{2, 3}, {3, 4}}},
      // Length 1 meets every length.
      {"ij,jk->ik", {{3, 1}, {4, 5}}},
      {"bij,bjk->bik", {{1, 3, 4}, {2, 4, 5}}},
      {"ij,ij->ij", {{3, 1}, {1, 4}}},
      {"ij,ij->", {{3, 1}, {1, 4}}},
      {"ii,i->i", {{1, 1}, {3}}},
      {"ij,jk->ik", {{1, 1}, {1, 1}}},
      // Nothing.
      {"ij,jk->ik", {{3, 0}, {0, 5}}},
      {"ij,jk->ik", {{0, 4}, {4, 5}}},
      {"ij->i", {{2, 0}}},
      // The result is implied.
      {"ij,jk", {{3, 4}, {4, 5}}, "ij,jk->ik"},
      {"ba", {{3, 4}}, "ba->ab"},
      {"aB", {{3, 4}}, "aB->Ba"},
      {"ii", {{3, 3}}, "ii->"},
      {"ij,ij", {{3, 4}, {3, 4}}, "ij,ij->"},
      {"j...i", {{2, 3, 4}}, "jxi->xij"},
      // Ellipses.
      {"...ij,...jk->...ik", {{2, 3, 4, 5}, {2, 3, 5, 6}}, "xyij,xyjk->xyik"},
      {"...ij,...jk->...ik", {{2, 3, 4, 5}, {3, 5, 6}}, "xyij,yjk->xyik"},
      {"...ij,...jk->...ik", {{4, 5}, {2, 5, 6}}, "ij,xjk->xik"},
      {"...ij,...jk->...ik", {{4, 5}, {5, 6}}, "ij,jk->ik"},
      {"...ij,...jk", {{1, 3, 4, 5}, {2, 1, 5, 6}}, "xyij,xyjk->xyik"},
      {"...,...->...", {{2, 3}, {3}}, "xy,y->xy"},
      {"i...,i...->...i", {{2, 3, 4}, {2, 4}}, "ixy,iy->xyi"},
      {"b...d,bd->b...", {{2, 3, 4, 5}, {2, 5}}, "bxyd,bd->bxy"},
      {"...i->i", {{2, 3, 4}}, "xyi->i"},
      {"...ii->...i", {{2, 3, 3}}, "xii->xi"},
      {"...->...", {{}}, "->"},
      {" i j , j k -> i k ", {{3, 4}, {4, 5}}, "ij,jk->ik"},
  };
  return all;
}

}  // namespace

TEST_CASE("Einsum agrees with its definition for every form and type") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                            DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64,
                            DType::kUInt8, DType::kUInt16, DType::kUInt32, DType::kUInt64}) {
    uint64_t seed = 0;
    for (const Form& form : forms()) {
      Case test{.name = str(form.equation, " ", dtype_name(dtype)),
                .op_type = "Einsum",
                .inputs = {},
                .attributes = equation(form.equation)};
      for (const Shape& shape : form.shapes) {
        const double reach = is_float(dtype) ? 1 : 100;  // products wrap in the narrow types
        const double low = is_float(dtype) || dtype_name(dtype)[0] == 'i' ? -reach : 0;
        test.inputs.push_back(random_tensor(dtype, shape, low, reach, ++seed));
      }
      test.expected = {reference(form.plain.empty() ? form.equation : form.plain, test.inputs)};
      // The error is relative to the sum of the products' sizes, not to what cancellation leaves.
      test.tolerance = default_tolerance(dtype);
      test.tolerance->absolute *= 10;
      run_cases(std::span<const Case>(&test, 1));
    }
  }
}

TEST_CASE("Einsum of large operands") {
  const auto floats = [](const Shape& shape, uint64_t seed) {
    return random_tensor(DType::kFloat32, shape, -1, 1, seed);
  };
  for (const Form& form : std::vector<Form>{
           {"ij,kj->ik", {{70, 67}, {131, 67}}},
           {"bqhd,bkhd->bhqk", {{3, 17, 4, 33}, {3, 19, 4, 33}}},
           {"ijk->i", {{5, 70, 130}}},
           {"ij,ij->ji", {{130, 70}, {130, 70}}},
           {"bi,bi->b", {{300, 40}, {300, 40}}},
           {"ij->j", {{70, 130}}},
           {"ij->i", {{70, 130}}},
           {"ijk->jk", {{21, 5, 33}}},
       }) {
    Case test{.name = form.equation,
              .op_type = "Einsum",
              .inputs = {},
              .attributes = equation(form.equation),
              .tolerance = Tolerance{2e-6, 1e-4}};
    for (const Shape& shape : form.shapes) {
      test.inputs.push_back(floats(shape, 7 + test.inputs.size()));
    }
    test.expected = {reference(form.equation, test.inputs)};
    run_cases(std::span<const Case>(&test, 1));
  }
}

TEST_CASE("Einsum refuses what is no equation and operands that do not fit") {
  const Tensor x = random_tensor(DType::kFloat32, {2, 3}, -1, 1, 1);
  const auto bad = [&](const std::string& text, std::vector<Tensor> inputs) {
    return Case{.name = text,
                .op_type = "Einsum",
                .inputs = std::move(inputs),
                .attributes = equation(text),
                .error = ErrorCode::kInvalidArgument};
  };
  const Tensor wide(DType::kFloat32, {1, 1, 1, 1, 1, 1, 1});
  run_cases({
      bad("ij,jk->ik", {x}),
      bad("ij->ij", {x, x}),
      bad("ij->ii", {x}),
      bad("ij->ik", {x}),
      bad("ij->i->j", {x}),
      bad("i->i", {x}),
      bad("ijk->i", {x}),
      bad("ijk...->i", {x}),
      bad("ii->i", {x}),
      bad("ij,jk->ik", {x, x}),
      bad("ij,ij->ij", {x, Tensor(DType::kFloat32, {2, 2})}),
      bad("i,i->", {Tensor(DType::kFloat32, {0}), Tensor(DType::kFloat32, {2})}),
      bad("...i...->i", {x}),
      bad("i..j->ij", {x}),
      bad("i.j", {x}),
      bad("i1->i", {x}),
      bad("i-j", {x}),
      bad("ij,", {x}),
      bad("\xc3\xa4j->j", {x}),
      bad("ij,jk->ik", {x, Tensor(DType::kFloat64, {3, 2})}),
      {.name = "a result of rank 14",
       .op_type = "Einsum",
       .inputs = {wide, wide},
       .attributes = equation("abcdefg,hijklmn->abcdefghijklmn"),
       .error = ErrorCode::kUnsupported},
      {.name = "no equation", .op_type = "Einsum", .inputs = {x}, .error = ErrorCode::kInvalidData},
      {.name = "strings",
       .op_type = "Einsum",
       .inputs = {Tensor(DType::kString, {2})},
       .attributes = equation("i->i"),
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("Einsum's labels") {
  const matmul::Equation equation = matmul::parse_equation("bA...c, ...d -> ...bd");
  REQUIRE(equation.operands.size() == 2);
  const int ranks[] = {5, 2};
  const matmul::LabelledAxes axes = matmul::label_axes(equation, ranks);
  CHECK(axes.operands[0] == matmul::Labels{1, 26, 53, 52, 2});
  CHECK(axes.operands[1] == matmul::Labels{52, 3});
  CHECK(axes.result == matmul::Labels{53, 52, 1, 3});
}

// Where the letter of the token axis tells that tokens do not mix, texts run joined.
TEST_CASE("a packed Einsum gives each text the bits that it has alone") {
  GraphBuilder b(21);
  const ValueId ids = b.graph.add_input("ids", Fact::of(DType::kInt64, {1, Dim::symbol("S")}));
  const ValueId words = b.op("Gather", {b.weights({50, 24}, 1), ids});
  const auto einsum = [&](const std::string& text, std::vector<ValueId> inputs) {
    const ValueId y = b.op("Einsum", std::move(inputs), equation(text));
    b.graph.node(b.graph.value(y).producer).name = text;
    return y;
  };
  const ValueId heads = einsum("bsd,dhe->bshe", {words, b.weights({24, 3, 8}, 2)});
  const ValueId squares = einsum("bshe,bshe->bsh", {heads, heads});
  const ValueId tokens = einsum("bsh->bs", {squares});
  const ValueId halves = einsum("bshe->bse", {heads});
  const ValueId scores = einsum("bqhe,bkhe->bhqk", {heads, heads});
  const ValueId mixed = einsum("bhqk,bkhe->bqhe", {scores, heads});
  const ValueId rows = einsum("bshe->be", {mixed});
  const ValueId classes = einsum("be,ec->bc", {rows, b.weights({8, 5}, 3)});
  b.graph.outputs = {tokens, halves, mixed, classes};
  infer(b.graph);
  const auto plan = RaggedPlan::compile(b.graph, {{.name = "ids"}});

  const std::map<std::string, Batching> expected = {
      {"bsd,dhe->bshe", Batching::kPacked}, {"bshe,bshe->bsh", Batching::kPacked},
      {"bsh->bs", Batching::kPacked},       {"bshe->bse", Batching::kPacked},
      {"bqhe,bkhe->bhqk", Batching::kLoop}, {"bhqk,bkhe->bqhe", Batching::kLoop},
      {"bshe->be", Batching::kLoop},        {"be,ec->bc", Batching::kRows}};
  int seen = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(plan->graph().node_count()); ++id) {
    const auto rule = expected.find(plan->graph().node(id).name);
    if (rule == expected.end()) continue;
    CAPTURE(rule->first);
    CHECK(plan->batching(id) == rule->second);
    ++seen;
  }
  CHECK(seen == 8);

  RaggedExecutor executor(plan);
  const std::vector<int64_t> lengths = {3, 1, 7, 1, 2};
  std::vector<int64_t> all;
  std::vector<std::vector<float>> alone(4);
  for (const int64_t length : lengths) {
    std::vector<int64_t> text;
    for (int64_t i = 0; i < length; ++i) text.push_back((17 * length + 5 * i) % 50);
    all.insert(all.end(), text.begin(), text.end());
    const std::span<const int64_t> values[] = {text};
    executor.run(std::span<const int64_t>(&length, 1), values);
    for (size_t i = 0; i < alone.size(); ++i) {
      const auto y = executor.output(static_cast<int>(i)).values<float>();
      alone[i].insert(alone[i].end(), y.begin(), y.end());
    }
  }
  const std::span<const int64_t> values[] = {all};
  executor.run(lengths, values);
  for (size_t i = 0; i < alone.size(); ++i) {
    const auto y = executor.output(static_cast<int>(i)).values<float>();
    CHECK(std::vector<float>(y.begin(), y.end()) == alone[i]);
  }
}

}  // namespace hugot::test
