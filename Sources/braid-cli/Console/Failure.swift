import Braid
import BraidFiles

/// An error as the command tells it: an exit code, a short name for programs, a message and what to do.
struct Failure: Error {
  let exitCode: Int32
  let code: String
  let message: String
  let hint: String?

  init(exitCode: Int32, code: String, message: String, hint: String? = nil) {
    self.exitCode = exitCode
    self.code = code
    self.message = message
    self.hint = hint
  }

  static func usage(_ message: String, hint: String? = nil) -> Failure {
    Failure(exitCode: Exit.usage, code: "usage", message: message, hint: hint)
  }

  /// What any error of the library means to the command.
  init(_ error: any Error) {
    func make(_ exitCode: Int32, _ code: String, hint: String? = nil) -> Failure {
      Failure(exitCode: exitCode, code: code, message: "\(error)", hint: hint)
    }
    switch error {
    case let failure as Failure: self = failure
    case let error as ImageError:
      switch error {
      case .notFound: self = make(Exit.noInput, "not_found")
      case .unreadable: self = make(Exit.noInput, "unreadable")
      case .unsupported: self = make(Exit.badData, "unsupported")
      case .truncated: self = make(Exit.badData, "truncated")
      case .corrupt: self = make(Exit.badData, "corrupt")
      case .tooLarge: self = make(Exit.badData, "too_large")
      case .outOfMemory: self = make(Exit.unavailable, "out_of_memory")
      case .cannotCreate: self = make(Exit.cannotCreate, "cannot_create")
      case .cannotWrite: self = make(Exit.cannotCreate, "cannot_write")
      }
    case let error as AudioError:
      switch error {
      case .notFound: self = make(Exit.noInput, "not_found")
      case .unreadable: self = make(Exit.noInput, "unreadable")
      case .unsupported: self = make(Exit.badData, "unsupported")
      case .corrupt: self = make(Exit.badData, "corrupt")
      case .empty: self = make(Exit.badData, "empty")
      case .rates: self = make(Exit.badData, "rate")
      case .cannotCreate: self = make(Exit.cannotCreate, "cannot_create")
      case .cannotWrite, .abandoned: self = make(Exit.cannotCreate, "cannot_write")
      }
    case let error as EnhanceError:
      switch error {
      case .notFinite: self = make(Exit.internalError, "not_finite")
      case .cannotStream, .cannotShareMask: self = make(Exit.usage, "stream")
      case .reference: self = make(Exit.badData, "sizes")
      case .list: self = make(Exit.badData, "list")
      }
    case let error as CheckpointError:
      switch error {
      case .notFound, .unreadable: self = make(Exit.noInput, "model_not_found")
      case .unwritable: self = make(Exit.cannotCreate, "cannot_write")
      case .mismatch:
        self = make(
          Exit.badData, "model_mismatch",
          hint: "look into the file with: braid models inspect FILE; --model names the architecture")
      default: self = make(Exit.badData, "model_file")
      }
    case let error as LanguageModelError:
      switch error {
      case .notFound: self = make(Exit.noInput, "not_found")
      case .unreadable: self = make(Exit.noInput, "unreadable")
      case .configuration, .inconsistent: self = make(Exit.badData, "configuration")
      case .unknownModelType: self = make(Exit.badData, "model_type")
      case .tokens, .token: self = make(Exit.badData, "tokens")
      case .generation: self = make(Exit.badData, "generation")
      }
    case let error as MixerError:
      if case .state = error {
        self = make(Exit.badData, "state")
      } else {
        self = make(Exit.badData, "configuration")
      }
    case is FileFailure: self = make(Exit.cannotCreate, "cannot_write")
    case let error as ModelError:
      switch error {
      case .otherTask: self = make(Exit.usage, "task", hint: error.hint)
      case .scale, .noModelForScale: self = make(Exit.usage, "scale", hint: error.hint)
      case .unrecognizedArchitecture: self = make(Exit.badData, "model_file", hint: error.hint)
      case .unknown, .weightsMissing: self = make(Exit.unavailable, "model_unavailable", hint: error.hint)
      }
    case let error as ModelStoreError:
      switch error {
      case .invalidName: self = make(Exit.usage, "usage")
      case .unknown:
        self = make(Exit.unavailable, "model_unavailable", hint: "see them with: braid models list")
      case .exists: self = make(Exit.cannotCreate, "exists", hint: "replace it with --overwrite")
      case .damaged: self = make(Exit.badData, "model_file")
      case .noFolder: self = make(Exit.cannotCreate, "cannot_create")
      }
    case is ModelDescriptionError: self = make(Exit.badData, "model_file")
    case is DeviceError: self = make(Exit.unavailable, "device_unavailable")
    case is MemoryError:
      self = make(Exit.unavailable, "out_of_memory", hint: "lower --memory, --tile or --segment")
    case is ImageQuality.Failure: self = make(Exit.badData, "sizes")
    case let error as TrainingError:
      switch error {
      case .cannotWrite: self = make(Exit.cannotCreate, "cannot_write")
      case .noData: self = make(Exit.noInput, "no_data")
      case .stateMismatch, .invalidConfiguration: self = make(Exit.badData, "configuration")
      case .notFinite: self = make(Exit.internalError, "not_finite")
      }
    case is CancellationError:
      self.init(exitCode: Exit.interrupted, code: "interrupted", message: "interrupted")
    default: self = make(Exit.internalError, "internal")
    }
  }
}

/// The exit codes (sysexits.h, and 128 + SIGINT).
enum Exit {
  /// Some inputs of several failed.
  static let someFailed: Int32 = 1
  static let usage: Int32 = 64
  static let badData: Int32 = 65
  static let noInput: Int32 = 66
  /// A device, model or memory that cannot be had.
  static let unavailable: Int32 = 69
  static let internalError: Int32 = 70
  static let cannotCreate: Int32 = 73
  static let interrupted: Int32 = 130
}
