import Braid
import BraidFiles
import Foundation

/// What the command says where memory is refused and nothing can be thrown any more.
enum MemoryRefusal {
  /// Takes over what happens then; for the start of the program.
  static func handle() {
    tell(asJSON: false)
    Memory.onRefusal { LastResort.memoryRefused($0) }
    LastResort.catchCrashes()
    // Under a tight limit of address space the system's library of queues would wait for its threads for ever.
    let probe = mmap(nil, leastAddressSpace, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    guard let probe, probe != MAP_FAILED else { LastResort.memoryRefused(leastAddressSpace) }
    munmap(probe, leastAddressSpace)
  }

  /// Stacks and heaps of the threads that every command starts.
  private static let leastAddressSpace = 256 << 20

  /// Sets the line in the form that the command's other errors have.
  static func tell(asJSON isJSON: Bool) {
    let message = "out of memory: the system refused "
    let hint = "lower the sizes that were asked for (--memory, --tile, a recipe's crops and batch)"
    guard isJSON else {
      return LastResort.setLine(
        descriptor: STDERR_FILENO, before: "error: " + message, after: "\nhint: \(hint)\n",
        exitCode: Exit.unavailable)
    }
    // The event as the console writes it, cut where the size belongs.
    let event = JSONValue.object([
      ("schema", .integer(Console.schema)), ("event", .string("error")), ("file", .null),
      ("code", .string("out_of_memory")), ("message", .string(message + "#")), ("hint", .string(hint)),
      ("exit_code", .integer(Int(Exit.unavailable))), ("braid", .string(BraidVersion.text)),
    ]).text
    let parts = event.split(separator: "#", maxSplits: 1)
    LastResort.setLine(
      descriptor: STDOUT_FILENO, before: String(parts[0]), after: parts[1] + "\n", exitCode: Exit.unavailable)
  }
}
