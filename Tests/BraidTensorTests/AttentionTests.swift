import BraidTestSupport
import CBraidKernels
import Testing

@testable import BraidTensor

/// Which pairs of positions a case lets see each other, besides window and causality.
enum SeenPairs: Sendable {
  case all
  case strided(block: Int, stride: Int)
  /// Key blocks drawn at random for every block of queries, `kept` of them.
  case selected(queryBlock: Int, keyBlock: Int, heads: Int, kept: Int)
}

struct AttentionCase: Sendable, CustomTestStringConvertible {
  var batch = 1
  var queries, keys, heads, keyHeads, d, dv: Int
  var causal = false
  var window: Int?
  var bias: [Int]?
  var always = 0
  var cap: Float?
  var sinks = false
  var seen = SeenPairs.all
  /// The largest element of a query.
  var spread: Float = 2
  var testDescription: String {
    "\(batch) x \(queries) x \(keys), heads \(heads)/\(keyHeads), \(d)/\(dv), causal \(causal), window \(window ?? 0) \(always) cap \(cap ?? 0) \(seen), spread \(spread)"
  }
}

@Suite struct AttentionTests {
  static let cases: [AttentionCase] = [
    .init(queries: 1, keys: 1, heads: 1, keyHeads: 1, d: 1, dv: 1),
    .init(batch: 2, queries: 7, keys: 19, heads: 4, keyHeads: 2, d: 5, dv: 9),
    .init(queries: 65, keys: 65, heads: 2, keyHeads: 1, d: 16, dv: 16, causal: true),
    .init(queries: 130, keys: 700, heads: 1, keyHeads: 1, d: 33, dv: 40),
    .init(queries: 600, keys: 600, heads: 1, keyHeads: 1, d: 8, dv: 8, causal: true),
    .init(queries: 3, keys: 400, heads: 2, keyHeads: 2, d: 24, dv: 24, causal: true),
    .init(queries: 20, keys: 9, heads: 1, keyHeads: 1, d: 4, dv: 4, causal: true),
    .init(batch: 2, queries: 100, keys: 100, heads: 3, keyHeads: 3, d: 8, dv: 8),
    .init(batch: 2, queries: 21, keys: 50, heads: 4, keyHeads: 2, d: 5, dv: 7),
    .init(queries: 300, keys: 333, heads: 2, keyHeads: 1, d: 8, dv: 6),
    .init(queries: 61, keys: 333, heads: 2, keyHeads: 2, d: 8, dv: 8, spread: 12),
    .init(queries: 33, keys: 70, heads: 1, keyHeads: 1, d: 8, dv: 8, spread: 40),
    .init(queries: 350, keys: 350, heads: 1, keyHeads: 1, d: 8, dv: 8, causal: true, window: 37),
    .init(queries: 40, keys: 50, heads: 1, keyHeads: 1, d: 8, dv: 8, window: 5),
    .init(batch: 2, queries: 33, keys: 45, heads: 2, keyHeads: 2, d: 8, dv: 8, bias: [2, 2, 33, 45]),
    .init(batch: 2, queries: 33, keys: 345, heads: 2, keyHeads: 2, d: 8, dv: 8, bias: [2, 1, 1, 345]),
    .init(batch: 2, queries: 1, keys: 701, heads: 6, keyHeads: 2, d: 37, dv: 20, causal: true),
    .init(batch: 2, queries: 1, keys: 33, heads: 2, keyHeads: 1, d: 64, dv: 64, bias: [2, 2, 1, 33]),
    .init(queries: 1, keys: 50, heads: 2, keyHeads: 1, d: 8, dv: 8, causal: true, window: 9),
    .init(queries: 17, keys: 17, heads: 2, keyHeads: 2, d: 8, dv: 8, causal: true, bias: [2, 17, 1]),
    .init(queries: 21, keys: 37, heads: 2, keyHeads: 1, d: 8, dv: 5, causal: true, cap: 1.5, sinks: true),
    .init(queries: 50, keys: 333, heads: 2, keyHeads: 2, d: 8, dv: 8, bias: [2, 50, 333], cap: 2),
    .init(
      queries: 1, keys: 777, heads: 3, keyHeads: 1, d: 20, dv: 12, bias: [3, 1, 777], cap: 2, sinks: true),
    .init(
      queries: 400, keys: 400, heads: 1, keyHeads: 1, d: 8, dv: 8, causal: true, window: 37, always: 5,
      sinks: true),
    .init(queries: 90, keys: 700, heads: 2, keyHeads: 1, d: 8, dv: 8, causal: true, window: 300, always: 350),
    .init(queries: 1, keys: 700, heads: 2, keyHeads: 1, d: 8, dv: 8, causal: true, window: 90, always: 3),
    .init(queries: 1, keys: 300, heads: 12, keyHeads: 1, d: 24, dv: 20, causal: true),
    .init(queries: 5, keys: 2, heads: 1, keyHeads: 1, d: 8, dv: 8, causal: true, sinks: true),
    .init(batch: 2, queries: 1, keys: 3000, heads: 4, keyHeads: 2, d: 16, dv: 16, causal: true, sinks: true),
    .init(batch: 9, queries: 1, keys: 3, heads: 4, keyHeads: 2, d: 6, dv: 5),
    .init(
      queries: 333, keys: 350, heads: 2, keyHeads: 1, d: 8, dv: 8, causal: true, window: 40, always: 5,
      seen: .strided(block: 16, stride: 4)),
    .init(
      queries: 65, keys: 65, heads: 1, keyHeads: 1, d: 8, dv: 8, causal: true, window: 1, sinks: true,
      seen: .strided(block: 7, stride: 3)),
    .init(
      queries: 1, keys: 777, heads: 2, keyHeads: 1, d: 8, dv: 8, causal: true, window: 20, always: 30,
      seen: .strided(block: 32, stride: 3)),
    .init(
      batch: 2, queries: 150, keys: 333, heads: 4, keyHeads: 2, d: 8, dv: 12, cap: 2, sinks: true,
      seen: .selected(queryBlock: 64, keyBlock: 32, heads: 2, kept: 4)),
    .init(
      queries: 300, keys: 300, heads: 2, keyHeads: 2, d: 20, dv: 8, causal: true,
      seen: .selected(queryBlock: 200, keyBlock: 48, heads: 1, kept: 5)),
    .init(
      batch: 2, queries: 33, keys: 400, heads: 4, keyHeads: 2, d: 24, dv: 8, causal: true, cap: 2,
      sinks: true,
      seen: .selected(queryBlock: 1, keyBlock: 16, heads: 2, kept: 6)),
    .init(
      queries: 21, keys: 30, heads: 4, keyHeads: 1, d: 5, dv: 9, causal: true,
      seen: .selected(queryBlock: 1, keyBlock: 1, heads: 4, kept: 7)),
    .init(
      queries: 9, keys: 700, heads: 4, keyHeads: 2, d: 8, dv: 8,
      seen: .selected(queryBlock: 1, keyBlock: 100, heads: 1, kept: 6)),
  ]

  @Test(arguments: KernelLevel.available, cases)
  func matchesDouble(level: KernelLevel, shape: AttentionCase) {
    var numbers = TestNumbers(47)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount, -2...2), shape: shape) }
    let q = tensor([shape.batch, shape.queries, shape.heads, shape.d]) * (shape.spread / 2)
    let k = tensor([shape.batch, shape.keys, shape.keyHeads, shape.d])
    let v = tensor([shape.batch, shape.keys, shape.keyHeads, shape.dv])
    let full: Shape = [shape.batch, shape.heads, shape.queries, shape.keys]
    var bias = shape.bias.map { tensor(Shape($0)) }
    if shape.bias == [2, 1, 1, 345] {  // a padding mask
      bias = Tensor(
        (0..<690).map { $0 % 345 > 200 + $0 / 345 * 100 ? -.infinity : 0 }, shape: [2, 1, 1, 345])
    }
    let gradient = tensor([shape.batch, shape.queries, shape.heads, shape.dv])
    let dense = bias?.broadcast(to: full).contiguous()
    var pattern = AttentionPattern.dense
    var sees: (Int, Int, Int, Int) -> Bool = { _, _, _, _ in true }  // batch, head, query, key
    var numbersOfBlocks: Tensor?
    switch shape.seen {
    case .all: break
    case .strided(let block, let stride):
      pattern = .strided(block: block, stride: stride)
      sees = { _, _, i, j in
        let p = i + shape.keys - shape.queries
        return j < shape.always || j > p - shape.window! || (p / block - j / block) % stride == 0
      }
    case .selected(let queryBlock, let keyBlock, let heads, let kept):
      let (rows, count) = (
        (shape.queries + queryBlock - 1) / queryBlock, (shape.keys + keyBlock - 1) / keyBlock
      )
      var random = Philox(seed: 5)
      let lists = (0..<shape.batch * rows * heads).map { _ in
        (0..<count).map { ($0, random.integer(1 << 20)) }.sorted { $0.1 < $1.1 }.map(\.0).prefix(kept)
      }
      let blocks = Tensor(
        lists.flatMap { list in (0..<kept).map { Int32($0 < list.count && $0 != 2 ? list[$0] : -1) } },
        shape: [shape.batch, rows, heads, kept])
      numbersOfBlocks = blocks
      pattern = .selected(
        SelectedBlocks(
          numbers: UnsafePointer(blocks.storage.pointer.assumingMemoryBound(to: Int32.self)), heads: heads,
          queryBlocks: rows, kept: kept, queries: queryBlock, keys: keyBlock))
      sees = { b, h, i, j in
        let list = lists[(b * rows + i / queryBlock) * heads + h * heads / shape.heads]
        return list.enumerated().contains { $0 != 2 && $1 == j / keyBlock }
      }
    }
    let problem = AttentionShape(
      batch: shape.batch, queries: shape.queries, keys: shape.keys, heads: shape.heads,
      keyHeads: shape.keyHeads,
      width: shape.d, valueWidth: shape.dv, scale: 0.4, causal: shape.causal, window: shape.window,
      always: shape.always, softCap: shape.cap ?? 0, pattern: pattern)
    let sinks = shape.sinks ? tensor([shape.heads]) : nil
    let output = Tensor.full(gradient.shape, .nan)
    let lse = Tensor.full([shape.batch, shape.heads, shape.queries], .nan)
    let (dq, dk, dv) = (Tensor.zeros(q.shape), Tensor.zeros(k.shape), Tensor.zeros(v.shape))
    let dbias = dense == nil ? nil : Tensor.zeros(full)
    let added = dense.map {
      AttentionBias(
        base: UnsafePointer($0.mutablePointer), batchStride: $0.strides[0], headStride: $0.strides[1],
        rowStride: $0.strides[2])
    }
    withExtendedLifetime((q, k, v, dense, gradient, numbersOfBlocks)) {
      CPU.attention(
        problem, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: added,
        sinks: sinks.map { UnsafePointer($0.mutablePointer) }, output: output.mutablePointer,
        lse: lse.mutablePointer, kernels: level.kernels)
      CPU.attentionGradient(
        problem, queries: HeadRows(q), keys: HeadRows(k), values: HeadRows(v), bias: added,
        output: output.mutablePointer, lse: lse.mutablePointer, gradient: gradient.mutablePointer,
        dq: dq.mutablePointer, dk: dk.mutablePointer, dv: dv.mutablePointer, dbias: dbias?.mutablePointer,
        kernels: level.kernels)
    }

    var (outputTruth, dqTruth) = (
      [Double](repeating: 0, count: output.elementCount), [Double](repeating: 0, count: q.elementCount)
    )
    var (dkTruth, dvTruth) = (
      [Double](repeating: 0, count: k.elementCount), [Double](repeating: 0, count: v.elementCount)
    )
    var dbiasTruth: [Double] = []
    let (qf, kf, vf, gf, bf) = (q.floats, k.floats, v.floats, gradient.floats, dense?.floats)
    for b in 0..<shape.batch {
      for h in 0..<shape.heads {
        let kh = h / (shape.heads / shape.keyHeads)
        func rows(_ x: [Float], _ length: Int, _ heads: Int, _ head: Int, _ width: Int) -> [[Double]] {
          (0..<length).map { l in
            (0..<width).map { Double(x[((b * length + l) * heads + head) * width + $0]) }
          }
        }
        let naive = NaiveAttention(
          q: rows(qf, shape.queries, shape.heads, h, shape.d),
          k: rows(kf, shape.keys, shape.keyHeads, kh, shape.d),
          v: rows(vf, shape.keys, shape.keyHeads, kh, shape.dv),
          bias: { i, j in
            let end = i + shape.keys - shape.queries
            if shape.causal && j > end { return -.infinity }
            if !sees(b, h, i, j) { return -.infinity }
            if case .strided = shape.seen { return 0 }
            if let window = shape.window, j <= end - window, j >= shape.always { return -.infinity }
            return bf.map { Double($0[((b * shape.heads + h) * shape.queries + i) * shape.keys + j]) } ?? 0
          }, scale: 0.4, gradient: rows(gf, shape.queries, shape.heads, h, shape.dv),
          cap: shape.cap.map(Double.init), sink: sinks.map { Double($0.floats[h]) } ?? -.infinity)
        func add(
          _ from: [[Double]], _ to: inout [Double], _ length: Int, _ heads: Int, _ head: Int, _ width: Int
        ) {
          for l in 0..<length {
            for c in 0..<width { to[((b * length + l) * heads + head) * width + c] += from[l][c] }
          }
        }
        add(naive.output, &outputTruth, shape.queries, shape.heads, h, shape.dv)
        add(naive.dq, &dqTruth, shape.queries, shape.heads, h, shape.d)
        add(naive.dk, &dkTruth, shape.keys, shape.keyHeads, kh, shape.d)
        add(naive.dv, &dvTruth, shape.keys, shape.keyHeads, kh, shape.dv)
        dbiasTruth += naive.dbias.flatMap { $0 }
      }
    }
    func worst(_ a: Tensor, _ b: [Double]) -> Double {
      zip(a.floats, b).reduce(0) { $1.0.isNaN ? .infinity : max($0, abs(Double($1.0) - $1.1)) }
    }
    // Scores' rounding grows with them.
    let unit = Double(shape.spread / 2)
    #expect(worst(output, outputTruth) < 5e-6 * unit)
    #expect(worst(dq, dqTruth) < 1e-5 * unit)
    #expect(worst(dk, dkTruth) < 3e-5 * unit)
    #expect(worst(dv, dvTruth) < 3e-5 * unit)
    if let dbias { #expect(worst(dbias, dbiasTruth) < 1e-5) }
  }

  @Test func gradients() {
    var numbers = TestNumbers(53)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount), shape: shape) }
    let (q, k, v) = (tensor([2, 6, 4, 5]), tensor([2, 9, 2, 5]), tensor([2, 9, 2, 3]))
    #expect(gradientError([q, k, v]) { scaledDotProductAttention($0[0], $0[1], $0[2], causal: true) } < 5e-3)
    for shape in [[2, 4, 6, 9], [4, 1, 9], [6, 9], [1, 1, 6, 1], []] as [Shape] {
      #expect(
        gradientError([q, k, v, tensor(shape)], floor: 0.1) {
          scaledDotProductAttention($0[0], $0[1], $0[2], bias: $0[3])
        } < 5e-3)
    }
  }

  @Test func gradientsOfCapAndSinks() {
    var numbers = TestNumbers(61)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount), shape: shape) }
    let (q, k, v) = (tensor([2, 6, 4, 5]), tensor([2, 9, 2, 5]), tensor([2, 9, 2, 3]))
    #expect(
      gradientError([q, k, v, tensor([4]), tensor([4, 6, 9])]) {
        scaledDotProductAttention(
          $0[0], $0[1], $0[2], bias: $0[4], causal: true, window: 4, always: 2, softCap: 0.8, sinks: $0[3])
      } < 5e-3)
  }

  @Test func gradientsOfSelections() {
    var numbers = TestNumbers(67)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount), shape: shape) }
    let (q, k, v) = (tensor([1, 9, 4, 5]), tensor([1, 9, 2, 5]), tensor([1, 9, 2, 3]))
    let blocks = Tensor([0, 1, 2, -1, 1, 2] as [Int32], shape: [1, 3, 1, 2])
    #expect(
      gradientError([q, k, v, tensor([4])]) {
        blockSparseAttention(
          $0[0], $0[1], $0[2], selection: BlockSelection(blocks: blocks, queryBlock: 4, keyBlock: 3),
          softCap: 0.8, sinks: $0[3])
      } < 5e-3)
    #expect(
      gradientError([q, k, v]) {
        stridedBlockAttention($0[0], $0[1], $0[2], block: 2, stride: 2, window: 3, always: 1)
      } < 5e-3)
  }

  @Test func gradientsOfNeighborhoods() {
    var numbers = TestNumbers(71)
    func tensor(_ shape: Shape) -> Tensor { Tensor(numbers.floats(shape.elementCount), shape: shape) }
    let parts = (0..<3).map { _ in tensor([2, 4, 5, 2, 3]) }
    #expect(
      gradientError(parts + [tensor([2, 5, 5])]) {
        neighborhoodAttention($0[0], $0[1], $0[2], window: 3, biasTable: $0[3])
      } < 5e-3)
  }

  @Test(arguments: [(3, 1), (5, 2), (7, 1)])
  func neighborhoodMatchesDouble(window: Int, dilation: Int) {
    var numbers = TestNumbers(73)
    let (height, width, heads, d) = (11, 6, 2, 5)
    let side = 2 * window - 1
    let parts = (0..<3).map { _ in numbers.floats(2 * height * width * heads * d) }
    let table = numbers.floats(heads * side * side)
    let inputs = parts.map { Tensor($0, shape: [2, height, width, heads, d]) }
    let output = neighborhoodAttention(
      inputs[0], inputs[1], inputs[2], window: window, dilation: dilation,
      biasTable: Tensor(table, shape: [heads, side, side]), scale: 0.6
    ).floats
    /// Where a window starts, among the positions that are a multiple of the dilation away.
    func sees(_ i: Int, _ j: Int, _ size: Int) -> Bool {
      if (i - j) % dilation != 0 { return false }
      let count = (size - i % dilation + dilation - 1) / dilation
      let start = min(max(i / dilation - window / 2, 0), max(count - window, 0))
      return (start..<start + window).contains(j / dilation)
    }
    var worst = 0.0
    for item in 0..<2 {
      for head in 0..<heads {
        func rows(_ x: [Float]) -> [[Double]] {
          (0..<height * width).map { pixel in
            (0..<d).map { Double(x[((item * height * width + pixel) * heads + head) * d + $0]) }
          }
        }
        let naive = NaiveAttention(
          q: rows(parts[0]), k: rows(parts[1]), v: rows(parts[2]),
          bias: { i, j in
            let (dy, dx) = (j / width - i / width, j % width - i % width)
            guard sees(i / width, j / width, height), sees(i % width, j % width, width) else {
              return -.infinity
            }
            let (row, column) = (dy / dilation + window - 1, dx / dilation + window - 1)
            return Double(table[(head * side + row) * side + column])
          }, scale: 0.6, gradient: rows(parts[0]))
        for pixel in 0..<height * width {
          for c in 0..<d {
            let y = Double(output[((item * height * width + pixel) * heads + head) * d + c])
            worst = y.isNaN ? .infinity : max(worst, abs(y - naive.output[pixel][c]))
          }
        }
      }
    }
    #expect(worst < 2e-6)
  }

  /// NATTEN's rule for the borders, position by position.
  @Test func neighborhoods() {
    #expect(Neighborhood.axis(6, window: 3, dilation: 1)[0] == [0, 1, 2])
    #expect(Neighborhood.axis(6, window: 3, dilation: 1)[3] == [2, 3, 4])
    #expect(Neighborhood.axis(6, window: 3, dilation: 1)[5] == [3, 4, 5])
    #expect(Neighborhood.axis(11, window: 3, dilation: 3)[1] == [1, 4, 7])
    #expect(Neighborhood.axis(11, window: 3, dilation: 3)[10] == [4, 7, 10])
    #expect(Neighborhood.axis(11, window: 3, dilation: 3)[8] == [2, 5, 8])
    #expect(Neighborhood.axis(2, window: 5, dilation: 1)[1] == [0, 1])
  }

  @Test func viewsNeedNoCopy() {
    var numbers = TestNumbers(59)
    let (b, l, h, d) = (2, 21, 3, 6)
    let qkv = Tensor(numbers.floats(b * l * 3 * h * d), shape: [b, l, 3, h, d])
    let parts = (0..<3).map { part in
      Tensor(
        storage: qkv.storage, shape: [b, l, h, d], strides: [l * 3 * h * d, 3 * h * d, d, 1],
        offset: part * h * d, dtype: .float32)
    }
    let strided = scaledDotProductAttention(parts[0], parts[1], parts[2])
    let dense = parts.map { $0.contiguous() }
    #expect(strided.floats == scaledDotProductAttention(dense[0], dense[1], dense[2]).floats)
  }
}
