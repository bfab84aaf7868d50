//! Calls on images and builds.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use super::connection::RequestBody;
use super::docker::{Call, Docker, in_path};
use super::errors::Error;
use super::models::{
    BuildPruneResponse, ContainerConfig, CreateImageInfo, ErrorDetail, IdResponse, ImageDeleteResponseItem,
    ImageHistoryResponseItem, ImageInspect, ImagePruneResponse, ImageSummary, ProgressDetail, PushImageInfo,
};
use super::query_parameters::{
    BuildImageOptions, CommitContainerOptions, CreateImageOptions, ImportImageOptions, ListImagesOptions,
    PruneBuildOptions, PruneImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions,
};

/// Who we are to a registry (Engine API, `AuthConfig`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerCredentials {
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// `user:password` in base64.
    pub auth: Option<String>,
    /// Mail address; of no use any more.
    pub email: Option<String>,
    /// The registry.
    pub serveraddress: Option<String>,
    /// Refresh token.
    pub identitytoken: Option<String>,
    /// Bearer token.
    pub registrytoken: Option<String>,
}

/// One record of a build's or load's progress. Like `BuildInfo` of the API, but `aux` is kept whatever it is: an image's
/// ID, or BuildKit's trace (see [`crate::buildkit`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// Of what: a layer, or `moby.buildkit.trace`, `moby.image.id` for `aux`.
    pub id: Option<String>,
    /// Text for people.
    pub stream: Option<String>,
    /// What is being done to `id`.
    pub status: Option<String>,
    /// How far it is.
    pub progress_detail: Option<ProgressDetail>,
    /// Why it ended.
    pub error_detail: Option<ErrorDetail>,
    /// The same in one line, as old daemons send it.
    pub error: Option<String>,
    /// Structured content.
    pub aux: Option<serde_json::Value>,
}

/// A place in a Dockerfile, with the lines around it: where a build of Boxyard's engine went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSource {
    /// The Dockerfile's name.
    pub file: String,
    /// The first line of the place, from 1.
    pub first: usize,
    /// Its last line.
    pub last: usize,
    /// The number of the first of `lines`.
    pub begins: usize,
    /// The lines of the place and those around it.
    pub lines: Vec<String>,
}

impl BuildRecord {
    /// The error this record reports, if it does.
    pub fn failure(&self) -> Option<&str> {
        self.error_detail.as_ref().and_then(|detail| detail.message.as_deref()).or(self.error.as_deref())
    }
}

fn registry_auth(credentials: Option<&DockerCredentials>) -> Result<String, Error> {
    // dockerd wants the header even for anonymous pulls of some old versions; `{}` in base64 is anonymous.
    let json = match credentials {
        Some(credentials) => serde_json::to_vec(credentials)?,
        None => b"{}".to_vec(),
    };
    Ok(URL_SAFE.encode(json))
}

impl Docker {
    /// The images.
    pub async fn list_images(&self, options: Option<ListImagesOptions>) -> Result<Vec<ImageSummary>, Error> {
        self.json(Call::get("/images/json").query(options)?).await
    }

    /// Pulls an image (or imports one); each record tells the progress of one layer.
    pub fn create_image(
        &self,
        options: Option<CreateImageOptions>,
        body: Option<RequestBody>,
        credentials: Option<DockerCredentials>,
    ) -> impl Stream<Item = Result<CreateImageInfo, Error>> + Send + use<> {
        let call = Call::post("/images/create").query(options).and_then(|call| {
            let call = call.header("X-Registry-Auth", registry_auth(credentials.as_ref())?);
            Ok(match body {
                Some(body) => call.streamed(body),
                None => call,
            })
        });
        self.json_stream(call)
    }

    /// Everything about it.
    pub async fn inspect_image(&self, name: &str) -> Result<ImageInspect, Error> {
        self.json(Call::get(format!("/images/{}/json", in_path(name)))).await
    }

    /// The steps it was built by, newest first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<ImageHistoryResponseItem>, Error> {
        self.json(Call::get(format!("/images/{}/history", in_path(name)))).await
    }

    /// Removes a name, and the image with its last one.
    pub async fn remove_image(
        &self,
        name: &str,
        options: Option<RemoveImageOptions>,
        _credentials: Option<DockerCredentials>,
    ) -> Result<Vec<ImageDeleteResponseItem>, Error> {
        self.json(Call::delete(format!("/images/{}", in_path(name))).query(options)?).await
    }

    /// Gives it one more name.
    pub async fn tag_image(&self, name: &str, options: Option<TagImageOptions>) -> Result<(), Error> {
        self.unit(Call::post(format!("/images/{}/tag", in_path(name))).query(options)?).await
    }

    /// Pushes it to its registry.
    pub fn push_image(
        &self,
        name: &str,
        options: Option<PushImageOptions>,
        credentials: Option<DockerCredentials>,
    ) -> impl Stream<Item = Result<PushImageInfo, Error>> + Send + use<> {
        let call = Call::post(format!("/images/{}/push", in_path(name)))
            .query(options)
            .and_then(|call| Ok(call.header("X-Registry-Auth", registry_auth(credentials.as_ref())?)));
        self.json_stream(call)
    }

    /// Removes images that nothing needs.
    pub async fn prune_images(&self, options: Option<PruneImagesOptions>) -> Result<ImagePruneResponse, Error> {
        self.json(Call::post("/images/prune").query(options)?).await
    }

    /// Makes an image of a container as it is now.
    pub async fn commit_container(
        &self,
        options: CommitContainerOptions,
        config: ContainerConfig,
    ) -> Result<IdResponse, Error> {
        self.json(Call::post("/commit").query(Some(options))?.body(&config)?).await
    }

    /// Builds an image from a context (a tar, plain or compressed). More than one tag goes into `tags`.
    pub fn build_image(
        &self,
        options: BuildImageOptions,
        tags: &[String],
        credentials: Option<HashMap<String, DockerCredentials>>,
        context: Option<RequestBody>,
    ) -> impl Stream<Item = Result<BuildRecord, Error>> + Send + use<> {
        let call = Call::post("/build").query(Some(options)).and_then(|call| {
            let call = call.repeated("t", tags.iter().map(String::as_str));
            let call = match &credentials {
                Some(credentials) => {
                    call.header("X-Registry-Config", URL_SAFE.encode(serde_json::to_vec(credentials)?))
                }
                None => call,
            };
            Ok(match context {
                Some(context) => call.streamed(context),
                None => call,
            })
        });
        self.json_stream(call)
    }

    /// Frees build cache.
    pub async fn prune_build(&self, options: Option<PruneBuildOptions>) -> Result<BuildPruneResponse, Error> {
        self.json(Call::post("/build/prune").query(options)?).await
    }

    /// One image as a tar.
    pub fn export_image(&self, name: &str) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        self.byte_stream(Ok(Call::get(format!("/images/{}/get", in_path(name)))))
    }

    /// Several images as one tar.
    pub fn export_images(&self, names: &[&str]) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        self.byte_stream(Ok(Call::get("/images/get").repeated("names", names.iter().copied())))
    }

    /// Loads images from a tar that `docker save` or an OCI tool made.
    pub fn import_image(
        &self,
        options: ImportImageOptions,
        archive: RequestBody,
    ) -> impl Stream<Item = Result<BuildRecord, Error>> + Send + use<> {
        let call = Call::post("/images/load").query(Some(options)).map(|call| call.streamed(archive));
        self.json_stream(call)
    }
}
