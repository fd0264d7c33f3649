import CBraidKernels
import Foundation
import Testing

/// The levels of this machine, each with its dispatch table.
enum KernelLevel: Int, CaseIterable, CustomTestStringConvertible {
  case base, avx2, avx512

  static var available: [KernelLevel] { allCases.filter { $0.table != nil } }
  var table: UnsafePointer<braid_kernels>? { braid_kernels_at(braid_level(UInt32(rawValue))) }
  var kernels: braid_kernels { table!.pointee }
  var testDescription: String { "\(self)" }
}

/// Doubles from a seeded generator (xorshift): enough for test inputs, the same on every run.
struct TestNumbers {
  var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }
  mutating func next(_ range: ClosedRange<Double> = -1...1) -> Double {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return range.lowerBound + (range.upperBound - range.lowerBound) * Double(state >> 11) / 0x1p53
  }
  mutating func floats(_ count: Int, _ range: ClosedRange<Double> = -1...1) -> [Float] {
    (0..<count).map { _ in Float(next(range)) }
  }
}

/// A unary operation, its exact function and derivative, and where and how closely it is checked.
struct UnaryCase: CustomTestStringConvertible, Sendable {
  var name: String
  var op: braid_unary_op
  var range: ClosedRange<Double>
  var p0: Float = 0
  var p1: Float = 0
  /// Error allowed: relative + absolute.
  var relative = 3e-7
  var absolute = 1e-44
  var gradientAbsolute = 2e-7
  var function: @Sendable (Double) -> Double
  var derivative: @Sendable (Double) -> Double
  var testDescription: String { name }
}

private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
private func normal(_ x: Double) -> Double { 0.5 * erfc(-x / 2.0.squareRoot()) }
private let tanhScale = 0.7978845608028654

let unaryCases: [UnaryCase] = [
  .init(name: "exp", op: BRAID_UNARY_EXP, range: -87...88, function: { exp($0) }, derivative: { exp($0) }),
  .init(
    name: "expm1", op: BRAID_UNARY_EXPM1, range: -20...80, function: { expm1($0) }, derivative: { exp($0) }),
  .init(
    name: "expm1 small", op: BRAID_UNARY_EXPM1, range: -0.5...0.5, function: { expm1($0) },
    derivative: { exp($0) }),
  .init(name: "log", op: BRAID_UNARY_LOG, range: 1e-30...1e3, function: { log($0) }, derivative: { 1 / $0 }),
  .init(
    name: "log near 1", op: BRAID_UNARY_LOG, range: 0.5...2, function: { log($0) }, derivative: { 1 / $0 }),
  .init(
    name: "log1p", op: BRAID_UNARY_LOG1P, range: -0.9...4, function: { log1p($0) },
    derivative: { 1 / (1 + $0) }),
  .init(
    name: "log1p small", op: BRAID_UNARY_LOG1P, range: -1e-5...1e-5, function: { log1p($0) },
    derivative: { 1 / (1 + $0) }),
  .init(
    name: "sqrt", op: BRAID_UNARY_SQRT, range: 0.01...1e6, function: { $0.squareRoot() },
    derivative: { 0.5 / $0.squareRoot() }),
  .init(
    name: "rsqrt", op: BRAID_UNARY_RSQRT, range: 0.01...1e4, function: { 1 / $0.squareRoot() },
    derivative: { -0.5 / ($0 * $0.squareRoot()) }),
  .init(
    name: "reciprocal", op: BRAID_UNARY_RECIPROCAL, range: 0.01...1e4, function: { 1 / $0 },
    derivative: { -1 / ($0 * $0) }),
  .init(name: "neg", op: BRAID_UNARY_NEG, range: -3...3, function: { -$0 }, derivative: { _ in -1 }),
  .init(
    name: "abs", op: BRAID_UNARY_ABS, range: -3...3, function: { abs($0) },
    derivative: { $0 == 0 ? 0 : $0 < 0 ? -1 : 1 }),
  .init(
    name: "sign", op: BRAID_UNARY_SIGN, range: -3...3, function: { $0 == 0 ? 0 : $0 < 0 ? -1 : 1 },
    derivative: { _ in 0 }),
  .init(
    name: "square", op: BRAID_UNARY_SQUARE, range: -30...30, function: { $0 * $0 }, derivative: { 2 * $0 }),
  .init(
    name: "sin", op: BRAID_UNARY_SIN, range: -100...100, absolute: 1e-7, function: { sin($0) },
    derivative: { cos($0) }),
  .init(
    name: "cos", op: BRAID_UNARY_COS, range: -100000...100000, absolute: 1e-7, function: { cos($0) },
    derivative: { -sin($0) }),
  .init(
    name: "sin large", op: BRAID_UNARY_SIN, range: 1e6...1e9, absolute: 1e-7, function: { sin($0) },
    derivative: { cos($0) }),
  .init(
    name: "tanh", op: BRAID_UNARY_TANH, range: -12...12, relative: 4e-7, function: { tanh($0) },
    derivative: { 1 - tanh($0) * tanh($0) }),
  .init(
    name: "sigmoid", op: BRAID_UNARY_SIGMOID, range: -80...20, function: { sigmoid($0) },
    derivative: { sigmoid($0) * sigmoid(-$0) }),
  .init(
    name: "silu", op: BRAID_UNARY_SILU, range: -80...20, function: { $0 * sigmoid($0) },
    derivative: { sigmoid($0) + $0 * sigmoid($0) * sigmoid(-$0) }),
  .init(
    name: "gelu erf", op: BRAID_UNARY_GELU_ERF, range: -6...6, relative: 4e-7, absolute: 2e-8,
    gradientAbsolute: 4e-7,
    function: { $0 * normal($0) },
    derivative: { normal($0) + $0 * exp(-0.5 * $0 * $0) / (2 * Double.pi).squareRoot() }),
  .init(
    name: "gelu tanh", op: BRAID_UNARY_GELU_TANH, range: -6...6, relative: 4e-7, absolute: 1e-7,
    gradientAbsolute: 6e-7,
    function: { 0.5 * $0 * (1 + tanh(tanhScale * ($0 + 0.044715 * $0 * $0 * $0))) },
    derivative: { x in
      let t = tanh(tanhScale * (x + 0.044715 * x * x * x))
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * tanhScale * (1 + 3 * 0.044715 * x * x)
    }),
  .init(
    name: "softplus", op: BRAID_UNARY_SOFTPLUS, range: -60...60,
    function: { max($0, 0) + log1p(exp(-abs($0))) },
    derivative: { sigmoid($0) }),
  .init(
    name: "erf", op: BRAID_UNARY_ERF, range: -5...5, function: { erf($0) },
    derivative: { 2 / Double.pi.squareRoot() * exp(-$0 * $0) }),
  .init(
    name: "relu", op: BRAID_UNARY_RELU, range: -3...3, function: { max($0, 0) },
    derivative: { $0 > 0 ? 1 : 0 }),
  .init(
    name: "leaky relu", op: BRAID_UNARY_LEAKY_RELU, range: -3...3, p0: 0.25,
    function: { $0 < 0 ? 0.25 * $0 : $0 }, derivative: { $0 > 0 ? 1 : 0.25 }),
  .init(
    name: "elu", op: BRAID_UNARY_ELU, range: -9...3, p0: 1.5, function: { $0 < 0 ? 1.5 * expm1($0) : $0 },
    derivative: { $0 > 0 ? 1 : 1.5 * exp($0) }),
  .init(
    name: "affine", op: BRAID_UNARY_AFFINE, range: -3...3, p0: 1.5, p1: -0.25, absolute: 1e-7,
    function: { 1.5 * $0 - 0.25 }, derivative: { _ in 1.5 }),
  .init(
    name: "clamp", op: BRAID_UNARY_CLAMP, range: -3...3, p0: -1, p1: 2, function: { min(max($0, -1), 2) },
    derivative: { $0 >= -1 && $0 <= 2 ? 1 : 0 }),
  .init(
    name: "pow 2.5", op: BRAID_UNARY_POW, range: 0...30, p0: 2.5, function: { pow($0, 2.5) },
    derivative: { 2.5 * pow($0, 1.5) }),
  .init(
    name: "pow 2", op: BRAID_UNARY_POW, range: -9...9, p0: 2, function: { $0 * $0 }, derivative: { 2 * $0 }),
]

@Suite struct MathKernelTests {
  @Test(arguments: KernelLevel.available, unaryCases)
  func unaryMatchesDouble(level: KernelLevel, unary: UnaryCase) {
    let math = level.kernels.math
    var numbers = TestNumbers(3)
    for count in [0, 1, 3, 16, 33, 2000] {
      let x = numbers.floats(count, unary.range)
      let dy = numbers.floats(count)
      var y = [Float](repeating: .nan, count: count + 1)
      var dx = y
      math.unary(unary.op, x, &y, count, unary.p0, unary.p1)
      math.unary_gradient(unary.op, x, y, dy, &dx, count, unary.p0, unary.p1)
      #expect(y[count].isNaN && dx[count].isNaN, "wrote past the end")
      for i in 0..<count {
        let truth = unary.function(Double(x[i]))
        let error = abs(Double(y[i]) - truth)
        #expect(
          error <= unary.relative * abs(truth) + unary.absolute,
          "\(unary.name)(\(x[i])) = \(y[i]), not \(truth)")
        let slope = unary.derivative(Double(x[i])) * Double(dy[i])
        #expect(
          abs(Double(dx[i]) - slope) <= 1e-6 * abs(slope) + unary.gradientAbsolute,
          "\(unary.name)'(\(x[i])) \(dx[i]), not \(slope)")
      }
      // In place.
      var z = x + [0]
      z.withUnsafeMutableBufferPointer {
        math.unary(unary.op, $0.baseAddress, $0.baseAddress, count, unary.p0, unary.p1)
      }
      #expect(Array(z[0..<count]) == Array(y[0..<count]))
    }
  }

  @Test(arguments: KernelLevel.available)
  func limits(level: KernelLevel) {
    let math = level.kernels.math
    func value(_ op: braid_unary_op, _ x: Float, _ p0: Float = 0.5, _ p1: Float = 2) -> Float {
      var y: Float = 7
      withUnsafePointer(to: x) { math.unary(op, $0, &y, 1, p0, p1) }
      return y
    }
    let inf = Float.infinity
    for raw in 0..<BRAID_UNARY_COUNT.rawValue {
      #expect(value(braid_unary_op(raw), .nan).isNaN, "operation \(raw) loses NaN")
    }
    #expect(value(BRAID_UNARY_EXP, -inf) == 0)
    #expect(value(BRAID_UNARY_EXP, inf) == inf)
    #expect(value(BRAID_UNARY_EXP, 89) == inf)
    #expect(
      value(BRAID_UNARY_EXP, 88.7) == Float(exp(Double(Float(88.7)))).nextUp
        || value(BRAID_UNARY_EXP, 88.7) < inf)
    #expect(abs(value(BRAID_UNARY_EXP, -100) - Float(exp(-100.0))) <= 3 * Float.leastNonzeroMagnitude)
    #expect(value(BRAID_UNARY_EXPM1, -inf) == -1)
    #expect(value(BRAID_UNARY_EXPM1, inf) == inf)
    #expect(value(BRAID_UNARY_LOG, 0) == -inf)
    #expect(value(BRAID_UNARY_LOG, inf) == inf)
    #expect(value(BRAID_UNARY_LOG, -1).isNaN)
    #expect(abs(value(BRAID_UNARY_LOG, 0x1p-140) - Float(log(0x1p-140))) < 1e-5)
    #expect(value(BRAID_UNARY_LOG1P, -1) == -inf)
    #expect(value(BRAID_UNARY_LOG1P, inf) == inf)
    #expect(value(BRAID_UNARY_TANH, inf) == 1 && value(BRAID_UNARY_TANH, -inf) == -1)
    #expect(value(BRAID_UNARY_SIGMOID, inf) == 1 && value(BRAID_UNARY_SIGMOID, -inf) == 0)
    #expect(value(BRAID_UNARY_SILU, inf) == inf && value(BRAID_UNARY_SILU, -inf) == 0)
    #expect(value(BRAID_UNARY_GELU_ERF, inf) == inf && value(BRAID_UNARY_GELU_ERF, -inf) == 0)
    #expect(value(BRAID_UNARY_GELU_ERF, -1000) == 0 && value(BRAID_UNARY_GELU_ERF, 1000) == 1000)
    #expect(value(BRAID_UNARY_GELU_TANH, inf) == inf && abs(value(BRAID_UNARY_GELU_TANH, -inf)) == 0)
    #expect(value(BRAID_UNARY_SOFTPLUS, inf) == inf && value(BRAID_UNARY_SOFTPLUS, -inf) == 0)
    #expect(value(BRAID_UNARY_ERF, inf) == 1 && value(BRAID_UNARY_ERF, -inf) == -1)
    #expect(value(BRAID_UNARY_RSQRT, 0) == inf)
    #expect(value(BRAID_UNARY_SIN, inf).isNaN)
    #expect(value(BRAID_UNARY_SIGN, 0) == 0)
    #expect(value(BRAID_UNARY_CLAMP, inf) == 2)
  }

  @Test(arguments: KernelLevel.available)
  func binaryMatchesDouble(level: KernelLevel) {
    let math = level.kernels.math
    let operations: [(braid_binary_op, (Float, Float) -> Float)] = [
      (BRAID_BINARY_ADD, { $0 + $1 }), (BRAID_BINARY_SUB, { $0 - $1 }), (BRAID_BINARY_MUL, { $0 * $1 }),
      (BRAID_BINARY_DIV, { $0 / $1 }), (BRAID_BINARY_MAX, { max($0, $1) }),
      (BRAID_BINARY_MIN, { min($0, $1) }),
      (BRAID_BINARY_POW, { Float(pow(Double($0), Double($1))) }), (BRAID_BINARY_GREATER, { $0 > $1 ? 1 : 0 }),
      (BRAID_BINARY_GREATER_EQUAL, { $0 >= $1 ? 1 : 0 }), (BRAID_BINARY_EQUAL, { $0 == $1 ? 1 : 0 }),
    ]
    var numbers = TestNumbers(5)
    for count in [1, 7, 16, 37, 100] {
      let a = (0..<count).map { $0 % 5 == 0 ? 0.5 : Float(numbers.next(0.1...2)) }
      let b = (0..<count).map { $0 % 3 == 0 ? 0.5 : Float(numbers.next(0.1...2)) }
      for (op, function) in operations {
        var y = [Float](repeating: .nan, count: count + 1)
        math.binary(op, a, b, &y, count)
        var second = y
        math.binary_scalar(op, a, 0.5, 0, &second, count)
        var first = y
        math.binary_scalar(op, a, 0.5, 1, &first, count)
        #expect(y[count].isNaN)
        for i in 0..<count {
          #expect(abs(y[i] - function(a[i], b[i])) <= 3e-7 * abs(y[i]))
          #expect(abs(second[i] - function(a[i], 0.5)) <= 3e-7 * abs(second[i]))
          #expect(abs(first[i] - function(0.5, a[i])) <= 3e-7 * abs(first[i]))
        }
      }
      var y = b
      math.axpy(1.5, a, &y, count)
      var z = [Float](repeating: .nan, count: count)
      math.scale_add(2, a, -3, b, &z, count)
      var w = z
      math.multiply_add(a, b, a, &w, count)
      var s = z
      math.select(zip(a, b).map { $0 > $1 ? 1 : 0 }, a, b, &s, count)
      var l = b
      math.lerp(0.25, a, &l, count)
      for i in 0..<count {
        #expect(abs(y[i] - (b[i] + 1.5 * a[i])) < 1e-6)
        #expect(abs(z[i] - (2 * a[i] - 3 * b[i])) < 1e-6)
        #expect(abs(w[i] - (a[i] * b[i] + a[i])) < 1e-6)
        #expect(s[i] == max(a[i], b[i]))
        #expect(abs(l[i] - (0.75 * b[i] + 0.25 * a[i])) < 1e-6)
      }
    }
    var y: [Float] = [0, 0]
    math.binary(BRAID_BINARY_MAX, [.nan, 1], [1, .nan], &y, 2)
    #expect(y[0].isNaN && y[1].isNaN)
  }

  @Test(arguments: KernelLevel.available)
  func reductionsMatchDouble(level: KernelLevel) {
    let math = level.kernels.math
    var numbers = TestNumbers(7)
    for count in [0, 1, 5, 31, 64, 1000, 100_003] {
      let a = numbers.floats(count)
      let b = numbers.floats(count)
      let exactSum = a.reduce(0.0) { $0 + Double($1) }
      let absolute = a.reduce(0.0) { $0 + Double(abs($1)) }
      #expect(abs(math.sum(a, count) - exactSum) <= 4e-7 * absolute)
      #expect(abs(math.sum_absolute(a, count) - absolute) <= 4e-7 * absolute)
      let squares = a.reduce(0.0) { $0 + Double($1) * Double($1) }
      #expect(abs(math.sum_squares(a, count) - squares) <= 4e-7 * squares)
      let dot = zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      #expect(abs(math.dot(a, b, count) - dot) <= 4e-7 * absolute)
      #expect(math.max(a, count) == a.max() ?? -.infinity)
      #expect(math.min(a, count) == a.min() ?? .infinity)
      if count > 0 {
        #expect(Int(math.argmax(a, count)) == a.firstIndex(of: a.max()!))
        #expect(Int(math.argmin(a, count)) == a.firstIndex(of: a.min()!))
        var poisoned = a
        poisoned[count / 2] = .nan
        #expect(math.max(poisoned, count).isNaN && math.min(poisoned, count).isNaN)
        #expect(Int(math.argmax(poisoned, count)) == count / 2)
      }
    }
    for (rows, columns) in [(1, 1), (3, 17), (300, 70), (5, 64), (129, 3)] {
      let stride = columns + 2
      let x = numbers.floats(rows * stride)
      let w = numbers.floats(rows * stride)
      var y = [Float](repeating: 1, count: columns + 1)
      var z = y
      math.column_sum(x, rows, columns, stride, &y)
      math.column_dot(x, stride, w, stride, rows, columns, &z)
      #expect(y[columns] == 1 && z[columns] == 1)
      for c in 0..<columns {
        let truth = (0..<rows).reduce(1.0) { $0 + Double(x[$1 * stride + c]) }
        #expect(abs(Double(y[c]) - truth) < 1e-5)
        let product = (0..<rows).reduce(1.0) { $0 + Double(x[$1 * stride + c]) * Double(w[$1 * stride + c]) }
        #expect(abs(Double(z[c]) - product) < 1e-5)
      }
    }
  }

  @Test(arguments: KernelLevel.available)
  func conversions(level: KernelLevel) {
    let math = level.kernels.math
    // Every half, both ways.
    let halves = (0...UInt16.max).map { $0 }
    var floats = [Float](repeating: 7, count: halves.count)
    math.f16_to_f32(halves, &floats, halves.count)
    var back = [UInt16](repeating: 7, count: halves.count)
    math.f32_to_f16(floats, &back, halves.count)
    for i in halves.indices {
      let exponent = Int(halves[i] >> 10 & 31)
      let fraction = Double(halves[i] & 1023)
      if exponent == 31 && fraction != 0 {
        #expect(floats[i].isNaN && back[i] & 0x7c00 == 0x7c00 && back[i] & 0x3ff != 0)
      } else {
        let magnitude =
          exponent == 31
          ? Double.infinity
          : exponent == 0 ? fraction * 0x1p-24 : (1 + fraction / 1024) * pow(2, Double(exponent - 15))
        #expect(floats[i] == Float(halves[i] >> 15 == 1 ? -magnitude : magnitude) && back[i] == halves[i])
      }
    }
    // Ties to even, overflow and underflow of both 16-bit types.
    let x: [Float] = [
      1 + 0x1p-11, 1 + 0x3p-11, 65519, 65520, 0x1p-25, 0x1.8p-25, -0x1p-14, 1e10, -.infinity, 0.1,
    ]
    var h = [UInt16](repeating: 0, count: x.count)
    math.f32_to_f16(x, &h, x.count)
    #expect(h == [0x3c00, 0x3c02, 0x7bff, 0x7c00, 0, 1, 0x8400, 0x7c00, 0xfc00, 0x2e66])
    var one = [UInt16](repeating: 0, count: 1)
    for i in x.indices {  // singly, which takes the portable path everywhere
      math.f32_to_f16([x[i]], &one, 1)
      #expect(one[0] == h[i])
    }
    let y: [Float] = [1, 1 + 0x1p-8, 1 + 0x3p-8, .infinity, .nan, -0.1, 3.4e38, .leastNonzeroMagnitude]
    var g = [UInt16](repeating: 0, count: y.count)
    math.f32_to_bf16(y, &g, y.count)
    #expect(g[0...3] == [0x3f80, 0x3f80, 0x3f82, 0x7f80] && g[5...7] == [0xbdcd, 0x7f80, 0])
    var wide = [Float](repeating: 0, count: y.count)
    math.bf16_to_f32(g, &wide, y.count)
    #expect(wide[0] == 1 && wide[4].isNaN && wide[3] == .infinity)

    var bytes = [UInt8](repeating: 7, count: 6)
    math.f32_to_u8([-1, 0.5 / 255, 1.5 / 255, 1, 2, .nan], 255, &bytes, 6)
    #expect(bytes == [0, 0, 2, 255, 255, 0])
    var words = [UInt16](repeating: 7, count: 4)
    math.f32_to_u16([-1, 0.25, 1, .infinity], 65535, &words, 4)
    #expect(words == [0, 16384, 65535, 65535])
    var out = [Float](repeating: 0, count: 3)
    math.u8_to_f32([0, 51, 255], 1.0 / 255, &out, 3)
    #expect(abs(out[1] - 0.2) < 1e-7 && out[2] == 1)
    math.u16_to_f32([0, 13107, 65535], 1.0 / 65535, &out, 3)
    #expect(abs(out[1] - 0.2) < 1e-7 && out[2] == 1)
    math.i32_to_f32([-5, 0, .max], &out, 3)
    #expect(out == [-5, 0, 2147483648])
    math.i64_to_f32([-5, 0, 1 << 40], &out, 3)
    #expect(out == [-5, 0, 1_099_511_627_776])
    var i32 = [Int32](repeating: 7, count: 5)
    math.f32_to_i32([-1.9, 1.9, .nan, 3e9, -.infinity], &i32, 5)
    #expect(i32 == [-1, 1, 0, .max, .min])
    var i64 = [Int64](repeating: 7, count: 5)
    math.f32_to_i64([-1.9, 3e9, .nan, 1e30, -.infinity], &i64, 5)
    #expect(i64 == [-1, 3_000_000_000, 0, .max, .min])
  }

  @Test(arguments: KernelLevel.available)
  func adamwMatchesDouble(level: KernelLevel) {
    let math = level.kernels.math
    var numbers = TestNumbers(11)
    let count = 37
    var p = numbers.floats(count)
    var m = numbers.floats(count)
    var v = numbers.floats(count, 0...1)
    let g = numbers.floats(count)
    let start = (p, m, v)
    math.adamw(&p, g, &m, &v, count, 0.01, 0.9, 0.99, 1e-8, 0.1, 0.19, 0.02, 0.5)
    for i in 0..<count {
      let gradient = 0.5 * Double(g[i])
      let m1 = 0.9 * Double(start.1[i]) + 0.1 * gradient
      let v1 = 0.99 * Double(start.2[i]) + 0.01 * gradient * gradient
      let p1 =
        Double(start.0[i]) * (1 - 0.01 * 0.1) - 0.01 * (m1 / 0.19) / ((v1 / 0.02).squareRoot() + 1e-8)
      #expect(abs(Double(m[i]) - m1) < 1e-6 && abs(Double(v[i]) - v1) < 1e-6)
      #expect(abs(Double(p[i]) - p1) < 1e-6 * max(1, abs(p1)))
    }
  }
}
