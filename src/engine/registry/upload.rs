//! Pushing: what the registry has is skipped, what a neighbour repository has is mounted, the rest is uploaded.

use bytes::Bytes;
use futures_util::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, Response, StatusCode};

use crate::engine::layer::Digest;

use super::client::Action;
use super::{Registry, RegistryError};

/// How a blob came to be where it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// It was there.
    Exists,
    /// The registry took it from this repository.
    Mounted(String),
    /// It must be sent to this address.
    Needed(String),
}

impl Registry {
    /// Whether the repository has the blob.
    ///
    /// # Errors
    /// [`RegistryError`], but not for a blob it does not have.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        match self.ask(Method::HEAD, &format!("blobs/{digest}"), Action::Push, |request| request).await {
            Ok(_) => Ok(true),
            Err(RegistryError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins to upload the blob, trying to mount it from the repository `from` of the same registry.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn begin_upload(&self, digest: &Digest, from: Option<&str>) -> Result<Upload, RegistryError> {
        let path = match from {
            Some(from) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let response = self.ask(Method::POST, &path, Action::Push, |request| request.header(CONTENT_LENGTH, 0)).await?;
        match (response.status(), from) {
            (StatusCode::CREATED, Some(from)) => Ok(Upload::Mounted(from.to_owned())),
            _ => self.location(&response).map(Upload::Needed),
        }
    }

    /// Sends a blob of unknown size to where [`Self::begin_upload`] said, as it is made.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn upload_stream(
        &self,
        place: &str,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<String, RegistryError> {
        // A stream can be sent only once; leave was given when the upload began.
        let body = std::sync::Mutex::new(Some(Body::wrap_stream(body)));
        let shape = |request: reqwest::RequestBuilder| {
            let body = body.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            request.header(CONTENT_TYPE, "application/octet-stream").body(body.unwrap_or_default())
        };
        let response = self.ask_once(Method::PATCH, place, Action::Push, &shape).await?;
        self.location(&response)
    }

    /// Ends an upload; the registry checks the digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn finish_upload(&self, place: &str, digest: &Digest) -> Result<(), RegistryError> {
        let join = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{join}digest={digest}");
        self.ask(Method::PUT, &place, Action::Push, |request| request.header(CONTENT_LENGTH, 0)).await.map(|_| ())
    }

    /// Uploads a small blob.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn upload_document(&self, digest: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        if self.has_blob(digest).await? {
            return Ok(());
        }
        let Upload::Needed(place) = self.begin_upload(digest, None).await? else { return Ok(()) };
        let join = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{join}digest={digest}");
        let bytes = Bytes::copy_from_slice(bytes);
        let shape = |request: reqwest::RequestBuilder| {
            request.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone())
        };
        self.ask(Method::PUT, &place, Action::Push, shape).await.map(|_| ())
    }

    /// Puts a manifest under a tag; its blobs must be there.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn put_manifest(&self, tag: &str, media_type: &str, text: &[u8]) -> Result<(), RegistryError> {
        let text = Bytes::copy_from_slice(text);
        let shape = |request: reqwest::RequestBuilder| request.header(CONTENT_TYPE, media_type).body(text.clone());
        self.ask(Method::PUT, &format!("manifests/{tag}"), Action::Push, shape).await.map(|_| ())
    }

    fn location(&self, response: &Response) -> Result<String, RegistryError> {
        let refusal = || RegistryError::Answer { what: "upload".to_owned(), reason: "it names no place".to_owned() };
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(refusal)?;
        response.url().join(text).map(|url| url.to_string()).map_err(|_| refusal())
    }
}
