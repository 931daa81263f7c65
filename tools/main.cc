// The `hugot` command.
#include <csignal>
#include <cstdio>
#include <iostream>
#include <new>

#include "hugot/hugot.hpp"
#include "tools/command.h"

namespace hugot::tools {
namespace {

int run_command(int argc, char** argv) {
  CLI::App app(
      "Transformer models in the ONNX format: pipelines, training, exact execution, tokenization.\n"
      "`hugot COMMAND --help` shows the options of a command.",
      "hugot");
  app.set_version_flag("--version", "hugot " + std::string(version()));
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of all commands");
  app.failure_message(CLI::FailureMessage::simple);

  Action action;
  add_run(app, action);
  add_train(app, action);
  add_infer(app, action);
  add_tokenize(app, action);
  add_tokenizer_train(app, action);
  add_inspect(app, action);
  add_new(app, action);
  add_convert(app, action);
  add_onnx_test(app, action);
  add_bench(app, action);
  app.add_subcommand("help", "Show this text")->callback([&] {
    action = [&app] {
      std::cout << app.help("", CLI::AppFormatMode::All);
      return int{kDone};
    };
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kNothingDone;
  }
  return action();
}

}  // namespace
}  // namespace hugot::tools

int main(int argc, char** argv) {
  // A reader that goes away shows up as EPIPE in the writer, which then ends quietly.
  std::signal(SIGPIPE, SIG_IGN);
  // A file beyond a limit on its size shows up as EFBIG there.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return hugot::tools::run_command(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("hugot: out of memory\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hugot: %s\n", error.what());
  }
  return hugot::tools::kNothingDone;
}
