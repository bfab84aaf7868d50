//! `build --call METHOD[,format=json][,ignorestatus]`: what is asked of a Dockerfile instead of a build.

use std::str::FromStr;

use serde::Serialize;

use crate::dockerfile::LineRange;

/// What is done instead of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Nothing instead: build.
    Build,
    /// Check the Dockerfile.
    Check,
    /// Tell the stages that can be built.
    Targets,
    /// Tell the arguments, secrets and ssh agents that the build takes.
    Outline,
}

/// A method, and how its answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What is done.
    pub method: Method,
    /// Whether the answer is JSON.
    pub is_json: bool,
    /// Whether the exit code tells nothing of what was found.
    pub ignores_status: bool,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut call = Self { method: Method::Build, is_json: false, ignores_status: false };
        let mut has_method = false;
        for field in text.split(',') {
            match field.split_once('=') {
                None if field == "ignorestatus" => call.ignores_status = true,
                None if has_method => return Err(format!("two methods: {field} is one too many")),
                None => {
                    has_method = true;
                    call.method = match field {
                        "build" | "" => Method::Build,
                        "check" | "lint" => Method::Check,
                        "targets" => Method::Targets,
                        "outline" => Method::Outline,
                        other => return Err(format!("no method {other}: build, check, outline or targets")),
                    };
                }
                Some(("format", "json")) => call.is_json = true,
                Some(("format", "text")) => call.is_json = false,
                Some(("format", other)) => return Err(format!("no format {other}: json or text")),
                Some(("ignorestatus", "true" | "1")) => call.ignores_status = true,
                Some(("ignorestatus", "false" | "0")) => call.ignores_status = false,
                Some((other, _)) => return Err(format!("no setting {other}: format and ignorestatus")),
            }
        }
        Ok(call)
    }
}

/// A place in the Dockerfile as BuildKit writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Location {
    ranges: [Range; 1],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Position {
    line: usize,
}

impl Location {
    /// Its first line, from 1.
    pub fn line(&self) -> usize {
        self.ranges[0].start.line
    }
}

impl From<LineRange> for Location {
    fn from(lines: LineRange) -> Self {
        Self { ranges: [Range { start: Position { line: lines.first }, end: Position { line: lines.last } }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_buildx_reads_them() {
        let call = |text: &str| text.parse::<Call>().map(|call| (call.method, call.is_json, call.ignores_status));
        assert_eq!(call("build"), Ok((Method::Build, false, false)));
        assert_eq!(call("check,format=json,ignorestatus"), Ok((Method::Check, true, true)));
        assert_eq!(call("format=text,outline,ignorestatus=false"), Ok((Method::Outline, false, false)));
        assert_eq!(call("lint"), call("check"));
        assert!(call("fly").unwrap_err().starts_with("no method fly"));
        assert!(call("check,format=xml").is_err() && call("check,targets").is_err() && call("check,a=b").is_err());
    }
}
