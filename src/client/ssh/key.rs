//! Private ssh keys in files, as `--ssh ID=KEYFILE` names them: read, and signed with.
//!
//! Read is what OpenSSH writes without a passphrase: `openssh-key-v1` with Ed25519, ECDSA on P-256 and P-384 or RSA, and RSA in
//! its older PEM forms. Signatures by RSA use SHA-2 alone.

use std::path::Path;

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};

use super::wire::{Reader, digits, positive, put};

/// What an OpenSSH key begins with, once its text is decoded.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// No key is longer; whatever is, is something else.
const MAX_FILE: u64 = 64 << 10;

/// Which hash a request for a signature asks RSA to use (RFC 8332).
const SHA_256: u32 = 2;
const SHA_512: u32 = 4;

/// Why a file is no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The disk's refusal.
    #[error("{0}")]
    Io(String),
    /// It is something else.
    #[error("neither the socket of an agent nor a private key as OpenSSH writes it")]
    NoKey,
    /// It is the half that anybody may have.
    #[error("a public key; the private one is wanted")]
    Public,
    /// Nobody could be asked for its passphrase.
    #[error("the key has a passphrase")]
    Encrypted,
    /// A kind of key that is not signed with here.
    #[error("keys of type {0} can't be used from a file")]
    Kind(String),
    /// Its numbers are no key that may be signed with, like RSA of 1024 bits.
    #[error("the key is refused: {0}")]
    Weak(String),
}

impl KeyError {
    /// Whether an agent could do what a file can't.
    pub fn wants_agent(&self) -> bool {
        matches!(self, KeyError::Encrypted | KeyError::Kind(_) | KeyError::Weak(_))
    }
}

/// A private key.
pub struct Key {
    /// The public half, as the protocol carries it.
    pub(super) public: Vec<u8>,
    pub(super) comment: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa { name: String, pair: EcdsaKeyPair, random: SystemRandom },
    Rsa { pair: Box<RsaKeyPair>, random: SystemRandom },
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("comment", &String::from_utf8_lossy(&self.comment)).finish_non_exhaustive()
    }
}

impl Key {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let told = |error: std::io::Error| KeyError::Io(error.to_string());
        if std::fs::metadata(path).map_err(told)?.len() > MAX_FILE {
            return Err(KeyError::NoKey);
        }
        let text = std::fs::read(path).map_err(told)?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// Reads the text of one.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.trim_start().starts_with(kind)) {
            return Err(KeyError::Public);
        }
        let (label, body) = armoured(text).ok_or(KeyError::NoKey)?;
        if label == "ENCRYPTED PRIVATE KEY" || body.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let body: String = body.split_whitespace().collect();
        let bytes = base64::prelude::BASE64_STANDARD.decode(body).map_err(|_| KeyError::NoKey)?;
        match label {
            "OPENSSH PRIVATE KEY" => Self::of_openssh(&bytes),
            "RSA PRIVATE KEY" => Ok(Self::of_rsa(RsaKeyPair::from_der(&bytes).map_err(weak)?)),
            "PRIVATE KEY" => match RsaKeyPair::from_pkcs8(&bytes) {
                Ok(pair) => Ok(Self::of_rsa(pair)),
                Err(error) if error.to_string() == "WrongAlgorithm" => Err(KeyError::Kind(label.to_owned())),
                Err(error) => Err(weak(error)),
            },
            "EC PRIVATE KEY" | "DSA PRIVATE KEY" => Err(KeyError::Kind(label.to_owned())),
            _ => Err(KeyError::NoKey),
        }
    }

    fn of_openssh(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut rest = Reader(bytes.strip_prefix(MAGIC).ok_or(KeyError::NoKey)?);
        let (cipher, _derivation, _options) = (rest.text()?, rest.text()?, rest.text()?);
        if cipher != b"none" {
            return Err(KeyError::Encrypted);
        }
        let (_count, public) = (rest.word()?, rest.text()?.to_vec());
        let mut private = Reader(rest.text()?);
        let (_check, _again) = (private.word()?, private.word()?);
        let kind = String::from_utf8_lossy(private.text()?).into_owned();
        let pair = Pair::read(&kind, &mut private)?;
        let comment = private.text()?.to_vec();
        Ok(Self { public, comment, pair })
    }

    /// Without a comment: the older forms have none.
    fn of_rsa(pair: RsaKeyPair) -> Self {
        let parts: RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
        let mut public = Vec::new();
        put(&mut public, b"ssh-rsa");
        put(&mut public, &positive(&parts.e));
        put(&mut public, &positive(&parts.n));
        Self { public, comment: Vec::new(), pair: Pair::Rsa { pair: Box::new(pair), random: SystemRandom::new() } }
    }

    /// A signature as the protocol carries it; none by RSA with SHA-1, which nobody should trust.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let mut signature = Vec::new();
        match &self.pair {
            Pair::Ed25519(pair) => {
                put(&mut signature, b"ssh-ed25519");
                put(&mut signature, pair.sign(data).as_ref());
            }
            Pair::Ecdsa { name, pair, random } => {
                let signed = pair.sign(random, data).ok()?;
                let (r, s) = signed.as_ref().split_at_checked(signed.as_ref().len() / 2)?;
                let mut numbers = Vec::new();
                put(&mut numbers, &positive(r));
                put(&mut numbers, &positive(s));
                put(&mut signature, name.as_bytes());
                put(&mut signature, &numbers);
            }
            Pair::Rsa { pair, random } => {
                let (name, padding): (&[u8], &'static dyn RsaEncoding) = match flags {
                    flags if flags & SHA_512 != 0 => (b"rsa-sha2-512", &RSA_PKCS1_SHA512),
                    flags if flags & SHA_256 != 0 => (b"rsa-sha2-256", &RSA_PKCS1_SHA256),
                    _ => return None,
                };
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(padding, random, data, &mut signed).ok()?;
                put(&mut signature, name);
                put(&mut signature, &signed);
            }
        }
        Some(signature)
    }
}

/// The label between the dashes and what stands in that armour.
fn armoured(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END")?;
    Some((label, body))
}

fn weak(error: ring::error::KeyRejected) -> KeyError {
    KeyError::Weak(error.to_string())
}

impl Pair {
    fn read(kind: &str, from: &mut Reader<'_>) -> Result<Self, KeyError> {
        let (algorithm, size) = match kind {
            "ssh-ed25519" => {
                let (public, private) = (from.text()?, from.text()?);
                let seed = private.get(..32).ok_or(KeyError::NoKey)?;
                return Ok(Pair::Ed25519(Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(weak)?));
            }
            "ecdsa-sha2-nistp256" => (&ECDSA_P256_SHA256_FIXED_SIGNING, 32_usize),
            "ecdsa-sha2-nistp384" => (&ECDSA_P384_SHA384_FIXED_SIGNING, 48),
            "ssh-rsa" => return Self::rsa(from),
            other => return Err(KeyError::Kind(other.to_owned())),
        };
        let (_curve, point, number) = (from.text()?, from.text()?, from.text()?);
        let number = digits(number);
        let mut private = vec![0; size.saturating_sub(number.len())];
        private.extend_from_slice(number);
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, point, &random).map_err(weak)?;
        Ok(Pair::Ecdsa { name: kind.to_owned(), pair, random })
    }

    #[allow(non_snake_case)] // ring's names, which are RFC 8017's
    fn rsa(from: &mut Reader<'_>) -> Result<Self, KeyError> {
        let mut next = || from.text().map(digits);
        let (n, e, d, qInv, p, q) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let (dP, dQ) = (remainder(d, &minus_one(p)), remainder(d, &minus_one(q)));
        let public_key = RsaPublicKeyComponents { n, e };
        let components = ring::rsa::KeyPairComponents { public_key, d, p, q, dP: &dP[..], dQ: &dQ[..], qInv };
        let pair = RsaKeyPair::from_components(&components).map_err(weak)?;
        Ok(Pair::Rsa { pair: Box::new(pair), random: SystemRandom::new() })
    }
}

/// An odd number less one.
fn minus_one(odd: &[u8]) -> Vec<u8> {
    let mut even = odd.to_vec();
    if let Some(last) = even.last_mut() {
        *last &= !1;
    }
    even
}

/// `number` modulo `modulus`, bit by bit: a key is read once, and OpenSSH's files have not what this is wanted for.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    // A digit more than the modulus, so that the doubled rest fits.
    let wide: Vec<u8> = [0].into_iter().chain(modulus.iter().copied()).collect();
    let mut rest = vec![0_u8; wide.len()];
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
        if rest >= wide {
            let mut borrow = false;
            for (byte, less) in rest.iter_mut().zip(&wide).rev() {
                let (difference, first) = byte.overflowing_sub(*less);
                let (difference, second) = difference.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (difference, first || second);
            }
        }
    }
    digits(&rest).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told() {
        let read = |text: &str| Key::parse(text).map(drop).unwrap_err();
        assert_eq!(read("hello"), KeyError::NoKey);
        assert_eq!(read("ssh-ed25519 AAAA me@here\n"), KeyError::Public);
        assert_eq!(read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), KeyError::NoKey);
        assert_eq!(
            read("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
            KeyError::NoKey
        );
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAA\n-----END RSA PRIVATE KEY-----";
        assert_eq!(read(old), KeyError::Encrypted);
        let dsa = "-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----";
        assert!(read(dsa).wants_agent() && matches!(read(dsa), KeyError::Kind(kind) if kind == "DSA PRIVATE KEY"));
    }

    #[test]
    fn a_key_with_a_passphrase_or_of_another_kind_is_told() {
        let armour = |bytes: Vec<u8>| {
            let text = base64::prelude::BASE64_STANDARD.encode(bytes);
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")
        };
        let head = |cipher: &[u8]| {
            let mut bytes = MAGIC.to_vec();
            [cipher, b"bcrypt", b""].iter().for_each(|part| put(&mut bytes, part));
            bytes
        };
        assert_eq!(Key::parse(&armour(head(b"aes256-ctr"))).unwrap_err(), KeyError::Encrypted);
        let mut private = vec![0; 8];
        put(&mut private, b"sk-ssh-ed25519@openssh.com");
        let mut bytes = head(b"none");
        bytes.extend_from_slice(&1_u32.to_be_bytes());
        [&b"public"[..], &private].iter().for_each(|part| put(&mut bytes, part));
        let kind = KeyError::Kind("sk-ssh-ed25519@openssh.com".to_owned());
        assert_eq!(Key::parse(&armour(bytes)).unwrap_err(), kind);
    }

    #[test]
    fn remainders_are_those_of_division() {
        let pairs = [(1_000_003_u64, 97_u64), (96, 97), (97, 97), (u64::MAX, 0xffff_fffe), (1 << 40, 1 << 20 | 1)];
        for (number, modulus) in pairs {
            let bytes = |number: u64| digits(&number.to_be_bytes()).to_vec();
            assert_eq!(remainder(&bytes(number), &bytes(modulus)), bytes(number % modulus), "{number} {modulus}");
        }
    }
}
