import BraidMixers
import BraidNN
import BraidTensor
import BraidTestSupport
import Testing

/// What every causal mixer of the registry owes: one function in three forms, carried by a state.
@Suite struct CausalConformanceTests {
  static let lengths = [1, 63, 64, 65, 1000]

  @Test(arguments: MixerCase.causal)
  func formsAgree(_ this: MixerCase) throws {
    let (mixer, store) = try this.makeCausal()
    store.freeze()
    let x = MixerCase.inputs(1, [1000], mixer.channels)
    withoutGradient {
      let book = RouteBook()
      let truth = book.noting { mixer.reference(x) }
      #expect(truth.shape == x.shape, "\(this.testDescription): the reference's output is \(truth.shape)")
      this.expect(
        relativeError(
          book.repeating { mixer.reference(x.sliced(axis: 1, 0..<65)) }, truth.sliced(axis: 1, 0..<65)),
        atMost: 1e-6,
        "reference of 65 positions against that of 1000")
      for length in Self.lengths {
        let part = x.sliced(axis: 1, 0..<length)
        let expected = truth.sliced(axis: 1, 0..<length)
        poisonMemory(1 << 12)
        this.expect(
          relativeError(book.repeating { mixer.callAsFunction(part) }, expected), atMost: 1e-5,
          "fast form, length \(length)")
      }
      var state = mixer.initialState(batch: 1)
      poisonMemory(1 << 12)
      let stepped = book.repeating { mixer.inSteps(x, state: &state) }
      for length in Self.lengths {
        this.expect(
          relativeError(stepped.sliced(axis: 1, 0..<length), truth.sliced(axis: 1, 0..<length)), atMost: 1e-5,
          "steps, length \(length)")
      }
      #expect(state.position == 1000, "\(this.testDescription): the state stands at \(state.position)")
    }
  }

  @Test(arguments: MixerCase.causal)
  func stateCarriesAcrossSplits(_ this: MixerCase) throws {
    let (mixer, _) = try this.makeCausal()
    let length = 200
    let x = MixerCase.inputs(2, [length], mixer.channels, seed: 4)
    withoutGradient {
      let book = RouteBook()
      let whole = book.noting { mixer.callAsFunction(x) }
      for pieces in [[1, length], [length - 1, 1], [64, length], [63, 1, 65, 3, length], [7]] {
        var state = mixer.initialState(batch: 2)
        poisonMemory(1 << 12)
        this.expect(
          relativeError(book.repeating { mixer.inPieces(x, pieces, state: &state) }, whole), atMost: 1e-5,
          "split, pieces of \(pieces)")
        #expect(state.position == length)
      }
      // A few positions at once, then single ones, then many.
      var state = mixer.initialState(batch: 2)
      let parts = [
        mixer.prefill(x.sliced(axis: 1, 0..<30), state: &state),
        mixer.inSteps(x.sliced(axis: 1, 30..<41), state: &state),
        mixer.prefill(x.sliced(axis: 1, 41..<length), state: &state),
      ]
      this.expect(
        relativeError(Tensor.concatenated(parts, axis: 1), whole), atMost: 1e-5,
        "split, prefill, steps and prefill")
    }
  }

  @Test(arguments: MixerCase.causal)
  func laterInputsDoNotReachEarlierOutputs(_ this: MixerCase) throws {
    let (mixer, _) = try this.makeCausal()
    let x = MixerCase.inputs(1, [150], mixer.channels, seed: 5)
    let other = MixerCase.inputs(1, [150], mixer.channels, seed: 6)
    withoutGradient {
      let whole = mixer.callAsFunction(x)
      for kept in [1, 63, 64, 100] {
        let changed = Tensor.concatenated(
          [x.sliced(axis: 1, 0..<kept), other.sliced(axis: 1, kept..<150)], axis: 1)
        let output = mixer.callAsFunction(changed)
        this.expect(
          relativeError(output.sliced(axis: 1, 0..<kept), whole.sliced(axis: 1, 0..<kept)), atMost: 1e-6,
          "causality, inputs from \(kept) on changed")
      }
    }
  }

  /// A copied state goes on by itself: what one continuation does is not seen by the other.
  @Test(arguments: MixerCase.causal)
  func statesAreValues(_ this: MixerCase) throws {
    let (mixer, _) = try this.makeCausal()
    let x = MixerCase.inputs(2, [80], mixer.channels, seed: 7)
    withoutGradient {
      var state = mixer.initialState(batch: 2)
      _ = mixer.prefill(x.sliced(axis: 1, 0..<40), state: &state)
      var copy = state
      let first = mixer.inSteps(x.sliced(axis: 1, 40..<50), state: &state)
      _ = mixer.inSteps(x.sliced(axis: 1, 60..<80), state: &state)
      let second = mixer.inSteps(x.sliced(axis: 1, 40..<50), state: &copy)
      #expect(first.floats == second.floats, "\(this.testDescription): a state changed under its copy")
    }
  }
}

/// What every mixer over a sequence owes that is not causal.
@Suite struct AcausalConformanceTests {
  @Test(arguments: MixerCase.acausal)
  func formsAgree(_ this: MixerCase) throws {
    let (mixer, store) = try this.make()
    store.freeze()
    withoutGradient {
      for length in CausalConformanceTests.lengths {
        let x = MixerCase.inputs(1, [length], mixer.channels)
        poisonMemory(1 << 12)
        let book = RouteBook()
        let fast = book.noting { mixer.callAsFunction(x) }
        let reference = book.repeating { mixer.reference(x) }
        this.expect(relativeError(fast, reference), atMost: 1e-5, "fast form, length \(length)")
      }
    }
  }
}

/// What every mixer over a map owes.
@Suite struct MapConformanceTests {
  @Test(arguments: MixerCase.maps)
  func formsAgree(_ this: MixerCase) throws {
    let (mixer, store) = try this.make()
    store.freeze()
    withoutGradient {
      for size in [[1, 1], [7, 5], [16, 16], [13, 40]] {
        let x = MixerCase.inputs(1, size, mixer.channels)
        poisonMemory(1 << 12)
        let fast = mixer.callAsFunction(x)
        this.expect(relativeError(fast, mixer.reference(x)), atMost: 1e-5, "fast form, size \(size)")
      }
    }
  }
}

/// What every mixer owes: the items of a batch do not see each other.
@Suite struct BatchConformanceTests {
  @Test(arguments: MixerCase.all)
  func itemsAreIndependent(_ this: MixerCase) throws {
    let (mixer, _) = try this.make()
    let isMap = mixer is any MapMixer
    let x = MixerCase.inputs(3, isMap ? [9, 11] : [77], mixer.channels, seed: 8)
    withoutGradient {
      let together = mixer.callAsFunction(x)
      #expect(together.shape == x.shape)
      for i in 0..<3 {
        let alone = mixer.callAsFunction(x.sliced(axis: 0, i..<i + 1))
        this.expect(
          relativeError(together.sliced(axis: 0, i..<i + 1), alone), atMost: 2e-6, "batch, item \(i)")
      }
      guard let causal = mixer as? any CausalMixer else { return }
      var state = causal.initialState(batch: 3)
      _ = causal.prefill(x, state: &state)
      var states = state.split([1, 2])
      let next = MixerCase.inputs(3, [1], mixer.channels, seed: 9)
      let outputs = [
        causal.step(next.sliced(axis: 0, 0..<1), state: &states[0]),
        causal.step(next.sliced(axis: 0, 1..<3), state: &states[1]),
      ]
      var joined = MixerState.joined(state.split([2, 1]))
      let expected = causal.step(next, state: &state)
      this.expect(
        relativeError(Tensor.concatenated(outputs, axis: 0), expected), atMost: 2e-6, "batch, split states")
      this.expect(
        relativeError(causal.step(next, state: &joined), expected), atMost: 2e-6, "batch, joined states")
    }
  }
}
