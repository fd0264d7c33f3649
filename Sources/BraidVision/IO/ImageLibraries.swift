import CBraidImage

/// The libraries that pictures are read and written with.
public enum ImageLibraries {
  /// Their names and versions.
  public static var versions: [(name: String, version: String)] {
    var result: [(String, String)] = []
    while let name = braid_image_library_name(Int32(result.count)) {
      let version = braid_image_library_version(Int32(result.count)).map { String(cString: $0) }
      result.append((String(cString: name), version ?? "unknown"))
    }
    return result
  }
}
