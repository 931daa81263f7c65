#include "tokenizer/id_encoder.h"

#include <algorithm>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/word_cache.h"

namespace hugot {

IdEncoder::IdEncoder(const Model& model) : model_(&model), serial_(WordCache::next_serial()) {}

std::optional<IdEncoder> IdEncoder::make(const PreTokenizer* pre_tokenizer, const Model& model) {
  IdEncoder out(model);
  if (pre_tokenizer == nullptr) return out;
  if (const auto* metaspace = dynamic_cast<const MetaspacePreTokenizer*>(pre_tokenizer)) {
    const MetaspacePreTokenizer::Options& options = metaspace->options();
    if (options.scheme == PrependScheme::kFirst || !options.split) return std::nullopt;
    out.kind_ = Kind::kMetaspace;
    append_utf8(out.replacement_, options.replacement);
    out.add_prefix_space_ = options.scheme == PrependScheme::kAlways;
    return out;
  }
  const auto* byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(pre_tokenizer);
  const auto* sequence = dynamic_cast<const SequencePreTokenizer*>(pre_tokenizer);
  if (sequence != nullptr && sequence->parts().size() == 2) {
    const auto* split = dynamic_cast<const SplitPreTokenizer*>(sequence->parts()[0].get());
    byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(sequence->parts()[1].get());
    if (split == nullptr || byte_level == nullptr || !split->scanner() ||
        byte_level->options().use_regex || byte_level->options().add_prefix_space) {
      return std::nullopt;
    }
    out.scanner_ = *split->scanner();
  } else if (byte_level == nullptr || !byte_level->options().use_regex) {
    return std::nullopt;
  }
  out.kind_ = Kind::kByteLevel;
  out.add_prefix_space_ = byte_level->options().add_prefix_space;
  return out;
}

void IdEncoder::encode(std::string_view text, std::vector<int32_t>& out) const {
  if (text.empty()) return;
  switch (kind_) {
    case Kind::kWhole:
      return model_->tokenize_ids(text, out);
    case Kind::kByteLevel:
      return encode_byte_level(text, out);
    case Kind::kMetaspace:
      return encode_metaspace(text, out);
  }
}

void IdEncoder::encode_byte_level(std::string_view text, std::vector<int32_t>& out) const {
  WordCache& cache = WordCache::of_thread(serial_);
  static thread_local std::string mapped;
  std::string spaced;
  if (add_prefix_space_ && text[0] != ' ') {
    spaced = ' ';
    spaced += text;
    text = spaced;
  }
  scan_words(scanner_, text, [&](size_t begin, size_t end) {
    const std::string_view word = text.substr(begin, end - begin);
    if (cache.find(word, out)) return;
    mapped.clear();
    for (const char byte : word) {
      append_utf8(mapped, byte_level_char(static_cast<unsigned char>(byte)));
    }
    const size_t first = out.size();
    model_->tokenize_ids(mapped, out);
    cache.put(word, {out.begin() + static_cast<ptrdiff_t>(first), out.end()});
  });
}

void IdEncoder::encode_metaspace(std::string_view text, std::vector<int32_t>& out) const {
  // Words begin at spaces, whether they came as such or as the replacement.
  static thread_local std::string word;
  word.clear();
  const auto finish = [&] {
    if (!word.empty()) model_->tokenize_ids(word, out);
    word.clear();
  };
  if (add_prefix_space_ && text[0] != ' ' && !text.starts_with(replacement_)) word = replacement_;
  for (size_t pos = 0; pos < text.size();) {
    const bool space = text[pos] == ' ';
    if (space || (text[pos] == replacement_[0] && text.substr(pos).starts_with(replacement_))) {
      finish();
      word = replacement_;
      pos += space ? 1 : replacement_.size();
      continue;
    }
    // At least one byte, which begins no replacement here.
    size_t end = pos + 1;
    while (end < text.size() && text[end] != ' ' && text[end] != replacement_[0]) ++end;
    word.append(text, pos, end - pos);
    pos = end;
  }
  finish();
}

}  // namespace hugot
