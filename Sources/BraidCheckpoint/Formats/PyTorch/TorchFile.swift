import OrderedCollections

/// The tensors of a file that `torch.save` wrote.
struct TorchFile {
  var tensors: OrderedDictionary<String, StoredTensor> = [:]
  var notes: OrderedDictionary<String, String> = [:]
  var weightsKey: String
  var availableWeightsKeys: [String]

  init(_ region: ByteRegion, isZip: Bool, weightsKey: String?, path: String) throws {
    let graph: PickleGraph
    let storages: any TorchStorages
    if isZip {
      let file = try TorchZipFile(region, path: path)
      (graph, storages) = (file.graph, file)
    } else {
      let file = try TorchLegacyFile(region, path: path)
      (graph, storages) = (file.graph, file)
    }
    var selection = WeightSelection(graph, path: path)
    let chosen = try selection.select(weightsKey)
    self.weightsKey = chosen.weightsKey
    availableWeightsKeys = chosen.available
    notes = selection.notes()
    var reader = TorchTensorReader(graph: graph, storages: storages, path: path)
    // Views of few bytes may claim many elements (an expanded tensor has strides of 0): the sum is bounded.
    var budget = 8 * region.count + 16 << 20
    tensors.reserveCapacity(chosen.tensors.count)
    for (key, reference) in chosen.tensors {
      let tensor = try reader.tensor(reference, key: key)
      budget = budget.subtractingReportingOverflow(tensor.loadedByteCount).partialValue
      guard tensor.elementCount < 1 << 48, budget >= 0 else {
        throw CheckpointError.limitExceeded(
          path: path,
          reason: "\"\(key.truncated(to: 200))\" brings the tensors to more than 8 times the file's size")
      }
      tensors[key] = tensor
    }
  }
}
