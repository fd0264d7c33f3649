import Testing
import Braid
