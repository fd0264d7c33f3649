import BraidTestSupport
import Testing

@testable import BraidTensor

/// The convolution operations: shapes, padding modes, gradients. Their sums are checked in ConvolutionKernelTests.
@Suite struct ConvolutionTests {
  static func numbers(_ shape: Shape, seed: UInt64) -> Tensor {
    var g = Philox(seed: seed)
    return Tensor.normal(shape, using: &g)
  }

  @Test func shapesAndTruths() {
    let x = Self.numbers([2, 9, 11, 6], seed: 1), w = Self.numbers([10, 3, 3, 5], seed: 2)
    let bias = Self.numbers([10], seed: 3)
    let axes = ConvolutionAxes(stride: [2, 1], before: [1, 2], after: [0, 3], dilation: [1, 2])
    let y = convolution(x, w, bias: bias, axes: axes, groups: 2)
    let g = ConvolutionGeometry(
      batch: 2,
      spatial: [
        .init(input: 9, kernel: 3, stride: 2, padBefore: 1, padAfter: 0),
        .init(input: 11, kernel: 5, dilation: 2, padBefore: 2, padAfter: 3),
      ], inputChannels: 6, outputChannels: 10, groups: 2)
    #expect(y.shape == [2, 4, 8, 10])
    var expected = (0..<y.elementCount).map { Double(bias.floats[$0 % 10]) }
    let (xs, ws) = (x.floats, w.floats)
    ConvolutionKernelTests.forEachProduct(g) { expected[$2] += Double(xs[$0]) * Double(ws[$1]) }
    #expect(relativeError(y.floats, expected) < 1e-6)
    // Views, and weights that are packed once.
    w.storage.isConstant = true
    for _ in 0..<2 {
      let again = convolution(
        x.permuted(0, 2, 1, 3).contiguous().permuted(0, 2, 1, 3), w, bias: bias, axes: axes, groups: 2)
      #expect(again.floats == y.floats)
    }
  }

  @Test func paddingModesArePaddingBefore() {
    let x = Self.numbers([1, 6, 7, 4], seed: 1), w = Self.numbers([5, 4, 3, 3], seed: 2)
    for mode in [PaddingMode.reflect, .replicate, .circular, .constant(2)] {
      let padded = x.padded(
        [AxisPadding(axis: 1, before: 1, after: 1), AxisPadding(axis: 2, before: 1, after: 1)], mode: mode)
      #expect(relativeError(conv2d(x, w, padding: 1, mode: mode), conv2d(padded, w)) < 1e-6)
    }
  }

  @Test(arguments: LinearTests.activations)
  func gradientsThroughEpilogues(_ activation: Activation) {
    let x = Self.numbers([2, 5, 6, 3], seed: 1), w = Self.numbers([4, 3, 3, 3], seed: 2)
    let bias = Self.numbers([4], seed: 3), residual = Self.numbers([2, 5, 6, 4], seed: 4)
    let plain = conv2d(x, w, bias: bias, padding: 1, activation: activation, residual: residual)
    let recorded = conv2d(
      x.requiringGradient(), w, bias: bias, padding: 1, activation: activation, residual: residual)
    #expect(relativeError(plain, recorded) < 1e-6)
    let error = gradientError([x, w, bias, residual], step: 1e-3) {
      conv2d($0[0], $0[1], bias: $0[2], padding: 1, activation: activation, residual: $0[3])
    }
    #expect(error < 1e-2)
  }

  @Test func gradientsOfGeometries() {
    let line = Self.numbers([2, 13, 6], seed: 1)
    let plane = Self.numbers([1, 8, 9, 4], seed: 2), cube = Self.numbers([1, 4, 5, 6, 3], seed: 3)
    func check(_ x: Tensor, _ w: Shape, _ body: (Tensor, Tensor) -> Tensor) -> Double {
      gradientError([x, Self.numbers(w, seed: 9)], step: 0.25) { body($0[0], $0[1]) }
    }
    #expect(check(line, [4, 3, 3]) { conv1d($0, $1, stride: 2, padding: 2, groups: 2) } < 1e-3)
    #expect(check(line, [6, 1, 4]) { conv1d($0, $1, padding: 3, dilation: 2, groups: 6) } < 1e-3)
    #expect(check(plane, [5, 4, 3, 3]) { conv2d($0, $1, stride: 2, padding: 1) } < 1e-3)
    #expect(check(plane, [5, 4, 3, 3]) { conv2d($0, $1, padding: 2, dilation: 2, mode: .reflect) } < 1e-3)
    #expect(check(plane, [4, 1, 3, 3]) { conv2d($0, $1, padding: 1, groups: 4) } < 1e-3)
    #expect(check(plane, [5, 4, 1, 1]) { conv2d($0, $1) } < 1e-3)
    #expect(check(cube, [4, 3, 3, 3, 3]) { conv3d($0, $1, padding: 1) } < 1e-3)
    #expect(check(line, [6, 2, 4]) { transposedConv1d($0, $1, stride: 2, padding: 1, groups: 2) } < 1e-3)
    #expect(
      check(plane, [4, 3, 3, 3]) { transposedConv2d($0, $1, stride: 3, padding: 1, outputPadding: 2) } < 1e-3)
    let large = Self.numbers([1, 7, 8, 24], seed: 5)
    #expect(check(large, [25, 24, 3, 3]) { conv2d($0, $1, padding: 1) } < 1e-3)
  }

  @Test func causalConvolutionCarriesItsState() {
    for length in [1, 2, 7, 300] {
      let x = Self.numbers([2, length, 20], seed: 1), w = Self.numbers([20, 1, 4], seed: 2)
      let bias = Self.numbers([20], seed: 3)
      let whole = causalConv1d(x, w, bias: bias, activation: .silu)
      #expect(
        relativeError(
          whole.output, conv1d(x.padded(axis: 1, before: 3), w, bias: bias, groups: 20, activation: .silu))
          < 1e-6)
      for split in [1, length / 2, length - 1] where split > 0 && split < length {
        let first = causalConv1d(x.sliced(axis: 1, 0..<split), w, bias: bias, activation: .silu)
        let second = causalConv1d(
          x.sliced(axis: 1, split..<length), w, bias: bias, state: first.state, activation: .silu)
        let joined = Tensor.concatenated([first.output, second.output], axis: 1)
        #expect(relativeError(joined, whole.output) < 1e-6)
        #expect(second.state.floats == whole.state.floats)
      }
    }
    let error = gradientError(
      [
        Self.numbers([2, 5, 6], seed: 1), Self.numbers([6, 1, 3], seed: 2), Self.numbers([2, 2, 6], seed: 3),
      ],
      step: 1e-2
    ) { causalConv1d($0[0], $0[1], state: $0[2], activation: .silu).output }
    #expect(error < 1e-2)
  }

  @Test func transposedConvolutionIsTheTranspose() {
    // <conv(x), y> = <x, transposed(y)>
    let x = Self.numbers([2, 9, 10, 4], seed: 1), w = Self.numbers([6, 4, 3, 2], seed: 2)
    let forward = conv2d(x, w, stride: 2, padding: 1)
    let y = Self.numbers(forward.shape, seed: 3)
    let back = transposedConvolution(
      y, w, axes: ConvolutionAxes(stride: [2, 2], padding: [1, 1], dilation: [1, 1]), outputPadding: [0, 0])
    let cut = x.sliced(axis: 1, 0..<back.shape[1]).sliced(axis: 2, 0..<back.shape[2])
    #expect(back.shape[1] == 9 && back.shape[2] == 10)
    let left = (forward * y).sum().item, right = (cut * back).sum().item
    #expect(abs(left - right) < 1e-3 * max(1, abs(left)))
  }
}
