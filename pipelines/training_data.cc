#include "pipelines/training_data.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "pipelines/feature_extraction.h"
#include "pipelines/text_model.h"

namespace hugot {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxErrors = 5;  // in one message
constexpr int64_t kGrain = 64;    // texts that a thread encodes in a row

// Words behind "expected".
std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string kind_of(const Json& value) { return value.type_name(); }

}  // namespace

// Reads rows one by one; what is wrong with them is collected.
class TrainingData::Reader {
 public:
  Reader(TrainingData& data, const DataNeeds& needs) : data_(data), needs_(needs) {}

  void read(std::string_view line, std::string place) {
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
    try {
      with_context([&] { return place; }, [&] { read_row(parse(line)); });
      data_.places_.push_back(std::move(place));
    } catch (const Error& error) {
      if (errors_.size() < kMaxErrors) errors_.emplace_back(error.what());
      ++failed_;
      if (data_.places_.empty()) finish();  // nothing tells what rows should be like
    }
  }

  // The texts in the order of rows and columns; of pairs, both.
  std::vector<std::string> finish() {
    if (failed_ > 0) {
      std::string text = errors_[0];
      for (size_t i = 1; i < errors_.size(); ++i) text += "; " + errors_[i];
      if (failed_ > errors_.size()) text += str("; and ", failed_ - errors_.size(), " more rows");
      fail(ErrorCode::kInvalidData, text);
    }
    if (!names_.empty()) number_names();
    return std::move(texts_);
  }

 private:
  static Json parse(std::string_view line) {
    require_utf8(line);
    try {
      Json row = Json::parse(line);
      require(row.is_object(), ErrorCode::kInvalidData, "a row is a JSON object, not ",
              kind_of(row));
      return row;
    } catch (const Json::exception& error) {
      fail(ErrorCode::kInvalidData, error.what());
    }
  }

  void read_row(const Json& row) {
    if (data_.columns_.empty()) learn(row);
    std::vector<std::string> texts;
    for (const std::string& key : keys_) {
      if (key == "negatives") {
        const Json& list = at(row, key);
        require(list.is_array() && list.size() == negatives_, ErrorCode::kInvalidData,
                "'negatives' has to be a list of ", negatives_, " texts, as in the first row");
        for (const Json& text : list) texts.push_back(text_of(text, key));
      } else {
        texts.push_back(text_of(at(row, key), key));
      }
    }
    read_label(row);
    for (std::string& text : texts) texts_.push_back(std::move(text));
  }

  static const Json& at(const Json& row, const std::string& key) {
    const auto it = row.find(key);
    require(it != row.end(), ErrorCode::kInvalidData, "the row has no '", key, "'");
    return *it;
  }

  static std::string text_of(const Json& value, const std::string& key) {
    require(value.is_string(), ErrorCode::kInvalidData, "'", key, "' has to be a text, not ",
            kind_of(value));
    return value.get<std::string>();
  }

  // Columns and labels from the first row.
  void learn(const Json& row) {
    find_keys(row);
    std::vector<std::string> columns;
    for (const std::string& key : keys_) {
      if (key != "negatives") {
        columns.push_back(key);
        continue;
      }
      const Json& list = at(row, key);
      require(list.is_array() && !list.empty(), ErrorCode::kInvalidData,
              "'negatives' has to be a list of texts");
      negatives_ = list.size();
      for (size_t i = 0; i < negatives_; ++i) columns.push_back(str("negatives_", i));
    }
    if (needs_.pairs && columns.size() == 2) columns.resize(1);
    const auto count = static_cast<int>(columns.size());
    require(needs_.anything || (count >= needs_.min_columns && count <= needs_.max_columns),
            ErrorCode::kInvalidData, "the loss needs ",
            needs_.min_columns == needs_.max_columns ? str(needs_.min_columns)
                                                     : str(needs_.min_columns, " or more"),
            " texts per row, but the row has ", list_of(columns));
    find_label(row);
    data_.columns_ = std::move(columns);
  }

  void find_keys(const Json& row) {
    const std::vector<std::vector<std::string>> known = {
        {"anchor", "positive"}, {"sentence1", "sentence2"}, {"text"}, {"input"}, {"sentence"}};
    for (const auto& keys : known) {
      if (!row.contains(keys[0])) continue;
      keys_ = keys;
      if (keys[0] == "anchor") {
        for (const char* key : {"negative", "negatives"}) {
          if (row.contains(key)) keys_.emplace_back(key);
        }
        for (int i = 1; row.contains(str("negative_", i)); ++i)
          keys_.push_back(str("negative_", i));
      }
      if (keys.size() == 1 && needs_.pairs && row.contains("pair")) keys_.emplace_back("pair");
      return;
    }
    fail(ErrorCode::kInvalidData,
         "the row has no text: expected are the keys anchor, positive (negative, negatives), or "
         "sentence1, sentence2, or text, input or sentence");
  }

  void find_label(const Json& row) {
    std::vector<std::string> names;
    data_.label_kind_ = needs_.label;
    switch (needs_.label) {
      case LabelKind::kNumber:
        names = {"score", "label"};
        break;
      case LabelKind::kClass:
        names = {"label"};
        break;
      case LabelKind::kNumbers:
        names = {"embedding", "labels", "label", "score"};
        break;
      case LabelKind::kNone:
        if (needs_.anything) names = {"score", "label", "labels", "embedding"};
        break;
    }
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const std::string& name) { return row.contains(name); });
    if (needs_.anything && needs_.label == LabelKind::kNone) {
      if (found == names.end()) return;
      const Json& label = row.at(*found);
      data_.label_kind_ = label.is_array()    ? LabelKind::kNumbers
                          : label.is_string() ? LabelKind::kClass
                                              : LabelKind::kNumber;
    } else if (needs_.label == LabelKind::kNone) {
      return;
    }
    require(found != names.end(), ErrorCode::kInvalidData, "the row has no label: expected is ",
            list_of(names));
    label_key_ = *found;
    data_.label_size_ = needs_.label_size;
  }

  void read_label(const Json& row) {
    if (label_key_.empty()) return;
    const Json& label = at(row, label_key_);
    switch (data_.label_kind_) {
      case LabelKind::kNone:
        return;
      case LabelKind::kNumber:
        data_.numbers_.push_back(number_of(label));
        return;
      case LabelKind::kClass:
        data_.classes_.push_back(class_number(label));
        return;
      case LabelKind::kNumbers: {
        std::vector<double> list;
        if (label.is_array()) {
          for (const Json& item : label) list.push_back(number_of(item));
        } else {
          list.push_back(number_of(label));
        }
        const auto size = static_cast<int64_t>(list.size());
        if (data_.label_size_ == 0) data_.label_size_ = size;
        require(size == data_.label_size_ && size > 0, ErrorCode::kInvalidData, "'", label_key_,
                "' has ", size, " numbers instead of ", data_.label_size_);
        data_.numbers_.insert(data_.numbers_.end(), list.begin(), list.end());
        return;
      }
    }
  }

  // Labels are float32 numbers, whatever the training computes in.
  double number_of(const Json& value) const {
    require(value.is_number(), ErrorCode::kInvalidData, "'", label_key_,
            "' has to be a number, not ", kind_of(value));
    const auto number = static_cast<float>(value.get<double>());
    require(std::isfinite(number), ErrorCode::kInvalidData, "'", label_key_, "' is too large");
    return static_cast<double>(number);
  }

  int64_t class_number(const Json& value) {
    if (value.is_string()) return named_class(value.get<std::string>());
    require(value.is_number_integer(), ErrorCode::kInvalidData, "'", label_key_,
            "' has to be the number or the name of a class, not ", kind_of(value));
    const auto number = value.get<int64_t>();
    require(number >= 0 && (needs_.classes == 0 || number < needs_.classes),
            ErrorCode::kInvalidData, "'", label_key_, "' is ", value.dump(), "; there are ",
            needs_.classes, " classes, from 0 on");
    require(names_.empty(), ErrorCode::kInvalidData, "'", label_key_,
            "' is a number, in the rows before it is a name");
    numbers_seen_ = true;
    return number;
  }

  int64_t named_class(const std::string& name) {
    const auto& known = needs_.labels;
    const auto it = std::find(known.begin(), known.end(), name);
    if (it != known.end()) return it - known.begin();
    require(needs_.new_labels || needs_.anything, ErrorCode::kInvalidData,
            "the model has no class '", name, "'", known.empty() ? "" : "; it has ",
            list_of(known));
    require(!numbers_seen_, ErrorCode::kInvalidData, "'", label_key_,
            "' is a name, in the rows before it is a number");
    names_.insert(name);
    require(needs_.classes == 0 || static_cast<int64_t>(names_.size()) <= needs_.classes,
            ErrorCode::kInvalidData, "'", name, "' is class number ", names_.size(), "; there are ",
            needs_.classes);
    row_names_.push_back(name);
    return 0;
  }

  // Names get numbers in their alphabetical order.
  void number_names() {
    data_.class_names_.assign(names_.begin(), names_.end());
    for (size_t i = 0; i < row_names_.size(); ++i) {
      data_.classes_[i] = std::distance(names_.begin(), names_.find(row_names_[i]));
    }
  }

  TrainingData& data_;
  const DataNeeds& needs_;
  std::vector<std::string> keys_;
  size_t negatives_ = 0;
  std::string label_key_;
  std::vector<std::string> texts_;
  std::set<std::string> names_;
  std::vector<std::string> row_names_;
  bool numbers_seen_ = false;
  std::vector<std::string> errors_;
  size_t failed_ = 0;
};

TrainingData::TrainingData(const std::filesystem::path& file, std::span<const std::string> rows,
                           const DataNeeds& needs, const Tokenizer& tokenizer,
                           const DataEncoding& encoding, ThreadPool& pool) {
  Reader reader(*this, needs);
  if (file.empty()) {
    for (size_t i = 0; i < rows.size(); ++i) reader.read(rows[i], str("row ", i + 1));
  } else {
    const std::string text = read_file(file);
    size_t line = 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      reader.read(std::string_view(text).substr(begin, end - begin),
                  str(file.string(), ':', ++line));
      begin = end + 1;
    }
  }
  std::vector<std::string> texts = reader.finish();
  require(!places_.empty(), ErrorCode::kInvalidData, file.empty() ? "the data" : file.string(),
          ": there are no rows");
  const size_t count = places_.size() * columns_.size();
  const bool pairs = texts.size() == 2 * count && needs.pairs;
  std::vector<Encoding> encoded(count);
  std::vector<std::string> errors(count);
  pool.parallel_for(static_cast<int64_t>(count), kGrain, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      try {
        const auto text = [&](size_t at) {
          return encoding.lowercase ? lowercased(texts[at]) : texts[at];
        };
        encoded[i] = pairs ? tokenizer.encode(text(2 * i), text(2 * i + 1), encoding.options)
                           : tokenizer.encode(text(i), encoding.options);
        require(!encoded[i].ids.empty(), ErrorCode::kInvalidData, "the text has no tokens");
      } catch (const Error& error) {
        errors[i] = error.what();
      }
    }
  });
  for (size_t i = 0; i < count; ++i) {
    const std::string& place = places_[i / columns_.size()];
    require(errors[i].empty(), ErrorCode::kInvalidData, place, ": '", columns_[i % columns_.size()],
            "': ", errors[i]);
    ids_.insert(ids_.end(), encoded[i].ids.begin(), encoded[i].ids.end());
    if (encoding.type_ids) {
      type_ids_.insert(type_ids_.end(), encoded[i].type_ids.begin(), encoded[i].type_ids.end());
    }
    ends_.push_back(ids_.size());
    encoded[i] = {};
  }
}

TrainRow TrainingData::text(size_t row, size_t column) const {
  const size_t i = row * columns_.size() + column;
  const size_t begin = i == 0 ? 0 : ends_[i - 1], size = ends_[i] - begin;
  TrainRow result{std::span(ids_).subspan(begin, size)};
  if (!type_ids_.empty()) result.type_ids = std::span(type_ids_).subspan(begin, size);
  return result;
}

Tensor TrainingData::labels(std::span<const size_t> rows, DType dtype) const {
  const auto count = static_cast<int64_t>(rows.size());
  const auto fill = [&]<class T>(Tensor tensor, const auto& values, size_t size) {
    T* to = tensor.template data<T>();
    for (const size_t row : rows) {
      for (size_t i = 0; i < size; ++i) *to++ = static_cast<T>(values[row * size + i]);
    }
    return tensor;
  };
  const auto numbers = [&](const Shape& shape, size_t size) {
    return dtype == DType::kFloat64
               ? fill.template operator()<double>(Tensor(dtype, shape), numbers_, size)
               : fill.template operator()<float>(Tensor(DType::kFloat32, shape), numbers_, size);
  };
  switch (label_kind_) {
    case LabelKind::kNone:
      return {};
    case LabelKind::kNumber:
      return numbers({count}, 1);
    case LabelKind::kClass:
      return fill.template operator()<int64_t>(Tensor(DType::kInt64, {count}), classes_, 1);
    case LabelKind::kNumbers:
      return numbers({count, label_size_}, static_cast<size_t>(label_size_));
  }
  fail(ErrorCode::kInternal, "no such label");
}

uint64_t TrainingData::hash() const {
  // FNV-1a over 8 bytes at a time.
  uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](uint64_t x) { hash = (hash ^ x) * 0x100000001b3u; };
  for (const int32_t id : ids_) add(static_cast<uint64_t>(id));
  for (const int32_t type : type_ids_) add(static_cast<uint64_t>(type));
  for (const size_t end : ends_) add(end);
  for (const double number : numbers_) add(std::bit_cast<uint64_t>(number));
  for (const int64_t number : classes_) add(static_cast<uint64_t>(number));
  return hash;
}

}  // namespace hugot
