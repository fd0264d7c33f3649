import Braid
import Foundation
import Testing

@Suite struct RestoreCommandTests {
  let braid: BraidExecutable

  init() throws { braid = try BraidExecutable() }

  @Test func aPictureIsEnlarged() throws {
    defer { braid.remove() }
    try braid.write("a.png", channels: 4, depth: 16)
    let run = try braid("restore", "a.png", "-o", "b.png", "--model", "bicubic-x2", "--tile", "8")
    #expect(run.status == 0 && run.errors == "")
    #expect(run.output.hasPrefix("a.png -> b.png  24 x 16 -> 48 x 32  "))
    let image = try ImageReader.read(braid.folder + "/b.png")
    #expect(image.width == 48 && image.height == 32 && image.depth == 16 && image.hasAlpha)
    #expect(braid.files() == ["a.png", "b.png"])
  }

  /// Each mistake gives its exit code, a line on standard error, and no file.
  @Test(arguments: [
    (["restore"], 64),
    (["restore", "a.png"], 64),
    (["restore", "a.png", "-o", "b.png", "--no-such-option"], 64),
    (["restore", "a.png", "-o", "b.png", "--tile", "-1"], 64),
    (["restore", "a.png", "-o", "b.png", "--jpeg-quality", "101"], 64),
    (["restore", "a.png", "-o", "b.png", "--memory", "lots"], 64),
    (["restore", "a.png", "-o", "b.png", "--overwrite", "--skip-existing"], 64),
    (["restore", "a.png", "-o", "b.xyz", "-m", "bicubic-x2"], 64),
    (["restore", "a.png", "-o", "b.webp", "-m", "bicubic-x2"], 64),
    (["restore", "a.png", "a2.png", "-o", "b.png", "-m", "bicubic-x2"], 64),
    (["restore", "a.png", "-o", "a.png", "-m", "bicubic-x2", "--overwrite"], 64),
    (["restore", "a.png", "-o", "./link.png", "-m", "bicubic-x2", "--overwrite"], 64),
    (["restore", "a.png", "-o", "b.png", "--scale", "7"], 64),
    (["restore", "a.png", "-o", "b.png", "-m", "bicubic-x2", "--scale", "3"], 64),
    (["restore", "cut.png", "-o", "b.png", "-m", "bicubic-x2"], 65),
    (["restore", "text.png", "-o", "b.png", "-m", "bicubic-x2"], 65),
    (["restore", "empty.png", "-o", "b.png", "-m", "bicubic-x2"], 65),
    (["restore", "a.png", "-o", "b.png", "-m", "text.png"], 65),
    (
      ["restore", "a.png", "-o", "b.png", "-m", "bicubic-x2", "--reference", "a.png", "--weights", "a.png"],
      65
    ),
    (["restore", "none.png", "-o", "b.png", "-m", "bicubic-x2"], 66),
    (["restore", "void", "-o", "out", "-m", "bicubic-x2"], 66),
    (["restore", "a.png", "-o", "b.png", "-m", "none.pth"], 66),
    (["restore", "a.png", "-o", "b.png", "-m", "hat-x4"], 69),
    (["restore", "a.png", "-o", "b.png", "-m", "no-such-model"], 69),
    (["restore", "a.png", "-o", "b.png", "-m", "bicubic-x2", "--device", "cuda"], 69),
    (["restore", "a.png", "-o", "b.png", "-m", "bicubic-x2", "--device", "cuda:1"], 69),
    (["restore", "a.png", "-o", "there.png", "-m", "bicubic-x2"], 73),
    (["restore", "a.png", "-o", "no/folder/b.png", "-m", "bicubic-x2"], 73),
    (["restore", "a.png", "-o", "text.png/b.png", "-m", "bicubic-x2"], 73),
    (["restore", "a.png", "-o", "/dev/full", "--format", "png", "-m", "bicubic-x2"], 73),
  ])
  func mistakesHaveTheirExitCode(arguments: [String], status: Int) throws {
    defer { braid.remove() }
    try braid.write("a.png")
    try braid.write("a2.png")
    try braid.write("there.png")
    try braid.write("text.png", text: "not a picture")
    try braid.write("empty.png", text: "")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/a.png"))
    try bytes.prefix(bytes.count / 2).write(to: URL(fileURLWithPath: braid.folder + "/cut.png"))
    try FileManager.default.createDirectory(atPath: braid.folder + "/void", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(
      atPath: braid.folder + "/link.png", withDestinationPath: "a.png")
    let before = braid.files()
    let run = try braid.run(arguments)
    #expect(run.status == status, "\(run.errors)")
    #expect(!run.errors.isEmpty && run.output.isEmpty)
    #expect(braid.files() == before)
    #expect(try Data(contentsOf: URL(fileURLWithPath: braid.folder + "/a.png")) == bytes)
    // The same as events, where the arguments could be read at all.
    if run.errors.hasPrefix("error: ") {
      let events = try braid.run(arguments + ["--json"])
      #expect(events.status == status && events.errors.isEmpty)
      let error = try #require(try events.events().last)
      #expect(error["event"]?.stringValue == "error" && error["exit_code"]?.integerValue == status)
    }
  }

  @Test func messagesSayWhatToDo() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let hat = try braid("restore", "a.png", "-o", "b.png", "-m", "real-hat-gan-x4")
    #expect(hat.errors.contains("Real_HAT_GAN_SRx4.pth"))
    #expect(hat.errors.contains("braid models add Real_HAT_GAN_SRx4.pth --name real-hat-gan-x4"))
    let misspelt = try braid("restore", "a.png", "-o", "b.png", "-m", "hat-sx4")
    #expect(misspelt.errors.contains("the nearest is hat-s-x4"))
    let scale = try braid("restore", "a.png", "-o", "b.png", "--scale", "3")
    #expect(scale.errors.contains("bicubic-x3, hat-s-x3 (weights not added)"))
    let cuda = try braid("restore", "a.png", "-o", "b.png", "--device", "cuda")
    #expect(cuda.errors.contains("not in this build") && cuda.errors.contains("libcuda.so.1"))
  }

  @Test func aBatchGoesOnAfterFailures() throws {
    defer { braid.remove() }
    try braid.write("in/a.png")
    try braid.write("in/b.jpg")
    try braid.write("in/below/c.png", channels: 1)
    try braid.write("in/Thumbs.db", text: "x")
    try braid.write("in/broken.png", text: "x")
    try FileManager.default.moveItem(atPath: braid.folder + "/in/a.png", toPath: braid.folder + "/in/a.jpg")
    let first = try braid("restore", "in", "missing.png", "-o", "out", "-m", "bicubic-x2")
    #expect(first.status == 1)
    #expect(first.errors.contains("in/Thumbs.db: not a picture"))
    #expect(first.errors.contains("in/below: a folder, left out (--recursive takes it in)"))
    #expect(first.errors.contains("the extension is .jpg but the content is PNG"))
    #expect(first.errors.contains("missing.png: no such file"))
    #expect(first.errors.contains("2 restored, 0 kept, 2 failed"))
    #expect(braid.files().filter { $0.hasPrefix("out/") } == ["out/a.png", "out/b.jpg"])

    try FileManager.default.removeItem(atPath: braid.folder + "/in/broken.png")
    let again = try braid("restore", "in", "-o", "out", "-m", "bicubic-x2", "--recursive")
    #expect(again.status == 1 && again.errors.contains("1 restored, 0 kept, 2 failed"))
    let rest = try braid("restore", "in", "-o", "out", "-m", "bicubic-x2", "--recursive", "--skip-existing")
    #expect(rest.status == 0 && rest.errors.contains("0 restored, 3 kept, 0 failed"))
    #expect(braid.files().filter { $0.hasPrefix("out/") } == ["out/a.png", "out/b.jpg", "out/below/c.png"])
    let over = try braid(
      "restore", "in", "-o", "out", "-m", "bicubic-x2", "--overwrite", "--quiet", "--recursive")
    #expect(over.status == 0 && over.errors == "")
    // The output folder within the input folder is not taken in again.
    let within = try braid("restore", "in", "-o", "in/out", "-m", "bicubic-x2", "-q")
    let withinAgain = try braid(
      "restore", "in", "-o", "in/out", "-m", "bicubic-x2", "--recursive", "--overwrite")
    #expect(within.status == 0 && withinAgain.status == 0)
    #expect(withinAgain.errors.contains("in/out: the output folder, left out"))
  }

  @Test func equalNamesDoNotCollide() throws {
    defer { braid.remove() }
    try braid.write("in/a.png")
    try braid.write("in/a.jpg", width: 10)
    let run = try braid("restore", "in", "-o", "out", "-m", "bicubic-x2", "--format", "png")
    #expect(run.status == 0)
    #expect(braid.files().filter { $0.hasPrefix("out/") } == ["out/a.jpg.png", "out/a.png"])
    #expect(try ImageReader.read(braid.folder + "/out/a.png").width == 48)
  }

  @Test func eventsHaveTheirShape() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    try braid.write("truth.png", width: 48, height: 32)
    let run = try braid(
      "restore", "a.png", "-o", "b.npy", "-m", "bicubic-x2", "--json", "--seed", "7", "--threads", "1",
      "--reference", "truth.png")
    #expect(run.status == 0 && run.errors == "")
    let events = try run.events()
    #expect(events.map { $0["event"]?.stringValue } == ["start", "result"])
    func names(_ event: JSONValue) -> [String] {
      if case .object(let members) = event { members.map(\.name) } else { [] }
    }
    let common = ["braid", "device", "threads", "seed", "elapsed_seconds", "peak_bytes"]
    #expect(
      names(events[0]) == ["schema", "event", "command", "model", "weights", "scale", "inputs", "skipped"]
        + common)
    #expect(
      names(events[1]) == [
        "schema", "event", "file", "output", "format", "width", "height", "channels", "depth", "seconds",
        "psnr",
        "ssim",
      ] + common)
    #expect(events[0]["schema"]?.integerValue == 1 && events[0]["seed"]?.integerValue == 7)
    #expect(events[0]["threads"]?.integerValue == 1 && events[0]["device"]?.stringValue == "cpu")
    #expect(events[1]["depth"]?.integerValue == 32 && events[1]["width"]?.integerValue == 48)
    guard case .number = events[1]["psnr"] else { throw Failure.noNumber }
    let array = try NPY.read(bytes: Array(Data(contentsOf: URL(fileURLWithPath: braid.folder + "/b.npy"))))
    #expect(array.shape == [32, 48, 3])
  }

  private enum Failure: Error { case noNumber }

  @Test func flagsWinOverTheEnvironment() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let fromEnvironment = try braid(
      "restore", "a.png", "-o", "b.png", environment: ["BRAID_MODEL": "bicubic-x3"])
    #expect(fromEnvironment.output.contains("-> 72 x 48"))
    let flag = try braid(
      "restore", "a.png", "-o", "c.png", "-m", "bicubic-x2", environment: ["BRAID_MODEL": "bicubic-x3"])
    #expect(flag.output.contains("-> 48 x 32"))
    let wrong = try braid("restore", "a.png", "-o", "d.png", environment: ["BRAID_TILE": "wide"])
    #expect(wrong.status == 64 && wrong.errors.contains("BRAID_TILE"))
    let device = try braid("restore", "a.png", "-o", "d.png", environment: ["BRAID_DEVICE": "cuda"])
    #expect(device.status == 69)
  }

  /// A variable that makes no sense is told by its name, never replaced by a default.
  @Test(arguments: [
    ("BRAID_SEED", "abc", 64), ("BRAID_SEED", "1.5", 64), ("BRAID_THREADS", "many", 64),
    ("BRAID_THREADS", "0", 64), ("BRAID_THREADS", "-2", 64), ("BRAID_THREADS", "99999", 64),
    ("BRAID_TILE", "-1", 64), ("BRAID_MEMORY", "lots", 64), ("BRAID_DTYPE", "f8", 64),
    ("BRAID_DEVICE", "gpu", 64), ("BRAID_CPU", "avx9", 64), ("BRAID_CPU", "AVX2", 64),
    ("BRAID_MODELS", "a.png", 64), ("BRAID_MODEL", "no-such-model", 69),
  ])
  func senselessVariablesAreTold(variable: String, value: String, status: Int) throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let run = try braid("restore", "a.png", "-o", "b.png", environment: [variable: value])
    #expect(run.status == status && run.output.isEmpty)
    #expect(run.errors.contains(variable == "BRAID_MODEL" ? value : variable))
    #expect(braid.files() == ["a.png"])
    // Empty is unset, and flags win.
    let empty = try braid("restore", "a.png", "-o", "c.png", "-m", "bicubic-x2", environment: [variable: ""])
    #expect(empty.status == 0, "\(empty.errors)")
  }

  @Test func theSeedOfEvaluationIsChecked() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let run = try braid(
      "evaluate", "restore", "a.png", "-m", "bicubic-x2", "--json", environment: ["BRAID_SEED": "x"])
    #expect(run.status == 64)
    #expect(try run.events().last?["message"]?.stringValue?.contains("BRAID_SEED") == true)
    let fine = try braid(
      "evaluate", "restore", "a.png", "-m", "bicubic-x2", "--json", environment: ["BRAID_SEED": "7"])
    #expect(try fine.status == 0 && fine.events().last?["seed"]?.integerValue == 7)
  }

  @Test func referencesAreMeasured() throws {
    defer { braid.remove() }
    try braid.write("a.png")
    let first = try braid("restore", "a.png", "-o", "b.png", "-m", "bicubic-x2")
    let second = try braid("restore", "a.png", "-o", "c.png", "-m", "bicubic-x2", "--reference", "b.png")
    #expect(first.status == 0 && second.output.contains("PSNR inf dB  SSIM 1.0000  (Y, border 2)"))
    let sizes = try braid("restore", "a.png", "-o", "d.png", "-m", "bicubic-x2", "--reference", "a.png")
    #expect(sizes.status == 65)
  }

  @Test func interruptionLeavesNothing() throws {
    defer { braid.remove() }
    try braid.write("a.png", width: 1200, height: 1200)
    let process = try braid.start(
      ["restore", "a.png", "-o", "b.png", "-m", "bicubic-x2", "--tile", "2", "--tile-overlap", "0", "--tta"])
    usleep(300_000)
    #expect(process.isRunning)
    process.interrupt()
    process.waitUntilExit()
    #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    let errors = (process.standardError as! Pipe).fileHandleForReading.readDataToEndOfFile()
    #expect(String(decoding: errors, as: UTF8.self).contains("--skip-existing goes on"))
    #expect(braid.files() == ["a.png"])
  }
}
