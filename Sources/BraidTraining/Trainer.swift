import BraidCheckpoint
import BraidNN
import BraidTensor
import Foundation

/// A training run: forward, backward, AdamW, moving average, schedule, log and a state that can be resumed.
///
/// Everything that a step does depends on (seed, step) and the state before it alone, so a run that is killed and
/// resumed ends with the same bits as one that was not.
public final class Trainer {
  /// What is reported after a step.
  public struct Progress: Sendable {
    public let step: Int
    public let totalSteps: Int
    public let values: [String: Double]
    public let secondsLeft: Double
  }

  public let plan: TrainingPlan
  public let parameters: [Parameter]
  /// How many of the parameters are the model's; the others help to train it.
  let publishedCount: Int
  /// The moving average of the weights, in the order of the parameters.
  public internal(set) var average: [Tensor]
  public internal(set) var step = 0
  var optimizer: AdamW
  let folder: String
  let fingerprint: String

  var statePath: String { folder + "/state.safetensors" }
  public var log: MetricLog { MetricLog(path: folder + "/metrics.jsonl") }

  /// A run over `store`, whose parameters have values, kept in `folder`; an earlier run there is resumed.
  ///
  /// - Parameters:
  ///   - helper: what is trained along but is no part of the model, such as a discriminator; keys of its own.
  ///   - fingerprint: describes model and data; a state with another one is refused.
  public init(
    _ store: ParameterStore, helper: ParameterStore? = nil, plan: TrainingPlan, folder: String,
    fingerprint: String
  ) throws {
    guard plan.steps > 0 else { throw TrainingError.invalidConfiguration("steps is \(plan.steps)") }
    self.plan = plan
    self.folder = folder
    self.fingerprint = fingerprint
    parameters = store.parameters + (helper?.parameters ?? [])
    publishedCount = store.parameters.count
    store.makeTrainable()
    helper?.makeTrainable()
    optimizer = AdamW(plan.optimizer, for: parameters)
    average = parameters.map { $0.value.duplicated() }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw TrainingError.cannotWrite(path: folder)
    }
    if FileManager.default.fileExists(atPath: statePath) { try resume() }
    try log.truncate(after: step)
  }

  /// Runs the steps that are left.
  ///
  /// - Parameters:
  ///   - loss: the loss of a step, a scalar; its randomness comes from the generator alone.
  ///   - validate: figures of the present moving average, which stands in the parameters during the call.
  ///   - progress: called after each logged step.
  public func run(
    loss: (_ step: Int, _ generator: Philox) throws -> Tensor,
    validate: () throws -> [String: Double] = { [:] },
    progress: (Progress) -> Void = { _ in }
  ) throws {
    // What a step frees the next one wants again: given back to the system, it would come as fresh pages each time.
    let cacheLimit = Memory.cacheLimit
    Memory.cacheLimit = max(cacheLimit, Memory.availableBytes / 4)
    defer { Memory.cacheLimit = cacheLimit }
    let start = Date()
    let firstStep = step
    var total = 0.0
    var counted = 0
    while step < plan.steps {
      try Task.checkCancellation()
      let value = try loss(step, Philox(seed: plan.seed).split(UInt64(step)))
      let figure = value.item
      guard figure.isFinite else { throw TrainingError.notFinite(step: step, loss: figure) }
      let gradients = value.gradients(for: parameters.map(\.value))
      let norm = globalNorm(gradients)
      let clip = plan.gradientClip > 0 && norm > plan.gradientClip ? plan.gradientClip / norm : 1
      let rate = plan.learningRate.rate(step: step, of: plan.steps)
      if norm.isFinite {
        optimizer.update(parameters, gradients: gradients, learningRate: rate, gradientScale: clip)
      }
      // Early on the average follows the weights closely: its memory grows with the run.
      let decay = min(plan.averageDecay, Float(step + 1) / Float(step + 10))
      for (target, parameter) in zip(average, parameters) {
        target.interpolateInPlace(towards: parameter.value, weight: 1 - decay)
      }
      step += 1
      total += Double(figure)
      counted += 1

      var values: [String: Double] = [:]
      if step % plan.logEvery == 0 || step == plan.steps {
        values = [
          "loss": total / Double(counted), "learningRate": Double(rate), "gradientNorm": Double(norm),
        ]
        (total, counted) = (0, 0)
      }
      if step % plan.validateEvery == 0 || step == plan.steps {
        values.merge(try withAverage(validate)) { $1 }
      }
      if !values.isEmpty {
        try log.append(MetricLog.Record(step: step, values: values))
        let elapsed = Date().timeIntervalSince(start)
        let left = elapsed / Double(step - firstStep) * Double(plan.steps - step)
        progress(Progress(step: step, totalSteps: plan.steps, values: values, secondsLeft: left))
      }
      if step % plan.checkpointEvery == 0 || step == plan.steps { try save() }
    }
  }

  /// Runs `body` with the moving average in the place of the weights.
  public func withAverage<Result>(_ body: () throws -> Result) rethrows -> Result {
    guard plan.averageDecay > 0 else { return try withoutGradient(body) }
    let weights = parameters.map(\.value)
    for (parameter, tensor) in zip(parameters, average) { parameter.assign(tensor) }
    defer { for (parameter, tensor) in zip(parameters, weights) { parameter.assign(tensor) } }
    return try withoutGradient(body)
  }

  /// The tensors to publish, by key: the moving average, or the weights where none is kept.
  public var published: [(key: String, value: Tensor)] {
    zip(parameters, plan.averageDecay > 0 ? average : parameters.map(\.value.detached)).prefix(publishedCount)
      .map { ($0.key, $1) }
  }
}
