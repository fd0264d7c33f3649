import Braid
import Foundation
import Testing

@Suite struct OtherCommandTests {
  let braid: BraidExecutable

  init() throws { braid = try BraidExecutable() }

  @Test func versionAndHelp() throws {
    defer { braid.remove() }
    let version = try braid("--version")
    #expect(version.status == 0 && version.output == BraidVersion.text + "\n")
    let help = try braid("--help")
    for name in ["restore", "evaluate", "models", "doctor"] { #expect(help.output.contains("  \(name) ")) }
    let restore = try braid("restore", "--help")
    for option in [
      "--tile-overlap", "--exact", "--tta", "--skip-existing", "--strip-metadata", "--reference",
    ] {
      #expect(restore.output.contains(option))
    }
    #expect(restore.output.contains("pools the whole picture"))
  }

  /// Every example that the help shows runs; where it needs a model that this build was made without, it says so.
  @Test(arguments: [["restore"], ["evaluate", "restore"], ["models"]])
  func examplesOfTheHelpRun(command: [String]) throws {
    defer { braid.remove() }
    let help = try braid.run(command + ["--help"]).output
    let examples = help.split(separator: "\n").filter { $0.hasPrefix("  braid ") }
    #expect(examples.count >= 3)
    for example in examples {
      try? FileManager.default.removeItem(atPath: braid.folder)
      try braid.write("photo.png")
      try braid.write("pictures/one.png")
      try braid.write("pictures/below/two.jpg")
      let run = try braid.run(example.split(separator: " ").dropFirst().map(String.init))
      let isWithoutModel = run.status == 69 && (run.errors + run.output).contains("made without the weights")
      #expect(run.status == 0 || isWithoutModel, "\(example): \(run.errors)")
    }
  }

  @Test func evaluationPrintsATable() throws {
    defer { braid.remove() }
    try braid.write("set/a.png", width: 47, height: 33)
    try braid.write("set/b.png", width: 30, height: 30, channels: 1)
    let table = try braid("evaluate", "restore", "set", "--model", "bicubic-x2")
    #expect(table.status == 0 && table.errors == "")
    let lines = table.output.split(separator: "\n")
    #expect(lines.count == 4 && lines[0].hasPrefix("picture") && lines[3].hasPrefix("mean"))
    let arguments = ["evaluate", "restore", "set", "--model", "bicubic-x2", "--noise-sigma", "10", "--json"]
    let (first, second) = (try braid.run(arguments).events(), try braid.run(arguments).events())
    let other = try braid.run(arguments + ["--seed", "1"]).events()
    #expect(first.map { $0["event"]?.stringValue } == ["start", "result", "result", "summary"])
    #expect(first[3]["psnr"] == second[3]["psnr"] && first[3]["psnr"] != other[3]["psnr"])
    #expect(try braid("evaluate", "restore", "none", "--model", "bicubic-x2").status == 66)
  }

  @Test func modelsAreAddedListedAndChecked() throws {
    defer { braid.remove() }
    try SafetensorsWriter.write(
      [(key: "a.weight", value: Tensor([1, 2, 3] as [Float]))], to: braid.folder + "/own.safetensors")
    #expect(try braid("models", "add", "own.safetensors", "--name", "own").status == 0)
    #expect(try braid("models", "add", "own.safetensors", "--name", "own").status == 73)
    #expect(try braid("models", "add", "own.safetensors", "--name", "../own").status == 64)
    #expect(try braid("models", "add", "none.pth", "--name", "other").status == 66)
    let list = try braid("models", "list")
    #expect(
      list.output.contains("hat-l-x4") && list.output.contains(braid.folder + "/models/own.safetensors"))
    #expect(try braid("models", "path").output.hasPrefix(braid.folder + "/models\n"))
    #expect(try braid("models", "verify", "own").output.contains("1 tensors, 3 numbers"))
    #expect(try braid("models", "inspect", "own").output.contains("a.weight"))
    #expect(try braid("models", "inspect", "own.safetensors", "--json").events().first?["checkpoint"] != nil)
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: braid.folder + "/models/own.safetensors"))
    try handle.seekToEnd()
    try handle.seek(toOffset: try handle.offset() - 1)
    try handle.write(contentsOf: Data([0x42]))
    try handle.close()
    #expect(try braid("models", "verify", "own").status == 65)
  }

  @Test func doctorTellsWhatIsHere() throws {
    defer { braid.remove() }
    let run = try braid("doctor", environment: ["BRAID_CPU": "base"])
    #expect(run.status == 0)
    for text in ["level      base", "libpng 1.", "memory", "a CUDA backend: not in this build"] {
      #expect(run.output.contains(text))
    }
    let event = try #require(try braid("doctor", "--json", "--threads", "1").events().first)
    #expect(event["threads"]?.integerValue == 1 && event["machine"]?["libraries"]?["libpng"] != nil)
  }
}
