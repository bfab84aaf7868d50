//! The third part of `-v source:target:mode`. Pure.

/// What a mode says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mode {
    /// `ro`.
    pub read_only: bool,
    /// `rshared` and so on.
    pub propagation: Option<String>,
    /// `nocopy`.
    pub nocopy: bool,
}

impl Mode {
    /// Reads a mode; `None` where a word is unknown, of a kind that doesn't fit the source, or of a kind already seen.
    pub fn parse(text: &str, is_bind: bool) -> Option<Self> {
        let mut mode = Self::default();
        let (mut access, mut label, mut consistency) = (0, 0, 0);
        for word in text.split(',').filter(|_| !text.is_empty()) {
            match word {
                "rw" => access += 1,
                "ro" => {
                    access += 1;
                    mode.read_only = true;
                }
                "z" | "Z" => label += 1,
                "consistent" | "cached" | "delegated" | "default" if is_bind => consistency += 1,
                "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave"
                    if is_bind && mode.propagation.is_none() =>
                {
                    mode.propagation = Some(word.to_owned());
                }
                "nocopy" if !is_bind && !mode.nocopy => mode.nocopy = true,
                _ => return None,
            }
        }
        (access <= 1 && label <= 1 && consistency <= 1).then_some(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read() {
        let mode = Mode::parse("ro,z,rshared", true).unwrap();
        assert!(mode.read_only);
        assert_eq!(mode.propagation.as_deref(), Some("rshared"));
        assert!(Mode::parse("nocopy", false).unwrap().nocopy);
        assert_eq!(Mode::parse("", true), Some(Mode::default()));
        for (text, is_bind) in [("rx", true), ("ro,rw", true), ("rshared", false), ("nocopy", true), ("ro,", true)] {
            assert_eq!(Mode::parse(text, is_bind), None, "{text}");
        }
    }
}
