// Scanners written by hand for the regular expressions by which widespread models cut words. They
// find exactly what the expression finds.
#ifndef HUGOT_TOKENIZER_WORD_SCANNER_H_
#define HUGOT_TOKENIZER_WORD_SCANNER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hugot {

enum class WordScanner : uint8_t {
  kGpt2,    // contractions, letters, numbers and others, each with the space before
  kCl100k,  // of GPT-4 and Llama 3: line ends apart, numbers of up to three digits
  kQwen2,   // the same with single digits
  kO200k,   // of GPT-4o: words begin at capitals and keep their contractions
};

// The expression of the ByteLevel pre-tokenizer, that of GPT-2.
extern const std::string_view kGpt2Pattern;
extern const std::string_view kCl100kPattern;
extern const std::string_view kQwen2Pattern;
extern const std::string_view kO200kPattern;

// The scanner for a regular expression, recognized by its text.
std::optional<WordScanner> find_word_scanner(std::string_view expression);

// The end of the match that begins at text[pos]; every position is in one. Linear over a whole
// text. REQUIRES: pos < text.size(), valid UTF-8.
size_t word_end(WordScanner scanner, std::string_view text, size_t pos);

// Calls emit(begin, end) for all matches.
template <class Emit>
void scan_words(WordScanner scanner, std::string_view text, Emit&& emit) {
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = word_end(scanner, text, pos);
    emit(pos, end);
    pos = end;
  }
}

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_WORD_SCANNER_H_
