//! Fetching a blob: one stream of bytes, though the connection may be cut on the way.

use std::io;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};

use crate::engine::layer::ChunkSender;

use super::backoff::{self, ATTEMPTS};
use super::client::Action;
use super::{Descriptor, Registry, RegistryError};

impl Registry {
    /// Sends the bytes of `blob` into `sender`, going on where a cut connection stopped. `progress` hears how many bytes
    /// have come. That nobody reads any more ends it without an error: the reader knows why.
    ///
    /// # Errors
    /// [`RegistryError`]; also told to the reader. The digest is the reader's to check.
    pub(crate) async fn fetch(
        &self,
        blob: &Descriptor,
        sender: ChunkSender,
        mut progress: impl FnMut(u64),
    ) -> Result<(), RegistryError> {
        let mut fetch = Fetch { registry: self, blob, sender: &sender, received: 0 };
        let outcome = fetch.run(&mut progress).await;
        let told = outcome.as_ref().map(|_| ()).map_err(|error| io::Error::other(error.to_string()));
        sender.finish(told).await;
        outcome
    }
}

struct Fetch<'a> {
    registry: &'a Registry,
    blob: &'a Descriptor,
    sender: &'a ChunkSender,
    received: u64,
}

impl Fetch<'_> {
    async fn run(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), RegistryError> {
        let mut attempt = 0;
        loop {
            let before = self.received;
            match self.once(progress).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // As long as it gets further it is not given up.
                    attempt = if self.received > before { 0 } else { attempt + 1 };
                    if !error.is_passing() || attempt >= ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(%error, received = self.received, "fetching on");
                    backoff::wait(attempt, None).await;
                }
            }
        }
    }

    async fn once(&mut self, progress: &mut impl FnMut(u64)) -> Result<(), RegistryError> {
        let from = self.received;
        let url = self.registry.url(&format!("blobs/{}", self.blob.digest));
        // Only asked for where it is needed: some registries answer a range of everything with an error.
        let shape = |request: reqwest::RequestBuilder| {
            if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request }
        };
        let mut response = self.registry.ask_once(Method::GET, &url, Action::Pull, &shape).await?;
        let mut to_skip = from - starts_at(&response, from);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Err(RegistryError::from_request("GET", &url, &error)),
            };
            let known = usize::try_from(to_skip).unwrap_or(usize::MAX).min(chunk.len());
            to_skip -= known as u64;
            let chunk = chunk.slice(known..);
            if chunk.is_empty() {
                continue;
            }
            self.received += chunk.len() as u64;
            if self.received > self.blob.size {
                return Err(RegistryError::TooLarge { digest: self.blob.digest, size: self.blob.size });
            }
            progress(self.received);
            if !self.sender.send(chunk).await {
                return Ok(());
            }
        }
        if self.received == self.blob.size {
            return Ok(());
        }
        Err(RegistryError::Unreachable {
            method: "Get".to_owned(),
            url,
            reason: format!("unexpected EOF after {} of {} bytes", self.received, self.blob.size),
            advice: "; try again later",
        })
    }
}

/// Where the answer begins: a registry may ignore the range.
fn starts_at(response: &Response, wanted: u64) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok());
    start.filter(|start: &u64| *start <= wanted).unwrap_or(wanted)
}
