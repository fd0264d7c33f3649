import BraidCheckpoint
import BraidVision

extension HATConfiguration {
  /// The configuration that a published checkpoint's tensors have, told from their names and shapes; nil where they
  /// are not those of HAT.
  public init?(_ checkpoint: Checkpoint) {
    func shape(_ key: String) -> Shape? { checkpoint.entry(key)?.shape }
    let block = "layers.0.residual_group.blocks.0"
    guard let head = shape("conv_first.weight"), head.rank == 4, head[1] == 3,
      let bias = shape("\(block).attn.relative_position_bias_table"), bias.rank == 2,
      let overlapBias = shape("layers.0.residual_group.overlap_attn.relative_position_bias_table"),
      let compressed = shape("\(block).conv_block.cab.0.weight"), compressed.rank == 4, compressed[0] > 0,
      let squeezed = shape("\(block).conv_block.cab.3.attention.1.weight"), squeezed.rank == 4,
      squeezed[0] > 0,
      let hidden = shape("\(block).mlp.fc1.weight"), hidden.rank == 2,
      let features = shape("conv_before_upsample.0.weight"), features.rank == 4,
      let upsampled = shape("upsample.0.weight"), upsampled.rank == 4
    else { return nil }
    let channels = head[0]
    // Tables have (2 w - 1)² rows for windows of w, (w + v - 1)² where keys come from windows of v.
    guard let side = Self.root(bias[0]), side.isMultiple(of: 2) == false,
      let overlapSide = Self.root(overlapBias[0])
    else { return nil }
    let window = (side + 1) / 2
    let overlapWindow = overlapSide + 1 - window
    guard channels > 0, bias[1] > 0, window > 0, overlapWindow >= window, features[0] > 0 else { return nil }

    var depths: [Int] = []
    while depths.count < 64 {
      let prefix = "layers.\(depths.count).residual_group.blocks"
      let depth = (0..<64).prefix { checkpoint.entry("\(prefix).\($0).norm1.weight") != nil }.count
      if depth == 0 { break }
      depths.append(depth)
    }
    let steps = (0..<4).prefix { checkpoint.entry("upsample.\(2 * $0).weight") != nil }.count
    let scale: Int
    switch upsampled[0] / features[0] {
    case 9 where steps == 1: scale = 3
    case 4: scale = 1 << steps
    default: return nil
    }
    self.init(
      channels: channels, depths: depths, heads: bias[1], window: window,
      compressRatio: channels / compressed[0],
      squeezeFactor: channels / squeezed[0], scale: scale)
    // A quarter more where rounding would lose a pixel.
    let grown = Double(overlapWindow - window)
    let ratio = grown / Double(window)
    overlapRatio = (Double(window) * ratio).rounded(.down) == grown ? ratio : (grown + 0.25) / Double(window)
    mlpRatio = hidden[0] / channels
    self.features = features[0]
  }

  private static func root(_ square: Int) -> Int? {
    guard square > 0 else { return nil }
    let root = Int(Double(square).squareRoot().rounded())
    return root * root == square ? root : nil
  }
}
