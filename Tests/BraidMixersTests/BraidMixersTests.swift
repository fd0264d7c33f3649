import Testing
@testable import BraidMixers
