import Testing

@testable import BraidCheckpoint

@Suite struct SHA256Tests {
  /// FIPS 180-4's examples and those of NIST's CAVP.
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    (
      String(repeating: "a", count: 1_000_000),
      "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    ),
  ]) func standardVectors(_ text: String, _ digest: String) {
    let bytes = Array(text.utf8)
    #expect(bytes.withUnsafeBytes { SHA256.hexDigest($0) } == digest)
    for size in [1, 7, 63, 64, 65, 1000] where bytes.count < 1000 || size == 1000 {
      var hash = SHA256()
      for start in stride(from: 0, to: bytes.count, by: size) {
        bytes[start..<min(bytes.count, start + size)].withUnsafeBytes { hash.update($0) }
      }
      #expect(hash.finish() == digest)
    }
  }
}
