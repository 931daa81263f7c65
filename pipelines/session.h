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

  // Models that pipelines share, by file and precision.
  std::mutex models_mutex;
  std::map<std::string, std::weak_ptr<const TextModel>> models;
  std::map<std::string, std::weak_ptr<const ImageModel>> image_models;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_SESSION_H_
