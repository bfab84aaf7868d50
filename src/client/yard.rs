//! Calls that only Boxyard's own engine answers; any other host answers them with status 404.

use serde::{Deserialize, Serialize};

use super::docker::{Call, Docker};
use super::errors::Error;
use super::models::IdResponse;

/// Which Boxyard engine this is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct YardInfo {
    /// Its state root.
    pub root: String,
    /// Its run root.
    pub run: String,
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// An image to be made of the host's own programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostImageRequest {
    /// The image's name.
    pub reference: String,
    /// Programs by name or path; the libraries they need come with them. Empty: a shell and the usual tools.
    #[serde(default)]
    pub programs: Vec<String>,
    /// What a container of it runs unless told otherwise. Empty: a shell.
    #[serde(default)]
    pub cmd: Vec<String>,
}

impl Docker {
    /// Which Boxyard engine this is; an error with status 404 says that it is none.
    pub async fn yard(&self) -> Result<YardInfo, Error> {
        self.json(Call::get("/_boxyard").unversioned()).await
    }

    /// Makes an image of the host's own programs: the way to a first container with neither network nor registry.
    pub async fn image_from_host(&self, request: &HostImageRequest) -> Result<IdResponse, Error> {
        self.json(Call::post("/boxyard/images/from-host").unversioned().body(request)?).await
    }
}
