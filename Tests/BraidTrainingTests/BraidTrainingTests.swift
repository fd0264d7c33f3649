import Testing
@testable import BraidTraining
