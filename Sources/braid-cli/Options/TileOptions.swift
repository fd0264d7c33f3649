import ArgumentParser
import Braid

/// How a picture is taken through the model.
struct TileOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Side of the tiles in input pixels; 0 is the whole picture (BRAID_TILE; default: what --memory allows).",
      valueName: "N"))
  var tile: Int?

  @Option(
    help: ArgumentHelp(
      "Input pixels that neighbouring tiles share (default: what the model needs).", valueName: "N"))
  var tileOverlap: Int?

  @Flag(
    help: """
      Give the untiled result from tiles too. HAT's channel attention pools the whole picture, so its tiles differ \
      a little from the whole and may show where they meet; this keeps them in step, at the cost of time.
      """)
  var exact = false

  @Option(
    help: ArgumentHelp(
      "Memory for the model's work, such as 512M or 2G (BRAID_MEMORY; default: 2G, or half of what is free).",
      valueName: "SIZE"))
  var memory: ByteCount?

  @Flag(help: "Average over the eight flips and quarter turns: a little better, eight times slower.")
  var tta = false

  func validate() throws {
    if let tile, tile < 0 { throw ValidationError("--tile must be 0 or more.") }
    if let tileOverlap, tileOverlap < 0 { throw ValidationError("--tile-overlap must be 0 or more.") }
  }

  func options() throws -> RestoreOptions {
    let tiling: RestoreOptions.Tiling
    switch try EnvironmentDefault.value(tile, "BRAID_TILE", in: 0...Int.max) {
    case nil: tiling = .automatic
    case 0: tiling = .whole
    case let side?: tiling = .side(side)
    }
    return RestoreOptions(
      tiling: tiling, overlap: tileOverlap,
      memoryBudget: try EnvironmentDefault.value(memory, "BRAID_MEMORY")?.count, exact: exact,
      selfEnsemble: tta)
  }
}

/// A number of bytes, written 2G, 512M, 100K or plain.
struct ByteCount: ExpressibleByArgument {
  let count: Int

  init?(argument: String) {
    var digits = argument.uppercased()
    if digits.hasSuffix("IB") {
      digits.removeLast(2)
    } else if digits.hasSuffix("B") {
      digits.removeLast()
    }
    var shift = 0
    if let unit = digits.last, let index = Array("KMGT").firstIndex(of: unit) {
      shift = 10 * (index + 1)
      digits.removeLast()
    }
    guard let value = Double(digits), value > 0, value.isFinite else { return nil }
    let bytes = value * Double(1 << shift)
    guard bytes >= 1, bytes < 0x1p62 else { return nil }
    count = Int(bytes)
  }
}
