import BraidTestSupport
import Testing

@testable import BraidTensor

@Suite struct WindowAttentionTests {
  private func tensor(_ shape: Shape, _ numbers: inout TestNumbers) -> Tensor {
    Tensor(numbers.floats(shape.elementCount), shape: shape)
  }

  @Test func gradients() {
    var numbers = TestNumbers(37)
    let qkv = tensor([2, 4, 8, 3 * 2 * 5], &numbers)
    let bias = tensor([2, 16, 16], &numbers)
    #expect(
      gradientError([qkv, bias]) { windowAttention($0[0], heads: 2, window: 4, shift: (2, 1), bias: $0[1]) }
        < 5e-3)
    #expect(gradientError([qkv]) { windowAttention($0[0], heads: 2, window: 4) } < 5e-3)
    let wide = tensor([2, 16, 36], &numbers)
    #expect(
      gradientError([qkv, wide]) {
        overlappingWindowAttention($0[0], heads: 2, window: 4, overlapWindow: 6, bias: $0[1], scale: 0.5)
      } < 5e-3)
  }

  @Test func biasTables() {
    var numbers = TestNumbers(41)
    let window = 3
    let table = tensor([25, 2], &numbers)
    let bias = relativePositionBias(table, window: window)
    #expect(bias.shape == [2, 9, 9])
    let wide = tensor([49, 2], &numbers)
    let overlapping = overlappingPositionBias(wide, window: 3, overlapWindow: 5)
    #expect(overlapping.shape == [2, 9, 25])
    for head in 0..<2 {
      for i in 0..<9 {
        for j in 0..<9 {
          let entry = (i / 3 - j / 3 + 2) * 5 + i % 3 - j % 3 + 2
          #expect(bias.floats[(head * 9 + i) * 9 + j] == table.floats[entry * 2 + head])
        }
        for j in 0..<25 {
          let entry = (j / 5 - i / 3 - 1) * 7 + j % 5 - i % 3 - 1
          #expect(
            overlapping.floats[(head * 9 + i) * 25 + j] == wide.floats[(entry + 49) % 49 * 2 + head])
        }
      }
    }
    #expect(gradientError([table]) { relativePositionBias($0[0], window: window) } < 1e-3)
    #expect(gradientError([wide]) { overlappingPositionBias($0[0], window: window, overlapWindow: 5) } < 1e-3)
    table.storage.isConstant = true
    let first = withoutGradient { relativePositionBias(table, window: window) }
    let second = withoutGradient { relativePositionBias(table, window: window) }
    #expect(first.storage === second.storage && first.floats == bias.floats)

    let qkv = tensor([1, 6, 6, 3 * 2 * 4], &numbers)
    #expect(
      windowAttention(qkv, heads: 2, window: 3, shift: (1, 1), biasTable: table).floats
        == windowAttention(qkv, heads: 2, window: 3, shift: (1, 1), bias: bias).floats)
    #expect(
      overlappingWindowAttention(qkv, heads: 2, window: 3, overlapWindow: 5, biasTable: wide).floats
        == overlappingWindowAttention(qkv, heads: 2, window: 3, overlapWindow: 5, bias: overlapping).floats)
  }

  @Test func threadsDoNotChangeTheResult() {
    var numbers = TestNumbers(43)
    let qkv = tensor([1, 24, 24, 3 * 2 * 7], &numbers)
    let bias = tensor([2, 64, 64], &numbers)
    let before = ThreadPool.threads
    defer { ThreadPool.threads = before }
    var results: [[[Float]]] = []
    for threads in [1, 3] {
      ThreadPool.threads = threads
      let leaves = [qkv.requiringGradient(), bias.requiringGradient()]
      let output = windowAttention(leaves[0], heads: 2, window: 8, shift: (4, 4), bias: leaves[1])
      results.append([output.floats] + output.gradients(for: leaves, seed: output.detached).map(\.floats))
    }
    #expect(results[0] == results[1])
  }
}
