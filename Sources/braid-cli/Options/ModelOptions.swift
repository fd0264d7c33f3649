import ArgumentParser
import Braid

/// Which model; the same in every command.
struct ModelOptions: ParsableArguments {
  @Option(
    name: [.long, .customShort("m")],
    help: ArgumentHelp(
      "A model's name (see: braid models list), a checkpoint file, or a folder (BRAID_MODEL).",
      valueName: "NAME|FILE|DIR"),
    completion: .custom { (_: [String], _: Int, _: String) in ModelCatalogue.entries.map(\.name) })
  var model: String?

  @Option(
    help: ArgumentHelp(
      "Put the tensors of this checkpoint into the model instead of its own.", valueName: "FILE"),
    completion: .file(extensions: ["safetensors", "pth", "pt", "bin"]))
  var weights: String?

  @Option(
    help: ArgumentHelp("The set of tensors to take, where a checkpoint holds several.", valueName: "KEY"))
  var weightsKey: String?

  @Option(help: "f32, or bf16 for weights rounded to bfloat16 (BRAID_DTYPE; default: f32).")
  var dtype: WeightType?

  /// What is asked for, with a scale where the command has one.
  func request(scale: Int?) throws -> RestorationModelRequest {
    RestorationModelRequest(
      model: try EnvironmentDefault.value(model, "BRAID_MODEL"), weights: weights, weightsKey: weightsKey,
      scale: scale,
      dtype: try EnvironmentDefault.value(dtype, "BRAID_DTYPE") == .bf16 ? .bfloat16 : .float32)
  }

  /// The model for speech that is asked for.
  func speechRequest(streams: Bool) throws -> EnhancementModelRequest {
    EnhancementModelRequest(
      model: try EnvironmentDefault.value(model, "BRAID_MODEL"), weights: weights, weightsKey: weightsKey,
      streams: streams,
      dtype: try EnvironmentDefault.value(dtype, "BRAID_DTYPE") == .bf16 ? .bfloat16 : .float32)
  }
}

/// What `--dtype` takes.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
  case f32
  case bf16
}
