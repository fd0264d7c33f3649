import BraidTensor
import CBraidKernels

/// C = residual + activation(A W + b) for a constant W, over the caller's memory: one thread, no allocation.
struct PreparedProduct {
  let inputs: Int
  let outputs: Int
  private let panels: UnsafeMutablePointer<Float>
  private let bias: UnsafeMutablePointer<Float>?
  private let activation: braid_activation
  private let block: @convention(c) (UnsafePointer<braid_gemm_block>?) -> Void

  /// - Parameter weight: W as it is read from (input, output).
  init(
    inputs: Int, outputs: Int, bias: [Float]?, activation: braid_activation = BRAID_ACTIVATION_NONE,
    memory: StreamMemory, weight: (Int, Int) -> Float
  ) {
    self.inputs = inputs
    self.outputs = outputs
    self.activation = activation
    self.bias = bias.map(memory.constants)
    let kernels = braid_kernels_current().pointee.gemm
    block = kernels.block
    let (width, quantum) = (Int(kernels.panel_width), Int(kernels.quantum))
    panels = memory.floats(inputs * ((outputs + quantum - 1) / quantum * quantum))
    var plain = [Float](repeating: 0, count: inputs * outputs)
    for i in 0..<inputs { for j in 0..<outputs { plain[i * outputs + j] = weight(i, j) } }
    for column in stride(from: 0, to: outputs, by: width) {
      plain.withUnsafeBufferPointer {
        kernels.pack(
          inputs, min(width, outputs - column), $0.baseAddress! + column, outputs, 1, panels + column * inputs
        )
      }
    }
  }

  /// The rows `range` of a torch weight [outputs, inputs], times a factor.
  init(
    _ weight: Tensor, rows range: Range<Int>? = nil, bias: Tensor?, scale: Float = 1,
    activation: braid_activation = BRAID_ACTIVATION_NONE, memory: StreamMemory
  ) {
    let range = range ?? 0..<weight.shape[0]
    let (count, values) = (weight.shape[1], weight.floats)
    self.init(
      inputs: count, outputs: range.count, bias: bias.map { $0.floats[range].map { $0 * scale } },
      activation: activation, memory: memory
    ) { values[(range.lowerBound + $1) * count + $0] * scale }
  }

  /// The product of `rows` rows of A.
  ///
  /// - Parameter segments: a row of A is this many equal parts, part s beginning offsets[s] behind the row's start.
  func callAsFunction(
    rows: Int, _ a: UnsafePointer<Float>, row aRow: Int,
    segments: (count: Int, offsets: UnsafePointer<Int>)? = nil,
    to c: UnsafeMutablePointer<Float>, row cRow: Int, residual: UnsafePointer<Float>? = nil,
    residualRow: Int = 0
  ) {
    var end = braid_epilogue(
      bias: bias.map { UnsafePointer($0) }, residual: residual, residual_row: residualRow, scale: 1, slope: 0,
      activation: activation)
    withUnsafePointer(to: &end) { end in
      var call = braid_gemm_block()
      call.m = rows
      call.n = outputs
      call.k = inputs
      call.a = a
      call.a_row = aRow
      call.a_column = 1
      if let segments {
        call.segments = segments.count
        call.segment_offsets = segments.offsets
      }
      call.b = UnsafePointer(panels)
      call.k_total = inputs
      call.c = c
      call.c_row = cRow
      call.epilogue = end
      call.is_first = 1
      call.is_last = 1
      block(&call)
    }
  }
}
