//! Calls on the host as a whole.

use futures_util::Stream;

use super::docker::{Call, Docker};
use super::errors::Error;
use super::models::{EventMessage, SystemDataUsageResponse, SystemInfo, SystemVersion};
use super::query_parameters::{DataUsageOptions, EventsOptions};

impl Docker {
    /// What it runs.
    pub async fn version(&self) -> Result<SystemVersion, Error> {
        self.json(Call::get("/version")).await
    }

    /// What it is.
    pub async fn info(&self) -> Result<SystemInfo, Error> {
        self.json(Call::get("/info")).await
    }

    /// "OK" when it is there.
    pub async fn ping(&self) -> Result<String, Error> {
        let body = self.whole(Call::get("/_ping").unversioned()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What happens on it, from now or from `since`.
    pub fn events(
        &self,
        options: Option<EventsOptions>,
    ) -> impl Stream<Item = Result<EventMessage, Error>> + Send + use<> {
        self.json_stream(Call::get("/events").query(options))
    }

    /// What its objects take on disk.
    pub async fn df(&self, options: Option<DataUsageOptions>) -> Result<SystemDataUsageResponse, Error> {
        self.json(Call::get("/system/df").query(options)?).await
    }

    /// What each object takes on disk, as hosts up to API 1.51 list it; newer ones answer with sums alone.
    pub async fn df_objects(&self) -> Result<serde_json::Value, Error> {
        self.json(Call::get("/system/df")).await
    }
}
