// From a model's class scores to those of a result.
#ifndef HUGOT_PIPELINES_SCORES_H_
#define HUGOT_PIPELINES_SCORES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/hugot.hpp"

namespace hugot {

// In double. Throws kInvalidData when a score is infinite or not a number.
std::vector<double> apply_function(ScoreFunction function, std::span<const float> scores);

// Scores of a text from a sink of TextModel::classifier(): one row. Throws kUnsupported for an
// output with a row per token.
std::span<const float> class_scores(const float* data, int64_t rows, int64_t width);

// The template of a hypothesis with the label in the place of every "{}". Throws kInvalidArgument
// when there is none.
std::string fill_template(std::string_view format, std::string_view label);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_SCORES_H_
