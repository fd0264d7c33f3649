import Braid
import Foundation

/// Restores a picture with a model that ships with Braid, from a program:
/// `restore-example NOISY CLEAN FOLDER`.
///
/// Writes FOLDER/restored.png and FOLDER/before-after.png and prints the gain in PSNR against CLEAN.
@main
struct RestoreExample {
  static func main() async {
    do {
      try await run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(65)
    }
  }

  static func run() async throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4 else {
      FileHandle.standardError.write(Data("usage: restore-example NOISY CLEAN FOLDER\n".utf8))
      exit(64)
    }
    let (noisyPath, cleanPath, folder) = (arguments[1], arguments[2], arguments[3])

    // Without a name, the request means blind denoising.
    let loaded = try RestorationModelRequest().load()
    let pipeline = RestorePipeline(loaded.model)
    let noisy = try ImageReader.read(noisyPath)
    let start = Date()
    let restored = try await pipeline.run(noisy) { event in
      if case .note(let text) = event { print(text) }
    }
    let seconds = Date().timeIntervalSince(start)
    try ImageWriter.write(restored, to: folder + "/restored.png")
    try ImageWriter.write(SideBySide.join([noisy, restored]), to: folder + "/before-after.png")

    let clean = try ImageReader.read(cleanPath)
    let before = try ImageQuality.psnr(noisy, clean)
    let after = try ImageQuality.psnr(restored, clean)
    print("\(loaded.name): \(noisy.width) x \(noisy.height) in \(String(format: "%.2f", seconds)) s")
    print(
      String(format: "PSNR %.2f dB before, %.2f dB after: a gain of %.2f dB", before, after, after - before))
    print("before and after, side by side: \(folder)/before-after.png")
    guard after > before else {
      FileHandle.standardError.write(Data("the picture did not get better\n".utf8))
      exit(1)
    }
  }
}
