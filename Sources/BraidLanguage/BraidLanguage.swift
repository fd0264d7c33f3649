@_exported import BraidCheckpoint
@_exported import BraidMixers
@_exported import BraidNN
@_exported import BraidTensor
@_exported import BraidTraining
