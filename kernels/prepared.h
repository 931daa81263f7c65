// What a node needs besides its operands, made once per model: a class P : Prepared that is
// constructed from the node.
#ifndef HUGOT_KERNELS_PREPARED_H_
#define HUGOT_KERNELS_PREPARED_H_

#include <memory>
#include <optional>
#include <span>

#include "graph/op.h"

namespace hugot {

// OpDef::prepare.
template <class P>
std::shared_ptr<const Prepared> prepare_from_node(const Node& node, std::span<const Tensor* const>,
                                                  BlockStore&) {
  return std::make_shared<P>(node);
}

// What prepare_from_node has made, or the same made now and kept in `own`, where nobody prepares.
template <class P>
const P& prepared_or(const KernelContext& ctx, std::optional<P>& own) {
  if (const auto* prepared = static_cast<const P*>(ctx.prepared())) return *prepared;
  return own.emplace(ctx.node());
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_PREPARED_H_
