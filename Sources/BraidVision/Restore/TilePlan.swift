/// How a picture is cut into overlapping tiles, and where neighbours fade into each other.
///
/// Tiles begin and end at multiples of the model's alignment, so that its window grid is that of the whole picture.
public struct TilePlan: Sendable, Equatable {
  /// One direction: from top to bottom, or from left to right.
  public struct Axis: Sendable, Equatable {
    /// Pixels in all.
    public let length: Int
    /// Pixels of each tile.
    public let tile: Int
    /// The first pixel of each tile.
    public let starts: [Int]
    /// The pixels over which tile i fades into tile i + 1; empty where they only touch.
    public let seams: [Range<Int>]

    /// Tiles of at most `tile` pixels that share at least `overlap` (at most half of a tile); all multiples of
    /// `alignment`, as `length` is.
    ///
    /// The outermost `margin` pixels of a tile's shared part are given no weight, as far as `overlap` allows.
    init(length: Int, tile limit: Int, overlap: Int, margin: Int?, alignment: Int) {
      precondition(
        alignment > 0 && length > 0 && length.isMultiple(of: alignment),
        "TilePlan: \(length) is no multiple of \(alignment)")
      self.length = length
      let limit = min(length, max(alignment, limit / alignment * alignment))
      if limit == length {
        (tile, starts, seams) = (length, [0], [])
        return
      }
      func up(_ value: Int) -> Int { (value + alignment - 1) / alignment * alignment }
      let shared = min(up(max(0, overlap)), limit / 2 / alignment * alignment)
      let count = (length - shared + limit - shared - 1) / (limit - shared)
      // As many tiles as needed, then as small as that many can be: the work is spread, not wasted on overlaps.
      let tile = up((length + (count - 1) * shared + count - 1) / count)
      let starts = (0..<count).map { $0 * ((length - tile) / alignment) / (count - 1) * alignment }
      (self.tile, self.starts) = (tile, starts)
      var last = 0
      seams = (1..<count).map { index in
        let (from, to) = (starts[index], starts[index - 1] + tile)
        let ramp = min(to - from, max(shared / 4, shared - 2 * (margin ?? shared / 4)))
        let start = max(last, from + (to - from - ramp) / 2)
        last = max(start, min(to, start + ramp))
        return start..<last
      }
    }
  }

  public let rows: Axis
  public let columns: Axis

  /// The number of tiles.
  public var count: Int { rows.starts.count * columns.starts.count }
  /// Pixels of one tile.
  public var tilePixels: Int { rows.tile * columns.tile }

  /// A plan for `height` x `width` pixels, both multiples of the model's `sizeMultiple`.
  ///
  /// - Parameter limit: the largest tile; nil is the whole picture.
  public init(
    height: Int, width: Int, model: some RestorationModel, limit: (height: Int, width: Int)? = nil,
    overlap: Int? = nil
  ) {
    let radius = model.receptiveRadius
    // Both neighbours are right at every pixel of a ramp that lies `radius` away from their borders.
    let overlap = overlap ?? radius.map { 2 * $0 + 16 } ?? 64
    func axis(_ length: Int, _ tile: Int?) -> Axis {
      Axis(
        length: length, tile: tile ?? length, overlap: overlap, margin: radius, alignment: model.sizeMultiple)
    }
    rows = axis(height, limit?.height)
    columns = axis(width, limit?.width)
  }

  /// The largest tile whose work takes at most `budget` bytes; at least one alignment, at most the picture.
  static func limit(
    height: Int, width: Int, model: some RestorationModel, budget: Int
  ) -> (height: Int, width: Int) {
    let unit = model.sizeMultiple
    let pixels = max(1, budget / max(1, model.bytesPerPixel))
    if height * width <= pixels { return (height, width) }
    func down(_ value: Int) -> Int { max(unit, value / unit * unit) }
    let side = down(Int(Double(pixels).squareRoot()))
    // A flat or narrow picture leaves room in the other direction.
    if height <= side { return (height, min(width, down(pixels / height))) }
    if width <= side { return (min(height, down(pixels / width)), width) }
    return (side, side)
  }
}
