extension String {
  /// The text with everything that could steer a terminal or mislead a reader written as `\u{…}`: control and
  /// format characters (directional overrides among them), line separators, private and unassigned code points.
  public var escapedForTerminal: String {
    if utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != 0x5C }) { return self }
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      case "\\": result += "\\\\"
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
          result += "\\u{\(String(scalar.value, radix: 16))}"
        default:
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result
  }

  /// The text cut after `limit` characters, with an ellipsis where something was cut.
  func truncated(to limit: Int) -> String {
    utf8.count <= limit || count <= limit ? self : String(prefix(limit)) + "…"
  }
}
