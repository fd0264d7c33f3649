import ArgumentParser
import Braid

/// Which language model, and how its weights are held; the same in every command.
struct LanguageModelOptions: ParsableArguments {
  @Option(
    name: [.long, .customShort("m")],
    help: ArgumentHelp(
      "A folder as published: config.json, and safetensors with an index or without (BRAID_MODEL).",
      valueName: "DIR"),
    completion: .directory)
  var model: String?

  @Option(
    help: ArgumentHelp(
      "How the weights of products are held: f32, bf16, int8 (a scale a row) or q4_0 (4 bits).",
      valueName: "FORMAT"))
  var weightsFormat: WeightFormat = .f32

  /// The folder that the option or BRAID_MODEL names.
  func folder() throws -> String {
    guard let folder = try EnvironmentDefault.value(model, "BRAID_MODEL") else {
      throw Failure.usage("--model DIR is missing")
    }
    return folder
  }

  func load() throws -> HybridLM { try HybridLM.load(from: folder(), storedAs: weightsFormat) }
}

extension WeightFormat: ExpressibleByArgument {}

/// How the next token is chosen.
struct SamplingOptions: ParsableArguments {
  @Flag(help: "Take the most probable token (the default where no other option of choice is given).")
  var greedy = false

  @Option(
    help: ArgumentHelp("Draw tokens, logits divided by T (default: 1 with another option).", valueName: "T"))
  var temperature: Float?

  @Option(help: ArgumentHelp("Draw from the K most probable tokens.", valueName: "K"))
  var topK: Int?

  @Option(help: ArgumentHelp("Draw from the most probable tokens that make up the part P.", valueName: "P"))
  var topP: Float?

  @Option(help: ArgumentHelp("Seed of the draws (BRAID_SEED; default: 0).", valueName: "S"))
  var seed: UInt64?

  func validate() throws {
    let draws = temperature != nil || topK != nil || topP != nil || seed != nil
    if greedy && draws { throw ValidationError("--greedy draws nothing: leave out the options of drawing.") }
    if let temperature, !(temperature >= 0 && temperature <= 1000) {
      throw ValidationError("--temperature must be 0 to 1000.")
    }
    if let topK, topK < 1 { throw ValidationError("--top-k must be 1 or more.") }
    if let topP, !(topP > 0 && topP <= 1) { throw ValidationError("--top-p must be above 0 and at most 1.") }
  }

  func sampler() throws -> Sampler {
    guard temperature != nil || topK != nil || topP != nil || seed != nil else { return .greedy }
    return Sampler(
      temperature: temperature ?? 1, topK: topK, topP: topP,
      seed: try EnvironmentDefault.value(seed, "BRAID_SEED") ?? 0)
  }
}
