#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "onnx/exporter.h"
#include "onnx/external_data.h"
#include "onnx/proto.h"
#include "onnx/tensor_writer.h"
#include "onnx/wire.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using onnx_proto::AttributeProto;
using onnx_proto::GraphProto;
using onnx_proto::ModelProto;
using onnx_proto::NodeProto;
using onnx_proto::TensorProto;

using Changes = std::map<std::string, Tensor, std::less<>>;

// [begin, end) of a file becomes `head` followed by `data`.
struct Edit {
  size_t begin = 0;
  size_t end = 0;
  std::string head;
  std::span<const std::byte> data;
};

// Sorts edits and joins equal ones, which weights that share their bytes give.
void settle(std::vector<Edit>& edits) {
  std::stable_sort(edits.begin(), edits.end(),
                   [](const Edit& a, const Edit& b) { return a.begin < b.begin; });
  std::vector<Edit> result;
  for (Edit& edit : edits) {
    if (result.empty() || edit.begin >= result.back().end) {
      result.push_back(std::move(edit));
      continue;
    }
    const Edit& before = result.back();
    require(
        before.begin == edit.begin && before.end == edit.end && before.head == edit.head &&
            std::equal(before.data.begin(), before.data.end(), edit.data.begin(), edit.data.end()),
        ErrorCode::kInvalidArgument, "weights that share their data got different values");
  }
  edits = std::move(result);
}

void write_edited(std::span<const std::byte> original, const std::vector<Edit>& edits,
                  const fs::path& path) {
  write_file_atomically(path, [&](const auto& sink) {
    size_t at = 0;
    for (const Edit& edit : edits) {
      sink(original.subspan(at, edit.begin - at));
      sink(as_bytes(edit.head));
      sink(edit.data);
      at = edit.end;
    }
    sink(original.subspan(at));
  });
}

// Calls `visit` for every tensor of a graph, those of inner graphs included.
void for_each_tensor(const GraphProto& graph, const std::function<void(const TensorProto&)>& visit);

void for_each_tensor(const NodeProto& node, const std::function<void(const TensorProto&)>& visit) {
  for (const AttributeProto& attribute : node.attribute()) {
    if (attribute.has_t()) visit(attribute.t());
    for (const auto& tensor : attribute.tensors()) visit(tensor);
    if (attribute.has_sparse_tensor()) {
      visit(attribute.sparse_tensor().values());
      visit(attribute.sparse_tensor().indices());
    }
    if (attribute.has_g()) for_each_tensor(attribute.g(), visit);
    for (const auto& graph : attribute.graphs()) for_each_tensor(graph, visit);
  }
}

void for_each_tensor(const GraphProto& graph,
                     const std::function<void(const TensorProto&)>& visit) {
  for (const auto& tensor : graph.initializer()) visit(tensor);
  for (const auto& tensor : graph.sparse_initializer()) {
    visit(tensor.values());
    visit(tensor.indices());
  }
  for (const auto& node : graph.node()) for_each_tensor(node, visit);
}

// The tensors that may change, by the name of their value.
std::unordered_map<std::string_view, const TensorProto*> weights_of(const GraphProto& graph) {
  std::unordered_map<std::string_view, const TensorProto*> weights;
  for (const auto& tensor : graph.initializer()) weights.emplace(tensor.name(), &tensor);
  for (const auto& node : graph.node()) {
    if (node.op_type() != "Constant" || node.output_size() != 1) continue;
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() == "value" && attribute.has_t()) {
        weights.emplace(node.output(0), &attribute.t());
      }
    }
  }
  return weights;
}

void check_type(const TensorProto& proto, const Tensor& tensor) {
  const bool same = proto.data_type() == static_cast<int32_t>(tensor.dtype()) &&
                    std::equal(proto.dims().begin(), proto.dims().end(), tensor.shape().begin(),
                               tensor.shape().end());
  require(same, ErrorCode::kInvalidArgument, "the new data are ", describe(tensor),
          ", which is not what the file has");
}

struct DataFile {
  std::string location;
  std::vector<Edit> edits;
};

class Updater {
 public:
  Updater(const LoadedModel& model, const fs::path& path)
      : model_(model), path_(path), external_(model.path, model.external_data_directory) {
    const std::string stripped = split_raw_data(model.bytes, MessageKind::kModel, index_);
    require(proto_.ParseFromString(stripped), ErrorCode::kInvalidData, "not an ONNX model");
    growth_.resize(index_.messages.size());
  }

  void run(const Changes& changed) {
    const auto weights = weights_of(proto_.graph());
    for (const auto& [name, tensor] : changed) {
      const auto weight = weights.find(name);
      require(weight != weights.end(), ErrorCode::kInvalidArgument, "weight '", name,
              "' is not in ", model_.path.string());
      const Tensor& data = tensor;
      with_context([&] { return str("weight '", weight->first, "'"); },
                   [&] { change(*weight->second, data); });
    }
    adjust_lengths();
    settle(edits_);
    write_data_files();
    write_edited(model_.bytes, edits_, path_);
  }

 private:
  void change(const TensorProto& proto, const Tensor& tensor) {
    check_type(proto, tensor);
    const auto data = tensor_bytes(tensor);
    if (proto.data_location() == TensorProto::EXTERNAL) {
      const ExternalRange range = external_range(proto);
      const auto begin = static_cast<size_t>(range.offset);
      data_edits_[range.location].push_back({begin, begin + data.size(), {}, data});
      return;
    }
    const WireTensor& place = index_.tensors[proto.wire_index()];
    if (place.has_raw && place.raw_end - place.raw_begin == data.size() && !data.empty()) {
      edits_.push_back({place.raw_begin, place.raw_end, {}, data});
    } else if (tensor.size() > 0) {
      rewrite(proto, place, tensor);
    }
  }

  // Typed fields have sizes that depend on the values; the tensor's message is written anew.
  void rewrite(const TensorProto& proto, const WireTensor& place, const Tensor& tensor) {
    TensorProto header = proto;
    header.clear_wire_index();
    header.clear_float_data();
    header.clear_double_data();
    header.clear_int32_data();
    header.clear_int64_data();
    header.clear_uint64_data();
    header.clear_string_data();
    const auto data = tensor_bytes(tensor);
    const WireMessage& message = index_.messages[static_cast<size_t>(place.message)];
    Edit edit{message.begin, message.end, {}, data};
    if (tensor.dtype() == DType::kString) {
      *header.mutable_string_data() = tensor_header("", tensor).string_data();
      edit.head = header.SerializeAsString();
    } else {
      edit.head = header.SerializeAsString();
      append_field_header(edit.head, TensorProto::kRawDataFieldNumber, data.size());
    }
    growth_[static_cast<size_t>(place.message)] +=
        static_cast<int64_t>(edit.head.size() + data.size()) -
        static_cast<int64_t>(message.end - message.begin);
    edits_.push_back(std::move(edit));
  }

  // Messages around a rewritten one state new lengths, which may need more or fewer bytes
  // themselves. Parts stand behind what they are part of.
  void adjust_lengths() {
    for (size_t i = index_.messages.size(); i-- > 1;) {
      if (growth_[i] == 0) continue;
      const WireMessage& message = index_.messages[i];
      Edit edit{message.length_begin, message.begin, {}, {}};
      append_varint(edit.head,
                    static_cast<uint64_t>(static_cast<int64_t>(message.end) -
                                          static_cast<int64_t>(message.begin) + growth_[i]));
      growth_[static_cast<size_t>(message.parent)] +=
          growth_[i] + static_cast<int64_t>(edit.head.size()) -
          static_cast<int64_t>(message.begin - message.length_begin);
      edits_.push_back(std::move(edit));
    }
  }

  void write_data_files() {
    std::set<std::string> locations;
    const auto note = [&](const TensorProto& tensor) {
      if (tensor.data_location() == TensorProto::EXTERNAL) {
        locations.insert(external_range(tensor).location);
      }
    };
    for_each_tensor(proto_.graph(), note);
    for (const auto& function : proto_.functions()) {
      for (const auto& node : function.node()) for_each_tensor(node, note);
    }
    // One file may have several spellings.
    std::map<fs::path, DataFile> files;
    for (const std::string& location : locations) {
      DataFile& file = files[fs::path(location).lexically_normal()];
      file.location = location;
      const auto& edits = data_edits_[location];
      file.edits.insert(file.edits.end(), edits.begin(), edits.end());
    }
    for (auto& item : files) {
      with_context([&] { return str("external data '", item.second.location, "'"); },
                   [&] { write_data_file(item.first, item.second); });
    }
  }

  void write_data_file(const fs::path& relative, DataFile& file) {
    auto& [location, edits] = file;
    require(*relative.begin() != "..", ErrorCode::kUnsupported,
            "it does not lie below the model's directory");
    const fs::path target = path_.parent_path() / relative;
    std::error_code error;
    if (edits.empty() && fs::equivalent(target, external_.resolve(location), error)) return;
    const auto original = external_.open(location);
    settle(edits);
    require(edits.empty() || edits.back().end <= original->bytes().size(), ErrorCode::kInvalidData,
            "the file is too short");
    if (target.has_parent_path()) fs::create_directories(target.parent_path(), error);
    write_edited(original->bytes(), edits, target);
  }

  const LoadedModel& model_;
  const fs::path& path_;
  ExternalFiles external_;
  WireIndex index_;
  ModelProto proto_;
  std::vector<int64_t> growth_;  // of each message, by its number
  std::vector<Edit> edits_;
  std::map<std::string, std::vector<Edit>> data_edits_;  // by location
};

}  // namespace

void write_updated_model(const LoadedModel& model, const Changes& changed, const fs::path& path) {
  with_context([&] { return str("cannot write ", path.string()); },
               [&] { Updater(model, path).run(changed); });
}

}  // namespace hugot
