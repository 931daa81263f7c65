// Kernel of hugot.RelativeAttention: the terms of a head's bias are made right before its scores,
// in memory that stays in the cache.
#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/sequences.h"
#include "kernels/cpu/gemm.h"

namespace hugot::attention {
namespace {

constexpr int kInputs = 8;
constexpr int kTables[] = {4, 6};  // each is followed by its index

// The tables that are constants, head by head.
class PackedTables final : public Prepared {
 public:
  void add(int input, const Tensor& table, BlockStore& store) {
    const Shape& shape = table.shape();
    const int64_t k = shape[shape.rank() - 2], n = shape.back();
    auto& heads = heads_[static_cast<size_t>(input)];
    for (int64_t head = 0; head < shape.product(0, shape.rank() - 2); ++head) {
      heads.push_back(
          cpu::simd_gemm().pack({table, head * k * n}, k, n, n, /*transposed=*/false, store));
    }
  }
  // Null when the table was no constant.
  const cpu::PackedMatrix* find(int input, int64_t head) const {
    const auto& heads = heads_[static_cast<size_t>(input)];
    return heads.empty() ? nullptr : heads[static_cast<size_t>(head)].get();
  }

  size_t bytes() const override {
    int64_t sum = 0;
    for (const auto& heads : heads_) {
      for (const auto& matrix : heads) sum += matrix->bytes();
    }
    return static_cast<size_t>(sum);
  }
  bool replaces_input(int i) const override {
    return i >= 0 && i < kInputs && !heads_[static_cast<size_t>(i)].empty();
  }

 private:
  std::vector<std::shared_ptr<const cpu::PackedMatrix>> heads_[kInputs];
};

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// One of the two terms, as it is for one sequence.
struct Term {
  int input = 0;                   // of the table
  int64_t positions = 0;           // columns of the table
  float scale = 1;                 // of the term
  const int64_t* index = nullptr;  // [heads or 1, rows, columns]
  int64_t index_head_stride = 0;
  bool transposed = false;  // rows are keys
};

// Checks an index [.., rows, columns] of one sequence.
void set_index(Term& term, const Tensor& index, int64_t heads, int64_t rows, int64_t columns) {
  const Shape& shape = index.shape();
  const int rank = shape.rank();
  const bool matrix = rank >= 2 && shape[rank - 2] == rows && shape.back() == columns;
  const int64_t matrices = matrix ? shape.product(0, rank - 2) : 0;
  require(index.dtype() == DType::kInt64 && (matrices == 1 || matrices == heads),
          ErrorCode::kInvalidArgument, "the index is ", describe(index), " for ", rows,
          " rows and ", columns, " columns");
  const auto values = index.values<int64_t>();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  require(values.empty() || (*low >= -term.positions && *high < term.positions),
          ErrorCode::kInvalidArgument, "an index is outside of ", term.positions, " positions");
  term.index = values.data();
  term.index_head_stride = matrices == 1 ? 0 : rows * columns;
}

// One sequence and what is added to its scores.
struct Sequence {
  cpu::AttentionArgs args;  // bias: what input 3 has
  std::array<Term, 2> terms;
  size_t count = 0;  // of the terms
};

// bias[i, j] += scale * (x_row . table_head)[index[i, j]]; i and j swapped for keys. `products`
// holds a row per x row.
void add_term(const KernelContext& ctx, const cpu::AttentionArgs& args, const Term& term,
              int64_t head, float* products, float* bias) {
  const int64_t rows = term.transposed ? args.key_length : args.query_length;
  const int64_t columns = term.transposed ? args.query_length : args.key_length;
  const float* x =
      term.transposed ? args.k + head * args.k_head_stride : args.q + head * args.q_head_stride;
  const int64_t stride = term.transposed ? args.k_stride : args.q_stride;
  const int64_t n = term.positions;
  const auto* tables = static_cast<const PackedTables*>(ctx.prepared());
  const cpu::PackedMatrix* packed = tables != nullptr ? tables->find(term.input, head) : nullptr;
  if (packed != nullptr) {
    cpu::simd_gemm().run(rows, x, stride, *packed, products, n, {}, nullptr);
  } else {
    const float* table = ctx.input(term.input).data<float>() + head * args.head_dim * n;
    cpu::gemm(rows, n, args.head_dim, x, stride, table, n, false, products, n);
  }
  const int64_t* index = term.index + head * term.index_head_stride;
  const int64_t row_step = term.transposed ? 1 : columns, column_step = term.transposed ? rows : 1;
  for (int64_t row = 0; row < rows; ++row) {
    float* to = bias + row * row_step;
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t at = index[row * columns + column];
      to[column * column_step] += term.scale * products[row * n + (at < 0 ? at + n : at)];
    }
  }
}

// The bias of one head in full, [queries, keys].
void make_bias(const KernelContext& ctx, const Sequence& sequence, int64_t head, float* products,
               float* bias) {
  const cpu::AttentionArgs& args = sequence.args;
  for (int64_t i = 0; i < args.query_length; ++i) {
    float* row = bias + i * args.key_length;
    if (args.bias == nullptr) {
      std::fill_n(row, args.key_length, 0.0f);
    } else {
      std::copy_n(args.bias + head * args.bias_head_stride + i * args.bias_stride, args.key_length,
                  row);
    }
  }
  for (size_t i = 0; i < sequence.count; ++i) {
    add_term(ctx, args, sequence.terms[i], head, products, bias);
  }
}

Term term_of(const KernelContext& ctx, int input, const cpu::AttentionArgs& args) {
  const Tensor& table = ctx.input(input);
  const Shape& shape = table.shape();
  const int rank = shape.rank();
  require(table.dtype() == DType::kFloat32 && rank >= 2 && shape[rank - 2] == args.head_dim &&
              shape.product(0, rank - 2) == args.heads && has(ctx, input + 1),
          ErrorCode::kInvalidArgument, "the table is ", describe(table), " for ", args.heads,
          " heads of size ", args.head_dim);
  Term term;
  term.input = input;
  term.positions = shape.back();
  term.transposed = input == kTables[1];
  term.scale = ctx.node().get<float>(term.transposed ? "key_scale" : "query_scale", 1.0f);
  return term;
}

}  // namespace

std::shared_ptr<const Prepared> prepare_relative(const Node&,
                                                 std::span<const Tensor* const> constants,
                                                 BlockStore& store) {
  auto tables = std::make_shared<PackedTables>();
  for (const int input : kTables) {
    const auto i = static_cast<size_t>(input);
    const Tensor* table = i < constants.size() ? constants[i] : nullptr;
    if (table != nullptr && table->dtype() == DType::kFloat32 && table->rank() >= 2) {
      tables->add(input, *table, store);
    }
  }
  return tables;
}

void relative(KernelContext& ctx) {
  const cpu::AttentionArgs common = common_args(ctx);
  require(common.heads == common.kv_heads, ErrorCode::kUnsupported,
          "heads that share keys are not supported");
  const Shape& q = ctx.input(0).shape();
  const auto segments = ctx.segments();
  const int64_t count = segments.empty() ? q[0] : static_cast<int64_t>(segments.size()) - 1;
  float* out = ctx.output(0, DType::kFloat32, {q[0], q[1], common.out_stride}).data<float>();

  Sequence first = {common, {}};
  int64_t positions = 0;
  for (const int input : kTables) {
    if (!has(ctx, input)) continue;
    first.terms[first.count] = term_of(ctx, input, common);
    positions = std::max(positions, first.terms[first.count++].positions);
  }
  // input_of_segment() may reuse its result, so the sequences are looked up before threads begin.
  thread_local std::vector<Sequence> kept;  // its memory serves the next call, too
  std::vector<Sequence>& sequences = kept;
  sequences.clear();
  std::vector<Tensor> spreads;
  int64_t scratch = 0, scores = 0, products = 0;
  for (int64_t i = 0; i < count; ++i) {
    Sequence& sequence = sequences.emplace_back(first);
    cpu::AttentionArgs& args = sequence.args;
    place(ctx, i, args);
    args.out = out;
    out += args.query_length * args.out_stride;
    Tensor spread;
    set_bias(ctx, i, args, spread);
    if (spread.defined()) spreads.push_back(std::move(spread));
    for (Term& term : std::span(sequence.terms).first(sequence.count)) {
      const Tensor index = segments.empty()
                               ? ctx.input(term.input + 1)
                               : ctx.input_of_segment(term.input + 1, static_cast<size_t>(i));
      const int64_t rows = term.transposed ? args.key_length : args.query_length;
      set_index(term, index, args.heads, rows,
                term.transposed ? args.query_length : args.key_length);
      products = std::max(products, rows * positions);
    }
    scores = std::max(scores, args.query_length * args.key_length);
    scratch = std::max(scratch, cpu::attention_scratch(args));
  }
  const auto aligned = [](int64_t floats) { return (floats + 15) / 16 * 16; };
  const int64_t own = aligned(scratch) + aligned(scores) + aligned(products);
  const int workers = ctx.pool() == nullptr ? 1 : ctx.pool()->size();
  float* memory = ctx.scratch_of<float>(own * workers);
  const auto run = [&](int64_t begin, int64_t end, int worker) {
    float* attention_memory = memory + worker * own;
    float* bias = attention_memory + aligned(scratch);
    for (int64_t task = begin; task < end; ++task) {
      const Sequence& sequence = sequences[static_cast<size_t>(task / common.heads)];
      const int64_t head = task % common.heads;
      make_bias(ctx, sequence, head, bias + aligned(scores), bias);
      cpu::AttentionArgs args = sequence.args;
      args.bias = bias;
      args.bias_head_stride = 0;
      args.bias_stride = args.key_length;
      cpu::attention(args, head, head + 1, attention_memory);
    }
  };
  if (ctx.pool() == nullptr) {
    run(0, count * common.heads, 0);
  } else {
    ctx.pool()->parallel_for_workers(count * common.heads, 1, run);
  }
}

}  // namespace hugot::attention
