import BraidMixers
import BraidNN
import BraidTensor

/// What distinguishes the members of the Contrast family.
public struct ContrastConfiguration: Sendable, Codable, Hashable {
  public var channels = 64
  public var blocks = 6
  public var heads = 4
  public var window = 8
  public var stateSize = 8
  public var mlpRatio = 2
  /// Output pixels per input pixel along each side.
  public var scale = 1
  /// The input is folded into channels by this factor, so that the body runs at a lower resolution.
  public var fold = 1

  public init(
    channels: Int = 64, blocks: Int = 6, heads: Int = 4, window: Int = 8, stateSize: Int = 8,
    mlpRatio: Int = 2,
    scale: Int = 1, fold: Int = 1
  ) {
    self.channels = channels
    self.blocks = blocks
    self.heads = heads
    self.window = window
    self.stateSize = stateSize
    self.mlpRatio = mlpRatio
    self.scale = scale
    self.fold = fold
  }

  /// What makes the configuration unusable, or nil.
  var problem: String? {
    if !(1...1024).contains(channels) || !(1...64).contains(heads) || channels % heads != 0 {
      return "\(channels) channels do not divide into \(heads) heads"
    }
    if !(1...256).contains(blocks) { return "blocks \(blocks)" }
    if !(2...64).contains(window) || window % 2 != 0 { return "window \(window)" }
    if !(1...256).contains(stateSize) || !(1...8).contains(mlpRatio) {
      return "stateSize \(stateSize), mlpRatio \(mlpRatio)"
    }
    if !(1...8).contains(scale) || !(1...8).contains(fold) { return "scale \(scale), fold \(fold)" }
    return nil
  }
}

/// One block of Contrast: convolution, window attention, a four-direction scan and a feed-forward layer in series,
/// each with its residual.
struct ContrastBlock: Sendable {
  let shift: Int
  let convolution: Convolution2D
  let pointwise: Linear
  let norms: [LayerNorm]
  let attention: WindowAttention
  let scan: SelectiveScan2D
  let expand: Linear
  let contract: Linear

  init(_ scope: ParameterScope, _ c: ContrastConfiguration, shift: Int) {
    self.shift = shift
    convolution = Convolution2D(scope("conv"), inputs: c.channels, outputs: c.channels)
    pointwise = Linear(scope("pointwise"), inputs: c.channels, outputs: c.channels)
    norms = (0..<3).map { LayerNorm(scope("norm\($0 + 1)"), channels: c.channels) }
    attention = WindowAttention(scope("attn"), channels: c.channels, heads: c.heads, window: c.window)
    scan = SelectiveScan2D(
      scope("scan"), valid: .init(channels: c.channels, stateSize: c.stateSize))
    expand = Linear(scope("mlp.fc1"), inputs: c.channels, outputs: c.channels * c.mlpRatio)
    contract = Linear(scope("mlp.fc2"), inputs: c.channels * c.mlpRatio, outputs: c.channels)
  }

  /// [B, H, W, C] to the same; H and W are multiples of the window.
  func callAsFunction(_ t: Tensor) -> Tensor {
    var x = pointwise(convolution(t, activation: .gelu), residual: t)
    x = attention(norms[0](x), shift: (shift, shift), residual: x)
    x = scan(norms[1](x), residual: x)
    return contract(expand(norms[2](x), activation: .gelu), residual: x)
  }
}

/// Contrast: convolution, shifted window attention and a four-direction 2-D selective scan in one block, after the
/// idea of the paper of that name (no code of it is public; layout and names are Braid's).
public struct Contrast: RestorationModel {
  public static let architecture = "contrast"

  public let configuration: ContrastConfiguration
  public let parameters: ParameterStore
  let head: Convolution2D
  let blocks: [ContrastBlock]
  let body: Convolution2D
  let tail: Convolution2D

  public var scale: Int { configuration.scale }
  public var sizeMultiple: Int { configuration.window * configuration.fold }
  /// The scans reach across the whole map but fade. With this overlap, tiles of 64 to 192 pixels differ from the untiled
  /// result by 0.1 to 0.25 of an 8-bit step in the root mean square, and by 2.5 to 4.2 steps at single pixels (measured
  /// with contrast-s-denoise on a 321 x 481 picture).
  public var receptiveRadius: Int? { 32 * configuration.fold }
  public var bytesPerPixel: Int {
    let body = configuration.channels * 4 * 24 / (configuration.fold * configuration.fold)
    return body + 3 * 4 * 4 * scale * scale
  }

  public init(_ configuration: ContrastConfiguration) {
    let c = configuration
    let store = ParameterStore()
    let root = store.root
    self.configuration = c
    parameters = store
    head = Convolution2D(root("head"), inputs: 3 * c.fold * c.fold, outputs: c.channels)
    blocks = (0..<c.blocks).map { index in
      ContrastBlock(root("blocks")(index), c, shift: index.isMultiple(of: 2) ? 0 : c.window / 2)
    }
    body = Convolution2D(root("body"), inputs: c.channels, outputs: c.channels)
    let unfold = c.scale * c.fold
    // Zero, so that training starts from the input itself (or its bicubic enlargement).
    tail = Convolution2D(root("tail"), inputs: c.channels, outputs: 3 * unfold * unfold, init: .zeros)
  }

  public func callAsFunction(_ image: Tensor) -> Tensor {
    let c = configuration
    let features = head(c.fold == 1 ? image : image.pixelUnshuffled(c.fold))
    var x = features
    for block in blocks { x = block(x) }
    let residual = tail(body(x, residual: features)).pixelShuffled(c.scale * c.fold)
    if c.scale == 1 { return image + residual }
    return residual
      + image.detached.resized(
        height: image.shape[1] * c.scale, width: image.shape[2] * c.scale, mode: .bicubic)
  }
}
