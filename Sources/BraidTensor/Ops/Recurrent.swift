/// A recurrent layer's state: hidden and cell [batch, hidden].
public struct LSTMState: Sendable {
  public var hidden: Tensor
  public var cell: Tensor

  public init(hidden: Tensor, cell: Tensor) {
    self.hidden = hidden
    self.cell = cell
  }
}

/// One direction of an LSTM layer over a batch of sequences; layers and directions are composed of it.
///
/// i, f, o = sigmoid, g = tanh of W_ih x[t] + b_ih + W_hh h[t-1] + b_hh (gates in the order i, f, g, o, as in
/// torch.nn.LSTM); c[t] = f c[t-1] + i g; h[t] = o tanh(c[t]). Source: Hochreiter and Schmidhuber, 1997.
/// - Parameters:
///   - x: [batch, length, inputs].
///   - inputWeight: [4 hidden, inputs]; hiddenWeight: [4 hidden, hidden].
///   - inputBias, hiddenBias: [4 hidden], or nil.
///   - initial: the state before the first step, zeros where nil.
///   - reversed: walks from the last step to the first; outputs stay at their steps.
/// - Returns: the hidden state of every step [batch, length, hidden], and the last state walked to.
public func lstm(
  _ x: Tensor, inputWeight: Tensor, hiddenWeight: Tensor, inputBias: Tensor? = nil, hiddenBias: Tensor? = nil,
  initial: LSTMState? = nil, reversed: Bool = false
) -> (output: Tensor, state: LSTMState) {
  let size = hiddenWeight.shape[-1]
  precondition(
    x.rank == 3 && hiddenWeight.shape == [4 * size, size] && inputWeight.shape == [4 * size, x.shape[2]]
      && [inputBias, hiddenBias].allSatisfy { $0.map { $0.shape == [4 * size] } ?? true },
    "lstm: x \(x.shape), weights \(inputWeight.shape) and \(hiddenWeight.shape)")
  let (batch, length) = (x.shape[0], x.shape[1])
  let state = initial ?? LSTMState(hidden: Tensor.zeros([batch, size]), cell: Tensor.zeros([batch, size]))
  precondition(
    state.hidden.shape == [batch, size] && state.cell.shape == [batch, size],
    "lstm: a state of \(state.hidden.shape) and \(state.cell.shape) for a batch of \(batch), \(size) wide")
  var bias = inputBias
  if let hiddenBias { bias = bias.map { $0 + hiddenBias } ?? hiddenBias }
  // The inputs' part of all gates is one product; only the hidden state's part runs step by step.
  let projected = linear(x, inputWeight, bias: bias)
  if length == 0 { return (Tensor.zeros([batch, 0, size]), state) }

  let inputs = [projected, hiddenWeight, state.hidden, state.cell]
  let plain = inputs.map { $0.detached.cast(to: .float32) }
  let records = Autograd.isRecording && inputs.contains { $0.requiresGradient }
  let steps = CPU.lstm(
    projected: plain[0], weight: plain[1], hidden: plain[2], cell: plain[3], reversed: reversed,
    keepingGates: records)
  let outputs = Tensor.recordMany(
    "lstm", [steps.output, steps.hidden, steps.cell], inputs: inputs
  ) { gradients, needed in
    CPU.lstmGradients(
      gradients, steps, weight: plain[1], hidden: plain[2], cell: plain[3], reversed: reversed,
      needed: needed)
  }
  return (outputs[0], LSTMState(hidden: outputs[1], cell: outputs[2]))
}
