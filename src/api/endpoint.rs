//! What an endpoint is, and how a path finds its own.
//!
//! A pattern is made of literal segments, `{name}` (one segment) and `{name...}` (one or more, since image names hold
//! slashes). Rows are tried in the table's order, so `/images/json` stands before `/images/{name...}`. Paths are matched
//! after percent-decoding. A path that fits no row, or fits with another method, is "page not found", as in Docker.

use std::future::Future;
use std::pin::Pin;

use http::Method;

use super::call::Call;
use super::reply::{IntoReply, Reply};
use super::version::ApiVersion;
use crate::engine::EngineError;

/// A handler's answer, in the making.
pub type Answer = Pin<Box<dyn Future<Output = Result<Reply, EngineError>> + Send>>;

/// What a handler does with the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing or a JSON document: read whole before the handler runs.
    Json,
    /// An archive, handed on as it arrives.
    Archive,
    /// A JSON document, and then the connection itself as a raw stream.
    Connection,
}

/// One row of the table: method, path, first version, handler.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The method; a `GET` row answers no `HEAD`.
    pub method: &'static Method,
    /// The path pattern, without the version prefix.
    pub path: &'static str,
    /// The first API version that has it.
    pub since: ApiVersion,
    /// What becomes of the body.
    pub takes: Takes,
    /// Where our answer differs from Docker's; empty where it does not. Shown on the compatibility page.
    pub note: &'static str,
    /// Answers the call.
    pub handler: fn(Call) -> Answer,
}

impl Endpoint {
    /// Adds where our answer differs from Docker's.
    pub const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }
}

/// A `GET` row.
pub const fn get(path: &'static str, since: ApiVersion, takes: Takes, handler: fn(Call) -> Answer) -> Endpoint {
    row(&Method::GET, path, since, takes, handler)
}

/// A `POST` row.
pub const fn post(path: &'static str, since: ApiVersion, takes: Takes, handler: fn(Call) -> Answer) -> Endpoint {
    row(&Method::POST, path, since, takes, handler)
}

/// A `PUT` row.
pub const fn put(path: &'static str, since: ApiVersion, takes: Takes, handler: fn(Call) -> Answer) -> Endpoint {
    row(&Method::PUT, path, since, takes, handler)
}

/// A `DELETE` row.
pub const fn delete(path: &'static str, since: ApiVersion, takes: Takes, handler: fn(Call) -> Answer) -> Endpoint {
    row(&Method::DELETE, path, since, takes, handler)
}

/// A `HEAD` row.
pub const fn head(path: &'static str, since: ApiVersion, takes: Takes, handler: fn(Call) -> Answer) -> Endpoint {
    row(&Method::HEAD, path, since, takes, handler)
}

const fn row(
    method: &'static Method,
    path: &'static str,
    since: ApiVersion,
    takes: Takes,
    handler: fn(Call) -> Answer,
) -> Endpoint {
    Endpoint { method, path, since, takes, note: "", handler }
}

/// Turns a handler's typed result into an answer, so that handlers say what they return.
pub fn reply<R: IntoReply>(work: impl Future<Output = Result<R, EngineError>> + Send + 'static) -> Answer {
    Box::pin(async move { work.await.map(IntoReply::into_reply) })
}

/// The values of a pattern's variables in one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathValues(Vec<(&'static str, String)>);

impl PathValues {
    /// The value of `{name}` or `{name...}`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// The row of `table` that answers `method` on `path` (decoded, without version prefix) in `version`.
pub fn find<'t>(
    table: &'t [Endpoint],
    method: &Method,
    path: &str,
    version: ApiVersion,
) -> Option<(&'t Endpoint, PathValues)> {
    table
        .iter()
        .filter(|endpoint| endpoint.method == method && endpoint.since <= version)
        .find_map(|endpoint| Some((endpoint, matches(endpoint.path, path)?)))
}

fn matches(pattern: &'static str, path: &str) -> Option<PathValues> {
    let pattern: Vec<&'static str> = pattern.split('/').skip(1).collect();
    let path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let slack = path.len().checked_sub(pattern.len())?;
    let mut values = Vec::new();
    let mut rest = path.as_slice();
    for part in pattern {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            let (first, others) = rest.split_first()?;
            if *first != part {
                return None;
            }
            rest = others;
            continue;
        };
        // A pattern has at most one variable of several segments (the table's test sees to it), so it takes all the slack.
        let (name, takes) = name.strip_suffix("...").map_or((name, 1), |name| (name, 1 + slack));
        let (taken, others) = rest.split_at_checked(takes)?;
        let value = taken.join("/");
        if value.is_empty() {
            return None;
        }
        values.push((name, value));
        rest = others;
    }
    rest.is_empty().then_some(PathValues(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &'static str, path: &str, expected: Option<&[(&'static str, &str)]>) {
        let expected = expected.map(|values| PathValues(values.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()));
        assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
    }

    #[test]
    fn patterns_match_whole_paths() {
        check("/info", "/info", Some(&[]));
        check("/info", "/info/", None);
        check("/info", "/infos", None);
        check("/containers/{id}/stop", "/containers/web/stop", Some(&[("id", "web")]));
        check("/containers/{id}/stop", "/containers//stop", None);
        check("/containers/{id}", "/containers/a/b", None);
    }

    #[test]
    fn image_names_hold_slashes() {
        check("/images/{name...}/json", "/images/alpine/json", Some(&[("name", "alpine")]));
        check("/images/{name...}/json", "/images/127.0.0.1:5000/a/b:c/json", Some(&[("name", "127.0.0.1:5000/a/b:c")]));
        check("/images/{name...}/json", "/images/json", None);
        check("/images/{name...}", "/images/a/b", Some(&[("name", "a/b")]));
        check("/images/{name...}/json", "/images/json/json", Some(&[("name", "json")]));
    }
}
