#include "kernels/conv/direct.h"

#include <algorithm>

#include "kernels/compute.h"
#include "kernels/cpu/isa.h"

namespace hugot::conv {
namespace {

// Readable floats behind the last place: more than a vector of any instruction set has.
constexpr int64_t kSlack = 16;
// What the filters pass over before the next steps' turn comes: so much that it stays in the first
// cache level and its pages in the processor's table.
constexpr int64_t kNearFloats = 6 * 1024;
constexpr int64_t kNearPages = 48;
constexpr int64_t kLeastDepth = 96;
constexpr int64_t kTogether = 16;

int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Calls body(filter, rows, at) for the tiles of all groups; `at` counts elements before the tile.
template <class Body>
void for_tiles(int64_t groups, int64_t filters, int64_t steps, const Body& body) {
  for (int64_t group = 0; group < groups; ++group) {
    for (int64_t f = 0; f < filters; f += cpu::kConvRows) {
      const int64_t first = group * filters + f;
      body(first, std::min(cpu::kConvRows, filters - f), first * steps);
    }
  }
}

}  // namespace

void pack_filters(const float* w, int64_t groups, int64_t filters, int64_t steps, float* packed) {
  for_tiles(groups, filters, steps, [&](int64_t first, int64_t rows, int64_t at) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t s = 0; s < steps; ++s) packed[at + s * rows + r] = w[(first + r) * steps + s];
    }
  });
}

void unpack_filters(const float* packed, int64_t groups, int64_t filters, int64_t steps, float* w) {
  for_tiles(groups, filters, steps, [&](int64_t first, int64_t rows, int64_t at) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t s = 0; s < steps; ++s) w[(first + r) * steps + s] = packed[at + s * rows + r];
    }
  });
}

Direct::Direct(const Geometry& geometry) : g_(geometry) {
  const auto rank = static_cast<size_t>(g_.spatial);
  const bool pointwise =
      std::all_of(g_.axes.begin(), g_.axes.begin() + g_.spatial, [](const Axis& a) {
        return a.kernel == 1 && a.stride == 1 && a.before == 0 && a.in == a.out;
      });
  if (pointwise) {
    columns_.in = columns_.out = g_.out_size();
  } else if (rank <= 2) {
    columns_ = g_.axes[rank - 1];
    if (rank == 2) rows_ = g_.axes[0];
  } else {
    return;
  }
  if (g_.channels == 0 || g_.out_size() == 0) return;
  const auto reach = [](const Axis& a) { return (a.kernel - 1) * a.dilation / a.stride; };
  height_ = rows_.out + reach(rows_);
  pitch_ = columns_.out + reach(columns_);
  // Products of two axes do not overflow: each is below 2^31 or as long as the image or the result.
  const int64_t allowed = 8 * (g_.in_size() + g_.out_size()) + 1024;
  if (pitch_ > allowed || height_ > allowed / pitch_ || g_.kernel_size() > allowed) return;
  add_taps();
  fits_ = phases() <= allowed / (height_ * pitch_);
}

void Direct::add_taps() {
  in_place_ = rows_.stride == 1 && columns_.stride == 1 && rows_.before == 0 &&
              columns_.before == 0 && height_ <= rows_.in && pitch_ <= columns_.in;
  if (in_place_) pitch_ = columns_.in;
  const auto index_of = [](std::vector<int64_t>& phases, int64_t phase) {
    const auto found = std::find(phases.begin(), phases.end(), phase);
    const int64_t index = found - phases.begin();
    if (found == phases.end()) phases.push_back(phase);
    return index;
  };
  for (int64_t j = 0; j < columns_.kernel; ++j) {
    index_of(column_phases_, j * columns_.dilation % columns_.stride);
  }
  for (int64_t i = 0; i < rows_.kernel; ++i) {
    const int64_t down = i * rows_.dilation;
    const int64_t row_phase = index_of(row_phases_, down % rows_.stride);
    for (int64_t j = 0; j < columns_.kernel; ++j) {
      const int64_t right = j * columns_.dilation;
      const int64_t phase = row_phase * std::ssize(column_phases_) +
                            index_of(column_phases_, right % columns_.stride);
      taps_.push_back(phase * height_ * pitch_ + down / rows_.stride * pitch_ +
                      right / columns_.stride);
    }
  }
  places_ = (rows_.out - 1) * pitch_ + columns_.out;
}

void Direct::lay_out(const float* channel, float* to) const {
  const auto pad = cpu::active_kernels().pad_rows;
  // Elements [first, last) of [0, count) that lie in the image; element e is e * stride - shift.
  const auto inside = [](const Axis& a, int64_t shift, int64_t count) {
    const int64_t first = shift <= 0 ? 0 : (shift + a.stride - 1) / a.stride;
    const int64_t reach = a.in + shift;
    const int64_t last = reach <= 0 ? 0 : (reach + a.stride - 1) / a.stride;
    return std::pair(std::min(first, count), std::clamp(last, std::min(first, count), count));
  };
  for (int64_t phase = 0; phase < phases(); ++phase, to += height_ * pitch_) {
    const int64_t across = std::ssize(column_phases_);
    const int64_t up = rows_.before - row_phases_[static_cast<size_t>(phase / across)];
    const int64_t left = columns_.before - column_phases_[static_cast<size_t>(phase % across)];
    auto [row_first, row_last] = inside(rows_, up, height_);
    const auto [first, last] = inside(columns_, left, pitch_);
    if (first == last) row_last = row_first;
    const int64_t corner = row_first == row_last ? 0
                                                 : (row_first * rows_.stride - up) * columns_.in +
                                                       first * columns_.stride - left;
    const cpu::PadRowsArgs args = {.x = channel + corner,
                                   .x_pitch = rows_.stride * columns_.in,
                                   .step = columns_.stride,
                                   .y = to,
                                   .rows = height_,
                                   .pitch = pitch_,
                                   .row_first = row_first,
                                   .row_last = row_last,
                                   .first = first,
                                   .last = last};
    pad(&args);
  }
}

// In place only the last channel is copied: behind the others there is always more to read.
int64_t Direct::copy_floats() const {
  const int64_t floats = in_place_ ? g_.in_size() : g_.channels * channel_floats();
  return round_up(floats + kSlack, kSlack);
}

void Direct::copy_channels(const Part& part, int64_t begin, int64_t end) const {
  const int64_t inputs = g_.in_size();
  if (in_place_) {
    if (end == g_.channels) std::copy_n(part.image + (end - 1) * inputs, inputs, part.copy);
    return;
  }
  const int64_t size = channel_floats();
  for (int64_t c = begin; c < end; ++c) lay_out(part.image + c * inputs, part.copy + c * size);
}

void Direct::find_rows(const Part& part) const {
  const float** row = part.rows;
  const int64_t size = channel_floats();
  for (int64_t c = 0; c < g_.channels; ++c) {
    const float* channel = in_place_ ? part.image + c * g_.in_size() : part.copy + c * size;
    if (in_place_ && c + 1 == g_.channels) channel = part.copy;
    for (const int64_t tap : taps_) *row++ = channel + tap;
  }
}

void Direct::convolve(KernelContext& ctx, const float* x, const float* packed, const float* bias,
                      float* y) const {
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  const int64_t steps = g_.channels * std::ssize(taps_), parts = g_.batch * g_.groups;
  ThreadPool* pool = ctx.pool();
  const int64_t threads = pool == nullptr ? 1 : pool->size();
  // Whole images for each thread, where there are enough; else all threads share one.
  const bool apart = pool == nullptr || parts >= threads;
  const int64_t copies = copy_floats();
  constexpr int64_t kPointerFloats = 2;
  static_assert(sizeof(const float*) <= kPointerFloats * sizeof(float));
  const int64_t pointers = round_up(steps * kPointerFloats, kSlack);
  // Steps whose rows fit the first cache level, and the entries of its page table.
  const int64_t around_block = rows_.kernel * (kernels.conv_block + columns_.kernel + kSlack);
  const int64_t depth = std::max(
      std::clamp<int64_t>(std::min(kNearFloats / around_block, kNearPages / phases()), 1, steps) *
          std::ssize(taps_),
      kLeastDepth);
  const int64_t tiles = (g_.filters + cpu::kConvRows - 1) / cpu::kConvRows;
  const int64_t sums = depth < steps ? tiles * cpu::kConvRows * kernels.conv_block : 0;
  // Small images are copied a few at a time: what has just been stored cannot be loaded at once in
  // other vectors.
  const int64_t together = apart ? std::clamp<int64_t>(kNearFloats / copies, 1, kTogether) : 1;
  const int64_t layout = copies + pointers;
  const int64_t own = together * layout + sums;  // floats of a thread that works apart
  const int64_t shared = apart ? 0 : layout;
  float* scratch = ctx.scratch_of<float>(shared + (apart ? own : sums) * threads);

  const auto part_of = [&](int64_t index, float* memory) {
    return Part{x + index * g_.channels * g_.in_size(), memory,
                reinterpret_cast<const float**>(memory + copies)};
  };
  const auto args_of = [&](int64_t index, const Part& part) {
    const int64_t group = index % g_.groups;
    return cpu::ConvArgs{.filters = g_.filters,
                         .steps = steps,
                         .w = packed + group * g_.filters * steps,
                         .bias = bias == nullptr ? nullptr : bias + group * g_.filters,
                         .rows = part.rows,
                         .width = columns_.out,
                         .pitch = pitch_,
                         .y = y + index * g_.filters * g_.out_size(),
                         .y_stride = g_.out_size(),
                         .place_begin = 0,
                         .place_end = places_,
                         .filter_begin = 0,
                         .filter_end = g_.filters,
                         .depth = depth,
                         .sums = nullptr};
  };
  if (apart) {
    for_items(pool, parts, g_.filters * steps * places_,
              [&](int64_t begin, int64_t end, int worker) {
                float* memory = scratch + worker * own;
                for (; begin < end; begin += together) {
                  const int64_t last = std::min(begin + together, end);
                  for (int64_t i = begin; i < last; ++i) {
                    const Part part = part_of(i, memory + (i - begin) * layout);
                    copy_channels(part, 0, g_.channels);
                    find_rows(part);
                  }
                  for (int64_t i = begin; i < last; ++i) {
                    cpu::ConvArgs args = args_of(i, part_of(i, memory + (i - begin) * layout));
                    if (sums > 0) args.sums = memory + together * layout;
                    kernels.conv(&args);
                  }
                }
              });
    return;
  }
  // Pieces are stretches of places, and bands of filters where those are too few.
  constexpr int64_t kPiecesPerThread = 3;
  const int64_t pieces = kPiecesPerThread * threads;
  const int64_t blocks = (places_ + kernels.conv_block - 1) / kernels.conv_block;
  const int64_t stretch = (blocks + pieces - 1) / pieces * kernels.conv_block;
  const int64_t stretches = (places_ + stretch - 1) / stretch;
  const int64_t bands = std::clamp<int64_t>(pieces / stretches, 1, tiles);
  for (int64_t index = 0; index < parts; ++index) {
    const Part part = part_of(index, scratch);
    for_items(pool, g_.channels, channel_floats(),
              [&](int64_t begin, int64_t end, int /*worker*/) { copy_channels(part, begin, end); });
    find_rows(part);
    const cpu::ConvArgs args = args_of(index, part);
    for_items(pool, stretches * bands, g_.filters * steps * places_ / (stretches * bands),
              [&](int64_t begin, int64_t end, int worker) {
                for (int64_t item = begin; item < end; ++item) {
                  cpu::ConvArgs piece = args;
                  if (sums > 0) piece.sums = scratch + shared + worker * sums;
                  const int64_t band = item % bands;
                  piece.filter_begin = band * tiles / bands * cpu::kConvRows;
                  piece.filter_end =
                      std::min((band + 1) * tiles / bands * cpu::kConvRows, g_.filters);
                  piece.place_begin = item / bands * stretch;
                  piece.place_end = std::min(piece.place_begin + stretch, places_);
                  kernels.conv(&piece);
                }
              });
  }
}

}  // namespace hugot::conv
