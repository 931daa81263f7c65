// What the sub-commands of `hugot` share. The only place that prints and exits is this folder.
#ifndef HUGOT_TOOLS_COMMAND_H_
#define HUGOT_TOOLS_COMMAND_H_

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/exec/device.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "hugot/hugot.hpp"

namespace hugot::tools {

// Exit codes of every sub-command.
enum ExitCode : int {
  kDone = 0,         // everything worked
  kSomeFailed = 1,   // some rows or cases failed
  kNothingDone = 2,  // wrong usage, or nothing could be run
  kInterrupted = 130,
};

// What main() runs after the command line has been parsed.
using Action = std::function<int()>;

// Each adds one sub-command to `app`; when the user asks for it, `action` becomes its work.
void add_bench(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_infer(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_new(CLI::App& app, Action& action);
void add_onnx_test(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_tokenizer_train(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);

// Adds a sub-command whose options live in a new `Options`; `work(options)` runs it.
template <class Options>
Options& add_command(CLI::App& app, Action& action, const std::string& name,
                     const std::string& description, int (*work)(const Options&),
                     CLI::App*& command) {
  auto options = std::make_shared<Options>();
  command = app.add_subcommand(name, description);
  command->callback(
      [options, &action, work] { action = [options, work] { return work(*options); }; });
  return *options;
}

// An option or flag in both spellings: "--batch-size" adds "--batchSize" as well. Further names may
// follow a comma: "--batch-size,-b".
std::string both_spellings(std::string_view names);

// Throws kUnsupported unless `device` is "cpu".
void require_cpu(const std::string& device);

// The device of --device; null for "cpu". Throws kInvalidArgument for what is no device's name, and
// kUnsupported and kNotFound for a device that this build or machine does not have.
std::shared_ptr<Device> open_device(const std::string& device);

// What --precision may be.
Precision precision_from_name(std::string_view name);
extern const CLI::IsMember kPrecisionNames;
// Of --cache.
extern const char* const kCacheText;

// Throws kNotFound or kInvalidArgument when `file` is no regular file.
void require_file(const std::filesystem::path& file);

// "'a', 'b' or 'c'": for messages.
std::string list_of(const std::vector<std::string>& items);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_COMMAND_H_
