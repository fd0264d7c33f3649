import Glibc

/// What the system has to give: free memory, control groups (versions 1 and 2), the process's own limit.
extension Memory {
  /// Bytes that the process can still take: the least of the machine's free memory, what its control groups leave and
  /// what its limit of address space (RLIMIT_AS) leaves.
  public static var availableBytes: Int {
    var least = min(machineAvailable ?? 2 << 30, groupAvailable)
    if let limit = addressSpaceLimit { least = min(least, max(0, limit - addressSpaceInUse)) }
    return least
  }

  /// The limit of the process's address space, or nil where there is none.
  private static var addressSpaceLimit: Int? {
    var own = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &own) == 0, own.rlim_cur < rlim_t(Int.max) else {
      return nil
    }
    return Int(own.rlim_cur)
  }

  private static var addressSpaceInUse: Int {
    let pages = contents("/proc/self/statm")?.split(separator: " ").first.flatMap { Int($0) } ?? 0
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }

  private static var machineAvailable: Int? {
    guard let text = contents("/proc/meminfo") else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 << 10 }
    }
    return nil
  }

  /// What the control groups of the process leave. The groups around one are looked at too: each has its limit.
  private static var groupAvailable: Int {
    var least = Int.max
    for line in contents("/proc/self/cgroup")?.split(separator: "\n") ?? [] {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let isUnified = parts[0] == "0" && parts[1].isEmpty
      guard isUnified || parts[1].split(separator: ",").contains("memory") else { continue }
      let root = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
      var path = String(parts[2])
      while true {
        let folder = path == "/" ? root : root + path
        if let left = isUnified ? unifiedLeft(folder) : firstVersionLeft(folder) { least = min(least, left) }
        guard path.count > 1, let slash = path.lastIndex(of: "/") else { break }
        path = slash == path.startIndex ? "/" : String(path[..<slash])
      }
    }
    return least
  }

  private static func unifiedLeft(_ folder: String) -> Int? {
    guard let limit = number(folder + "/memory.max") else { return nil }
    // Cached file pages count as used but are given back on demand.
    let cached = field("inactive_file", in: folder + "/memory.stat") ?? 0
    return max(0, limit - (number(folder + "/memory.current") ?? 0) + cached)
  }

  private static func firstVersionLeft(_ folder: String) -> Int? {
    // No limit shows as a number near the largest.
    guard let limit = number(folder + "/memory.limit_in_bytes"), limit < 1 << 60 else { return nil }
    let cached = field("total_inactive_file", in: folder + "/memory.stat") ?? 0
    return max(0, limit - (number(folder + "/memory.usage_in_bytes") ?? 0) + cached)
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
