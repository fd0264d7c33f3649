import BraidTensor

/// A model that depends on the whole picture and can still compute its function from parts, by keeping them in step.
public protocol ExactlyTiledModel: RestorationModel {
  /// The same as calling the model with `image` [1, H, W, 3], in about `memoryBudget` bytes.
  ///
  /// - Parameter progress: told the share that is done, 0...1; what it throws (a cancellation) ends the run.
  func runExactly(image: Tensor, memoryBudget: Int, progress: (Double) throws -> Void) throws -> Tensor
}
