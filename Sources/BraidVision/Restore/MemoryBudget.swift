import Glibc

/// How much memory a run may take.
public enum MemoryBudget {
  /// Bytes that the model's tensors take unless asked otherwise: 2 GiB, or half of what is free where that is less.
  ///
  /// A fixed size rather than a share, so that machines agree on the tiles.
  public static var standard: Int { max(64 << 20, min(2 << 30, available / 2)) }

  /// Bytes that the process can still take: the least of the system's free memory, the limits of its control groups
  /// and its own limit.
  public static var available: Int {
    var least = systemAvailable ?? 2 << 30
    for group in controlGroups {
      guard let limit = number(group + "/memory.max") else { continue }
      // Cached file pages count as used but are given back on demand.
      let cached = field("inactive_file", in: group + "/memory.stat") ?? 0
      least = min(least, max(0, limit - (number(group + "/memory.current") ?? 0) + cached))
    }
    var own = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &own) == 0, own.rlim_cur < rlim_t(Int.max) {
      least = min(least, Int(own.rlim_cur))
    }
    return least
  }

  private static var systemAvailable: Int? {
    guard let text = contents("/proc/meminfo") else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
    }
    return nil
  }

  /// The folders of the process's control group and of those around it (version 2).
  private static var controlGroups: [String] {
    let root = "/sys/fs/cgroup"
    let own = contents("/proc/self/cgroup")?.split(separator: "\n").first { $0.hasPrefix("0::/") }
    var path = own.map { String($0.dropFirst(3)) } ?? "/"
    var folders = [root]
    while path.count > 1, let slash = path.lastIndex(of: "/") {
      folders.append(root + path)
      path = String(path[..<slash])
    }
    return folders
  }

  private static func field(_ name: String, in path: String) -> Int? {
    let line = contents(path)?.split(separator: "\n").first { $0.hasPrefix(name + " ") }
    return line?.split(separator: " ").last.flatMap { Int($0) }
  }

  private static func number(_ path: String) -> Int? {
    contents(path).flatMap { Int($0.split(separator: "\n").first ?? "") }
  }

  private static func contents(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 16384)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
