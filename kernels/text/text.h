// Operators on strings.
#ifndef HUGOT_KERNELS_TEXT_TEXT_H_
#define HUGOT_KERNELS_TEXT_TEXT_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "graph/op.h"

namespace hugot::text {

// RegexFullMatch; the expression is compiled once per model.
void regex_full_match(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_regex(const Node& node,
                                              std::span<const Tensor* const> constants,
                                              BlockStore& store);

// StringConcat: y = a b under broadcasting.
void concat(KernelContext& ctx);
// StringNormalizer: the strings but the stop words, in lower or upper case.
void normalize(KernelContext& ctx);
// StringSplit: the parts of each string, filled up with empty strings, and how many they are.
void split(KernelContext& ctx);

// Tokenizer of com.microsoft: the tokens of each string, filled up with pad_value. What matches
// `tokenexp`, or what lies between matches of each of `separators` after the other; an empty
// separator and the expression "." give the characters.
void tokenize(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_tokenizer(const Node& node,
                                                  std::span<const Tensor* const> constants,
                                                  BlockStore& store);

// TfIdfVectorizer: how often n-grams of a pool occur in each row. The pool becomes a trie once per
// model.
void tf_idf(KernelContext& ctx);
std::shared_ptr<const Prepared> prepare_tf_idf(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store);
// How long a row of counts is: behind the largest of ngram_indexes. Throws kInvalidData for a
// negative one, or for none.
int64_t tf_idf_length(const Node& node);

// The text in lower or upper case by Unicode's full mappings without context. Throws
// kInvalidArgument for text that is not UTF-8.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);

}  // namespace hugot::text

#endif  // HUGOT_KERNELS_TEXT_TEXT_H_
