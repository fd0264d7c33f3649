import BraidTensor
import CBraidKernels

/// One frame through a `CausalMapConvolution`, its past held here.
final class StreamedConvolution {
  private let product: PreparedProduct
  private let width, inputs, side: Int
  /// The last `taps` frames [width + 2 side, inputs], each between zeros.
  private let ring: UnsafeMutablePointer<Float>
  private let taps: Int
  /// For each place in the ring, where the frames lie that it sees, oldest first.
  private let offsets: UnsafeMutablePointer<Int>

  private var frameCount: Int { (width + 2 * side) * inputs }
  private var outputWidth: Int { (width + 1) / 2 }

  /// - Parameter weights: "weight" [outputs, inputs, time, frequency] and "bias".
  init(
    width: Int, activation: braid_activation, name: String, memory: StreamMemory, weights: (String) -> Tensor
  ) {
    let (weight, bias) = (weights("weight"), weights("bias"))
    let (outputs, inputs, taps, reach) = (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3])
    self.width = width
    self.inputs = inputs
    self.taps = taps
    side = reach / 2
    let values = weight.floats
    product = PreparedProduct(
      inputs: taps * reach * inputs, outputs: outputs, bias: bias.floats, activation: activation,
      memory: memory
    ) { row, output in
      let (tap, rest) = row.quotientAndRemainder(dividingBy: reach * inputs)
      let (place, input) = rest.quotientAndRemainder(dividingBy: inputs)
      return values[((output * inputs + input) * taps + tap) * reach + place]
    }
    let count = (width + 2 * side) * inputs
    ring = memory.state(name, taps * count)
    offsets = .allocate(capacity: taps * taps)
    for slot in 0..<taps {
      for tap in 0..<taps { offsets[slot * taps + tap] = (slot + 1 + tap) % taps * count }
    }
  }

  deinit { offsets.deallocate() }

  /// Where the present frame's input [width, inputs] is to be put.
  func input(_ place: StreamPlace) -> UnsafeMutablePointer<Float> {
    ring + place.slot(taps) * frameCount + side * inputs
  }

  /// The present frame's output [ceil(width / 2), outputs].
  func step(_ place: StreamPlace, to output: UnsafeMutablePointer<Float>, residual: UnsafePointer<Float>?) {
    product(
      rows: outputWidth, ring, row: 2 * inputs,
      segments: (taps, UnsafePointer(offsets) + place.slot(taps) * taps), to: output,
      row: product.outputs, residual: residual, residualRow: product.outputs)
  }
}

/// One frame through a `WideningConvolution`.
///
/// Output o hears input i by tap o + side - 2 i: even and odd outputs are a product each, over neighbouring inputs.
final class StreamedWidening {
  private let width, target, inputs, outputs: Int
  private let padded: UnsafeMutablePointer<Float>
  /// For even and odd outputs: the product, and the first input that output 0 (or 1) hears.
  private let phases: [(product: PreparedProduct, first: Int)]
  /// Zeros on either side of the input.
  private static let margin = 2

  /// Where the input [width, inputs] is to be put.
  var input: UnsafeMutablePointer<Float> { padded + Self.margin * inputs }

  init(
    from width: Int, to target: Int, activation: braid_activation, memory: StreamMemory,
    weights: (String) -> Tensor
  ) {
    let (weight, bias) = (weights("weight"), weights("bias"))
    let (inputs, outputs, reach) = (weight.shape[0], weight.shape[1], weight.shape[3])
    precondition(reach / 2 <= Self.margin, "StreamedWidening: a kernel of \(reach)")
    self.width = width
    self.target = target
    self.inputs = inputs
    self.outputs = outputs
    padded = memory.floats((width + 2 * Self.margin) * inputs)
    let (values, side) = (weight.floats, reach / 2)
    phases = (0..<2).map { phase in
      let heard = (-Self.margin...Self.margin).filter { (0..<reach).contains(phase + side - 2 * $0) }
      let product = PreparedProduct(
        inputs: heard.count * inputs, outputs: outputs, bias: bias.floats, activation: activation,
        memory: memory
      ) { row, output in
        let (place, input) = row.quotientAndRemainder(dividingBy: inputs)
        return values[(input * outputs + output) * reach + phase + side - 2 * heard[place]]
      }
      return (product, heard[0])
    }
  }

  func load(_ x: UnsafePointer<Float>) { input.update(from: x, count: width * inputs) }

  /// The output [target, outputs].
  func step(to output: UnsafeMutablePointer<Float>, residual: UnsafePointer<Float>?) {
    for (phase, part) in phases.enumerated() {
      part.product(
        rows: (target + 1 - phase) / 2, input + part.first * inputs, row: inputs,
        to: output + phase * outputs,
        row: 2 * outputs, residual: residual.map { $0 + phase * outputs }, residualRow: 2 * outputs)
    }
  }
}
