//! Where a container's output is kept: the options of Docker's log drivers, checked when it is created and turned into
//! what its shim is told when it starts.
//!
//! Other than Docker's, our json-file rotates by default, so that no container fills the disk by talking;
//! `max-size=-1` lets it grow. `local` is written in the same lines with Docker's defaults for it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard_stubs::models as docker;
use regex::Regex;

use super::record::ContainerRecord;
use crate::engine::EngineError;
use crate::engine::shim::{LogDriver, LogSpec};

/// Which options a driver has.
struct Driver {
    name: &'static str,
    options: &'static [&'static str],
}

const DRIVERS: &[Driver] = &[
    Driver {
        name: "json-file",
        options: &["max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"],
    },
    Driver { name: "local", options: &["max-file", "max-size", "compress"] },
];
/// Docker takes these for any driver: how messages reach it, and its cache for drivers that can't be read.
const COMMON: &[&str] =
    &["mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
/// What `mode=non-blocking` lets wait for the disk unless `max-buffer-size` says otherwise.
const USUAL_BUFFER: u64 = 1 << 20;
/// What goes before an error that Docker finds at the start only.
const AT_START: &str = "failed to initialize logging driver";

/// Checks what a create call says of the log.
///
/// # Errors
/// 400 with Docker's words.
pub fn validate(log: &docker::HostConfigLogConfig) -> Result<(), EngineError> {
    let name = log.typ.as_deref().filter(|name| !name.is_empty()).unwrap_or("json-file");
    if name == "none" {
        return Ok(());
    }
    let options = Options::of(log);
    options.delivery().map_err(EngineError::invalid)?;
    let Some(driver) = DRIVERS.iter().find(|driver| driver.name == name) else {
        return Err(EngineError::invalid(format!("logger: no log driver named '{name}' is registered")));
    };
    options.known_to(driver).map_err(EngineError::invalid)?;
    let limits = options.limits(name, Limits::of(name));
    limits.and(options.patterns()).map_err(|error| EngineError::invalid(format!("{AT_START}: {error}")))
}

/// What the shim of `record`'s container does with its output, kept at `path`.
pub fn log_spec(path: &Path, record: &ContainerRecord) -> LogSpec {
    let usual = docker::HostConfigLogConfig::default();
    let log = record.host_config.log_config.as_ref().unwrap_or(&usual);
    let name = log.typ.as_deref().unwrap_or_default();
    if name == "none" {
        return LogSpec::none();
    }
    let options = Options::of(log);
    // A record that an older engine let pass gets the defaults.
    let Limits { max_size, max_file, compress } =
        options.limits(name, Limits::of(name)).unwrap_or_else(|_| Limits::of(name));
    let (driver, attrs) = match name {
        "local" => (LogDriver::Local, BTreeMap::new()),
        _ => (LogDriver::JsonFile, options.attrs(record)),
    };
    let buffer = options.delivery().unwrap_or_default();
    LogSpec { driver, max_size, max_file, compress, attrs, buffer, ..LogSpec::json_file(path) }
}

/// When a log is rotated, and what becomes of the old files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
}

impl Limits {
    /// The defaults of driver `name`.
    fn of(name: &str) -> Self {
        if name == "local" {
            return Self { max_size: Some(20_000_000), max_file: 5, compress: true };
        }
        let LogSpec { max_size, max_file, compress, .. } = LogSpec::json_file(Path::new(""));
        Self { max_size, max_file, compress }
    }
}

/// The options of one container's log, read in Docker's ways.
struct Options<'a>(Option<&'a HashMap<String, String>>);

impl<'a> Options<'a> {
    fn of(log: &'a docker::HostConfigLogConfig) -> Self {
        Self(log.config.as_ref())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0?.get(name).map(String::as_str)
    }

    /// How messages reach the driver: how many bytes may wait for it where the container must not.
    fn delivery(&self) -> Result<Option<u64>, String> {
        let mode = self.get("mode").unwrap_or_default();
        if !["", "blocking", "non-blocking"].contains(&mode) {
            return Err(format!("logger: logging mode not supported: {mode}"));
        }
        let is_buffered = mode == "non-blocking";
        let Some(size) = self.get("max-buffer-size") else { return Ok(is_buffered.then_some(USUAL_BUFFER)) };
        if !is_buffered {
            return Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned());
        }
        size_of(size, 1024).map(Some).map_err(|error| format!("error parsing option max-buffer-size: {error}"))
    }

    fn known_to(&self, driver: &Driver) -> Result<(), String> {
        let is_unknown = |name: &&String| ![driver.options, COMMON].concat().contains(&name.as_str());
        match (self.0.into_iter().flat_map(HashMap::keys).filter(is_unknown).min(), driver.name) {
            (None, _) => Ok(()),
            (Some(option), "local") => Err(format!("unknown log opt '{option}' for log driver local")),
            (Some(option), name) => Err(format!("unknown log opt '{option}' for {name} log driver")),
        }
    }

    fn limits(&self, driver: &str, usual: Limits) -> Result<Limits, String> {
        let max_size = match self.get("max-size") {
            None => usual.max_size,
            Some("-1") => None,
            Some(text) => match size_of(text, 1000).map_err(|error| wrapped(driver, "max-size", text, &error))? {
                0 => return Err("max-size must be a positive number".to_owned()),
                size => Some(size),
            },
        };
        let max_file = match self.get("max-file") {
            None => usual.max_file,
            Some(text) => match text.parse::<i32>().map_err(|_| wrapped(driver, "max-file", text, &no_number(text)))? {
                count @ 1.. => count.unsigned_abs(),
                _ => return Err("max-file cannot be less than 1".to_owned()),
            },
        };
        let can_compress = max_file > 1 && max_size.is_some();
        let compress = match self.get("compress") {
            None => usual.compress && can_compress,
            Some(text) => boolean(text)?,
        };
        if compress && !can_compress {
            return Err(match driver {
                "local" => "compression cannot be enabled when max file count is 1".to_owned(),
                _ => "compress cannot be true when max-file is less than 2 or max-size is not set".to_owned(),
            });
        }
        Ok(Limits { max_size, max_file, compress })
    }

    /// Checks the options that pick attributes.
    fn patterns(&self) -> Result<(), String> {
        for name in ["labels-regex", "env-regex"] {
            if let Some(pattern) = self.get(name) {
                Regex::new(pattern).map_err(|error| format!("error parsing regexp: {error}"))?;
            }
        }
        tag_words(self.get("tag").unwrap_or_default()).map(drop)
    }

    /// What goes into each line: labels and variables by name and by pattern, and the tag.
    fn attrs(&self, record: &ContainerRecord) -> BTreeMap<String, String> {
        let labels = || {
            let labels = record.config.labels.iter().flatten();
            labels.map(|(name, value)| (name.as_str(), value.as_str()))
        };
        let variables = || record.config.env.iter().flatten().filter_map(|variable| variable.split_once('='));
        let mut attrs = BTreeMap::new();
        self.pick("labels", "labels-regex", labels(), &mut attrs);
        self.pick("env", "env-regex", variables(), &mut attrs);
        if let Some(tag) = self.get("tag").filter(|tag| !tag.is_empty())
            && let Ok(words) = tag_words(tag)
        {
            attrs.insert("tag".to_owned(), words.iter().map(|word| word.text(record)).collect());
        }
        attrs
    }

    fn pick<'b>(
        &self,
        names: &str,
        pattern: &str,
        pairs: impl Iterator<Item = (&'b str, &'b str)>,
        attrs: &mut BTreeMap<String, String>,
    ) {
        let names: Vec<&str> = self.get(names).map(|names| names.split(',').collect()).unwrap_or_default();
        let pattern = self.get(pattern).filter(|text| !text.is_empty()).and_then(|text| Regex::new(text).ok());
        for (name, value) in pairs {
            if names.contains(&name) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name)) {
                attrs.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Docker's local driver says which option it is; json-file does not.
fn wrapped(driver: &str, option: &str, text: &str, error: &str) -> String {
    match driver {
        "local" => format!("invalid value for {option}: {text}: {error}"),
        _ => error.to_owned(),
    }
}

fn no_number(text: &str) -> String {
    format!("strconv.Atoi: parsing \"{text}\": invalid syntax")
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    }
}

/// `10m`, `1.5 GB`, `100`: bytes, in units of which each is `factor` of the one before.
fn size_of(text: &str, factor: u32) -> Result<u64, String> {
    let bad = || format!("invalid size: '{text}'");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(bad)? + 1;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().map_err(|_| bad())?;
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    if number < 0.0 || number.is_nan() {
        return Err(bad());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a float cast saturates, and it is not negative
    Ok((number * f64::from(factor).powi(power)) as u64)
}

/// A piece of a tag's template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// The fields that a tag can name, all that Docker has but for its map of attributes.
const TAG_FIELDS: &[&str] =
    &["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "Command", "DaemonName", "Hostname"];

fn tag_words(template: &str) -> Result<Vec<Word<'_>>, String> {
    let mut words = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (field, after) = after.split_once("}}").ok_or_else(|| "template: log-tag: unclosed action".to_owned())?;
        let field = field.trim();
        let name = field.strip_prefix('.').filter(|name| TAG_FIELDS.contains(name));
        let name = name.ok_or_else(|| format!("template: log-tag: can't evaluate field {field}"))?;
        words.extend([Word::Text(text), Word::Field(name)]);
        rest = after;
    }
    words.push(Word::Text(rest));
    Ok(words)
}

impl Word<'_> {
    fn text(self, record: &ContainerRecord) -> String {
        let Self::Field(name) = self else {
            return if let Self::Text(text) = self { text.to_owned() } else { String::new() };
        };
        let image = record.image.as_ref().map(ToString::to_string).unwrap_or_default();
        let short = |text: &str| text.chars().take(12).collect();
        match name {
            "ID" => short(&record.id),
            "FullID" => record.id.clone(),
            "Name" => record.name.clone(),
            "ImageID" => short(&image),
            "ImageFullID" => image,
            "ImageName" => record.config.image.clone().unwrap_or_default(),
            "Command" => command(&record.config),
            "Hostname" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            _ => "docker".to_owned(),
        }
    }
}

fn command(config: &docker::ContainerConfig) -> String {
    let words: Vec<&str> =
        [&config.entrypoint, &config.cmd].into_iter().flatten().flatten().map(String::as_str).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: &str, options: &[(&str, &str)]) -> docker::HostConfigLogConfig {
        let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        docker::HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(config) }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        let check = |driver, options: &[(&str, &str)], expected: &str| {
            let error = validate(&log(driver, options)).unwrap_err();
            assert_eq!(error.message(), expected);
        };
        check("syslog", &[], "logger: no log driver named 'syslog' is registered");
        check("json-file", &[("speed", "1")], "unknown log opt 'speed' for json-file log driver");
        check("local", &[("tag", "x")], "unknown log opt 'tag' for log driver local");
        check("json-file", &[("mode", "maybe")], "logger: logging mode not supported: maybe");
        check(
            "json-file",
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        );
        let start = |text: &str| format!("failed to initialize logging driver: {text}");
        check("json-file", &[("max-size", "much")], &start("invalid size: 'much'"));
        check("json-file", &[("max-size", "0")], &start("max-size must be a positive number"));
        check("json-file", &[("max-file", "0")], &start("max-file cannot be less than 1"));
        check("json-file", &[("max-file", "x")], &start("strconv.Atoi: parsing \"x\": invalid syntax"));
        check("local", &[("max-size", "x")], &start("invalid value for max-size: x: invalid size: 'x'"));
        check(
            "json-file",
            &[("max-file", "1"), ("compress", "true")],
            &start("compress cannot be true when max-file is less than 2 or max-size is not set"),
        );
        check("json-file", &[("tag", "{{.Nose}}")], &start("template: log-tag: can't evaluate field .Nose"));
    }

    #[test]
    fn what_docker_takes_is_taken() {
        for (driver, options) in [
            ("", vec![]),
            ("none", vec![("whatever", "1")]),
            ("json-file", vec![("mode", "non-blocking"), ("max-buffer-size", "4m"), ("max-size", "-1")]),
            ("json-file", vec![("labels", "a,b"), ("env-regex", "^X_"), ("tag", "{{.Name}}/{{ .ID }}")]),
            ("local", vec![("max-size", "1.5 GB"), ("max-file", "1"), ("compress", "false")]),
        ] {
            assert_eq!(validate(&log(driver, &options)).map_err(|error| error.message().to_owned()), Ok(()));
        }
    }

    #[test]
    fn limits_are_dockers_but_for_rotation_by_default() {
        let limits = |driver, options: &[(&str, &str)]| {
            let log = log(driver, options);
            Options::of(&log).limits(driver, Limits::of(driver)).unwrap()
        };
        let usual = Limits { max_size: Some(10_000_000), max_file: 3, compress: true };
        assert_eq!(limits("json-file", &[]), usual);
        assert_eq!(limits("json-file", &[("max-size", "2k")]), Limits { max_size: Some(2000), ..usual });
        assert_eq!(limits("json-file", &[("max-file", "1")]), Limits { max_file: 1, compress: false, ..usual });
        assert_eq!(limits("json-file", &[("max-size", "-1")]), Limits { max_size: None, compress: false, ..usual });
        assert_eq!(limits("local", &[]), Limits { max_size: Some(20_000_000), max_file: 5, compress: true });
    }

    #[test]
    fn sizes_are_go_units() {
        assert_eq!(size_of("10m", 1000), Ok(10_000_000));
        assert_eq!(size_of("10MiB", 1024), Ok(10 << 20));
        assert_eq!(size_of("1.5k", 1000), Ok(1500));
        assert_eq!(size_of("7", 1000), Ok(7));
        assert_eq!(size_of("7q", 1000), Err("invalid suffix: 'q'".to_owned()));
        assert_eq!(size_of("-1m", 1000), Err("invalid size: '-1m'".to_owned()));
    }
}
