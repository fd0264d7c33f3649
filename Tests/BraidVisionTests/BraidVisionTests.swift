import Testing
@testable import BraidVision
