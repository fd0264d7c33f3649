/// The sizes of one convolution over channels-last activations [batch, depth, height, width, channels].
///
/// One- and two-dimensional convolutions have leading axes of size 1. Weights are laid out as published:
/// [outputChannels, inputChannels / groups, kernel...].
struct ConvolutionGeometry: Hashable, Sendable {
  /// One spatial axis.
  struct Axis: Hashable, Sendable {
    var input = 1
    var kernel = 1
    var stride = 1
    var dilation = 1
    var padBefore = 0
    var padAfter = 0

    var output: Int { (input + padBefore + padAfter - dilation * (kernel - 1) - 1) / stride + 1 }
  }

  var batch: Int
  var axes: [Axis]
  var inputChannels: Int
  var outputChannels: Int
  var groups = 1

  /// - Parameter spatial: one to three axes, the last one innermost.
  init(batch: Int, spatial: [Axis], inputChannels: Int, outputChannels: Int, groups: Int = 1) {
    precondition(
      (1...3).contains(spatial.count),
      "convolution: \(spatial.count) spatial axes; one to three are supported")
    precondition(
      groups > 0 && inputChannels % groups == 0 && outputChannels % groups == 0,
      "convolution: \(groups) groups do not divide \(inputChannels) and \(outputChannels) channels")
    self.batch = batch
    axes = Array(repeating: Axis(), count: 3 - spatial.count) + spatial
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.groups = groups
  }

  var groupInputs: Int { inputChannels / groups }
  var groupOutputs: Int { outputChannels / groups }
  /// Elements of the kernel for one pair of channels.
  var tapCount: Int { axes.reduce(1) { $0 * $1.kernel } }
  var inputPixels: Int { axes.reduce(1) { $0 * $1.input } }
  var outputPixels: Int { axes.reduce(1) { $0 * $1.output } }
  var weightCount: Int { outputChannels * groupInputs * tapCount }

  /// Whether Winograd's F(4 x 4, 3 x 3) applies: planes, 3 x 3, stride 1, dense, dilated down the columns at most,
  /// by a divisor of the padding.
  var admitsWinograd: Bool {
    let planar = axes[0].input == 1 && axes[0].kernel == 1 && axes[0].padBefore == 0 && axes[0].padAfter == 0
    return planar && groups == 1
      && axes[1...].allSatisfy { $0.kernel == 3 && $0.stride == 1 } && axes[2].dilation == 1
      && axes[1].padBefore % axes[1].dilation == 0
      && inputChannels >= 16 && outputChannels >= 16
  }

  /// Whether every channel has a kernel of its own.
  var isDepthwise: Bool { groups > 1 && groups == inputChannels && groups == outputChannels }

  /// Whether the convolution is a product of pixels and weights.
  var isPointwise: Bool {
    groups == 1
      && axes.allSatisfy { $0.kernel == 1 && $0.stride == 1 && $0.padBefore == 0 && $0.padAfter == 0 }
  }
}
