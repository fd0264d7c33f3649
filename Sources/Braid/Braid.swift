@_exported import BraidCheckpoint
@_exported import BraidLanguage
@_exported import BraidMixers
@_exported import BraidNN
@_exported import BraidSpeech
@_exported import BraidTensor
@_exported import BraidTraining
@_exported import BraidVision
