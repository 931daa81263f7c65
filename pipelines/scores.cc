#include "pipelines/scores.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hugot {

std::vector<double> apply_function(ScoreFunction function, std::span<const float> scores) {
  require(std::all_of(scores.begin(), scores.end(), [](float x) { return std::isfinite(x); }),
          ErrorCode::kInvalidData, "the model's output has infinite or undefined numbers");
  std::vector<double> out(scores.begin(), scores.end());
  if (out.empty() || function == ScoreFunction::kNone) return out;
  if (function == ScoreFunction::kSigmoid) {
    for (double& x : out) x = 1 / (1 + std::exp(-x));
    return out;
  }
  const double most = *std::max_element(out.begin(), out.end());
  double sum = 0;
  for (double& x : out) sum += x = std::exp(x - most);
  for (double& x : out) x /= sum;
  return out;
}

std::span<const float> class_scores(const float* data, int64_t rows, int64_t width) {
  require(rows == 1, ErrorCode::kUnsupported,
          "the model's output has a row per token: it is no model that classifies texts");
  return {data, static_cast<size_t>(width)};
}

std::string fill_template(std::string_view format, std::string_view label) {
  const size_t place = format.find("{}");
  require(place != std::string_view::npos, ErrorCode::kInvalidArgument, "the hypothesis template '",
          format, "' has no {} for the label");
  std::string out;
  size_t begin = 0;
  for (size_t at = place; at != std::string_view::npos; at = format.find("{}", begin)) {
    out.append(format, begin, at - begin).append(label);
    begin = at + 2;
  }
  return out.append(format, begin);
}

}  // namespace hugot
