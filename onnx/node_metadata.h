// What exporters note about nodes.
#ifndef HUGOT_ONNX_NODE_METADATA_H_
#define HUGOT_ONNX_NODE_METADATA_H_

#include <map>
#include <string>
#include <string_view>

#include "onnx/loader.h"

namespace hugot {

// Entry `key` of the metadata_props of each node of the main graph that has it, by the name of the
// node's first output.
std::map<std::string, std::string, std::less<>> node_metadata(const LoadedModel& model,
                                                              std::string_view key);

}  // namespace hugot

#endif  // HUGOT_ONNX_NODE_METADATA_H_
