//! The key sequence that leaves an attached terminal while the container runs on: `ctrl-p,ctrl-q` by default.
//!
//! Keys that begin the sequence are held back until it is clear whether they are part of it, as Docker's escape proxy
//! does; everything else passes unchanged.

use crate::engine::EngineError;

/// Ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// Reads `ctrl-a`, `a`, `ctrl-p,ctrl-q`, `ctrl-@`, ...; `None` and empty are the default.
///
/// # Errors
/// Docker's `Invalid detach keys (x) provided`.
pub fn parse_keys(text: Option<&str>) -> Result<Vec<u8>, EngineError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(DEFAULT.to_vec()) };
    text.split(',')
        .map(key)
        .collect::<Option<_>>()
        .ok_or_else(|| EngineError::invalid(format!("Invalid detach keys ({text}) provided")))
}

fn key(text: &str) -> Option<u8> {
    if let [byte] = text.as_bytes() {
        return Some(*byte);
    }
    match text.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [b'['] => Some(27),
        [b'\\'] => Some(28),
        [b']'] => Some(29),
        [b'^'] => Some(30),
        [b'_'] => Some(31),
        _ => None,
    }
}

/// What to do with bytes that were typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// These go to the container.
    pub pass: Vec<u8>,
    /// The sequence is complete: detach.
    pub is_detached: bool,
}

/// Watches typed bytes for the sequence.
#[derive(Debug, Clone)]
pub struct DetachWatch {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachWatch {
    /// Watches for `keys`; an empty sequence never matches.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes the next typed bytes. What comes after a complete sequence is dropped.
    pub fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Typed { pass, is_detached: true };
                }
                continue;
            }
            pass.extend_from_slice(self.keys.get(..self.matched).unwrap_or_default());
            self.matched = 0;
            if self.keys.first() == Some(&byte) && self.keys.len() > 1 {
                self.matched = 1;
            } else {
                pass.push(byte);
            }
        }
        Typed { pass, is_detached: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names() {
        assert_eq!(parse_keys(None).unwrap(), [16, 17]);
        assert_eq!(parse_keys(Some("")).unwrap(), [16, 17]);
        assert_eq!(parse_keys(Some("ctrl-a,d")).unwrap(), [1, b'd']);
        assert_eq!(parse_keys(Some("ctrl-@,ctrl-[")).unwrap(), [0, 27]);
        assert_eq!(parse_keys(Some("ctrl-1")).unwrap_err().message(), "Invalid detach keys (ctrl-1) provided");
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_never_leaks() {
        let mut watch = DetachWatch::new(vec![16, 17]);
        assert_eq!(watch.typed(b"ls\x10"), Typed { pass: b"ls".to_vec(), is_detached: false });
        assert_eq!(watch.typed(b"\x11rest"), Typed { pass: vec![], is_detached: true });
    }

    #[test]
    fn a_broken_sequence_reaches_the_container_whole() {
        let mut watch = DetachWatch::new(vec![16, 17]);
        assert_eq!(watch.typed(b"\x10x"), Typed { pass: b"\x10x".to_vec(), is_detached: false });
        assert_eq!(watch.typed(b"\x10\x10"), Typed { pass: b"\x10".to_vec(), is_detached: false });
        assert_eq!(watch.typed(b"\x11"), Typed { pass: vec![], is_detached: true });
    }
}
