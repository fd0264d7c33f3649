import BraidTestSupport
import CBraidKernels
import Testing

@testable import BraidTensor

/// Convolution, its transpose and its weight gradient against sums in float64, at every CPU level.
@Suite struct ConvolutionKernelTests {
  typealias Axis = ConvolutionGeometry.Axis

  static let geometries: [ConvolutionGeometry] = [
    // One axis: plain, wide, strided, dilated, without overlap.
    geometry(2, [Axis(input: 13, kernel: 3, padBefore: 1, padAfter: 1)], 5, 7),
    geometry(1, [Axis(input: 700, kernel: 5, padBefore: 4, padAfter: 0)], 3, 9),
    geometry(2, [Axis(input: 40, kernel: 4, stride: 2, dilation: 3, padBefore: 2, padAfter: 5)], 6, 4, 2),
    geometry(1, [Axis(input: 17, kernel: 2, stride: 3)], 4, 5),
    // Two axes.
    geometry(1, plane(9, 14, kernel: 3, pad: 1), 16, 33),
    geometry(2, plane(7, 11, kernel: 3, pad: 1), 40, 50),
    geometry(1, plane(21, 18, kernel: 3, pad: 0), 30, 25),
    geometry(1, plane(5, 6, kernel: 3, pad: 2), 24, 24),
    geometry(2, plane(12, 9, kernel: 3, stride: 2, pad: 1), 8, 20),
    geometry(1, plane(16, 16, kernel: 7, stride: 4, dilation: 1, pad: 3), 3, 17),
    geometry(1, plane(11, 13, kernel: 3, dilation: 2, pad: 2), 12, 10),
    geometry(1, plane(10, 8, kernel: 5, pad: 2), 12, 18, 3),
    // Wide ones, whose inside is read in place, and such as are dilated down the columns.
    geometry(2, plane(9, 47, kernel: 3, pad: 1), 5, 6),
    geometry(1, dilated(13, 40, by: 4), 7, 9),
    geometry(2, dilated(21, 37, by: 8), 20, 24),
    geometry(1, dilated(14, 18, by: 2), 17, 25),
    geometry(1, dilated(19, 7, by: 3, pad: 0), 24, 16),
    geometry(1, plane(11, 45, kernel: 4, stride: 2, pad: 1), 3, 5, 1),
    geometry(2, plane(8, 9, kernel: 1, pad: 0), 19, 21),
    geometry(1, plane(8, 9, kernel: 1, stride: 2, pad: 0), 6, 5),
    geometry(1, plane(6, 7, kernel: 3, pad: 1), 512, 3),
    geometry(1, [Axis(input: 9, kernel: 3, padBefore: 2, padAfter: -1), Axis(input: 300, kernel: 2)], 2, 3),
    // Depthwise.
    geometry(2, [Axis(input: 300, kernel: 4, padBefore: 3, padAfter: 0)], 19, 19, 19),
    geometry(1, plane(9, 13, kernel: 3, pad: 1), 36, 36, 36),
    geometry(2, plane(6, 8, kernel: 7, pad: 3), 3, 3, 3),
    geometry(1, plane(11, 10, kernel: 5, stride: 2, dilation: 2, pad: 4), 17, 17, 17),
    // Three axes.
    geometry(1, (0..<3).map { Axis(input: 5 + $0, kernel: 3, padBefore: 1, padAfter: 1) }, 4, 6),
    geometry(
      2,
      [
        Axis(input: 4, kernel: 2, stride: 2), Axis(input: 9, kernel: 3, stride: 2, padBefore: 1, padAfter: 0),
        Axis(input: 8, kernel: 3, dilation: 2, padBefore: 0, padAfter: 2),
      ], 6, 4, 2),
  ]

  static func plane(
    _ height: Int, _ width: Int, kernel: Int, stride: Int = 1, dilation: Int = 1, pad: Int
  ) -> [Axis] {
    [height, width].map {
      Axis(input: $0, kernel: kernel, stride: stride, dilation: dilation, padBefore: pad, padAfter: pad)
    }
  }

  static func dilated(_ height: Int, _ width: Int, by dilation: Int, pad: Int? = nil) -> [Axis] {
    let pad = pad ?? dilation
    return [
      Axis(input: height, kernel: 3, dilation: dilation, padBefore: pad, padAfter: pad),
      Axis(input: width, kernel: 3, padBefore: 1, padAfter: 1),
    ]
  }

  static func geometry(
    _ batch: Int, _ axes: [Axis], _ inputs: Int, _ outputs: Int, _ groups: Int = 1
  ) -> ConvolutionGeometry {
    ConvolutionGeometry(
      batch: batch, spatial: axes, inputChannels: inputs, outputChannels: outputs, groups: groups)
  }

  /// Calls `body` with the index of the input, weight and output element of every product of the sum.
  static func forEachProduct(
    _ g: ConvolutionGeometry, _ body: (_ input: Int, _ weight: Int, _ output: Int) -> Void
  ) {
    let a = g.axes
    for b in 0..<g.batch {
      for z in 0..<a[0].output {
        for y in 0..<a[1].output {
          for x in 0..<a[2].output {
            let pixel = ((b * a[0].output + z) * a[1].output + y) * a[2].output + x
            for kz in 0..<a[0].kernel {
              let iz = z * a[0].stride + kz * a[0].dilation - a[0].padBefore
              guard (0..<a[0].input).contains(iz) else { continue }
              for ky in 0..<a[1].kernel {
                let iy = y * a[1].stride + ky * a[1].dilation - a[1].padBefore
                guard (0..<a[1].input).contains(iy) else { continue }
                for kx in 0..<a[2].kernel {
                  let ix = x * a[2].stride + kx * a[2].dilation - a[2].padBefore
                  guard (0..<a[2].input).contains(ix) else { continue }
                  let source = ((b * a[0].input + iz) * a[1].input + iy) * a[2].input + ix
                  let tap = (kz * a[1].kernel + ky) * a[2].kernel + kx
                  for o in 0..<g.outputChannels {
                    let first = o / g.groupOutputs * g.groupInputs
                    for i in 0..<g.groupInputs {
                      body(
                        source * g.inputChannels + first + i, (o * g.groupInputs + i) * g.tapCount + tap,
                        pixel * g.outputChannels + o)
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  static func methods(_ g: ConvolutionGeometry) -> [PackedConvolution.Method] {
    [.taps] + (g.isPointwise ? [.product] : []) + (g.admitsWinograd ? [.winograd] : [])
      + (g.isDepthwise ? [.depthwise] : [])
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func sums(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee
    for g in Self.geometries {
      let inputCount = g.batch * g.inputPixels * g.inputChannels
      let outputCount = g.batch * g.outputPixels * g.outputChannels
      let x = GEMMTests.numbers(inputCount, seed: 1), y = GEMMTests.numbers(outputCount, seed: 2)
      let w = GEMMTests.numbers(g.weightCount, seed: 3)
      var forward = [Double](repeating: 0, count: outputCount)
      var backward = [Double](repeating: 0, count: inputCount)
      var weightGradient = [Double](repeating: 0, count: g.weightCount)
      Self.forEachProduct(g) { input, weight, output in
        forward[output] += Double(x[input]) * Double(w[weight])
        backward[input] += Double(y[output]) * Double(w[weight])
        weightGradient[weight] += Double(x[input]) * Double(y[output])
      }
      for method in Self.methods(g) {
        let tolerance = method == .winograd ? 4e-6 : 2e-6
        for direction in [PackedConvolution.Direction.forward, .backward] {
          let isForward = direction == .forward
          let packed = PackedConvolution(g, direction, weight: w, method: method, kernels: kernels)
          var out = [Float](repeating: .nan, count: isForward ? outputCount : inputCount)
          CPU.convolve(g, input: isForward ? x : y, weights: packed, output: &out, kernels: kernels)
          let error = relativeError(out, isForward ? forward : backward)
          #expect(error < tolerance, "\(method) \(direction) \(g)")
        }
      }
      var gradient = [Float](repeating: .nan, count: g.weightCount)
      CPU.convolveWeightGradient(
        g, input: x, outputGradient: y, weightGradient: &gradient, kernels: kernels)
      #expect(relativeError(gradient, weightGradient) < 2e-6, "\(g)")
      CPU.convolveWeightGradient(
        g, input: x, outputGradient: y, weightGradient: &gradient, accumulates: true, kernels: kernels)
      #expect(relativeError(gradient, weightGradient.map { 2 * $0 }) < 2e-6, "\(g)")
    }
  }

  @Test(arguments: allLevels.map(\.rawValue))
  func epilogues(level: UInt32) {
    let kernels = braid_kernels_at(braid_level(level))!.pointee
    for g in [
      Self.geometries[0], Self.geometries[5], Self.geometries[6], Self.geometries[12], Self.geometries[17],
    ] {
      let x = GEMMTests.numbers(g.batch * g.inputPixels * g.inputChannels, seed: 1)
      let w = GEMMTests.numbers(g.weightCount, seed: 2).map {
        $0 / Float(g.groupInputs * g.tapCount).squareRoot()
      }
      let outputCount = g.batch * g.outputPixels * g.outputChannels
      let bias = GEMMTests.numbers(g.outputChannels, seed: 3)
      let residual = GEMMTests.numbers(outputCount, seed: 4)
      var sums = (0..<outputCount).map { Double(bias[$0 % g.outputChannels]) }
      Self.forEachProduct(g) { sums[$2] += Double(x[$0]) * Double(w[$1]) }
      for method in Self.methods(g) {
        let packed = PackedConvolution(g, .forward, weight: w, method: method, kernels: kernels)
        for activation in GEMMTests.activations {
          let expected = sums.indices.map {
            Double(residual[$0]) + 0.5 * GEMMTests.truth(activation, sums[$0])
          }
          var out = residual
          bias.withUnsafeBufferPointer { bias in
            out.withUnsafeMutableBufferPointer { out in
              let end = GEMMEpilogue(
                bias: bias.baseAddress, activation: activation, scale: 0.5,
                residual: UnsafePointer(out.baseAddress!))
              CPU.convolve(
                g, input: x, weights: packed, output: out.baseAddress!, epilogue: end, kernels: kernels)
            }
          }
          #expect(relativeError(out, expected) < 4e-6, "\(method) \(activation) \(g)")
        }
      }
    }
  }
}
