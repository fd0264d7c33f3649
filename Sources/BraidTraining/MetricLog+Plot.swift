import BraidFiles

extension MetricLog {
  /// Draws all logged figures over the steps as a PNG at `path`: one panel a figure, losses logarithmic.
  public func plot(to path: String) throws {
    let records = records()
    let names = Set(records.flatMap(\.values.keys)).sorted()
    let panels = names.map { name in
      let points = records.compactMap { record in record.values[name].map { (Double(record.step), $0) } }
      return CurvePlot.Panel(
        title: name, series: [.init(name: name, x: points.map(\.0), y: points.map(\.1))],
        isLogarithmic: name == "loss")
    }
    let file = try AtomicFile(path) { _ in TrainingError.cannotWrite(path: path) }
    try CurvePlot(panels: panels).png().withUnsafeBytes { try file.write($0) }
    try file.commit()
  }
}
