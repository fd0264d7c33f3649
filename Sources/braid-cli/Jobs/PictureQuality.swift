import Braid
import Foundation

/// PSNR and SSIM by the conventions of the literature: on Y without `scale` pixels at each border where a picture was
/// enlarged, on RGB of the whole picture where it was not.
struct PictureQuality {
  let psnr: Double
  /// Nil for pictures smaller than SSIM's window.
  let ssim: Double?
  let usesY: Bool
  let border: Int

  init(
    _ image: ImageBuffer, reference: ImageBuffer, scale: Int, usesY: Bool? = nil, border: Int? = nil
  ) throws {
    let usesY = usesY ?? (scale > 1)
    let border = border ?? (scale > 1 ? scale : 0)
    psnr = try ImageQuality.psnr(image, reference, cropBorder: border, yChannel: usesY)
    ssim = try? ImageQuality.ssim(image, reference, cropBorder: border, yChannel: usesY)
    self.usesY = usesY
    self.border = border
  }

  /// "PSNR 29.81 dB  SSIM 0.8423  (RGB)"
  var text: String {
    let similarity = ssim.map { String(format: "  SSIM %.4f", $0) } ?? ""
    let place = (usesY ? "Y" : "RGB") + (border > 0 ? ", border \(border)" : "")
    return "PSNR \(String(format: "%.2f", psnr)) dB\(similarity)  (\(place))"
  }
}
