//! A build as it is asked for: `POST /build` with all that its query can carry, which is more than bollard's options have.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::Stream;
use serde::Serialize;

use super::connection::RequestBody;
use super::docker::{Call, Docker};
use super::errors::Error;
use super::image::{BuildRecord, DockerCredentials};

/// One `POST /build`, being put together.
#[derive(Default)]
pub struct BuildCall {
    query: Vec<(&'static str, String)>,
    credentials: HashMap<String, DockerCredentials>,
    context: Option<RequestBody>,
}

impl BuildCall {
    /// Adds a query parameter; an empty value is left out. One that is added again is repeated.
    pub fn add(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        if !value.is_empty() {
            self.query.push((name, value));
        }
        self
    }

    /// Adds a switch where it is on.
    pub fn switch(&mut self, name: &'static str, is_on: bool) -> &mut Self {
        self.add(name, if is_on { "1" } else { "" })
    }

    /// Adds a number where it is given.
    pub fn number(&mut self, name: &'static str, value: Option<i64>) -> &mut Self {
        self.add(name, value.map(|value| value.to_string()).unwrap_or_default())
    }

    /// Adds a list or map as JSON, unless it is empty.
    pub fn json<T: Serialize>(&mut self, name: &'static str, value: &T) -> &mut Self {
        let text = serde_json::to_string(value).unwrap_or_default();
        self.add(name, if matches!(text.as_str(), "[]" | "{}" | "null") { String::new() } else { text })
    }

    /// Whose credentials base images may be pulled with, and results pushed, by registry.
    pub fn credentials(&mut self, credentials: HashMap<String, DockerCredentials>) -> &mut Self {
        self.credentials = credentials;
        self
    }

    /// The files: a tar, plain or compressed.
    pub fn context(&mut self, context: RequestBody) -> &mut Self {
        self.context = Some(context);
        self
    }

    /// What was added as `name` so far.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl Docker {
    /// Builds; dropping the stream cancels the build.
    pub fn build(&self, build: BuildCall) -> impl Stream<Item = Result<BuildRecord, Error>> + Send + use<> {
        let BuildCall { query, credentials, context } = build;
        let call = query
            .iter()
            .fold(Call::post("/build"), |call, (name, value)| call.repeated(name, std::iter::once(value.as_str())));
        let call = match credentials.is_empty() {
            true => Ok(call),
            false => serde_json::to_vec(&credentials)
                .map(|json| call.header("X-Registry-Config", URL_SAFE.encode(json)))
                .map_err(Error::from),
        };
        self.json_stream(call.map(|call| match context {
            Some(context) => call.streamed(context),
            None => call,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_asked() {
        let mut call = BuildCall::default();
        call.add("target", "").switch("nocache", false).number("memory", None).json("labels", &Vec::<String>::new());
        assert_eq!(call.query, []);
        call.add("t", "a").add("t", "b").switch("pull", true).number("shmsize", Some(64)).json("cachefrom", &["x"]);
        let expected = [("t", "a"), ("t", "b"), ("pull", "1"), ("shmsize", "64"), ("cachefrom", r#"["x"]"#)];
        assert_eq!(call.query, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
