import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct RecurrentTests {
  private func layer(
    _ x: Tensor, _ suffix: String, _ state: LSTMState? = nil, reversed: Bool = false
  ) -> (output: Tensor, state: LSTMState) {
    lstm(
      x, inputWeight: OperationFixture["lstm.weight_ih_\(suffix)"],
      hiddenWeight: OperationFixture["lstm.weight_hh_\(suffix)"],
      inputBias: OperationFixture["lstm.bias_ih_\(suffix)"],
      hiddenBias: OperationFixture["lstm.bias_hh_\(suffix)"], initial: state, reversed: reversed)
  }

  private func initialState(_ index: Int) -> LSTMState {
    LSTMState(
      hidden: OperationFixture["lstm.h"].selected(axis: 0, index),
      cell: OperationFixture["lstm.c"].selected(axis: 0, index))
  }

  @Test func twoBidirectionalLayersMatchTorch() {
    var x = OperationFixture["lstm.input"]
    var hidden: [Tensor] = []
    var cells: [Tensor] = []
    poisonMemory(200)
    for index in 0..<2 {
      let forward = layer(x, "l\(index)", initialState(2 * index))
      let backward = layer(x, "l\(index)_reverse", initialState(2 * index + 1), reversed: true)
      x = Tensor.concatenated([forward.output, backward.output], axis: 2)
      hidden += [forward.state.hidden, backward.state.hidden]
      cells += [forward.state.cell, backward.state.cell]
    }
    #expect(relativeError(x, OperationFixture["lstm.output"]) < 1e-6)
    #expect(relativeError(Tensor.stacked(hidden), OperationFixture["lstm.hn"]) < 1e-6)
    #expect(relativeError(Tensor.stacked(cells), OperationFixture["lstm.cn"]) < 1e-6)
  }

  @Test(arguments: [false, true], [1, 5])
  func gradientsOfEveryInput(_ reversed: Bool, _ length: Int) {
    var generator = Philox(seed: 31)
    let shapes: [Shape] = [[2, length, 3], [16, 3], [16, 4], [16], [16], [2, 4], [2, 4]]
    let inputs = shapes.map { Tensor.normal($0, standardDeviation: 0.7, using: &generator) }
    func run(_ a: [Tensor]) -> (output: Tensor, state: LSTMState) {
      lstm(
        a[0], inputWeight: a[1], hiddenWeight: a[2], inputBias: a[3], hiddenBias: a[4],
        initial: LSTMState(hidden: a[5], cell: a[6]), reversed: reversed)
    }
    #expect(gradientError(inputs) { run($0).output } < 2e-3)
    #expect(gradientError(inputs) { run($0).state.cell } < 2e-3)
    #expect(
      gradientError(inputs) {
        let (output, state) = run($0)
        return output.sum(axes: [1]) * state.hidden + state.cell
      } < 2e-3)
  }

  @Test func stateCarriesAcrossASplit() {
    var generator = Philox(seed: 32)
    let x = Tensor.normal([3, 9, 3], using: &generator)
    let whole = layer(x, "l0")
    let first = layer(x.sliced(axis: 1, 0..<4), "l0")
    let second = layer(x.sliced(axis: 1, 4..<9), "l0", first.state)
    #expect(relativeError(Tensor.concatenated([first.output, second.output], axis: 1), whole.output) < 1e-6)
    #expect(relativeError(second.state.cell, whole.state.cell) < 1e-6)
    let none = layer(x.sliced(axis: 1, 0..<0), "l0", first.state)
    #expect(none.output.shape == [3, 0, 4] && none.state.cell.floats == first.state.cell.floats)
  }
}
