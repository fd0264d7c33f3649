#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Finds the checkpoint of a folder as Hugging Face lays it out.
enum CheckpointFolder {
  /// Names in the order in which they are looked for.
  private static let names = [
    "model.safetensors.index.json", "model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
  ]
  private static let extensions = ["safetensors", "pth", "pt", "bin", "ckpt"]

  /// The file to open in the folder `path`, or nil where that is no folder.
  static func checkpoint(in path: String) throws -> String? {
    var isDirectory = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory else {
      return nil
    }
    let files: [String]
    do {
      files = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    } catch {
      throw CheckpointError.unreadable(path: path, reason: "the folder cannot be listed")
    }
    let folder = path.hasSuffix("/") ? path : path + "/"
    if let name = names.first(where: files.contains) { return folder + name }
    for suffix in extensions {
      let candidates = files.filter { $0.hasSuffix("." + suffix) && !$0.hasPrefix(".") }
      if candidates.count == 1 { return folder + candidates[0] }
      if candidates.count > 1 {
        throw CheckpointError.unrecognized(
          path: path,
          reason: "a folder of several checkpoints; name one: \(abbreviated(candidates, limit: 8))")
      }
    }
    throw CheckpointError.unrecognized(path: path, reason: "a folder without a checkpoint")
  }
}
