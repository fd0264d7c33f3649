// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "Braid",
  products: [
    .library(name: "Braid", targets: ["Braid"]),
    .library(name: "BraidTensor", targets: ["BraidTensor"]),
    .library(name: "BraidNN", targets: ["BraidNN"]),
    .library(name: "BraidCheckpoint", targets: ["BraidCheckpoint"]),
    .library(name: "BraidMixers", targets: ["BraidMixers"]),
    .library(name: "BraidTraining", targets: ["BraidTraining"]),
    .library(name: "BraidLanguage", targets: ["BraidLanguage"]),
    .library(name: "BraidVision", targets: ["BraidVision"]),
    .library(name: "BraidSpeech", targets: ["BraidSpeech"]),
    // Speech enhancement as a stream for programs in C: libbraid_speech and braid_speech.h.
    .library(name: "braid_speech", type: .dynamic, targets: ["BraidSpeechC"]),
    .executable(name: "braid", targets: ["braid-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
  ],
  targets: [
    // System libraries.
    .systemLibrary(name: "CKissFFT", providers: [.apt(["libkissfft-dev"])]),
    .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .systemLibrary(name: "CJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"])]),
    .systemLibrary(name: "CWebP", pkgConfig: "libwebp", providers: [.apt(["libwebp-dev"])]),
    .systemLibrary(name: "CSndFile", pkgConfig: "sndfile", providers: [.apt(["libsndfile1-dev"])]),
    .systemLibrary(name: "CSampleRate", pkgConfig: "samplerate", providers: [.apt(["libsamplerate0-dev"])]),
    .systemLibrary(name: "CTIFF", pkgConfig: "libtiff-4", providers: [.apt(["libtiff-dev"])]),

    // C: SIMD kernels behind one dispatch table, and the models that ship.
    .target(name: "CBraidKernels"),
    .target(name: "CBraidModels", exclude: ["models"]),
    // Pictures in memory: libpng and libjpeg report errors by longjmp, which Swift must not see.
    .target(name: "CBraidImage", dependencies: ["CPNG", "CJPEG", "CWebP", "CTIFF"]),

    // Files that appear whole or not at all; the table of unfinished ones is C, for signal handlers.
    .target(name: "CBraidFiles"),
    .target(name: "BraidFiles", dependencies: ["CBraidFiles"]),

    // Swift.
    .target(name: "BraidTensor", dependencies: ["CBraidKernels", "CKissFFT"]),
    .target(name: "BraidNN", dependencies: ["BraidTensor"]),
    .target(
      name: "BraidCheckpoint",
      dependencies: [
        "BraidFiles", "BraidTensor", "BraidNN",
        .product(name: "OrderedCollections", package: "swift-collections"),
      ]),
    .target(name: "BraidMixers", dependencies: ["BraidTensor", "BraidNN", "BraidCheckpoint"]),
    .target(
      name: "BraidTraining", dependencies: ["BraidFiles", "BraidTensor", "BraidNN", "BraidCheckpoint"]),
    .target(
      name: "BraidLanguage",
      dependencies: [
        "BraidFiles", "BraidTensor", "BraidNN", "BraidMixers", "BraidCheckpoint", "BraidTraining",
      ]),
    .target(
      name: "BraidVision",
      dependencies: [
        "BraidTensor", "BraidNN", "BraidMixers", "BraidCheckpoint", "BraidTraining",
        "BraidFiles", "CBraidImage",
      ]),
    .target(
      name: "BraidSpeech",
      dependencies: [
        "BraidTensor", "BraidNN", "BraidMixers", "BraidCheckpoint", "BraidTraining", "BraidFiles",
        "CBraidKernels", "CSndFile", "CSampleRate",
      ]),
    .target(name: "CBraidSpeech", exclude: ["exports.map"]),
    .target(
      name: "BraidSpeechC", dependencies: ["BraidSpeech", "BraidCheckpoint", "CBraidModels", "CBraidSpeech"]),
    .target(
      name: "Braid",
      dependencies: [
        "BraidTensor", "BraidNN", "BraidCheckpoint", "BraidMixers", "BraidTraining", "BraidLanguage",
        "BraidVision", "BraidSpeech", "CBraidModels",
      ]),
    .executableTarget(name: "restore-example", dependencies: ["Braid"], path: "Examples/Restore"),
    .executableTarget(name: "enhance-example", dependencies: ["Braid"], path: "Examples/Enhance"),
    .executableTarget(name: "generate-example", dependencies: ["Braid"], path: "Examples/Generate"),
    .executableTarget(
      name: "braid-cli",
      dependencies: [
        "Braid", "BraidFiles",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Makes the sample picture of the demo; not a product.
    .executableTarget(name: "make-sample", dependencies: ["BraidVision"], path: "datasets/make-sample"),

    // Makes the noisy recording of the demo; not a product.
    .executableTarget(name: "make-speech", dependencies: ["BraidSpeech"], path: "datasets/make-speech"),

    // Tests mirror Sources.
    .target(
      name: "BraidTestSupport", dependencies: ["BraidTensor", "BraidNN", "BraidCheckpoint"],
      path: "Tests/BraidTestSupport"),
    .testTarget(
      name: "BraidTensorTests", dependencies: ["BraidTensor", "CBraidKernels", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(name: "BraidNNTests", dependencies: ["BraidNN", "BraidTestSupport"]),
    .testTarget(
      name: "BraidCheckpointTests", dependencies: ["BraidCheckpoint", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(
      name: "BraidMixersTests", dependencies: ["BraidMixers", "BraidNN", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(name: "BraidTrainingTests", dependencies: ["BraidTraining", "BraidNN", "BraidTestSupport"]),
    .testTarget(
      name: "BraidLanguageTests", dependencies: ["BraidLanguage", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(
      name: "BraidVisionTests", dependencies: ["BraidVision", "BraidTraining", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(
      name: "BraidSpeechTests",
      dependencies: ["BraidSpeech", "BraidNN", "BraidCheckpoint", "BraidTestSupport"],
      resources: [.copy("Fixtures")]),
    .testTarget(name: "BraidCLITests", dependencies: ["Braid", "BraidTestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu17
)
