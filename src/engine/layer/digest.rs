//! Content digests: `sha256:` and 64 hex digits, and the two names a layer has.
//!
//! A [`DiffId`] is the digest of a layer's uncompressed tar; a [`ChainId`] names that layer on top of its parents
//! (image-spec, `config.md`): `chain(n) = sha256(chain(n-1) + " " + diff(n))`, and the first chain ID is its diff ID.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 content digest, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// An algorithm other than sha256.
    #[error("unsupported digest algorithm in {text:?}: only sha256 is known")]
    Algorithm {
        /// What was read.
        text: String,
    },
    /// Not 64 lower-case hex digits.
    #[error("invalid digest {text:?}: expected sha256: and 64 hex digits")]
    Format {
        /// What was read.
        text: String,
    },
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest that has these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without `sha256:`; what file names are made of.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The digest whose hex digits are `hex`.
    ///
    /// # Errors
    /// [`DigestError::Format`] if these are not 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let refusal = || DigestError::Format { text: hex.to_owned() };
        if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refusal());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes).map_err(|_| refusal())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::from_hex(hex).map_err(|_| DigestError::Format { text: text.to_owned() }),
            Some(_) => Err(DigestError::Algorithm { text: text.to_owned() }),
            None => Err(DigestError::Format { text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Declares a digest that names one kind of thing, so that no two kinds can be mixed up.
macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $crate::engine::layer::Digest);

        impl $name {
            /// The 64 hex digits, without `sha256:`.
            pub fn hex(&self) -> String {
                self.0.hex()
            }

            /// The digest itself.
            pub fn digest(&self) -> &$crate::engine::layer::Digest {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::engine::layer::DigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}
pub(crate) use digest_newtype;

digest_newtype! {
    /// The digest of a layer's uncompressed tar.
    DiffId
}

digest_newtype! {
    /// The name of a layer together with all layers below it.
    ChainId
}

impl ChainId {
    /// The chain ID of the layer `diff` on top of `parent`.
    pub fn above(parent: Option<&ChainId>, diff: &DiffId) -> Self {
        match parent {
            None => Self(diff.0),
            Some(parent) => Self(Digest::of(format!("{parent} {diff}").as_bytes())),
        }
    }
}

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// A reader or writer that hashes and counts what passes through.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    /// Hashes what passes through to or from `inner`.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: Hasher::default(), bytes: 0 }
    }

    /// How many bytes have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of what passed, the count of bytes, and what was wrapped.
    pub fn finish(self) -> (Digest, u64, T) {
        (self.hasher.finish(), self.bytes, self.inner)
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<T: BufRead> BufRead for Hashing<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Some(taken) = self.inner.fill_buf().ok().and_then(|chunk| chunk.get(..count)) {
            self.hasher.update(taken);
            self.bytes += count as u64;
        }
        self.inner.consume(count);
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_and_writes_as_one_text() {
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), Digest::of(b""));
        assert!("sha512:00".parse::<Digest>().is_err());
        assert!("sha256:E3".parse::<Digest>().is_err());
        assert!("e3b0".parse::<Digest>().is_err());
    }

    #[test]
    fn chain_ids_follow_the_image_spec() {
        let (low, high) = (DiffId(Digest::of(b"low")), DiffId(Digest::of(b"high")));
        let first = ChainId::above(None, &low);
        assert_eq!(first.0, low.0);
        let text = format!("{low} {high}");
        assert_eq!(ChainId::above(Some(&first), &high).0, Digest::of(text.as_bytes()));
    }
}
