// What a training needs before its first step: the model as a function of its parameters, the loss,
// the data.
#ifndef HUGOT_PIPELINES_TRAINING_SETUP_H_
#define HUGOT_PIPELINES_TRAINING_SETUP_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autodiff/loss.h"
#include "autodiff/train_graph.h"
#include "base/communicator.h"
#include "base/npz.h"
#include "base/thread_pool.h"
#include "graph/op.h"
#include "hugot/training.hpp"
#include "models/lora.h"
#include "models/model_directory.h"
#include "models/tied.h"
#include "models/trainable.h"
#include "onnx/loader.h"
#include "pipelines/training_config.h"
#include "pipelines/training_data.h"

namespace hugot {

class HUGOT_LOCAL TrainingSetup {
 public:
  // Loads and checks everything. `pool` is kept. Throws what train() throws.
  TrainingSetup(const TrainingOptions& options, ThreadPool& pool);

  const TrainingOptions& options() const { return options_; }
  ThreadPool& pool() const { return pool_; }
  const OpRegistry& ops() const { return ops_; }
  const ModelDirectory& directory() const { return directory_; }
  // Of the graph, relative to the directory.
  std::filesystem::path onnx_path() const;
  const LoadedModel& file() const { return *file_; }
  // The output of the graph that is trained.
  const std::string& output_name() const { return output_name_; }

  // From now on all ranks compute the model together. `ranks` is kept.
  void distribute(Communicator& ranks);

  TrainableModel& model() { return *model_; }
  const LossConfig& loss_config() const { return loss_config_; }
  Loss& loss() { return *loss_; }
  const OptimizerOptions& optimizer() const { return optimizer_; }
  const TrainingData& train() const { return *train_; }
  const TrainingData* eval() const { return eval_.get(); }  // null: none
  // Whether rows for evaluation are such as the loss takes.
  bool eval_has_loss() const;

  // Parameters of the model, then those of the loss.
  std::vector<Parameter*> parameters();
  // Their factors of the learning rate.
  std::vector<double> rates() const;
  // Tensors of the model that stay as they are.
  size_t frozen() const { return frozen_; }

  const std::vector<Adapter>& adapters() const { return adapters_; }
  // Tensors of the file that are written as copies of what is trained.
  const std::vector<TiedWeight>& tied() const { return tied_; }

  // A new classifier stands on top of the graph.
  bool has_head() const { return options_.head_classes > 0; }
  const std::vector<std::string>& head_names() const { return head_names_; }
  // Names of the classes of the new head.
  std::vector<std::string> class_names() const;

  // Vectors of texts, without gradients.
  Tensor vectors(std::span<const TrainRow> rows, const TrainRun& run);

 private:
  void choose_loss();
  void load_model_graph();
  // Chooses what is trained; parameters_ and tied_ become that.
  std::vector<std::string> choose_parameters(Graph& graph);
  void load_data();
  void add_head(Graph& graph);
  void make_loss();
  int64_t vector_size();
  DataNeeds train_needs() const;

  const TrainingOptions& options_;
  ThreadPool& pool_;
  OpRegistry ops_;
  ModelDirectory directory_;
  LossConfig loss_config_;
  OptimizerOptions optimizer_;
  NamedTensors head_init_;
  std::unique_ptr<LoadedModel> file_;
  std::string output_name_;
  std::vector<ModelParameter> parameters_;  // in the order of the model's
  std::vector<Adapter> adapters_;
  std::vector<TiedWeight> tied_;
  size_t frozen_ = 0;
  int layers_ = 0;
  std::vector<std::string> head_names_;
  std::unique_ptr<TrainableModel> model_;
  std::unique_ptr<TrainingData> train_, eval_;
  std::unique_ptr<Loss> loss_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINING_SETUP_H_
