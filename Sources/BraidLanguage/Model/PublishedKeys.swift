import BraidCheckpoint
import BraidMixers
import BraidTensor
import Foundation

/// How the tensors of a model are named in a published checkpoint.
struct PublishedKeys {
  private let aliases: [HybridLMConfiguration.KeyReplacement]

  init(_ configuration: HybridLMConfiguration) { aliases = configuration.keyAliases }

  /// The parameter that a file's key stands for; nil for tensors that are no part of the model.
  func own(_ key: String) -> String? {
    // Tables of rotary embeddings and heads for several tokens at once, which transformers leaves aside too.
    if key.hasSuffix("rotary_emb.inv_freq") || key.hasSuffix(".mup_vector") || key.hasPrefix("mtp.")
      || key.contains(".mtp.")
    {
      return nil
    }
    for alias in aliases {
      guard let place = key.firstRange(of: alias.published) else { continue }
      if alias.published.hasPrefix(".") || place.lowerBound == key.startIndex {
        return key.replacingCharacters(in: place, with: alias.own)
      }
    }
    return key
  }
}

extension HybridLMConfiguration {
  /// The configuration under which a checkpoint is read. Where a tensor that might be shared stands in the file by
  /// itself, with other values, the file's counts: a block's transformer, and the last product.
  func resolved(for checkpoint: Checkpoint) throws -> HybridLMConfiguration {
    let keys = PublishedKeys(self)
    var result = self
    let published = Dictionary(
      checkpoint.keys.compactMap { key in keys.own(key).map { ($0, key) } },
      uniquingKeysWith: { first, _ in first })
    for key in published.keys where key.hasPrefix(names.blocks + ".") {
      let parts = key.dropFirst(names.blocks.count + 1).split(separator: ".", maxSplits: 2)
      guard parts.count == 3, parts[1] == HybridBlock.sharedName, let index = Int(parts[0]),
        blocks.indices.contains(index)
      else { continue }
      result.blocks[index].shared?.source = index
    }
    if tiesEmbedding, let head = published[names.head + ".weight"],
      let table = published[names.embedding + ".weight"],
      checkpoint.entry(head)?.shape == checkpoint.entry(table)?.shape
    {
      result.tiesEmbedding = try checkpoint.tensor(head).withBytes { a in
        try checkpoint.tensor(table).withBytes { b in a.elementsEqual(b) }
      }
    }
    return result
  }
}
