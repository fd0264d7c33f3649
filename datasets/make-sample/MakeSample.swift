import BraidVision
import Foundation

/// Writes the demo's sample picture and spoilt versions of it:
/// `make-sample FOLDER [--width N] [--height N] [--sigma S] [--seed N]`.
///
/// FOLDER must exist. It receives scene.png (clean), scene-noisy.png (Gaussian noise of standard deviation S on a
/// scale of 255, default 25) and scene-small.png (half the size, MATLAB's bicubic).
@main
struct MakeSample {
  static func main() {
    do {
      try run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(64)
    }
  }

  static func run() throws {
    var arguments = Array(CommandLine.arguments.dropFirst())
    var options = ["--width": 384, "--height": 256, "--sigma": 25, "--seed": 1]
    for name in options.keys.sorted() {
      guard let at = arguments.firstIndex(of: name) else { continue }
      guard at + 1 < arguments.count, let value = Int(arguments[at + 1]), value >= 0 else {
        throw Usage(problem: "\(name) needs a whole number")
      }
      options[name] = value
      arguments.removeSubrange(at...at + 1)
    }
    guard arguments.count == 1, let folder = arguments.first, !folder.hasPrefix("-") else {
      throw Usage(problem: "one folder is needed")
    }
    guard let width = options["--width"], let height = options["--height"], let sigma = options["--sigma"],
      let seed = options["--seed"], (16...8192).contains(width), (16...8192).contains(height), sigma <= 255
    else { throw Usage(problem: "sizes are 16...8192, sigma 0...255") }

    let scene = SampleScene.render(width: width, height: height)
    var generator = Philox(seed: UInt64(seed))
    let clean = Tensor(scene.floats(), shape: [height, width, 3])
    let noisy = try Degradation.noise(sigma: Float(sigma)...Float(sigma)).apply(to: clean, using: &generator)
    try ImageWriter.write(scene, to: folder + "/scene.png")
    try ImageWriter.write(ImageBuffer(tensor: noisy), to: folder + "/scene-noisy.png")
    try ImageWriter.write(BicubicResize.resize(scene, scale: 0.5), to: folder + "/scene-small.png")
  }

  struct Usage: Error, CustomStringConvertible {
    var problem: String
    var description: String {
      "\(problem)\nusage: make-sample FOLDER [--width N] [--height N] [--sigma S] [--seed N]"
    }
  }
}
