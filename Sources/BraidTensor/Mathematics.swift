import Foundation

// Foundation's functions under names that `Tensor`'s members do not hide.
@inline(__always) func scalarLog(_ x: Double) -> Double { log(x) }
@inline(__always) func scalarCos(_ x: Double) -> Double { cos(x) }
@inline(__always) func scalarSin(_ x: Double) -> Double { sin(x) }
