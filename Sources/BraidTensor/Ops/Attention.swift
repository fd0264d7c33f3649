import CBraidKernels

/// Softmax attention of queries [B, Lq, H, D] to keys [B, Lk, Hk, D] and values [B, Lk, Hk, Dv]: [B, Lq, H, Dv].
///
/// softmax(scale q k^T + bias) v, one fused operation whose memory grows with length and not with its square, in the
/// gradient too (Dao et al., FlashAttention). Query head h reads key head h / (H / Hk). A query that sees no key
/// gives zeros.
///
/// - Parameters:
///   - bias: added to the scaled scores, -infinity for a pair that is masked; it broadcasts to [B, H, Lq, Lk].
///   - causal: query i sees key j where j <= i + Lk - Lq: the last query sees all keys.
///   - window: a query sees that many keys at most, up to its own position (with `causal`), or from
///     i + Lk - Lq - window + 1 on.
///   - always: the first keys that a window does not hide (sink tokens); `causal` still does.
///   - scale: 1 / sqrt(D) where nil.
///   - softCap: scaled scores s become softCap tanh(s / softCap), before the bias (Gemma 2).
///   - sinks: [H], scores of a key without a value that every query of a head sees (gpt-oss).
public func scaledDotProductAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, bias: Tensor? = nil, causal: Bool = false,
  window: Int? = nil, always: Int = 0, scale: Float? = nil, softCap: Float? = nil, sinks: Tensor? = nil
) -> Tensor {
  precondition(window ?? 1 > 0, "scaledDotProductAttention: a window of \(window!) keys")
  return attention(
    "scaledDotProductAttention", queries, keys, values, bias: bias, scale: scale, softCap: softCap,
    sinks: sinks
  ) {
    $0.causal = causal
    $0.window = window
    $0.always = Swift.min(always, keys.shape[1])
  }
}

/// Causal attention to a window, the first keys, and every so many blocks of keys: shapes as in
/// `scaledDotProductAttention`.
///
/// With p = i + Lk - Lq, query i sees key j <= p where j < always, or j > p - window, or the blocks of p and j
/// (p / block and j / block, rounded down) are a multiple of `stride` apart. Pairs of blocks that see nothing of
/// each other cost nothing (Ge et al., LongGen, 2024).
public func stridedBlockAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, block: Int, stride: Int, window: Int, always: Int = 0,
  scale: Float? = nil, softCap: Float? = nil, sinks: Tensor? = nil
) -> Tensor {
  precondition(
    (1...Int(BRAID_ATTENTION_KEYS)).contains(block) && stride > 0 && window > 0,
    "stridedBlockAttention: blocks of \(block), stride \(stride), window \(window)")
  return attention(
    "stridedBlockAttention", queries, keys, values, bias: nil, scale: scale, softCap: softCap, sinks: sinks
  ) {
    $0.causal = true
    $0.window = window
    $0.always = Swift.min(always, keys.shape[1])
    $0.pattern = .strided(block: block, stride: stride)
  }
}

/// The blocks of keys that each block of queries attends to.
public struct BlockSelection: Sendable {
  /// int32 [B, query blocks, heads, kept]: numbers of key blocks, each once, or -1 for none. heads is 1, the number
  /// of key heads, or that of query heads.
  public var blocks: Tensor
  /// Queries and keys of a block; the last block may have fewer.
  public var queryBlock, keyBlock: Int

  public init(blocks: Tensor, queryBlock: Int, keyBlock: Int) {
    self.blocks = blocks
    self.queryBlock = queryBlock
    self.keyBlock = keyBlock
  }
}

/// Attention of blocks of queries to selected blocks of keys: shapes as in `scaledDotProductAttention`.
///
/// Only the selected blocks are visited. Blocks of one query read keys and values in place; larger ones, packed.
/// - Parameter causal: of the selected keys, query i sees those with j <= i + Lk - Lq.
public func blockSparseAttention(
  _ queries: Tensor, _ keys: Tensor, _ values: Tensor, selection: BlockSelection, causal: Bool = false,
  scale: Float? = nil, softCap: Float? = nil, sinks: Tensor? = nil
) -> Tensor {
  let (shape, length) = (selection.blocks.shape, queries.shape[1])
  let heads = queries.rank == 4 ? queries.shape[2] : 0
  precondition(
    shape.rank == 4 && selection.queryBlock > 0 && selection.keyBlock > 0
      && (selection.queryBlock == 1 || selection.keyBlock <= Int(BRAID_ATTENTION_KEYS))
      && shape[0] == queries.shape[0]
      && shape[1] == (length + selection.queryBlock - 1) / selection.queryBlock
      && (shape[2] == 1 || shape[2] == keys.shape[2] || shape[2] == heads),
    "blockSparseAttention: a selection of \(shape), blocks of \(selection.queryBlock) by \(selection.keyBlock), "
      + "for queries \(queries.shape) and keys \(keys.shape)")
  let numbers = selection.blocks.detached.cast(to: .int32).contiguous()
  return attention(
    "blockSparseAttention", queries, keys, values, bias: nil, scale: scale, softCap: softCap, sinks: sinks,
    holding: numbers
  ) {
    $0.causal = causal
    $0.pattern = .selected(
      SelectedBlocks(
        numbers: UnsafePointer(numbers.storage.pointer.assumingMemoryBound(to: Int32.self) + numbers.offset),
        heads: shape[2], queryBlocks: shape[1], kept: shape[3], queries: selection.queryBlock,
        keys: selection.keyBlock))
  }
}

/// The fused operation, for a problem that `configure` completes; `held` lives as long as it.
///
/// - Parameter listBias: a table [H, entries] and the entry of each listed key, int32 [Lq, kept].
func attention(
  _ name: StaticString, _ queries: Tensor, _ keys: Tensor, _ values: Tensor, bias: Tensor? = nil,
  listBias: (table: Tensor, index: Tensor)? = nil, scale: Float?, softCap: Float? = nil, sinks: Tensor? = nil,
  holding held: Tensor? = nil, _ configure: (inout AttentionShape) -> Void
) -> Tensor {
  let (qs, ks, vs) = (queries.shape, keys.shape, values.shape)
  precondition(
    qs.rank == 4 && ks.rank == 4 && vs.rank == 4 && qs[0] == ks[0] && ks[0] == vs[0] && ks[1] == vs[1]
      && ks[2] == vs[2] && qs[3] == ks[3] && ks[2] > 0 && qs[2] % ks[2] == 0,
    "\(name): queries \(qs), keys \(ks), values \(vs)")
  precondition(softCap ?? 1 > 0, "\(name): a cap of \(softCap!)")
  precondition(
    sinks.map { $0.shape == [qs[2]] } ?? true, "\(name): sinks of \(sinks!.shape) for \(qs[2]) heads")
  var problem = AttentionShape(
    batch: qs[0], queries: qs[1], keys: ks[1], heads: qs[2], keyHeads: ks[2], width: qs[3], valueWidth: vs[3],
    scale: scale ?? 1 / Float(qs[3]).squareRoot(), causal: false, window: nil, softCap: softCap ?? 0)
  configure(&problem)
  let shape = problem
  let full: Shape = [qs[0], qs[2], qs[1], ks[1]]
  precondition(
    bias == nil || Shape.broadcast(bias!.shape, full) == full,
    "\(name): a bias of \(bias!.shape) does not broadcast to \(full)")

  let q = denseRows(queries)
  let k = denseRows(keys)
  let v = denseRows(values)
  var added = bias?.detached.cast(to: .float32)
  if let view = added, view.rank == 0 || view.shape[-1] != ks[1] || (ks[1] > 1 && view.strides.last != 1) {
    let last = Shape(Array(view.shape.dimensions.dropLast()) + [ks[1]])
    added = (view.rank == 0 ? view.broadcast(to: [ks[1]]) : view.broadcast(to: last)).contiguous()
  }
  let addedView = added?.broadcast(to: full)
  let sinkScores = sinks?.detached.cast(to: .float32).contiguous()
  let table = listBias?.table.detached.cast(to: .float32).contiguous()
  let entryOf = listBias?.index
  let inputs = [queries, keys, values] + [bias, sinks, listBias?.table].compactMap { $0 }
  let keeps = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  let lse = keeps ? Tensor.uninitialized([qs[0], qs[2], qs[1]]) : nil
  @Sendable func attentionBias() -> AttentionBias? {
    addedView.map {
      AttentionBias(
        base: UnsafePointer($0.mutablePointer), batchStride: $0.strides[0], headStride: $0.strides[1],
        rowStride: $0.strides[2])
    }
  }
  @Sendable func tableBias() -> ListBias? {
    guard let table, let entryOf else { return nil }
    return ListBias(
      table: UnsafePointer(table.mutablePointer), entries: table.shape[1],
      index: UnsafePointer(entryOf.storage.pointer.assumingMemoryBound(to: Int32.self) + entryOf.offset))
  }
  let output = withExtendedLifetime((q, k, v, addedView, sinkScores, held, table, entryOf)) {
    Tensor.build([qs[0], qs[1], qs[2], vs[3]]) { out in
      CPU.attention(
        shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
        listBias: tableBias(), sinks: sinkScores.map { UnsafePointer($0.mutablePointer) }, output: out,
        lse: lse?.mutablePointer)
    }
  }
  return Tensor.record(name, output.cast(to: queries.dtype), inputs: inputs) {
    gradient, needed in
    let (dq, dk, dv) = (Tensor.zeros(qs), Tensor.zeros(ks), Tensor.zeros(vs))
    let dbias = bias != nil && needed[3] ? Tensor.zeros(full) : nil
    let dtable =
      listBias != nil && needed.last! ? Tensor.zeros([qs[0], table!.shape[0], table!.shape[1]]) : nil
    withExtendedLifetime((q, k, v, addedView, lse, held, table, entryOf)) {
      gradient.read { gradient in
        CPU.attentionGradient(
          shape, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: attentionBias(),
          output: output.mutablePointer, lse: lse!.mutablePointer, gradient: gradient, dq: dq.mutablePointer,
          dk: dk.mutablePointer, dv: dv.mutablePointer, dbias: dbias?.mutablePointer,
          listBias: tableBias(), dlistBias: dtable?.mutablePointer)
      }
    }
    var gradients: [Tensor?] = [dq, dk, dv]
    if let bias { gradients.append(dbias?.summed(to: bias.shape)) }
    if let sinkScores {
      let wanted = needed[bias == nil ? 3 : 4]
      gradients.append(wanted ? sinkGradient(sinkScores, lse!, output, gradient) : nil)
    }
    if listBias != nil { gradients.append(dtable?.sum(axes: [0])) }
    return gradients
  }
}

/// The gradient of the sinks [H]: minus the sum over queries of p(sink) (output . gradient); `lse` [B, H, Lq] in
/// units of log 2.
private func sinkGradient(_ sinks: Tensor, _ lse: Tensor, _ output: Tensor, _ gradient: Tensor) -> Tensor {
  let delta = (output * gradient).sum(axes: [-1]).transposed(1, 2)  // [B, H, Lq]
  let probability = (sinks.reshaped(1, -1, 1) - lse * Float(0.693_147_180_559_945_3)).exp()
  return -(probability * delta).sum(axes: [0, 2])
}

/// The tensor in float32, copied only where its last axis is not dense.
private func denseRows(_ tensor: Tensor) -> Tensor {
  let rows = tensor.detached.cast(to: .float32)
  return rows.strides[3] == 1 || rows.shape[3] == 1 ? rows : rows.contiguous()
}
