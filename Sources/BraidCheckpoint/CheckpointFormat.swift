/// How a checkpoint is stored.
public enum CheckpointFormat: String, Sendable, Hashable, Codable {
  case safetensors
  /// A zip archive of `torch.save` (PyTorch 1.6 and later).
  case torchZip = "torch-zip"
  /// The format of `torch.save` before PyTorch 1.6.
  case torchLegacy = "torch-legacy"
  /// Several files that an index lists.
  case sharded
}
