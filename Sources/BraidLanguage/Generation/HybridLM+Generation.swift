import BraidMixers
import BraidTensor

extension HybridLM {
  /// Positions that are taken in at once: memory stays that of so many, however long the text.
  public static let prefillLength = 2048

  /// The logits [vocabulary] after the last of `tokens`, which a text of one goes on with; none where there are no tokens.
  public func prefill(
    _ tokens: [Int], state: inout MixerState, pieceLength: Int = HybridLM.prefillLength
  ) throws -> Tensor? {
    try validate(tokens)
    var last: Tensor?
    for start in stride(from: 0, to: tokens.count, by: max(pieceLength, 1)) {
      let end = min(start + max(pieceLength, 1), tokens.count)
      let x = withoutGradient {
        features(ids(tokens[start..<end]), state: &state, keepsLast: true)
      }
      if end == tokens.count { last = x }
    }
    return last.map { x in withoutGradient { logits(x.reshaped(1, x.shape[2])).reshaped(-1) } }
  }

  /// Calls `each` with the logits [length, vocabulary] of one piece of the text after the other.
  public func logits(
    of tokens: [Int], state: inout MixerState, pieceLength: Int = 512, each: (Tensor) throws -> Void
  ) throws {
    try validate(tokens)
    for start in stride(from: 0, to: tokens.count, by: pieceLength) {
      let end = min(start + pieceLength, tokens.count)
      let piece = withoutGradient { self(ids(tokens[start..<end]), state: &state) }
      try each(piece.reshaped(end - start, configuration.vocabulary))
    }
  }

  /// Goes on with a text: takes `tokens` in, then generates `count` new ids, each told to `each` at once.
  ///
  /// A state that comes back from here, or from a file, goes on where it ended: the last id generated stands in its
  /// "pending" and is taken in first.
  ///
  /// - Parameters:
  ///   - tokens: the text, or what is added to it; may be empty where the state holds something pending.
  ///   - stopsAtEnd: whether an id that ends a text is the last one.
  ///   - each: returns false to stop.
  /// - Returns: the new ids.
  /// - Throws: `LanguageModelError` for ids outside of the vocabulary, or for nothing to go on from.
  @discardableResult
  public func generate(
    after tokens: [Int], count: Int, state: inout MixerState, sampler: Sampler = .greedy,
    stopsAtEnd: Bool = false, each: (Int) throws -> Bool = { _ in true }
  ) throws -> [Int] {
    guard state["pending"].shape[0] == 1 else {
      throw LanguageModelError.generation(
        reason: "a state of \(state["pending"].shape[0]) texts; one can go on")
    }
    let waiting = state["pending"].elements(as: Int64.self).map { Int($0) } + tokens
    guard !waiting.isEmpty else {
      throw LanguageModelError.generation(reason: "there are no tokens to go on from")
    }
    try validate(waiting)
    guard count > 0 else {
      // The last one waits: what comes next needs its logits.
      _ = try prefill(waiting.dropLast(), state: &state)
      state["pending"] = Tensor([Int64(waiting.last!)], shape: [1, 1])
      return []
    }
    var logits = try prefill(waiting, state: &state)!
    state["pending"] = .zeros([1, 0], dtype: .int64)
    var generated: [Int] = []
    while generated.count < count {
      let token = sampler.token(logits, position: state.position)
      generated.append(token)
      state["pending"] = Tensor([Int64(token)], shape: [1, 1])
      let goesOn = try each(token)
      if generated.count == count || !goesOn || stopsAtEnd && configuration.endOfSequence.contains(token) {
        break
      }
      logits = try prefill([token], state: &state)!
      state["pending"] = .zeros([1, 0], dtype: .int64)
    }
    return generated
  }

  private func ids(_ tokens: ArraySlice<Int>) -> Tensor {
    Tensor(tokens.map { Int64($0) }, shape: [1, tokens.count])
  }
}
