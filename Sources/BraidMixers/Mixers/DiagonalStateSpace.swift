import BraidNN
import BraidTensor
import Foundation

/// A bank of time-invariant state-space models with complex diagonal state matrices (S4D), one for each head.
///
///     s_t = a s_{t-1} + b u_t;   y_t = 2 Re Σ_n C_n s_t,n                        a, b, C complex [H, N / 2]
///     A = -exp(inv_A_real) + i A_imag;   a = (1 + Δ A / 2) / (1 - Δ A / 2);   b = Δ B / (1 - Δ A / 2)
///
/// Complex parameters are pairs of reals. In tensors of states, the last axis holds N / 2 real parts, then the
/// imaginary ones.
/// Source: Gu et al., "On the parameterization and initialization of diagonal state space models", 2022 (bilinear
/// discretisation, S4D-Lin initialisation).
struct DiagonalStateSpace: Sendable {
  let heads: Int
  /// N / 2
  let modes: Int
  let outputs: Parameter
  let logStep: Parameter
  let inputs: Parameter
  let realDecay: Parameter
  let frequency: Parameter

  init(_ scope: ParameterScope, heads: Int, stateSize: Int) {
    self.heads = heads
    modes = stateSize / 2
    // Complex normal numbers of variance 1, half of it in each part.
    outputs = scope.parameter("C", [1, heads, modes, 2], init: .normal(Float(0.5).squareRoot()))
    logStep = scope.parameter("log_dt", [heads], init: .uniform(Float(log(0.001))...Float(log(0.1))))
    inputs = scope.parameter(
      "B", [heads, modes, 2],
      init: .custom { shape, _ in Tensor((0..<shape.elementCount).map { Float(1 - $0 % 2) }, shape: shape) })
    realDecay = scope.parameter("inv_A_real", [heads, modes], init: .constant(Float(log(0.5))))
    frequency = scope.parameter(
      "A_imag", [heads, modes],
      init: .custom { shape, _ in
        Tensor((0..<shape.elementCount).map { .pi * Float($0 % shape[-1]) }, shape: shape)
      })
  }

  private var parameters: [Parameter] { [outputs, logStep, inputs, realDecay, frequency] }

  /// A complex tensor, its parts apart.
  typealias Complex = (real: Tensor, imaginary: Tensor)

  private static func product(_ x: Complex, _ y: Complex) -> Complex {
    (x.real * y.real - x.imaginary * y.imaginary, x.real * y.imaginary + x.imaginary * y.real)
  }

  private static func complex(_ pairs: Tensor) -> Complex {
    (pairs.selected(axis: -1, 0), pairs.selected(axis: -1, 1))
  }

  /// (a, b, C), each part [H, N / 2].
  func discretized() -> (decay: Complex, input: Complex, output: Complex) {
    let step = logStep.value.exp().unsqueezed(-1)
    let x = realDecay.value.exp() * step * -0.5
    let y = frequency.value * step * 0.5
    let norm = ((1 - x).squared() + y.squared()).reciprocal()
    let inverse: Complex = ((1 - x) * norm, y * norm)
    let decay = Self.product((1 + x, y), inverse)
    let scaled = Self.product(Self.complex(inputs.value), inverse)
    return (
      decay, (scaled.real * step, scaled.imaginary * step),
      Self.complex(outputs.value.squeezed(0))
    )
  }

  /// The tables, kept where the parameters are constant.
  func tables(_ length: Int) -> FilterTables {
    kept(parameters, "diagonal tables \(length)") { makeTables(length) }
  }

  private func makeTables(_ length: Int) -> FilterTables {
    let (a, b, c) = discretized()
    let powers = complexPowers(a.real, a.imaginary, count: length + 1)
    func range(_ range: Range<Int>) -> Complex {
      let part = powers.sliced(axis: -1, range)
      return (part.selected(axis: 0, 0), part.selected(axis: 0, 1))
    }
    let absorbed = Self.product(range(0..<length), (b.real.unsqueezed(-1), b.imaginary.unsqueezed(-1)))
    let (cr, ci) = (c.real.unsqueezed(-1), c.imaginary.unsqueezed(-1))
    let kernel = (cr * absorbed.real - ci * absorbed.imaginary).sum(axes: [1]) * 2
    let emitted = Self.product(range(1..<length + 1), (cr, ci))
    let last = range(length..<length + 1)
    return FilterTables(
      kernel: kernel, absorbed: .concatenated([absorbed.real, absorbed.imaginary], axis: 1),
      emitted: .concatenated([emitted.real * 2, emitted.imaginary * -2], axis: 1),
      decay: .concatenated([last.real, last.imaginary], axis: 1).squeezed(2))
  }

  /// decay ⊙ state as complex numbers: decay [H, N], state [..., H, M, N].
  private func decayed(_ state: Tensor, _ decay: Tensor) -> Tensor {
    let a = decay.unsqueezed(1).split(into: 2, axis: -1)
    let s = state.split(into: 2, axis: -1)
    let product = Self.product((a[0], a[1]), (s[0], s[1]))
    return .concatenated([product.real, product.imaginary], axis: -1)
  }

  /// The outputs for u [B, T, M, H] (M sequences for each head) and the state [B, H, M, N] moved past them.
  func callAsFunction(_ u: Tensor, state: inout Tensor, chunk: Int) -> Tensor {
    FilterTables.filtered(u, state: &state, chunk: chunk, tables: tables, decayed: decayed)
  }

  /// The output for one input u [B, M, H]; the state [B, H, M, N] moves past it.
  func step(_ u: Tensor, state: inout Tensor) -> Tensor {
    let (decay, input, output) = kept(parameters, "diagonal step") {
      let (a, b, c) = discretized()
      func joined(_ x: Complex, _ scale: Float, _ imaginary: Float) -> Tensor {
        .concatenated([x.real * scale, x.imaginary * imaginary], axis: -1)
      }
      return Step(decay: joined(a, 1, 1), input: joined(b, 1, 1), output: joined(c, 2, -2))
    }.parts
    state = decayed(state, decay) + u.transposed().unsqueezed(-1) * input.unsqueezed(1)
    return (state * output.unsqueezed(1)).sum(axes: [-1]).transposed()
  }

  private struct Step: Sendable {
    let decay: Tensor
    let input: Tensor
    let output: Tensor
    var parts: (Tensor, Tensor, Tensor) { (decay, input, output) }
  }
}

/// a^0, a^1, ... a^(count - 1) of complex numbers: [2, shape of a..., count], real parts first.
///
/// The powers are formed in float64: in float32 their error would grow with the exponent.
func complexPowers(_ real: Tensor, _ imaginary: Tensor, count: Int) -> Tensor {
  Tensor.withCustomGradient([real, imaginary]) { parts in
    let (re, im, n) = (parts[0].floats, parts[1].floats, parts[0].elementCount)
    return Tensor.build(Shape([2] + parts[0].shape.dimensions + [count])) { out in
      for i in 0..<n {
        let (a, b) = (Double(re[i]), Double(im[i]))
        var (x, y) = (1.0, 0.0)
        for j in 0..<count {
          out[i * count + j] = Float(x)
          out[(n + i) * count + j] = Float(y)
          (x, y) = (x * a - y * b, x * b + y * a)
        }
      }
    }
  } backward: { parts, powers, gradient in
    // d(a^j) = j a^(j - 1) da; a real function's gradient takes the conjugate of the factor.
    let n = parts[0].elementCount
    let (p, g) = (powers.floats, gradient.floats)
    var (re, im) = ([Float](repeating: 0, count: n), [Float](repeating: 0, count: n))
    for i in 0..<n {
      var (x, y) = (0.0, 0.0)
      for j in 1..<max(count, 1) {
        let (pr, pi) = (Double(p[i * count + j - 1]), Double(p[(n + i) * count + j - 1]))
        let (gr, gi) = (Double(g[i * count + j]), Double(g[(n + i) * count + j]))
        x += Double(j) * (gr * pr + gi * pi)
        y += Double(j) * (gi * pr - gr * pi)
      }
      (re[i], im[i]) = (Float(x), Float(y))
    }
    return [Tensor(re, shape: parts[0].shape), Tensor(im, shape: parts[0].shape)]
  }
}
