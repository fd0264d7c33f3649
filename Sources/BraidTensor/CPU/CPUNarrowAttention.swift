import CBraidKernels

// Attention of heads of a few channels: a kernel of its own, whose scores never leave the registers.

extension AttentionShape {
  /// Whether every query sees every key and a head's rows fit the narrow kernel.
  var isNarrow: Bool {
    let most = Int(BRAID_ATTENTION_NARROW)
    guard case .dense = pattern else { return false }
    return width <= most && valueWidth <= most && width > 0 && valueWidth > 0 && keys > 0 && !causal
      && window == nil && softCap == 0
  }
}

extension CPU {
  /// Query rows of one task.
  private static let narrowRows = 256
  /// Floats of a key and its value, packed.
  static let narrowPair = 2 * Int(BRAID_ATTENTION_NARROW)

  /// `attention` where the shape is narrow, without bias and sinks.
  static func narrowAttention(
    _ shape: AttentionShape, queries: HeadRows, keys: HeadRows, values: HeadRows,
    output: UnsafeMutablePointer<Float>, lse: UnsafeMutablePointer<Float>?, kernels: braid_attention_kernels
  ) {
    let heads = shape.batch * shape.keyHeads
    let count = shape.keys * narrowPair
    let workspace = Workspace(floats: heads * count + heads)
    defer { workspace.release() }
    let (pairs, norms) = (workspace.pointer, workspace.pointer + heads * count)
    parallelFor(heads) { task in
      let (image, head) = task.quotientAndRemainder(dividingBy: shape.keyHeads)
      norms[task] = kernels.pack_narrow(
        keys.start(image, head), keys.lengthStride, values.start(image, head), values.lengthStride,
        shape.keys,
        shape.width, shape.valueWidth, shape.scale * log2OfE, pairs + task * count)
    }
    let parts = (shape.queries + narrowRows - 1) / narrowRows
    parallelFor(shape.batch * shape.heads * parts) { task in
      let (pair, part) = task.quotientAndRemainder(dividingBy: parts)
      let (image, head) = pair.quotientAndRemainder(dividingBy: shape.heads)
      let first = part * narrowRows
      let keyHead = image * shape.keyHeads + head / shape.group
      var narrow = braid_attention_narrow()
      narrow.rows = Swift.min(narrowRows, shape.queries - first)
      narrow.n = shape.keys
      narrow.d = shape.width
      narrow.dv = shape.valueWidth
      narrow.queries = queries.start(image, head) + first * queries.lengthStride
      narrow.query_row = queries.lengthStride
      narrow.pairs = UnsafePointer(pairs + keyHead * count)
      narrow.most = norms[keyHead]
      narrow.out = output + ((image * shape.queries + first) * shape.heads + head) * shape.valueWidth
      narrow.out_row = shape.heads * shape.valueWidth
      narrow.lse = lse.map { $0 + (image * shape.heads + head) * shape.queries + first }
      kernels.forward_narrow(&narrow)
    }
  }
}
