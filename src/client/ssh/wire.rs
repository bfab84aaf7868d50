//! How ssh writes things down (RFC 4251, 5): strings behind their length, and numbers without needless digits.

use super::key::KeyError;

/// Appends a string.
pub(super) fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

/// A number without the zeros it begins with.
pub(super) fn digits(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// A number that can't be read as negative.
pub(super) fn positive(number: &[u8]) -> Vec<u8> {
    let digits = digits(number);
    let sign = digits.first().is_some_and(|first| *first >= 0x80).then_some(0);
    sign.into_iter().chain(digits.iter().copied()).collect()
}

/// What is left to read.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], KeyError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(KeyError::NoKey)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of four bytes.
    pub(super) fn word(&mut self) -> Result<u32, KeyError> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| KeyError::NoKey)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A string, or a number of any length.
    pub(super) fn text(&mut self) -> Result<&'a [u8], KeyError> {
        let length = self.word()? as usize;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"ssh");
        put(&mut bytes, &positive(&[0, 0, 0x80]));
        let mut reader = Reader(&bytes);
        assert_eq!((reader.text(), reader.text()), (Ok(&b"ssh"[..]), Ok(&[0, 0x80][..])));
        assert_eq!(reader.text(), Err(KeyError::NoKey));
        assert_eq!((positive(&[0, 1]), digits(&[0, 0])), (vec![1], &[][..]));
    }
}
