// Derivatives of operators that move elements: dy goes back to where the elements came from.
#include <algorithm>
#include <limits>
#include <numeric>

#include "graph/gradient.h"
#include "kernels/movement/movement.h"

namespace hugot::movement::rule {
namespace {

using G = GradientContext;

Attributes along(int64_t axis) { return {{"axis", axis}}; }
Attributes with(std::string reduction) { return {{"reduction", std::move(reduction)}}; }
Attributes along(int64_t axis, std::string reduction) {
  return {{"axis", axis}, {"reduction", std::move(reduction)}};
}

Term flat(const Term& x) { return reshape(x, x.writer().integers({-1})); }

// The numbers of the elements of x in memory, in the shape of x.
Term numbered(G& g, const Term& x) {
  return reshape(g.op("Range", {0, count_of(x), 1}), shape_of(x));
}

// An axis counted from the front.
int64_t axis_of(G& g, const Term& x, int64_t fallback) {
  return normalize_axis(g.node().get<int64_t>("axis", fallback), x.rank());
}

// Moves the numbers of the elements of x as the node moves the elements, which tells for each
// element of y where it came from, and adds dy up there. `inputs`: those behind x.
void add_where_from(G& g, std::vector<Term> inputs) {
  const Term x = g.x();
  inputs.insert(inputs.begin(), numbered(g, x));
  const Term from = g.writer().repeat(g.node(), inputs);
  const Term sums =
      g.op("ScatterElements", {flat(zeros_like(x)), flat(from), flat(g.dy())}, along(0, "add"));
  g.set(0, reshape_like(sums, x));
}

}  // namespace

// For every operator that only moves elements of input 0.
void Moved(G& g) {
  std::vector<Term> inputs;
  for (int i = 1; i < g.num_inputs(); ++i) {
    const bool index = g.x(i) && is_integer(g.x(i).dtype());
    inputs.push_back(index ? g.x(i) : Term());
  }
  add_where_from(g, std::move(inputs));
}

void DepthToSpace(G& g) {
  const auto mode = g.node().get<std::string>("mode", "DCR");
  if (mode != "DCR") return Moved(g);
  g.set(0, g.op("SpaceToDepth", {g.dy()}, {{"blocksize", g.node().at<int64_t>("blocksize")}}));
}

void SpaceToDepth(G& g) { g.set(0, g.op("DepthToSpace", {g.dy()}, g.node().attributes)); }

// What was cut off at one side is what would be padded there, and the other way.
void CenterCropPad(G& g) {
  Term shape = shape_of(g.x());
  if (g.node().has("axes")) {
    const auto& axes = g.node().at<std::vector<int64_t>>("axes");
    shape = g.op("Gather", {shape, g.writer().integers(axes)});
  }
  g.set(0, g.op("CenterCropPad", {g.dy(), shape}, g.node().attributes));
}

// In version 1 repeats and axis may be of the type of x.
void Tile(G& g) {
  std::vector<Term> inputs;
  for (int i = 1; i < g.num_inputs(); ++i) inputs.push_back(cast_to(g.x(i), DType::kInt64));
  add_where_from(g, std::move(inputs));
}

// The condition may be shorter than the axis, so the numbers are moved and not dy.
void Compress(G& g) { add_where_from(g, {g.x(1)}); }

// Reversing undoes itself.
void ReverseSequence(G& g) { g.set(0, g.writer().repeat(g.node(), {g.dy(), g.x(1)})); }

// What was overwritten has no gradient; an element of the update has that of its place in y.
void TensorScatter(G& g) {
  const Term update = g.x(1);
  g.set(0, g.writer().repeat(g.node(), {g.dy(), zeros_like(update), g.x(2)}));
  if (!g.wants(1)) return;
  // Which element of the update lies at each place: 0 none, i + 1 element i.
  const Term empty =
      g.op("ConstantOfShape", {shape_of(g.x())}, {{"value", Tensor::from<int64_t>({1}, {0})}});
  const Term source = g.writer().repeat(g.node(), {empty, numbered(g, update) + 1, g.x(2)});
  const Term zero = g.op("Pad", {flat(zeros_like(update)), g.writer().integers({1, 0})});
  const Term sums = g.op("ScatterElements", {zero, flat(source), flat(g.dy())}, along(0, "add"));
  const Term dropped = g.op("Slice", {sums, g.writer().integers({1}),
                                      g.writer().integers({std::numeric_limits<int64_t>::max()})});
  g.set(1, reshape_like(dropped, update));
}

// ---------------------------------------------------------------------------------------------
// Whole blocks

void Transpose(G& g) {
  const Attributes& given = g.node().attributes;
  if (!given.contains("perm")) return g.set(0, g.op("Transpose", {g.dy()}));
  const auto perm = permutation(g.node(), g.x().rank());
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) {
    inverse[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  }
  g.set(0, transpose(g.dy(), inverse));
}

void Concat(G& g) {
  const int64_t axis = axis_of(g, g.y(), 1);
  std::vector<Term> lengths;
  for (int i = 0; i < g.num_inputs(); ++i) lengths.push_back(dim_of(g.x(i), axis));
  const auto parts = g.writer().outputs("Split", {g.dy(), g.writer().concat(lengths, 0)},
                                        along(axis), g.num_inputs());
  for (int i = 0; i < g.num_inputs(); ++i) g.set(i, parts[static_cast<size_t>(i)]);
}

void Split(G& g) {
  std::vector<Term> parts;
  for (int i = 0; i < g.num_outputs(); ++i) parts.push_back(g.dy_or_zeros(i));
  g.set(0, g.writer().concat(parts, axis_of(g, g.x(), 0)));
}

void Trilu(G& g) {
  g.set(0, g.op("Trilu", {g.dy(), g.x(1)}, {{"upper", g.node().get<int64_t>("upper", 1)}}));
}

// Steps of 1 take a block: dy is padded with zeros around it.
void Slice(G& g) {
  const bool inputs = g.since_version() >= 10;
  const auto list = [&](int i, std::string_view name) -> Term {
    if (inputs) return g.x(i);
    if (!g.node().has(name)) return {};
    return g.writer().integers(g.node().at<std::vector<int64_t>>(name));
  };
  if (g.x(4)) {
    const auto steps = g.x(4).fact().integers();
    if (!steps || std::count(steps->begin(), steps->end(), 1) != std::ssize(*steps)) {
      return Moved(g);
    }
  }
  const Term starts = cast_to(list(1, "starts"), DType::kInt64);
  Term axes = list(3, "axes");
  const Term x = g.x();
  if (!axes) {
    const auto count = starts.fact().fixed_shape();
    if (!count) return Moved(g);
    std::vector<int64_t> all(static_cast<size_t>(count->size()));
    std::iota(all.begin(), all.end(), 0);
    axes = g.writer().integers(all);
  }
  const Term dims = g.op("Gather", {shape_of(x), axes});
  const Term taken = g.op("Gather", {shape_of(g.y()), axes});
  const Term counted = where(starts < 0, starts + dims, starts);
  const Term before = g.op("Min", {g.op("Max", {counted, 0}), dims});
  const auto known = axes.fact().integers();
  const bool rows =
      x.rank() == 2 && known && known->size() == 1 && normalize_axis(known->front(), 2) == 0;
  if (g.fused() && rows && (x.dtype() == DType::kFloat32 || x.dtype() == DType::kFloat64)) {
    const Term scalar = g.writer().integers({});
    const Term first = reshape(before, scalar), count = reshape(taken, scalar);
    const Term indices = g.op("Range", {first, first + count, 1});
    return g.set(0, g.writer().op("GatherGradient", {x, indices, g.dy()}, {}, "hugot"));
  }
  const Term pads = g.writer().concat({before, dims - before - taken}, 0);
  g.set(0, g.op("Pad", {g.dy(), pads, Term(), axes}));
}

// Taking away is padding with negative numbers.
void Pad(G& g) {
  if (g.node().get<std::string>("mode", "constant") != "constant") return Moved(g);
  const Term pads =
      g.since_version() < 11
          ? g.writer().integers(g.node().at<std::vector<int64_t>>(pads_attribute(g.node())))
          : g.x(1);
  const Term dx = g.op("Pad", {g.dy(), -pads, Term(), g.x(3)});
  g.set(0, dx);
  // The rest of dy belongs to the constant.
  if (g.wants(2)) {
    const auto total = [&](const Term& x) {
      return g.op("ReduceSum", {x}, {{"keepdims", int64_t{0}}});
    };
    g.set(2, reshape_like(total(g.dy()) - total(dx), g.x(2)));
  }
}

// ---------------------------------------------------------------------------------------------
// By index

// Rows of a table (axis 0) go back as blocks. On other axes the indices, in one list, are repeated
// for all elements around them.
void Gather(G& g) {
  const Term table = g.x(0), indices = g.x(1);
  const int64_t axis = axis_of(g, table, 0);
  const DType dtype = table.dtype();
  if (axis == 0 && g.fused() && table.rank() == 2 &&
      (dtype == DType::kFloat32 || dtype == DType::kFloat64)) {
    return g.set(0, g.writer().op("GatherGradient", {table, indices, g.dy()}, {}, "hugot"));
  }
  if (axis == 0) {
    const Term tuples = unsqueeze(indices, {-1});
    return g.set(0, g.op("ScatterND", {zeros_like(table), tuples, g.dy()}, with("add")));
  }
  const int rank = table.rank();
  const Term count = reshape(count_of(indices), g.writer().integers({1}));
  std::vector<Term> shape, ones;
  for (int i = 0; i < rank; ++i) {
    shape.push_back(i == axis ? count : dim_of(table, i));
    ones.push_back(i == axis ? count : g.writer().integers({1}));
  }
  const Term whole = g.writer().concat(shape, 0);
  const Term everywhere = g.op("Expand", {reshape(indices, g.writer().concat(ones, 0)), whole});
  g.set(0, g.op("ScatterElements", {zeros_like(table), everywhere, reshape(g.dy(), whole)},
                along(axis, "add")));
}

void GatherElements(G& g) {
  const int64_t axis = g.node().get<int64_t>("axis", 0);
  g.set(0, g.op("ScatterElements", {zeros_like(g.x(0)), g.x(1), g.dy()}, along(axis, "add")));
}

void GatherND(G& g) {
  if (g.node().get<int64_t>("batch_dims", 0) != 0) return Moved(g);
  g.set(0, g.op("ScatterND", {zeros_like(g.x(0)), g.x(1), g.dy()}, with("add")));
}

// The values take the sums of dy over the places where they are.
void OneHot(G& g) {
  if (!g.wants(2)) return;
  const Term switches = cast_to(g.writer().integers({0, 1}), g.dy().dtype());
  const Term on = g.writer().repeat(g.node(), {g.x(0), g.x(1), switches});
  const auto total = [&](const Term& x) {
    const Term sum = g.op("ReduceSum", {x}, {{"keepdims", int64_t{0}}});
    return unsqueeze(sum, {0});
  };
  g.set(2, g.writer().concat({total(g.dy() * (1 - on)), total(g.dy() * on)}, 0));
}

namespace {

// ScatterElements and ScatterND: y is data, with elements combined with updates; `gather` reads the
// elements of a value of the shape of y that updates meet, `scatter` combines.
template <class Gather, class Scatter>
void scattered(G& g, const Gather& gather, const Scatter& scatter) {
  const std::string reduction = g.node().get<std::string>("reduction", "none");
  const Term data = g.x(0), updates = g.x(2), dy = g.dy();
  if (reduction == "none") {
    g.set(0, scatter(dy, zeros_like(updates), "none"));
    // Of several updates of one element the last has won: that is the one whose number arrives.
    const Term numbers = numbered(g, updates);
    const Term winners = gather(scatter(numbered(g, data), numbers, "none"));
    g.set(2, where(equal(winners, numbers), gather(dy), 0));
  } else if (reduction == "add") {
    g.set(0, dy);
    g.set(2, gather(dy));
  } else if (reduction == "mul") {
    // The product of all factors but one: as in ReduceProd, zeros are counted.
    const Term zero = equal(updates, 0), one_for_zero = where(zero, 1, updates);
    const Term zeros = scatter(zeros_like(data), indicator(zero, data), "add");
    const Term product = scatter(data, one_for_zero, "mul");
    const Term other_zeros = gather(zeros) - indicator(zero, data);
    g.set(0, dy * scatter(zeros_like(data) + 1, updates, "mul"));
    g.set(2, gather(dy) * where(equal(other_zeros, 0), gather(product) / one_for_zero, 0));
  } else {
    // Extremes share.
    const Term kept = equal(data, g.y()), won = equal(updates, gather(g.y()));
    const Term winners = scatter(indicator(kept, data), indicator(won, data), "add");
    const Term share = dy / winners;
    g.set(0, where(kept, share, 0));
    g.set(2, where(won, gather(share), 0));
  }
}

}  // namespace

void ScatterElements(G& g) {
  const int64_t axis = g.node().get<int64_t>("axis", 0);
  scattered(
      g,
      [&](const Term& x) {
        return g.op("GatherElements", {x, g.x(1)}, along(axis));
      },
      [&](const Term& x, const Term& updates, const char* reduction) {
        return g.op("ScatterElements", {x, g.x(1), updates}, along(axis, reduction));
      });
}

void ScatterND(G& g) {
  scattered(
      g,
      [&](const Term& x) {
        return g.op("GatherND", {x, g.x(1)});
      },
      [&](const Term& x, const Term& updates, const char* reduction) {
        return g.op("ScatterND", {x, g.x(1), updates}, with(reduction));
      });
}

}  // namespace hugot::movement::rule
