// What the pipelines of a session share.
#ifndef HUGOT_PIPELINES_SESSION_H_
#define HUGOT_PIPELINES_SESSION_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/thread_pool.h"
#include "graph/op.h"
#include "hugot/hugot.hpp"
#include "kernels/registry.h"
#include "models/model_directory.h"

namespace hugot {

class ImageModel;
class TextModel;

class HUGOT_LOCAL Session::Impl {
 public:
  explicit Impl(const SessionOptions& options)
      : ops(builtin_ops()), cache_directory(options.cache_directory), pool(options.threads) {}

  const OpRegistry ops;
  const std::filesystem::path cache_directory;
  ThreadPool pool;

  // Models that pipelines share, by what key_of() says.
  template <class Model>
  using Shared = std::map<std::string, std::weak_ptr<const Model>>;
  Shared<TextModel> text_models;
  Shared<ImageModel> image_models;

  // The model of the directory that pipelines share which ask for the same file, precision and
  // `kind`; made by make(directory) when nobody has it. Two pipelines that are made at the same
  // time share, too.
  template <class Model, class Make>
  std::shared_ptr<const Model> share(Shared<Model>& models, const std::filesystem::path& directory,
                                     const ModelOptions& options, std::string_view kind,
                                     Make&& make) {
    ModelDirectory read = ModelDirectory::read(directory);
    const std::string key = key_of(read, options, kind);
    const std::lock_guard lock(models_mutex_);  // held while loading
    auto& known = models[key];
    auto model = known.lock();
    if (!model) {
      model = make(std::move(read));
      known = model;
    }
    return model;
  }

 private:
  static std::string key_of(const ModelDirectory& directory, const ModelOptions& options,
                            std::string_view kind);

  std::mutex models_mutex_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_SESSION_H_
