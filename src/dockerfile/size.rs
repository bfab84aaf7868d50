//! Numbers of bytes as people write them in options, with docker's strictness: `64m`, `1.5gb`, `10MiB`, `512 k`, `7b`.

/// The bytes that `text` says, by powers of 1024; `None` where it is no size, or one beyond what an `i64` holds.
pub fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // one space at most stands between them
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.chars().next() {
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        _ => 0,
    };
    let rest = if power > 0 { unit.get(1..).unwrap_or_default() } else { unit.as_str() };
    let is_known = matches!((power, rest), (_, "" | "b") | (1.., "ib"));
    let size = number.parse::<f64>().ok().filter(|_| is_known)? * 1024_f64.powi(power);
    // a cast cuts the fraction off, as docker does
    (size.is_finite() && size < 9.2e18).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("64m", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("1.5gb", Some(3 << 29)),
            ("10MiB", Some(10 << 20)),
            ("512 k", Some(512 << 10)),
            ("7b", Some(7)),
            ("0.5", Some(0)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1ib", None),
            ("1kbb", None),
            ("1kbi", None),
            ("1x", None),
            ("1  k", None),
            (" 1k", None),
            ("1k ", None),
            ("1.2.3", None),
            ("99999p", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
