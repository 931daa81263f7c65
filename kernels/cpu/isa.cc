#include "kernels/cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/error.h"

namespace hugot::cpu {
namespace {

// Set by ScopedIsa only.
std::atomic<const Isa*> forced_isa = nullptr;

const Isa& choose_isa() {
  if (const char* name = std::getenv("HUGOT_ISA"); name != nullptr && *name != '\0') {
    return with_context([] { return "environment variable HUGOT_ISA"; },
                        [&]() -> const Isa& { return find_isa(name); });
  }
  for (const Isa& isa : all_isas()) {
    if (isa.supported()) return isa;
  }
  fail(ErrorCode::kInternal, "no instruction set of this build is supported");
}

}  // namespace

const Isa& active_isa() {
  if (const Isa* forced = forced_isa.load(std::memory_order_acquire)) return *forced;
  static const Isa& chosen = choose_isa();
  return chosen;
}

const Isa& find_isa(const char* name) {
  std::string known;
  for (const Isa& isa : all_isas()) {
    if (std::strcmp(isa.name, name) == 0) {
      require(isa.supported(), ErrorCode::kInvalidArgument, "this processor does not support ",
              name);
      return isa;
    }
    known += known.empty() ? "" : ", ";
    known += isa.name;
  }
  fail(ErrorCode::kInvalidArgument, "unknown instruction set \"", name, "\"; this build has ",
       known);
}

ScopedIsa::ScopedIsa(const Isa& isa) : previous_(forced_isa.load(std::memory_order_acquire)) {
  require(isa.supported(), ErrorCode::kInvalidArgument, "this processor does not support ",
          isa.name);
  forced_isa.store(&isa, std::memory_order_release);
}

ScopedIsa::~ScopedIsa() { forced_isa.store(previous_, std::memory_order_release); }

}  // namespace hugot::cpu
