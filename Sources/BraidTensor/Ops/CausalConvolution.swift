/// activation(causal depthwise convolution of x + bias), and the inputs that its continuation needs.
///
/// Output t reads inputs t - k + 1 ... t; those before the first come from `state`, or are zero.
/// - Parameters:
///   - x: [B, L, C], L at least 1.
///   - weight: [C, 1, k]; its last element belongs to the present input.
///   - bias: [C], or nil.
///   - state: [B, k - 1, C], the inputs just before x, or nil.
/// - Returns: output [B, L, C]; state [B, k - 1, C], to go on behind x.
public func causalConv1d(
  _ x: Tensor, _ weight: Tensor, bias: Tensor? = nil, state: Tensor? = nil, activation: Activation = .none
) -> (output: Tensor, state: Tensor) {
  precondition(
    x.rank == 3 && weight.rank == 3 && weight.shape[0] == x.shape[2] && weight.shape[1] == 1
      && x.shape[1] > 0,
    "causalConv1d: x \(x.shape), weight \(weight.shape)")
  let (length, channels, past) = (x.shape[1], x.shape[2], weight.shape[2] - 1)
  precondition(
    state.map { $0.shape == [x.shape[0], past, channels] } ?? true,
    "causalConv1d: state \(state!.shape) for x \(x.shape) and a kernel of \(past + 1)")
  if let state, past > 0 {
    let joined = Tensor.concatenated([state, x], axis: 1)
    let output = conv1d(joined, weight, bias: bias, groups: channels, activation: activation)
    return (output, released(joined.sliced(axis: 1, length..<length + past)))
  }
  let output = convolution(
    x, weight, bias: bias, axes: ConvolutionAxes(stride: [1], before: [past], after: [0], dilation: [1]),
    groups: channels, activation: activation)
  let recent = x.sliced(axis: 1, max(0, length - past)..<length)
  return (output, released(length < past ? recent.padded(axis: 1, before: past - length) : recent))
}

/// A copy that does not keep the whole sequence alive, where no gradient needs the view.
private func released(_ state: Tensor) -> Tensor { state.requiresGradient ? state : state.duplicated() }
