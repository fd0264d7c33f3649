import BraidCheckpoint
import BraidSpeech
import BraidTensor

extension MambAttention.Configuration {
  /// The configuration that a published checkpoint's tensors have, told from their names and shapes; nil where they
  /// are not those of MambAttention, SEMamba or xLSTM-SENet. Heads, which leave no trace, are eight as published.
  public init?(_ checkpoint: Checkpoint) {
    func shape(_ key: String, rank: Int) -> Shape? {
      checkpoint.entry(key).flatMap { $0.shape.rank == rank ? $0.shape : nil }
    }
    guard let head = shape("dense_encoder.dense_conv_1.0.weight", rank: 4), head[0] > 0, head[1] == 2,
      let slope = shape("mask_decoder.lsigmoid.slope", rank: 2), slope[0] > 1, slope[1] == 1
    else { return nil }
    let frame = 2 * (slope[0] - 1)
    self.init(channels: head[0], frameSize: frame, hop: frame / 4)
    let list: String
    if let weight = shape("TFMambAttention.0.attention.attn.in_proj_weight", rank: 2) {
      guard weight[0] == 3 * channels, channels.isMultiple(of: heads) else { return nil }
      list = "TFMambAttention"
    } else {
      // Without attention, heads mean nothing.
      (attention, heads) = (.none, 1)
      list = checkpoint.entry("TSxLSTM.0.tlinear.weight") != nil ? "TSxLSTM" : "TSMamba"
    }
    let inner: Int
    if list == "TSxLSTM" {
      let layer = "TSxLSTM.0.time_xlstm.forward_blocks.0.layer"
      guard let skip = shape("\(layer).learnable_skip", rank: 1),
        let kernel = shape("\(layer).conv.conv.weight", rank: 3),
        // As published: four heads, and blocks of four channels.
        shape("\(layer).mlstm_cell.igate.weight", rank: 2)?[0] == 4,
        shape("\(layer).q_proj.weight", rank: 3)?[1] == 4
      else { return nil }
      (mixer, inner, kernelSize) = (.mlstm, skip[0], kernel[2])
    } else {
      let layer = "\(list).0.time_mamba.forward_blocks.0.mixer"
      guard let rates = shape("\(layer).A_log", rank: 2),
        let kernel = shape("\(layer).conv1d.weight", rank: 3)
      else { return nil }
      (inner, stateSize, kernelSize) = (rates[0], rates[1], kernel[2])
    }
    guard inner.isMultiple(of: channels) else { return nil }
    expansion = inner / channels
    blocks = (0..<64).prefix { checkpoint.entry("\(list).\($0).tlinear.weight") != nil }.count
  }
}
