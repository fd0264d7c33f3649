import Braid
import Foundation

/// What a plan must know of the files that a command reads and writes.
protocol BatchFiles {
  /// How an output is stored.
  associatedtype Format: Equatable & Sendable

  /// What one file is called, and several: "picture", "pictures".
  var noun: (one: String, several: String) { get }
  /// The extensions to choose from, for messages.
  var suffixes: String { get }

  /// Whether the file in a folder is one to take.
  func accepts(_ path: String) -> Bool
  /// The format that an input gets in a folder of outputs.
  func format(ofInput path: String) -> Format
  /// The format that an output's name asks for; nil where it names none.
  func format(named path: String) -> Format?
  /// The format that a single output gets, and what a reader should know of it; throws a usage failure.
  func format(ofOutput path: String) throws -> (Format, note: String?)
  func suffix(_ format: Format) -> String
}

/// Which files become which: known, as far as it can be, before a model is loaded.
struct BatchPlan<Files: BatchFiles> {
  struct Job: Sendable {
    let input: String
    let output: String
    let format: Files.Format
  }

  private(set) var jobs: [Job] = []
  /// Inputs that cannot be taken, and why.
  private(set) var failures: [(input: String, failure: Failure)] = []
  /// What was left out: files of another kind, folders.
  private(set) var notes: [(path: String, text: String)] = []
  /// Outputs that were there already and are kept.
  private(set) var skipped: [Job] = []

  /// Whether one file was asked for: its failure is then the command's.
  let isSingle: Bool

  private let files: Files
  private let existing: ExistingOutput
  /// The output folder, or nil where the output is a file.
  private let folder: String?
  private var inputs: Set<FileIdentity> = []
  private var outputs: [String: String] = [:]

  /// The plan for the paths that the user gave; throws a `Failure` where they make no sense together.
  init(
    _ files: Files, inputs paths: [String], output: String, recursive: Bool, existing: ExistingOutput
  ) throws {
    self.files = files
    self.existing = existing
    let hasFolder = paths.contains { FileIdentity($0)?.kind == .folder }
    isSingle = paths.count == 1 && !hasFolder
    let target = FileIdentity(output)
    if target?.kind == .folder || output.hasSuffix("/") || !isSingle {
      if let target, target.kind != .folder {
        throw Failure(
          exitCode: Exit.cannotCreate, code: "cannot_create",
          message: "\(output): is a file; several inputs need a folder to go into")
      }
      if target == nil, !output.hasSuffix("/"), files.format(named: output) != nil {
        throw Failure.usage(
          "\(output) names one \(files.noun.one), but the input is \(hasFolder ? "a folder" : "several files")",
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
      default: found.append((path, path.lastComponent))
      }
    }
    // A file that was given twice, by itself and by its folder for example, is taken once.
    var given: [String: FileIdentity] = [:]
    found = found.filter { path, relative in
      guard let identity = FileIdentity(path) else { return true }
      let isNew = given.updateValue(identity, forKey: relative) != identity
      if !isNew { notes.append((path, "given twice, taken once")) }
      return isNew
    }
    for (path, _) in found { if let identity = FileIdentity(path) { inputs.insert(identity) } }
    // A file that keeps its name has the first right to it.
    let kept = Set(found.filter { outputName($0.relative, of: $0.path) == $0.relative }.map(\.relative))
    for (path, relative) in found {
      if let folder {
        let name = outputName(relative, of: path)
        if name != relative && kept.contains(name) || outputs[folder + "/" + name] != nil {
          let longName = relative + "." + files.suffix(files.format(ofInput: path))
          notes.append((path, "goes to \(longName): \(name) is taken by another input"))
          add(path, to: folder + "/" + longName)
        } else {
          add(path, to: folder + "/" + name)
        }
      } else {
        let (chosen, note) = try files.format(ofOutput: output)
        if let note { notes.append((output, note)) }
        add(path, to: output, format: chosen)
      }
    }
    if found.isEmpty {
      if let (_, failure) = failures.first { throw failure }
      throw Failure(
        exitCode: Exit.noInput, code: "not_found",
        message: "no \(files.noun.several) in \(paths.joined(separator: ", "))",
        hint: notes.contains { $0.text.contains("--recursive") }
          ? "folders below are read with --recursive" : nil)
    }
  }

  /// The files of the wanted kind in a folder, by name; what is none is noted and left out.
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
          if files.accepts(path) {
            found.append((path, prefix + name))
          } else {
            notes.append((path, "not a \(files.noun.one), left out"))
          }
        case .other: notes.append((path, "not a file, left out"))
        }
      }
    }
    visit(folder, "")
  }

  private func outputName(_ relative: String, of path: String) -> String {
    relative.withoutExtension + "." + files.suffix(files.format(ofInput: path))
  }

  private mutating func add(_ input: String, to output: String, format: Files.Format? = nil) {
    let format = format ?? files.format(ofInput: input)
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
  func makeFolder(for job: Job) throws {
    let parent = job.output.parentPath
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
