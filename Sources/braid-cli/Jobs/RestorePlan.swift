import Braid
import Foundation

/// Which files are restored into which: known, as far as it can be, before a model is loaded.
struct RestorePlan {
  struct Job {
    let input: String
    let output: String
    let format: ImageFormat
  }
  /// What happens to an output that exists.
  enum Existing {
    case refuse
    case skip
    case overwrite
  }

  private(set) var jobs: [Job] = []
  /// Inputs that cannot be restored, and why.
  private(set) var failures: [(input: String, failure: Failure)] = []
  /// What was left out: files that are not pictures, folders.
  private(set) var notes: [(path: String, text: String)] = []
  /// Outputs that were there already and are kept.
  private(set) var skipped: [Job] = []

  /// Whether one file was asked for: its failure is then the command's.
  let isSingle: Bool

  private let existing: Existing
  private let format: ImageFormat?
  /// The output folder, or nil where the output is a file.
  private let folder: String?
  private var inputs: Set<FileIdentity> = []
  private var outputs: [String: String] = [:]

  /// The plan for the paths that the user gave; throws a `Failure` where they make no sense together.
  init(
    inputs paths: [String], output: String, format: ImageFormat?, recursive: Bool, existing: Existing
  ) throws {
    self.existing = existing
    self.format = format
    let hasFolder = paths.contains { FileIdentity($0)?.kind == .folder }
    isSingle = paths.count == 1 && !hasFolder
    let target = FileIdentity(output)
    if target?.kind == .folder || output.hasSuffix("/") || !isSingle {
      if let target, target.kind != .folder {
        throw Failure(
          exitCode: Exit.cannotCreate, code: "cannot_create",
          message: "\(output): is a file; several inputs need a folder to go into")
      }
      if target == nil, !output.hasSuffix("/"), ImageFormat(path: output) != nil {
        throw Failure.usage(
          "\(output) names one picture, but the input is \(hasFolder ? "a folder" : "several files")",
          hint: "give a folder: -o \(output)/")
      }
      folder = output.count > 1 && output.hasSuffix("/") ? String(output.dropLast()) : output
    } else {
      folder = nil
    }

    // All inputs are known before any output is chosen: none of them may be written to.
    var found: [(path: String, relative: String)] = []
    for path in paths {
      switch FileIdentity(path)?.kind {
      case .folder: walk(path, recursive: recursive, output: target, into: &found)
      default: found.append((path, (path as NSString).lastPathComponent))
      }
    }
    for (path, _) in found { if let identity = FileIdentity(path) { inputs.insert(identity) } }
    // A picture that keeps its name has the first right to it.
    let kept = Set(found.filter { outputName($0.relative, of: $0.path) == $0.relative }.map(\.relative))
    for (path, relative) in found {
      if let folder {
        let name = outputName(relative, of: path)
        if name != relative && kept.contains(name) || outputs[folder + "/" + name] != nil {
          let longName = relative + "." + Self.suffix(outputFormat(of: path))
          notes.append((path, "goes to \(longName): \(name) is taken by another input"))
          add(path, to: folder + "/" + longName)
        } else {
          add(path, to: folder + "/" + name)
        }
      } else {
        guard let chosen = format ?? ImageFormat(path: output) else {
          throw Failure.usage(
            "\(output): the extension names no format", hint: "use .png, .jpg or .npy, or --format")
        }
        guard [.png, .jpeg, .npy].contains(chosen) else {
          throw Failure.usage(
            "\(output): \(chosen.name) is read but not written", hint: "use .png, .jpg or .npy")
        }
        if let named = ImageFormat(path: output), named != chosen {
          notes.append((output, "written as \(chosen.name), whatever its extension says"))
        }
        add(path, to: output, format: chosen)
      }
    }
    if found.isEmpty {
      throw Failure(
        exitCode: Exit.noInput, code: "not_found",
        message: "no pictures in \(paths.joined(separator: ", "))",
        hint: notes.contains { $0.text.contains("--recursive") }
          ? "folders below are read with --recursive" : nil)
    }
  }

  /// The pictures in a folder, by name; what is no picture is noted and left out.
  private mutating func walk(
    _ folder: String, recursive: Bool, output: FileIdentity?,
    into found: inout [(path: String, relative: String)]
  ) {
    func visit(_ folder: String, _ prefix: String) {
      let names: [String]
      do {
        names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      } catch {
        failures.append(
          (
            folder,
            Failure(
              exitCode: Exit.noInput, code: "unreadable", message: "\(folder): the folder cannot be listed")
          ))
        return
      }
      for name in names {
        let path = folder + (folder.hasSuffix("/") ? "" : "/") + name
        if name.hasPrefix(".") {
          notes.append((path, "hidden, left out"))
          continue
        }
        guard let identity = FileIdentity(path) else {
          notes.append((path, "a link that leads nowhere, left out"))
          continue
        }
        switch identity.kind {
        case .folder where identity == output: notes.append((path, "the output folder, left out"))
        case .folder where !recursive: notes.append((path, "a folder, left out (--recursive takes it in)"))
        case .folder:
          // Links to folders may lead round in circles.
          if (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil {
            notes.append((path, "a link to a folder, left out"))
          } else {
            visit(path, prefix + name + "/")
          }
        case .regular:
          let named = ImageFormat(path: path)
          if ImageReader.format(ofFile: path).map({ $0 != .npy }) ?? (named != nil && named != .npy) {
            found.append((path, prefix + name))
          } else {
            notes.append((path, "not a picture, left out"))
          }
        case .other: notes.append((path, "not a file, left out"))
        }
      }
    }
    visit(folder, "")
  }

  private func outputFormat(of path: String) -> ImageFormat {
    if let format { return format }
    // Opening a pipe to look at it would take its first bytes away.
    guard FileIdentity(path)?.kind == .regular else { return .png }
    return ImageReader.format(ofFile: path) == .jpeg ? .jpeg : .png
  }

  private func outputName(_ relative: String, of path: String) -> String {
    (relative as NSString).deletingPathExtension + "." + Self.suffix(outputFormat(of: path))
  }

  static func suffix(_ format: ImageFormat) -> String { format == .jpeg ? "jpg" : format.rawValue }

  private mutating func add(_ input: String, to output: String, format: ImageFormat? = nil) {
    let format = format ?? outputFormat(of: input)
    guard outputs.updateValue(input, forKey: output) == nil else {
      failures.append((input, Failure.usage("\(input): another input goes to \(output) too")))
      return
    }
    let job = Job(input: input, output: output, format: format)
    func fail(_ failure: Failure) { failures.append((input, failure)) }
    let target = FileIdentity(output)
    if let target, inputs.contains(target) {
      fail(
        Failure.usage(
          "\(output): is an input, and would be lost", hint: "choose another name or folder with -o"))
    } else if target?.kind == .folder {
      fail(
        Failure(
          exitCode: Exit.cannotCreate, code: "cannot_create",
          message: "\(output): a folder of that name exists"))
    } else if target?.kind == .regular, existing != .overwrite {
      if existing == .skip {
        skipped.append(job)
      } else {
        fail(
          Failure(
            exitCode: Exit.cannotCreate, code: "exists", message: "\(output): exists already",
            hint: "use --overwrite to replace it, or --skip-existing to keep it"))
      }
    } else {
      jobs.append(job)
    }
  }

  /// Makes the folder of `job`'s output, where outputs go into a folder, and checks that files can be made in it.
  func prepare(_ job: Job) throws {
    let parent = (job.output as NSString).deletingLastPathComponent
    let path = parent.isEmpty ? "." : parent
    func refuse(_ reason: String) -> Failure {
      Failure(
        exitCode: Exit.cannotCreate, code: "cannot_create",
        message: "\(job.output): cannot be created: \(reason)")
    }
    if FileIdentity(job.output)?.kind == .other { return }
    if FileIdentity(path) == nil {
      guard folder != nil else { throw refuse("there is no folder \(path)") }
      do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      } catch {
        throw refuse("the folder \(path) cannot be made")
      }
    }
    guard FileIdentity(path)?.kind == .folder else { throw refuse("\(path) is not a folder") }
    guard access(path, W_OK | X_OK) == 0 else { throw refuse("\(path) may not be written to") }
  }
}
