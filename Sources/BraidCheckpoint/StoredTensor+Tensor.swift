import BraidTensor

extension StoredTensor {
  /// The tensor: over the region's bytes where type, layout and alignment allow, a copy otherwise.
  var tensor: Tensor {
    region.isHandedOut = true
    return passingTensor
  }

  /// As `tensor`, for a reader that does not change it and lets it go before `dropPages`.
  var passingTensor: Tensor {
    #if _endian(little)
      let start = region.base + byteOffset
      let isAligned = Int(bitPattern: start) % storedType.dtype.byteCount == 0
      if storedType.isLoadedVerbatim, isContiguous, isAligned, region.isWritable, elementCount > 0 {
        let storage = Storage(foreign: start, byteCount: loadedByteCount, owner: region)
        return Tensor(storage: storage, shape: shape, dtype: storedType.dtype)
      }
    #endif
    let result = Tensor.uninitialized(shape, dtype: storedType.dtype)
    withExtendedLifetime(result.storage) { copy(to: result.storage.pointer) }
    return result
  }

  /// Gives the memory of the tensor's pages back where they are those of the file; they are read again when needed.
  func dropPages() {
    guard isContiguous, elementCount > 0 else { return }
    region.dropPages(byteOffset..<byteOffset + elementCount * storedType.byteCount)
  }
}
