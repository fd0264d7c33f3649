import Braid
import Foundation
import Testing

/// The command where the system gives less than it needs: memory, descriptors, room for output.
@Suite struct LastResortTests {
  let braid: BraidExecutable

  init() throws { braid = try BraidExecutable() }

  /// The command behind a line of shell that prepares its surroundings.
  private func shell(_ line: String, _ arguments: [String] = []) throws -> BraidExecutable.Run {
    try braid.run(
      ["-c", line, BraidExecutable.path] + arguments, executable: "/bin/bash",
      environment: ["SWIFT_BACKTRACE": "enable=no"])
  }

  @Test func aTileTooLargeForTheLimitIsHalved() throws {
    defer { braid.remove() }
    try braid.write("a.png", width: 512, height: 512)
    let restore = "\"$0\" restore a.png -o b.png -m contrast-s-denoise --tile 0 --threads 1"
    let run = try shell("ulimit -v 500000; \(restore)")
    #expect(run.status == 0, "\(run.errors)")
    #expect(
      run.errors.contains("not enough memory for a tile of 512 x 512 pixels; going on with 256 x 256"))
    #expect(try ImageReader.read(braid.folder + "/b.png").width == 512)
  }

  /// Whatever fails first (the reader, the canvas, a tile, the runtime itself): one error, its exit code, no file.
  @Test(arguments: [150_000, 300_000, 350_000, 400_000])
  func hopelesslyLittleMemoryIsAnError(limit: Int) throws {
    defer { braid.remove() }
    try braid.write("a.jpg", width: 2400, height: 1600)
    let run = try shell(
      "ulimit -v \(limit); exec \"$0\" restore a.jpg -o b.png -m bicubic-x4 --tile 0 --threads 1")
    #expect(run.status == 69, "\(run.errors)")
    #expect(run.errors.contains("error: ") && run.errors.contains("memory"))
    #expect(braid.files() == ["a.jpg"])
  }

  /// Nothing asks before a benchmark's tensors are made.
  @Test func memoryRefusedWithinAnOperationIsAnError() throws {
    defer { braid.remove() }
    let bench = "\"$0\" bench restore -m contrast-s-denoise --height 8192 --width 8192 --threads 1"
    let run = try shell("ulimit -v 2000000; exec \(bench)")
    #expect(run.status == 69)
    #expect(run.errors.contains("error: out of memory: the system refused "))
    let events = try shell("ulimit -v 2000000; exec \(bench) --json").events()
    #expect(events.last?["code"]?.stringValue == "out_of_memory")
    #expect(events.last?["exit_code"]?.integerValue == 69)
  }

  @Test func closedStreamsDoNotReachFiles() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let plain = try shell("exec \"$0\" restore a.png -o b.png -m bicubic-x2")
    let closed = try shell("exec \"$0\" restore a.png -o c.png -m bicubic-x2 <&- >&- 2>&-")
    #expect(plain.status == 0 && closed.status == 0)
    func bytes(_ name: String) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/" + name))
    }
    #expect(try bytes("b.png") == bytes("c.png"))
  }

  @Test func resultsThatDoNotGetOutAreTold() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let full = try shell("exec \"$0\" evaluate restore a.png -m bicubic-x2 >/dev/full")
    #expect(full.status == 73 && full.errors.contains("standard output cannot be written: no space left"))
    let gone = try shell("\"$0\" models list | true; exit ${PIPESTATUS[0]}")
    #expect(gone.status == 0)
  }

  @Test func aFullDiskLeavesNoFile() throws {
    defer { braid.remove() }
    try braid.write("a.png", width: 300, height: 200)
    // A limit of 8 KiB for any file stands for a disk with no more room.
    let run = try shell("ulimit -f 8; trap '' XFSZ; exec \"$0\" restore a.png -o b.png -m bicubic-x2")
    #expect(run.status == 73 && run.errors.contains("b.png: cannot be written"))
    #expect(braid.files() == ["a.png"])
  }

  @Test func hangupsAreIgnoredUnderNohup() throws {
    defer { braid.remove() }
    try braid.write("a.png", width: 200, height: 200)
    let run = try shell(
      "trap '' HUP; \"$0\" restore a.png -o b.png -m contrast-s-denoise --tta & sleep 0.05; kill -HUP $!; wait $!"
    )
    #expect(run.status == 0 && braid.files() == ["a.png", "b.png"])
  }
}
