#include "autodiff/parallel_model.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "graph/exec/ragged.h"

namespace hugot {
namespace {

// Gradients travel in portions of this size: small enough that the first ones are on their way
// soon, large enough that the time of a message does not count.
constexpr int64_t kBucketBytes = int64_t{4} << 20;

class ParallelModel final : public TrainableModel {
 public:
  ParallelModel(std::unique_ptr<TrainableModel> model, Communicator& ranks)
      : TrainableModel(model->dtype()), model_(std::move(model)), ranks_(ranks) {
    dropout_ = model_->dropout();
    fill_buckets();
  }

  std::vector<Parameter>& parameters() override { return model_->parameters(); }

  Tensor forward(std::span<const TrainRow> rows, bool for_backward, const TrainRun& run) override {
    require(!rows.empty(), ErrorCode::kInvalidArgument, "a batch without rows");
    const std::vector<size_t> parts = share_rows(rows, ranks_.size());
    begin_ = parts[static_cast<size_t>(ranks_.rank())];
    count_ = parts[static_cast<size_t>(ranks_.rank()) + 1] - begin_;
    rows_ = for_backward ? rows.size() : 0;
    std::span<const std::byte> bytes;
    Tensor own;
    if (count_ > 0) {
      own = model_->forward(rows.subspan(begin_, count_), for_backward, run);
      bytes = {static_cast<const std::byte*>(own.raw()), own.bytes()};
    }
    auto all = std::make_shared<const std::vector<std::byte>>(ranks_.all_gather(bytes));
    const auto count = static_cast<int64_t>(rows.size());
    const auto width = static_cast<int64_t>(all->size() / Tensor::byte_size(dtype_, {count}));
    require(all->size() == Tensor::byte_size(dtype_, {count, width}), ErrorCode::kInternal,
            "the processes have vectors of different sizes");
    return {dtype_, {count, width}, all->data(), all};
  }

  void backward(const Tensor& d_output, const TrainRun& run) override {
    require(rows_ > 0 && d_output.rank() == 2 && d_output.dtype() == dtype_ &&
                d_output.shape()[0] == static_cast<int64_t>(rows_),
            ErrorCode::kInvalidArgument, "gradients of ", rows_, " vectors, but ",
            describe(d_output), " were given");
    rows_ = 0;
    Progress progress(*this);
    if (count_ > 0) {
      const size_t row = d_output.bytes() / static_cast<size_t>(d_output.shape()[0]);
      const Tensor own(dtype_, d_output.shape().with(0, static_cast<int64_t>(count_)),
                       static_cast<const std::byte*>(d_output.raw()) + begin_ * row);
      TrainRun here = run;
      if (run.last) here.listener = &progress;
      model_->backward(own, here);
      zero_ = false;
    }
    if (!run.last) return;
    if (std::exchange(zero_, false)) {
      for (Parameter& parameter : parameters()) {
        std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
      }
    }
    for (size_t i = 0; i < parameters().size(); ++i) progress.complete(i);
    ranks_.finish_sums();
  }

  void zero_gradients() override {
    model_->zero_gradients();
    zero_ = true;
  }
  const RaggedPlan* plan() const override { return model_->plan(); }
  void parameters_changed() override { model_->parameters_changed(); }

 private:
  struct Bucket {
    std::vector<Communicator::Piece> pieces;
    size_t last = 0;  // of order_: it is ready with this parameter
  };

  // Sends buckets off in their order, which is the same for all ranks, as gradients become ready.
  class Progress final : public GradientListener {
   public:
    explicit Progress(ParallelModel& model)
        : model_(model), complete_(model.parameters().size(), false) {}

    void complete(size_t parameter) override {
      complete_[parameter] = true;
      while (ready_ < complete_.size() && complete_[model_.order_[ready_]]) ++ready_;
      for (; sent_ < model_.buckets_.size() && model_.buckets_[sent_].last < ready_; ++sent_) {
        model_.ranks_.start_sum(model_.buckets_[sent_].pieces);
      }
    }

   private:
    ParallelModel& model_;
    std::vector<bool> complete_;
    size_t ready_ = 0;  // parameters of order_
    size_t sent_ = 0;   // buckets
  };

  // In the order in which the backward pass comes to them, where that is known.
  void order_parameters() {
    order_.resize(parameters().size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    if (plan() == nullptr) return;
    const Graph& graph = plan()->graph();
    const auto producer = [&](size_t i) { return graph.value(graph.outputs[i + 1]).producer; };
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return producer(a) < producer(b); });
  }

  void fill_buckets() {
    order_parameters();
    const auto most =
        kBucketBytes / static_cast<int64_t>(Tensor::byte_size(dtype_, {1}));  // elements
    int64_t room = 0;
    for (size_t k = 0; k < order_.size(); ++k) {
      const Tensor& gradient = parameters()[order_[k]].gradient;
      for (int64_t first = 0; first < gradient.size();) {
        if (room == 0) {
          buckets_.emplace_back();
          room = most;
        }
        const int64_t count = std::min(room, gradient.size() - first);
        buckets_.back().pieces.push_back({gradient, first, count});
        buckets_.back().last = k;
        first += count;
        room -= count;
      }
    }
  }

  std::unique_ptr<TrainableModel> model_;
  Communicator& ranks_;
  std::vector<size_t> order_;  // of parameters
  std::vector<Bucket> buckets_;
  size_t begin_ = 0, count_ = 0;  // own rows of the last forward()
  size_t rows_ = 0;               // of the last forward(), when it was for backward()
  bool zero_ = true;              // no gradients since zero_gradients()
};

}  // namespace

std::vector<size_t> share_rows(std::span<const TrainRow> rows, int ranks) {
  const auto parts = static_cast<size_t>(ranks);
  size_t tokens = 0;
  for (const TrainRow& row : rows) tokens += row.ids.size();
  std::vector<size_t> result(parts + 1, rows.size());
  size_t before = 0, part = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    // The part in which the middle of the row lies.
    const size_t middle = 2 * before + rows[i].ids.size();
    while (part < parts && part * 2 * tokens <= middle * parts) result[part++] = i;
    before += rows[i].ids.size();
  }
  return result;
}

// The hash is FNV's, of 8 bytes at a time: each step is one to one, so no single difference is
// lost.
void check_equal_parameters(std::span<Parameter* const> parameters, Communicator& ranks) {
  if (ranks.size() == 1) return;
  uint64_t hash = 0xcbf29ce484222325u;
  for (const Parameter* parameter : parameters) {
    const auto* const bytes = static_cast<const std::byte*>(parameter->value.raw());
    for (size_t i = 0; i < parameter->value.bytes(); i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, std::min(sizeof(word), parameter->value.bytes() - i));
      hash = (hash ^ word) * 0x100000001b3u;
    }
  }
  ranks.check_equal(hash, "weights");
}

std::unique_ptr<TrainableModel> make_parallel_model(std::unique_ptr<TrainableModel> model,
                                                    Communicator& ranks) {
  return std::make_unique<ParallelModel>(std::move(model), ranks);
}

}  // namespace hugot
