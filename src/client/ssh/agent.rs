//! An ssh agent for the time of a build: `--ssh ID=KEYFILE` needs no agent that runs elsewhere.
//!
//! Of the agent protocol (draft-miller-ssh-agent) it answers what a client needs to log in: which keys there are, and a
//! signature by one of them. A key never leaves this process.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::key::Key;
use super::wire::{Reader, put};

/// A message longer than this is none; OpenSSH's own limit.
const MAX_MESSAGE: usize = 256 << 10;

// Numbers of messages (draft-miller-ssh-agent, 5.1).
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Holds one conversation, until the other side ends it.
pub(in crate::client) async fn converse(
    keys: &[Key],
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        match io.read_exact(&mut length).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => drop(read?),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message to the ssh agent is too long"));
        }
        let mut message = vec![0; length];
        io.read_exact(&mut message).await?;
        let mut answer = Vec::new();
        put(&mut answer, &answer_to(keys, &message));
        io.write_all(&answer).await?;
        io.flush().await?;
    }
}

fn answer_to(keys: &[Key], message: &[u8]) -> Vec<u8> {
    match message.split_first() {
        Some((&REQUEST_IDENTITIES, _)) => {
            let mut answer = vec![IDENTITIES_ANSWER];
            answer.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
            for key in keys {
                put(&mut answer, &key.public);
                put(&mut answer, &key.comment);
            }
            answer
        }
        Some((&SIGN_REQUEST, rest)) => signed(keys, rest).unwrap_or_else(|| vec![FAILURE]),
        _ => vec![FAILURE],
    }
}

fn signed(keys: &[Key], request: &[u8]) -> Option<Vec<u8>> {
    let mut request = Reader(request);
    let (public, data, flags) = (request.text().ok()?, request.text().ok()?, request.word().ok()?);
    let signature = keys.iter().find(|key| key.public == public)?.sign(data, flags)?;
    let mut answer = vec![SIGN_RESPONSE];
    put(&mut answer, &signature);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
        RsaPublicKeyComponents, UnparsedPublicKey,
    };
    use tokio::io::{DuplexStream, duplex};

    use super::super::wire::digits;
    use super::*;

    // Made for these tests by ssh-keygen; they open nothing.
    const ED25519_KEY: &str = include_str!("test_keys/ed25519");
    const P384_KEY: &str = include_str!("test_keys/ecdsa");
    const RSA_KEY: &str = include_str!("test_keys/rsa");
    const RSA_PEM: &str = include_str!("test_keys/rsa.pem");

    async fn ask(client: &mut DuplexStream, message: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        put(&mut framed, message);
        client.write_all(&framed).await.unwrap();
        let mut answer = vec![0; client.read_u32().await.unwrap() as usize];
        client.read_exact(&mut answer).await.unwrap();
        answer
    }

    /// The only key's public half, and its signature of `data`: kind and bytes; `None` where it does not sign so.
    async fn signed(key: &str, data: &[u8], flags: u32) -> (Vec<u8>, Option<(String, Vec<u8>)>) {
        let keys = [Key::parse(key).unwrap()];
        let (mut client, mut agent) = duplex(4096);
        let talk = async {
            let identities = ask(&mut client, &[REQUEST_IDENTITIES]).await;
            let mut rest = Reader(&identities[1..]);
            assert_eq!((identities[0], rest.word().unwrap()), (IDENTITIES_ANSWER, 1));
            let public = rest.text().unwrap().to_vec();
            assert_eq!(ask(&mut client, &[99]).await, [FAILURE]);
            let mut request = vec![SIGN_REQUEST];
            put(&mut request, &public);
            put(&mut request, data);
            request.extend_from_slice(&flags.to_be_bytes());
            let response = ask(&mut client, &request).await;
            drop(client);
            if response == [FAILURE] {
                return (public, None);
            }
            assert_eq!(response[0], SIGN_RESPONSE);
            let whole = Reader(&response[1..]).text().unwrap().to_vec();
            let mut parts = Reader(&whole);
            let kind = String::from_utf8(parts.text().unwrap().to_vec()).unwrap();
            (public, Some((kind, parts.text().unwrap().to_vec())))
        };
        let (signed, ended) = tokio::join!(talk, converse(&keys, &mut agent));
        ended.unwrap();
        signed
    }

    #[tokio::test]
    async fn signatures_by_curves_hold() {
        let (public, signature) = signed(ED25519_KEY, b"data", 0).await;
        let (kind, signature) = signature.unwrap();
        assert_eq!(kind, "ssh-ed25519");
        UnparsedPublicKey::new(&ED25519, &public[public.len() - 32..]).verify(b"data", &signature).unwrap();

        let (public, signature) = signed(P384_KEY, b"data", 0).await;
        let (kind, signature) = signature.unwrap();
        assert_eq!(kind, "ecdsa-sha2-nistp384");
        let mut numbers = Reader(&signature);
        let mut fixed = Vec::new();
        for _ in 0..2 {
            let number = digits(numbers.text().unwrap());
            fixed.extend(vec![0; 48 - number.len()]);
            fixed.extend_from_slice(number);
        }
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &public[public.len() - 97..]).verify(b"data", &fixed).unwrap();
    }

    #[tokio::test]
    async fn rsa_signs_with_the_hash_that_is_asked_for() {
        let hashes =
            [(2, "rsa-sha2-256", &RSA_PKCS1_2048_8192_SHA256), (4, "rsa-sha2-512", &RSA_PKCS1_2048_8192_SHA512)];
        for key in [RSA_KEY, RSA_PEM] {
            for (flags, name, hash) in hashes {
                let (public, signature) = signed(key, b"data", flags).await;
                let (kind, signature) = signature.unwrap();
                assert_eq!(kind, name);
                let mut parts = Reader(&public);
                assert_eq!(parts.text().unwrap(), b"ssh-rsa");
                let (e, n) = (digits(parts.text().unwrap()), digits(parts.text().unwrap()));
                RsaPublicKeyComponents { n, e }.verify(hash, b"data", &signature).unwrap();
            }
            assert_eq!(signed(key, b"data", 0).await.1, None, "SHA-1 is not signed with");
        }
        assert_eq!(Key::parse(RSA_KEY).unwrap().public, Key::parse(RSA_PEM).unwrap().public);
    }
}
