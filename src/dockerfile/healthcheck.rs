//! `HEALTHCHECK [flags] CMD command` and `HEALTHCHECK NONE`.

use std::time::Duration;

use super::ast::{Command, Flag, Healthcheck, Role};
use super::body::at_least_one;
use super::duration;
use super::instruction::{Fault, Reader, Rest};
use super::suggest::nearest;
use super::words;

/// Reads what stands after the flags; their values are checked already.
pub(super) fn read(reader: &mut Reader<'_>, rest: &Rest<'_>, flags: &[Flag]) -> Result<Healthcheck, Fault> {
    let (kind, after) = rest.text.split_once(words::is_blank).unwrap_or((rest.text, ""));
    let kind_range = rest.at..rest.at + kind.len();
    match kind.to_ascii_uppercase().as_str() {
        "" => return Err(at_least_one("HEALTHCHECK", rest)),
        "NONE" if after.trim().is_empty() => {
            reader.part(Role::Subkeyword, kind_range);
            return Ok(Healthcheck::None);
        }
        "NONE" => return Err(rest.fault("HEALTHCHECK NONE takes no arguments")),
        "CMD" => {}
        other => {
            return Err(Fault {
                expected: Some("CMD command, or NONE".to_owned()),
                replacement: nearest(other, ["CMD", "NONE"]).map(str::to_owned),
                ..rest.fault_at(kind_range, format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"))
            });
        }
    }
    reader.part(Role::Subkeyword, kind_range);
    let after = after.trim_start();
    let at = rest.at + (rest.text.len() - after.len());
    let command = reader.command(&Rest { text: after, at, form: rest.form, keyword: rest.range() })?;
    if matches!(&command, Command::Shell(text) if text.is_empty()) || command == Command::Exec(Vec::new()) {
        return Err(rest.fault("Missing command after HEALTHCHECK CMD"));
    }
    let value = |name: &str| flags.iter().find(|flag| flag.name == name).and_then(|flag| flag.value.as_deref());
    // Zero inherits, as in Docker.
    let time = |name: &str| value(name).and_then(duration::parse).filter(|time: &Duration| !time.is_zero());
    Ok(Healthcheck::Check {
        interval: time("interval"),
        timeout: time("timeout"),
        start_period: time("start-period"),
        start_interval: time("start-interval"),
        retries: value("retries").and_then(|text| text.parse::<i64>().ok()).filter(|count| *count > 0),
        command,
    })
}
