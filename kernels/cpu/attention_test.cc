#include "kernels/cpu/attention.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;
using testing::random_floats;
using testing::same;

constexpr float kInf = std::numeric_limits<float>::infinity();

// A sequence with its own storage; rows of heads side by side, `gap` floats between rows.
struct Case {
  AttentionArgs args;
  std::vector<float> q, k, v, bias, out;

  Case(int64_t query_length, int64_t key_length, int64_t heads, int64_t kv_heads, int64_t head_dim,
       int64_t value_dim, int64_t gap = 0, uint32_t seed = 1) {
    args.query_length = query_length;
    args.key_length = key_length;
    args.heads = heads;
    args.kv_heads = kv_heads;
    args.head_dim = args.q_head_stride = args.k_head_stride = head_dim;
    args.value_dim = args.v_head_stride = args.out_head_stride = value_dim;
    args.q_stride = heads * head_dim + gap;
    args.k_stride = kv_heads * head_dim + gap;
    args.v_stride = kv_heads * value_dim + gap;
    args.out_stride = heads * value_dim + gap;
    args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    q = fill(query_length, heads * head_dim, args.q_stride, seed);
    k = fill(key_length, kv_heads * head_dim, args.k_stride, seed + 1);
    v = fill(key_length, kv_heads * value_dim, args.v_stride, seed + 2);
    out.assign(static_cast<size_t>(query_length * args.out_stride), 7.0f);
    args.q = q.data();
    args.k = k.data();
    args.v = v.data();
    args.out = out.data();
  }

  // The same values whatever the stride.
  static std::vector<float> fill(int64_t rows, int64_t cols, int64_t stride, uint32_t seed) {
    const std::vector<float> values = random_floats(static_cast<size_t>(rows * cols), seed, 2);
    std::vector<float> result(static_cast<size_t>(rows * stride) + 1, NAN);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(values.begin() + i * cols, cols, result.begin() + i * stride);
    }
    return result;
  }

  void set_bias(bool per_head, bool per_row) {
    args.bias_stride = per_row ? args.key_length : 0;
    args.bias_head_stride = per_head ? args.key_length * (per_row ? args.query_length : 1) : 0;
    bias =
        random_floats(static_cast<size_t>(args.heads * args.query_length * args.key_length), 5, 3);
    args.bias = bias.data();
  }

  void run() {
    std::vector<float> scratch(static_cast<size_t>(attention_scratch(args)));
    attention(args, 0, args.heads, scratch.data());
  }

  float at(int64_t i, int64_t h, int64_t x) const {
    return out[static_cast<size_t>(i * args.out_stride + h * args.out_head_stride + x)];
  }

  bool visible(int64_t i, int64_t j) const {
    const int64_t center = i + args.query_offset;
    return (args.window_left < 0 || j >= center - args.window_left) &&
           (args.window_right < 0 || j <= center + args.window_right);
  }

  std::vector<double> exact_row(int64_t i, int64_t h) const {
    const int64_t g = h / (args.heads / args.kv_heads);
    std::vector<double> scores(static_cast<size_t>(args.key_length), -kInf);
    double max = -kInf;
    for (int64_t j = 0; j < args.key_length; ++j) {
      if (!visible(i, j)) continue;
      double s = 0;
      for (int64_t x = 0; x < args.head_dim; ++x) {
        s += static_cast<double>(args.q[i * args.q_stride + h * args.q_head_stride + x]) *
             args.k[j * args.k_stride + g * args.k_head_stride + x];
      }
      s *= args.scale;
      if (args.softcap != 0) s = args.softcap * std::tanh(s / args.softcap);
      if (args.bias != nullptr) {
        s += args.bias[h * args.bias_head_stride + i * args.bias_stride + j];
      }
      scores[static_cast<size_t>(j)] = s;
      max = std::max(max, s);
    }
    std::vector<double> row(static_cast<size_t>(args.value_dim), 0.0);
    if (max == -kInf) return row;
    double total = 0;
    for (double s : scores) total += std::exp(s - max);
    for (int64_t j = 0; j < args.key_length; ++j) {
      const double p = std::exp(scores[static_cast<size_t>(j)] - max) / total;
      for (int64_t x = 0; x < args.value_dim; ++x) {
        row[static_cast<size_t>(x)] +=
            p * static_cast<double>(args.v[j * args.v_stride + g * args.v_head_stride + x]);
      }
    }
    return row;
  }

  void check() {
    run();
    double worst = 0;
    for (int64_t i = 0; i < args.query_length; ++i) {
      for (int64_t h = 0; h < args.heads; ++h) {
        const std::vector<double> exact = exact_row(i, h);
        for (int64_t x = 0; x < args.value_dim; ++x) {
          const double error = std::abs(at(i, h, x) - exact[static_cast<size_t>(x)]);
          worst = std::max(worst, std::isnan(error) ? kInf : error);
        }
      }
      for (int64_t x = args.heads * args.value_dim; x < args.out_stride; ++x) {
        REQUIRE(at(i, 0, x) == 7.0f);
      }
    }
    CHECK(worst < 5e-6);
  }
};

TEST_CASE("attention against float64") {
  for_each_isa([](const VectorKernels&) {
    for (int64_t length : {1, 2, 5, 6, 7, 16, 17, 33, 100}) {
      for (int64_t dim : {1, 12, 24, 32, 64}) {
        CAPTURE(length);
        CAPTURE(dim);
        Case(length, length, 2, 2, dim, dim, 3).check();
      }
    }
    Case(9, 40, 4, 2, 16, 20).check();    // cross attention, grouped keys, other value size
    Case(1, 70, 3, 1, 128, 128).check();  // one query
    Case(700, 700, 1, 1, 8, 8).check();   // several blocks of queries
    Case(3, 0, 1, 1, 8, 8).check();       // nothing to see
    Case(2000, 0, 1, 1, 8, 8).check();
    Case(2000, 1, 1, 1, 8, 8).check();
  });
}

TEST_CASE("attention with bias, soft cap, windows") {
  for_each_isa([](const VectorKernels&) {
    for (const bool per_head : {false, true}) {
      for (const bool per_row : {false, true}) {
        for (const int64_t keys : {1, 4, 9, 16, 20, 35}) {
          CAPTURE(keys);
          Case c(21, keys, 2, 1, 16, 16);
          c.set_bias(per_head, per_row);
          c.check();
          c.args.softcap = 1.5f;
          c.check();
        }
      }
    }
    for (const int64_t length : {1, 7, 50, 300}) {
      CAPTURE(length);
      Case causal(length, length, 2, 2, 32, 32);
      causal.args.window_right = 0;
      causal.check();
      causal.args.window_left = 20;  // causal with a sliding window
      causal.check();
      Case decode(3, length + 3, 2, 2, 32, 32);  // three new tokens after `length` old ones
      decode.args.window_right = 0;
      decode.args.query_offset = length;
      decode.check();
      Case far(5, length, 1, 1, 8, 8);  // no query sees any key
      far.args.query_offset = length + 100;
      far.args.window_left = 4;
      far.check();
    }
  });
}

TEST_CASE("rows that are masked completely give zeros, NaN stays NaN") {
  for_each_isa([](const VectorKernels&) {
    Case c(9, 30, 1, 1, 8, 8);
    c.set_bias(false, true);
    std::fill_n(c.bias.begin() + 4 * 30, 30, -kInf);
    std::fill_n(c.bias.begin() + 5 * 30, 29, -kInf);
    c.check();
    CHECK(c.at(4, 0, 3) == 0);
    CHECK(c.at(5, 0, 3) == c.v[29 * 8 + 3]);
    c.q[6 * 8] = NAN;
    c.run();
    CHECK(std::isnan(c.at(6, 0, 0)));
    CHECK(!std::isnan(c.at(7, 0, 0)));
  });
}

TEST_CASE("a masked row among short ones") {
  for_each_isa([](const VectorKernels&) {
    for (const int64_t keys : {3, 7, 14}) {
      CAPTURE(keys);
      Case c(9, keys, 1, 1, 8, 8);
      c.set_bias(false, true);
      std::fill_n(c.bias.begin() + 5 * keys, keys, -kInf);
      c.check();
    }
  });
}

TEST_CASE("attention does not depend on strides, heads or the split of the work") {
  for_each_isa([](const VectorKernels&) {
    for (const int64_t length : {1, 6, 19, 150}) {
      CAPTURE(length);
      Case tight(length, length, 4, 2, 24, 24, 0), wide(length, length, 4, 2, 24, 24, 13);
      tight.run();
      std::vector<float> scratch(static_cast<size_t>(attention_scratch(wide.args)) + 1);
      attention(wide.args, 1, 4, scratch.data() + 1);
      attention(wide.args, 0, 1, scratch.data());
      for (int64_t i = 0; i < length; ++i) {
        REQUIRE(same(&tight.out[static_cast<size_t>(i * tight.args.out_stride)],
                     &wide.out[static_cast<size_t>(i * wide.args.out_stride)], 4 * 24));
      }
      // A query alone gives the bits that it has among the others.
      Case alone(length, length, 4, 2, 24, 24, 0);
      alone.args.q += (length - 1) * alone.args.q_stride;
      alone.args.query_length = 1;
      alone.run();
      REQUIRE(same(&tight.out[static_cast<size_t>((length - 1) * tight.args.out_stride)],
                   alone.out.data(), 4 * 24));
    }
  });
}

TEST_CASE("attention refuses impossible heads") {
  Case c(2, 2, 3, 2, 4, 4);
  std::vector<float> scratch(static_cast<size_t>(attention_scratch(c.args)));
  CHECK_THROWS_AS(attention(c.args, 0, 3, scratch.data()), Error);
  c.args.kv_heads = 3;
  CHECK_THROWS_AS(attention(c.args, 0, 4, scratch.data()), Error);
}

}  // namespace
}  // namespace hugot::cpu
