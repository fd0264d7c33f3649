import Braid

/// The files that `braid restore` reads and writes.
struct PictureFiles: BatchFiles {
  /// The format that all outputs get, where one was asked for.
  let asked: ImageFormat?

  var noun: (one: String, several: String) { ("picture", "pictures") }
  var suffixes: String { ".png, .jpg or .npy" }

  func accepts(_ path: String) -> Bool {
    let named = ImageFormat(path: path)
    return ImageReader.format(ofFile: path).map { $0 != .npy } ?? (named != nil && named != .npy)
  }

  func format(ofInput path: String) -> ImageFormat {
    if let asked { return asked }
    // Opening a pipe to look at it would take its first bytes away.
    guard FileIdentity(path)?.kind == .regular else { return .png }
    return ImageReader.format(ofFile: path) == .jpeg ? .jpeg : .png
  }

  func format(named path: String) -> ImageFormat? { ImageFormat(path: path) }

  func format(ofOutput path: String) throws -> (ImageFormat, note: String?) {
    guard let chosen = asked ?? ImageFormat(path: path) else {
      throw Failure.usage(
        "\(path): the extension names no format", hint: "use \(suffixes), or --format")
    }
    guard [.png, .jpeg, .npy].contains(chosen) else {
      throw Failure.usage("\(path): \(chosen.name) is read but not written", hint: "use \(suffixes)")
    }
    let isNamedOtherwise = ImageFormat(path: path).map { $0 != chosen } ?? false
    return (chosen, isNamedOtherwise ? "written as \(chosen.name), whatever its extension says" : nil)
  }

  func suffix(_ format: ImageFormat) -> String { format == .jpeg ? "jpg" : format.rawValue }
}
