// Rows of the commands that work line by line.
#include <exception>

#include "tests/fuzz/fuzz.h"
#include "tools/json_row.h"
#include "tools/row_stream.h"

namespace hugot::fuzz {

InputKind input_kind() { return InputKind::kJson; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  return fuzz::only_errors([&] {
    tools::RowReader reader(fuzz::scratch_file(data, size), -1);
    for (uint64_t lines = 0; const auto line = reader.next();) {
      require(reader.place().line > lines, ErrorCode::kInternal, "lines go backwards");
      lines = reader.place().line;
      fuzz::only_errors([&] {
        const tools::JsonRow row(*line);
        const std::string out = row.with("\"output\":[1]", {"output", "error"});
        // What goes out is a row again, with the new member in the place of the old ones.
        try {
          const tools::JsonRow again(out);
          if (again.at("output").dump() != "[1]" || again.has("error")) std::terminate();
        } catch (const Error&) {
          std::terminate();
        }
        fuzz::only_errors([&] { row.text("input"); });
      });
    }
  });
}
