#include "kernels/fused_activation.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace hugot {
namespace {

struct Activation {
  const char* name;
  std::vector<const char*> parameters;  // attributes, in the order of the list
};

const Activation kActivations[] = {
    {"Elu", {"alpha"}},
    {"HardSigmoid", {"alpha", "beta"}},
    {"LeakyRelu", {"alpha"}},
    {"Relu", {}},
    {"Selu", {"alpha", "gamma"}},
    {"Sigmoid", {}},
    {"Softplus", {}},
    {"Softsign", {}},
    {"Tanh", {}},
    {"ThresholdedRelu", {"alpha"}},
};

}  // namespace

Term fused_activation(Expansion& e, const Term& x, const std::string& name,
                      const std::vector<float>& parameters) {
  if (name.empty()) return x;
  if (name == "Clip") {
    const auto limit = [&](size_t i) {
      if (i >= parameters.size()) return Term();
      return e.writer().number(static_cast<double>(parameters[i]), x.dtype());
    };
    return e.op("Clip", {x, limit(0), limit(1)});
  }
  const auto* found = std::find_if(std::begin(kActivations), std::end(kActivations),
                                   [&](const Activation& a) { return a.name == name; });
  require(found != std::end(kActivations), ErrorCode::kUnsupported, "activation '", name,
          "' is not supported");
  Attributes attributes;
  const size_t given = std::min(parameters.size(), found->parameters.size());
  for (size_t i = 0; i < given; ++i) attributes[found->parameters[i]] = parameters[i];
  return e.op(name, {x}, std::move(attributes));
}

}  // namespace hugot
