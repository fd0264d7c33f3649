import Braid
import Foundation

/// Continues a text of token ids with a published hybrid language model, from a program:
/// `generate-example FOLDER COUNT ID...`.
///
/// FOLDER holds config.json and safetensors as on the Hugging Face hub. Prints the new ids as they come, then goes on from
/// the saved state for as many again: what was said before is not read a second time.
@main
struct GenerateExample {
  static func main() {
    do {
      try run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(65)
    }
  }

  static func run() throws {
    let arguments = Array(CommandLine.arguments.dropFirst())
    let prompt = arguments.dropFirst(2).compactMap { Int($0) }
    guard arguments.count > 2, let count = Int(arguments[1]), prompt.count == arguments.count - 2 else {
      FileHandle.standardError.write(Data("usage: generate-example FOLDER COUNT ID...\n".utf8))
      exit(64)
    }
    let model = try HybridLM.load(from: arguments[0], storedAs: .bf16)
    let sampler = Sampler(temperature: 0.8, topK: 50, seed: 1)
    var state = model.initialState(batch: 1)
    func show(_ id: Int) -> Bool {
      print(id)
      return true
    }
    try model.generate(after: prompt, count: count, state: &state, sampler: sampler, each: show)

    // The state is a value: a table of named tensors that can be kept, copied, and read by another process.
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("state-\(getpid()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try state.save(to: file)
    var again = try MixerState(contentsOf: file, like: model.initialState(batch: 1))
    try model.generate(after: [], count: count, state: &again, sampler: sampler, each: show)
  }
}
