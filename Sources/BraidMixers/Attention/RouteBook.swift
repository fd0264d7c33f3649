import BraidTensor
import Synchronization

/// The choices that routed mixers made in one run, to be made again in another.
///
/// What a router chooses can turn on the last bit of a score, so two forms of one mixer are compared on the same
/// choices: those that one of them noted.
///
///     let book = RouteBook()
///     let truth = book.noting { mixer.reference(x) }
///     let output = book.repeating { mixer(x) }
public final class RouteBook: Sendable {
  fileprivate enum Use { case noting, repeating }
  @TaskLocal fileprivate static var current: (book: RouteBook, use: Use)?
  /// Choices by mixer, and the position of the first.
  private let routes = Mutex<[String: (start: Int, route: Tensor)]>([:])

  public init() {}

  /// Runs `body`; choices are noted, those of earlier runs forgotten where they are made again.
  public func noting<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$current.withValue((self, .noting), operation: body)
  }

  /// Runs `body` with the noted choices in the place of its own, where there are some.
  public func repeating<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$current.withValue((self, .repeating), operation: body)
  }

  /// The choices [batch, positions, ...] of the mixer of that name for positions from `start` on: noted ones, or
  /// those of `choose`. Outside `noting` and `repeating` it is `choose` alone.
  ///
  /// - Parameters:
  ///   - name: the same in every run; the path of the mixer's parameters, say.
  ///   - start: where the first of the positions stands in its sequence.
  public static func route(
    _ name: String, from start: Int, count: Int, choose: () -> Tensor
  ) -> Tensor {
    guard let (book, use) = current else { return choose() }
    if use == .repeating, let noted = book.routes.withLock({ $0[name] }),
      noted.start <= start, start + count <= noted.start + noted.route.shape[1]
    {
      return noted.route.sliced(axis: 1, start - noted.start..<start - noted.start + count)
    }
    let route = choose()
    if use == .noting { book.routes.withLock { $0[name] = (start, route) } }
    return route
  }
}
