/// Says what a file that is no checkpoint seems to be: a wrong download is the usual reason.
enum ContentHint {
  private static let signatures: [(offset: Int, bytes: [UInt8], text: String)] = [
    (0, Array("version https://git-lfs".utf8), "a Git LFS pointer: fetch the real file with `git lfs pull`"),
    (0, Array("<!DOCTYPE".utf8), "a web page: the download gave a page instead of the file"),
    (0, Array("<!doctype".utf8), "a web page: the download gave a page instead of the file"),
    (0, Array("<html".utf8), "a web page: the download gave a page instead of the file"),
    (0, [0x1F, 0x8B], "a gzip archive: unpack it first"),
    (0, [0x89, 0x48, 0x44, 0x46], "an HDF5 file: convert it to safetensors first"),
    (0, Array("GGUF".utf8), "a GGUF file: convert it to safetensors first"),
    (0, [0x93, 0x4E, 0x55, 0x4D], "a NumPy array"),
    (257, Array("ustar".utf8), "a tar archive (PyTorch before 0.1.10?): unpack it, or save it anew"),
    (0, [0x80], "a Python pickle that torch.save did not write"),
  ]

  static func describe(_ region: ByteRegion) -> String {
    for signature in signatures where region.hasBytes(signature.bytes, at: signature.offset) {
      return signature.text
    }
    return "neither safetensors nor a file of torch.save"
  }
}
