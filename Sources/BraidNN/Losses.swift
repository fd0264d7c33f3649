import BraidTensor

/// Training losses: each a number, the mean over all elements (or vectors). Prediction and target have one shape;
/// gradients flow into both.
public enum Loss {
  /// mean |prediction - target|
  public static func l1(_ prediction: Tensor, _ target: Tensor) -> Tensor {
    difference(prediction, target, "l1").absolute().mean()
  }

  /// mean (prediction - target)^2
  public static func meanSquaredError(_ prediction: Tensor, _ target: Tensor) -> Tensor {
    difference(prediction, target, "meanSquaredError").squared().mean()
  }

  /// mean sqrt((prediction - target)^2 + epsilon^2), an L1 loss that is smooth at 0 (Charbonnier et al., 1994).
  ///
  /// BasicSR's CharbonnierLoss has sqrt(d^2 + eps): its eps is the square of this epsilon.
  public static func charbonnier(_ prediction: Tensor, _ target: Tensor, epsilon: Float = 1e-3) -> Tensor {
    let squares = difference(prediction, target, "charbonnier").squared()
    return (squares + epsilon * epsilon).squareRoot().mean()
  }

  /// mean of d^2 / 2 where |d| < beta, beta (|d| - beta / 2) elsewhere (torch's huber_loss).
  public static func huber(_ prediction: Tensor, _ target: Tensor, beta: Float = 1) -> Tensor {
    let d = difference(prediction, target, "huber")
    let limited = d.clamped(-beta, beta)
    // With c the limited difference, c (d - c / 2) is both pieces.
    return (limited * (d - limited * 0.5)).mean()
  }

  /// 1 - the mean cosine between the vectors along the last axis; norms count as at least `epsilon`.
  public static func cosine(_ prediction: Tensor, _ target: Tensor, epsilon: Float = 1e-8) -> Tensor {
    precondition(
      prediction.shape == target.shape, "cosine: a prediction of \(prediction.shape) for \(target.shape)")
    func norm(_ x: Tensor) -> Tensor {
      Tensor.maximum(x.squared().sum(axes: [-1]), Tensor(epsilon * epsilon)).squareRoot()
    }
    let products = (prediction * target).sum(axes: [-1])
    return 1 - (products / (norm(prediction) * norm(target))).mean()
  }

  private static func difference(_ prediction: Tensor, _ target: Tensor, _ name: StaticString) -> Tensor {
    precondition(
      prediction.shape == target.shape, "\(name): a prediction of \(prediction.shape) for \(target.shape)")
    return prediction - target
  }
}
