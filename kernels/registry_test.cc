#include "kernels/registry.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <utility>

#include "kernels/cuda/kernels.h"

namespace hugot {

TEST_CASE("the manifest and the definitions agree") {
  const OpRegistry registry = builtin_ops(cuda::kernel_table());
  size_t versions = 0;
  for (const ManifestEntry& line : manifest()) {
    CAPTURE(line.name);
    CHECK_FALSE(line.since_versions.empty());
    CHECK(std::is_sorted(line.since_versions.begin(), line.since_versions.end()));
    for (const int version : line.since_versions) {
      CAPTURE(version);
      const OpDef* op = registry.find(line.domain, line.name, version);
      REQUIRE(op != nullptr);
      CHECK(op->since_version == version);
      CHECK((op->cpu != nullptr) == line.cpu);
      CHECK((op->gradient != nullptr) == line.gradient);
      CHECK((op->cuda != nullptr) == line.cuda);
      CHECK((op->infer != nullptr));
      CHECK(op->min_inputs <= op->max_inputs);
      CHECK(op->min_outputs <= op->max_outputs);
      ++versions;
    }
  }
  CHECK(registry.all().size() == versions);
}

TEST_CASE("no operator has two lines in the manifest") {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (const ManifestEntry& line : manifest()) {
    CAPTURE(line.name);
    CHECK(seen.insert({line.domain, line.name}).second);
  }
}

TEST_CASE("the newest version that an opset allows is found") {
  const OpRegistry registry = builtin_ops();
  CHECK(registry.get("", "Add", 8).since_version == 7);
  CHECK(registry.get("", "Add", 100).since_version == 14);
  CHECK(registry.find("", "Gelu", 19) == nullptr);
  CHECK_THROWS_AS(registry.get("", "NoSuchOperator", 20), Error);
}

}  // namespace hugot
