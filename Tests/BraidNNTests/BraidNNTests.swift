import Testing
@testable import BraidNN
