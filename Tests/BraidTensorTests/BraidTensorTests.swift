import Testing
@testable import BraidTensor
