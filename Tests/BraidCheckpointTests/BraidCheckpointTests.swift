import Testing
@testable import BraidCheckpoint
