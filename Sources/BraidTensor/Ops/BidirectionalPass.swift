import CBraidKernels

/// Self-attention and a pair of Mamba layers, one along a sequence and one against it, as one operation on sequences
/// anywhere in memory: in place, without a gradient.
///
///     x = x + W_o MHA(LN(x)) + b_o                                   (where attention is given)
///     f = m_1(x) + x;   b = reverse(m_2(reverse x) + reverse x)      m_i(x) = Mamba_i(RMSNorm_i(x))
///     x = x + Wᵀ [f, b] + bias
///
/// A sequence stays with one thread, in pieces that fit its caches: what a layer hands to the next does not travel
/// through memory, the reversed layer reads backwards, and products that follow one another are one (the norms' weights
/// with W_in; W_out with W).
/// Source: Kuehne et al., "MambAttention", 2025; Gu and Dao, "Mamba", 2023.
public struct BidirectionalPass: Sendable {
  /// Softmax attention with a layer norm before it; weights as torch's MultiheadAttention has them.
  public struct Attention: Sendable {
    public var heads: Int
    public var normWeight, normBias: Tensor
    public var epsilon: Float
    /// [3 C, C] and [3 C]: queries, keys, values.
    public var input, inputBias: Tensor
    /// [C, C] and [C].
    public var output: Tensor
    public var outputBias: Tensor?

    public init(
      heads: Int, normWeight: Tensor, normBias: Tensor, epsilon: Float, input: Tensor, inputBias: Tensor,
      output: Tensor, outputBias: Tensor?
    ) {
      self.heads = heads
      self.normWeight = normWeight
      self.normBias = normBias
      self.epsilon = epsilon
      self.input = input
      self.inputBias = inputBias
      self.output = output
      self.outputBias = outputBias
    }

    /// The widest head that the operation takes.
    public static let widestHead = Int(BRAID_ATTENTION_NARROW)
  }

  /// One Mamba layer with D inner channels, N states and steps of rank R, and the norm before it.
  public struct Layer: Sendable {
    /// [C]
    public var norm: Tensor
    public var epsilon: Float
    /// [2 D, C]
    public var input: Tensor
    /// [D, 1, K] and [D].
    public var kernel: Tensor
    public var kernelBias: Tensor?
    /// [R + 2 N, D]
    public var projection: Tensor
    /// [D, R] and [D].
    public var step: Tensor
    public var stepBias: Tensor?
    /// A, negative: [D, N].
    public var decay: Tensor
    /// [D]
    public var skip: Tensor
    /// [C, D]
    public var output: Tensor

    public init(
      norm: Tensor, epsilon: Float, input: Tensor, kernel: Tensor, kernelBias: Tensor?, projection: Tensor,
      step: Tensor, stepBias: Tensor?, decay: Tensor, skip: Tensor, output: Tensor
    ) {
      self.norm = norm
      self.epsilon = epsilon
      self.input = input
      self.kernel = kernel
      self.kernelBias = kernelBias
      self.projection = projection
      self.step = step
      self.stepBias = stepBias
      self.decay = decay
      self.skip = skip
      self.output = output
    }
  }

  let attention: PackedSelfAttention?
  let along, against: PackedMambaLayer
  /// W's two halves added: what x itself gives.
  let joint: PackedMatrix
  let bias: Tensor
  let channels: Int
  let kernels: braid_kernels

  /// The operation with its weights packed.
  ///
  /// - Parameters:
  ///   - attention: nil where the block has none; heads of at most `Attention.widestHead` channels.
  ///   - weight: W [2 C, C].
  ///   - bias: [C].
  public init(attention: Attention?, along: Layer, against: Layer, weight: Tensor, bias: Tensor) {
    let channels = bias.shape[0]
    precondition(
      weight.shape == [2 * channels, channels] && along.norm.shape == [channels]
        && along.input.shape == [2 * along.skip.shape[0], channels]
        && along.output.shape == [channels, along.skip.shape[0]]
        && along.decay.shape == against.decay.shape && along.input.shape == against.input.shape
        && along.projection.shape == against.projection.shape && along.kernel.shape == against.kernel.shape,
      "BidirectionalPass: weight \(weight.shape), bias \(bias.shape), layers \(along.input.shape) and "
        + "\(against.input.shape)")
    self.channels = channels
    kernels = CPU.kernels.pointee
    self.attention = attention.map(PackedSelfAttention.init)
    let (first, second) = (
      weight.sliced(axis: 0, 0..<channels), weight.sliced(axis: 0, channels..<2 * channels)
    )
    self.along = PackedMambaLayer(along, joining: first, reversed: false, kernels: kernels.scan)
    self.against = PackedMambaLayer(against, joining: second, reversed: true, kernels: kernels.scan)
    joint = PackedMatrix(factor: first + second)
    self.bias = bias.contiguous()
  }

  /// Replaces every sequence of a view [sequences, length, C] of float32 numbers, neighbours along the last axis.
  public func apply(to x: Tensor) {
    precondition(
      x.rank == 3 && x.shape[2] == channels && x.dtype == .float32 && x.strides[2] == 1,
      "BidirectionalPass: x \(x.shape), strides \(x.strides), for \(channels) channels")
    let (count, length) = (x.shape[0], x.shape[1])
    guard length > 0 else { return }
    withExtendedLifetime(x) {
      let base = x.mutablePointer
      parallelFor(count) {
        CPU.run(self, rows: base + $0 * x.strides[0], stride: x.strides[1], length: length)
      }
    }
    OperationClock.tick("bidirectionalPass")
  }
}

extension PackedMatrix {
  /// The right factor [K, N] that a float32 tensor holds.
  convenience init(factor: Tensor) {
    let matrix = factor.detached.contiguous()
    self.init(
      rows: matrix.shape[0], columns: matrix.shape[1], source: UnsafePointer(matrix.mutablePointer),
      rowStride: matrix.shape[1], columnStride: 1)
    withExtendedLifetime(matrix) {}
  }
}

/// The weights of an attention as kernels want them.
struct PackedSelfAttention: Sendable {
  let heads: Int
  let normWeight, normBias, inputBias: Tensor
  let outputBias: Tensor?
  let epsilon: Float
  let input, output: PackedMatrix

  init(_ a: BidirectionalPass.Attention) {
    let channels = a.normWeight.shape[0]
    precondition(
      a.input.shape == [3 * channels, channels] && a.output.shape == [channels, channels]
        && channels % a.heads == 0 && channels / a.heads <= BidirectionalPass.Attention.widestHead,
      "BidirectionalPass: attention of \(a.heads) heads, input \(a.input.shape), output \(a.output.shape)")
    heads = a.heads
    normWeight = a.normWeight.contiguous()
    normBias = a.normBias.contiguous()
    inputBias = a.inputBias.contiguous()
    outputBias = a.outputBias?.contiguous()
    epsilon = a.epsilon
    input = PackedMatrix(factor: a.input.transposed())
    output = PackedMatrix(factor: a.output.transposed())
  }
}

/// The weights of a Mamba layer as kernels want them, products joined where they follow one another.
struct PackedMambaLayer: Sendable {
  let epsilon: Float
  let reversed: Bool
  /// D, N, R, and the taps of the convolution.
  let inner, states, rank, taps: Int
  /// To the branch and to the gate: W_in times the norm's weight.
  let branch, gate: PackedMatrix
  /// [taps, D] in the order of the positions that they read.
  let kernel: Tensor
  let kernelBias, stepBias: Tensor?
  let projection, step: PackedMatrix
  let skip: Tensor
  /// A log2(e): [ceil(D / lanes)][N][lanes], as the scan reads it.
  let table: DerivedNumbers
  let lanes: Int
  /// W_out and the part of the joining product that reads it.
  let output: PackedMatrix

  init(_ layer: BidirectionalPass.Layer, joining: Tensor, reversed: Bool, kernels: braid_scan_kernels) {
    (inner, states) = (layer.decay.shape[0], layer.decay.shape[1])
    rank = layer.projection.shape[0] - 2 * states
    taps = layer.kernel.shape[2]
    precondition(
      rank > 0 && layer.step.shape == [inner, rank] && layer.projection.shape[1] == inner
        && layer.kernel.shape == [inner, 1, taps],
      "BidirectionalPass: projection \(layer.projection.shape), step \(layer.step.shape), kernel "
        + "\(layer.kernel.shape), decay \(layer.decay.shape)")
    self.reversed = reversed
    epsilon = layer.epsilon
    let input = (layer.input * layer.norm).transposed()
    branch = PackedMatrix(factor: input.sliced(axis: 1, 0..<inner))
    gate = PackedMatrix(factor: input.sliced(axis: 1, inner..<2 * inner))
    let kernel = layer.kernel.reshaped(inner, taps).transposed()
    self.kernel = (reversed ? kernel.flipped(axis: 0) : kernel).contiguous()
    kernelBias = layer.kernelBias?.contiguous()
    stepBias = layer.stepBias?.contiguous()
    projection = PackedMatrix(factor: layer.projection.transposed())
    step = PackedMatrix(factor: layer.step.transposed())
    lanes = Int(kernels.lanes)
    let (inner, states, lanes) = (inner, states, lanes)
    let table = DerivedNumbers(count: (inner + lanes - 1) / lanes * lanes * states)
    layer.decay.read { decay in
      for channel in stride(from: 0, to: inner, by: lanes) {
        kernels.to_table(
          decay + channel * states, states, min(lanes, inner - channel), CPU.log2OfE,
          table.pointer + channel * states)
      }
    }
    self.table = table
    skip = layer.skip.contiguous()
    output = PackedMatrix(factor: matmul(layer.output.transposed(), joining))
  }
}
