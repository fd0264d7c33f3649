import BraidNN
import BraidTensor

/// Exponential moving averages of every channel, N of them with weights of their own (Mega).
///
///     h_t = q ⊙ h_{t-1} + p β u_t;   y_t = Σ_n γ_n h_t,n / √N + ω u_t;   p = σ(delta), q = 1 - p σ(alpha)     [D, N]
///
/// Source: Ma et al., "Mega: moving average equipped gated attention", 2022, section 3.1 (damped average; the names
/// are those of its code).
struct MovingAverage: Sendable {
  let channels, count: Int
  let delta, alpha, beta, gamma, omega: Parameter

  /// Positions that one Fourier transform covers.
  private static let chunk = 256

  init(_ scope: ParameterScope, channels: Int, count: Int) {
    self.channels = channels
    self.count = count
    delta = scope.parameter("delta", [channels, count, 1], init: .truncatedNormal(0.2))
    alpha = scope.parameter("alpha", [channels, count, 1], init: .truncatedNormal(0.2))
    beta = scope.parameter(
      "beta", [channels, count, 1],
      init: .custom { shape, generator in
        let noise = Tensor.normal(shape, standardDeviation: 0.02, using: &generator).floats
        return Tensor(noise.indices.map { noise[$0] + ($0 % shape[1] % 2 == 0 ? 1 : -1) }, shape: shape)
      })
    gamma = scope.parameter("gamma", [channels, count], init: .truncatedNormal(1))
    omega = scope.parameter("omega", [channels], init: .truncatedNormal(1))
  }

  private var parameters: [Parameter] { [delta, alpha, beta, gamma] }

  private struct Coefficients: Sendable {
    /// q, p β and γ / √N, [D, N].
    let decay, input, output: Tensor
  }

  private var coefficients: Coefficients {
    kept(parameters, "moving average") {
      let p = delta.value.sigmoid()
      return Coefficients(
        decay: (1 - p * alpha.value.sigmoid()).squeezed(2), input: (p * beta.value).squeezed(2),
        output: gamma.value * (1 / Float(count).squareRoot()))
    }
  }

  private func tables(_ length: Int) -> FilterTables {
    kept(parameters, "moving average \(length)") {
      let c = coefficients
      let powers = (c.decay.log().unsqueezed(-1) * Tensor.range(length + 1)).exp()
      let absorbed = c.input.unsqueezed(-1) * powers.sliced(axis: -1, 0..<length)
      let output = c.output.unsqueezed(-1)
      return FilterTables(
        kernel: (output * absorbed).sum(axes: [1]), absorbed: absorbed,
        emitted: output * powers.sliced(axis: -1, 1..<length + 1), decay: powers.selected(axis: -1, length))
    }
  }

  func initialState(batch: Int) -> Tensor { .zeros([batch, channels, count]) }

  /// [B, L, D] to the same; the state moves on.
  func callAsFunction(_ u: Tensor, state: inout Tensor) -> Tensor {
    if u.shape[1] == 1 {
      let c = coefficients
      state = c.decay * state + c.input * u.squeezed(1).unsqueezed(-1)
      return (c.output * state).sum(axes: [-1]).unsqueezed(1) + omega.value * u
    }
    var h = state.unsqueezed(2)
    let y = FilterTables.filtered(u.unsqueezed(2), state: &h, chunk: Self.chunk, tables: tables) {
      $0 * $1.unsqueezed(1)
    }
    state = h.squeezed(2)
    return y.squeezed(2) + omega.value * u
  }

  /// The same from a zero state, position by position.
  func reference(_ u: Tensor) -> Tensor {
    let c = coefficients
    var h = initialState(batch: u.shape[0])
    let outputs = (0..<u.shape[1]).map { t in
      let now = u.selected(axis: 1, t)
      h = c.decay * h + c.input * now.unsqueezed(-1)
      return (c.output * h).sum(axes: [-1]) + omega.value * now
    }
    return Tensor.stacked(outputs, axis: 1)
  }
}
