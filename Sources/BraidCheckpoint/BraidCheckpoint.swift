@_exported import BraidTensor
