//! Every field of a creation request, and what becomes of it: it works, it is refused by name, or it has no effect on
//! Linux. The refusals, the warnings about fields nobody knows, and the page `docs/compatibility.md` read this table; a
//! test holds it equal to the API's own models, so that a new field can't be passed over in silence.

use serde_json::Value;

use crate::engine::EngineError;

/// Which part of the request a field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The container itself: the top of the request.
    Config,
    /// Where and within which limits it runs: `HostConfig`.
    HostConfig,
    /// One of `NetworkingConfig.EndpointsConfig`.
    Endpoint,
    /// One of `HostConfig.Mounts`.
    Mount,
}

impl Part {
    /// The parts in the order of the page.
    pub const ALL: [Part; 4] = [Part::Config, Part::HostConfig, Part::Endpoint, Part::Mount];

    /// As the API calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Config => "ContainerConfig",
            Part::HostConfig => "HostConfig",
            Part::Endpoint => "EndpointSettings",
            Part::Mount => "Mount",
        }
    }
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy)]
pub enum Standing {
    /// It does what Docker's does.
    Works,
    /// It is accepted and shown again; here it changes nothing.
    WithoutEffect,
    /// Refused, unless it is empty or one of these.
    Refused {
        /// Values that ask for nothing.
        unless: &'static [&'static str],
        /// The refusal's text for a value.
        words: fn(&Value) -> String,
    },
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Where it stands.
    pub part: Part,
    /// The API's name.
    pub name: &'static str,
    /// What becomes of it.
    pub standing: Standing,
    /// What a reader should know besides.
    pub note: &'static str,
}

const fn works(part: Part, name: &'static str) -> Field {
    Field { part, name, standing: Standing::Works, note: "" }
}

const fn works_but(part: Part, name: &'static str, note: &'static str) -> Field {
    Field { part, name, standing: Standing::Works, note }
}

const fn without_effect(part: Part, name: &'static str, note: &'static str) -> Field {
    Field { part, name, standing: Standing::WithoutEffect, note }
}

const fn refused(
    part: Part,
    name: &'static str,
    unless: &'static [&'static str],
    words: fn(&Value) -> String,
    note: &'static str,
) -> Field {
    Field { part, name, standing: Standing::Refused { unless, words }, note }
}

use Part::{Config, Endpoint, HostConfig, Mount};

/// The table.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    works(Config, "Hostname"),
    works(Config, "Domainname"),
    works(Config, "User"),
    without_effect(Config, "AttachStdin", "a note of the client's; attaching is a call of its own"),
    without_effect(Config, "AttachStdout", "as AttachStdin"),
    without_effect(Config, "AttachStderr", "as AttachStdin"),
    works(Config, "ExposedPorts"),
    works(Config, "Tty"),
    works(Config, "OpenStdin"),
    works(Config, "StdinOnce"),
    works(Config, "Env"),
    works(Config, "Cmd"),
    works_but(Config, "Healthcheck", "probed by the container's shim, so without an engine too; a paused container counts as unhealthy until its next probe"),
    without_effect(Config, "ArgsEscaped", "for Windows images only"),
    works(Config, "Image"),
    works(Config, "Volumes"),
    works(Config, "WorkingDir"),
    works(Config, "Entrypoint"),
    works(Config, "NetworkDisabled"),
    works_but(Config, "MacAddress", "before 1.44; becomes the mode's network's"),
    without_effect(Config, "OnBuild", "kept for the image that a commit makes"),
    works(Config, "Labels"),
    works(Config, "StopSignal"),
    works(Config, "StopTimeout"),
    without_effect(Config, "Shell", "kept for the image that a commit makes"),

    works(HostConfig, "CpuShares"),
    works(HostConfig, "Memory"),
    works(HostConfig, "CgroupParent"),
    works_but(HostConfig, "BlkioWeight", "discarded with a warning where the kernel has none"),
    works_but(HostConfig, "BlkioWeightDevice", "as BlkioWeight"),
    works(HostConfig, "BlkioDeviceReadBps"),
    works(HostConfig, "BlkioDeviceWriteBps"),
    works(HostConfig, "BlkioDeviceReadIOps"),
    works(HostConfig, "BlkioDeviceWriteIOps"),
    works(HostConfig, "CpuPeriod"),
    works(HostConfig, "CpuQuota"),
    works_but(HostConfig, "CpuRealtimePeriod", "cgroup v1 only; discarded with a warning elsewhere"),
    works_but(HostConfig, "CpuRealtimeRuntime", "with a CgroupParent that has a budget; refused by name without"),
    works(HostConfig, "CpusetCpus"),
    works(HostConfig, "CpusetMems"),
    works_but(HostConfig, "Devices", "a folder stands for the devices in it"),
    works(HostConfig, "DeviceCgroupRules"),
    refused(HostConfig, "DeviceRequests", &[], device_request, "there are no device drivers; pass nodes by Devices"),
    refused(HostConfig, "KernelMemory", &[], kernel_memory, "removed in 1.42; kernels from 5.16 on have none"),
    refused(HostConfig, "KernelMemoryTCP", &[], kernel_memory_tcp, "deprecated; use Memory"),
    works(HostConfig, "MemoryReservation"),
    works(HostConfig, "MemorySwap"),
    works_but(HostConfig, "MemorySwappiness", "cgroup v1 only; discarded with a warning elsewhere"),
    works(HostConfig, "NanoCpus"),
    works_but(HostConfig, "OomKillDisable", "cgroup v1 only; discarded with a warning elsewhere"),
    works(HostConfig, "Init"),
    works(HostConfig, "PidsLimit"),
    works(HostConfig, "Ulimits"),
    refused(HostConfig, "CpuCount", &[], cpu_count, "for Windows only"),
    refused(HostConfig, "CpuPercent", &[], cpu_percent, "for Windows only"),
    refused(HostConfig, "IOMaximumIOps", &[], io_maximum, "for Windows only"),
    refused(HostConfig, "IOMaximumBandwidth", &[], io_maximum, "for Windows only"),
    works(HostConfig, "Binds"),
    without_effect(HostConfig, "ContainerIDFile", "the client writes it"),
    works_but(HostConfig, "LogConfig", "json-file, local and none"),
    works(HostConfig, "NetworkMode"),
    works(HostConfig, "PortBindings"),
    works(HostConfig, "RestartPolicy"),
    works(HostConfig, "AutoRemove"),
    works_but(HostConfig, "VolumeDriver", "local"),
    works(HostConfig, "VolumesFrom"),
    works(HostConfig, "Mounts"),
    works(HostConfig, "ConsoleSize"),
    works_but(HostConfig, "Annotations", "kept and shown; external runtimes get them"),
    works(HostConfig, "CapAdd"),
    works(HostConfig, "CapDrop"),
    works(HostConfig, "CgroupnsMode"),
    works(HostConfig, "Dns"),
    works(HostConfig, "DnsOptions"),
    works(HostConfig, "DnsSearch"),
    works(HostConfig, "ExtraHosts"),
    works(HostConfig, "GroupAdd"),
    works(HostConfig, "IpcMode"),
    refused(HostConfig, "Cgroup", &[], cgroup, "Docker never carried it out either"),
    works(HostConfig, "Links"),
    works(HostConfig, "OomScoreAdj"),
    works(HostConfig, "PidMode"),
    works(HostConfig, "Privileged"),
    works(HostConfig, "PublishAllPorts"),
    works(HostConfig, "ReadonlyRootfs"),
    works_but(HostConfig, "SecurityOpt", "label is discarded with a warning: there is no SELinux"),
    refused(HostConfig, "StorageOpt", &[], storage_opt, "as Docker's overlay2 without project quotas"),
    works(HostConfig, "Tmpfs"),
    works(HostConfig, "UTSMode"),
    works(HostConfig, "UsernsMode"),
    works(HostConfig, "ShmSize"),
    works(HostConfig, "Sysctls"),
    works(HostConfig, "Runtime"),
    refused(HostConfig, "Isolation", &["default"], isolation, "Linux knows default only"),
    works(HostConfig, "MaskedPaths"),
    works(HostConfig, "ReadonlyPaths"),

    works_but(Endpoint, "IPAMConfig", "IPv4Address; IPv6 and link-local addresses are refused"),
    works(Endpoint, "Links"),
    works(Endpoint, "MacAddress"),
    works(Endpoint, "Aliases"),
    refused(Endpoint, "DriverOpts", &[], driver_opts, "the drivers have no options for an endpoint"),
    refused(Endpoint, "GwPriority", &[], gateway_priority, "the gateway is the mode's network's"),
    without_effect(Endpoint, "NetworkID", "an answer's field"),
    without_effect(Endpoint, "EndpointID", "an answer's field"),
    without_effect(Endpoint, "Gateway", "an answer's field"),
    without_effect(Endpoint, "IPAddress", "an answer's field"),
    without_effect(Endpoint, "IPPrefixLen", "an answer's field"),
    without_effect(Endpoint, "IPv6Gateway", "an answer's field"),
    without_effect(Endpoint, "GlobalIPv6Address", "an answer's field"),
    without_effect(Endpoint, "GlobalIPv6PrefixLen", "an answer's field"),
    without_effect(Endpoint, "DNSNames", "an answer's field"),

    works(Mount, "Target"),
    works(Mount, "Source"),
    works_but(Mount, "Type", "bind, volume and tmpfs; the others are refused"),
    works(Mount, "ReadOnly"),
    without_effect(Mount, "Consistency", "for Docker Desktop on macOS"),
    works(Mount, "BindOptions"),
    works(Mount, "VolumeOptions"),
    refused(Mount, "ImageOptions", &[], image_options, "with the type image"),
    works(Mount, "TmpfsOptions"),
];

/// Refuses what the table refuses, and names what it does not know.
///
/// # Errors
/// 400 with the refusal's words.
pub fn look_over(part: Part, object: &Value) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    for (name, value) in object.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value)) {
        let row = FIELDS.iter().find(|row| row.part == part && row.name == name);
        match row.map(|row| row.standing) {
            Some(Standing::Refused { unless, words }) if !value.as_str().is_some_and(|text| unless.contains(&text)) => {
                return Err(EngineError::invalid(words(value)));
            }
            Some(_) => {}
            None if part == Config && matches!(name.as_str(), "HostConfig" | "NetworkingConfig") => {}
            None => warnings.push(format!("{}.{name} is not known to this engine and has no effect.", part.name())),
        }
    }
    Ok(warnings)
}

/// A whole creation request: the config, the host config with its mounts, the endpoints.
///
/// # Errors
/// As [`look_over`].
pub fn look_over_request(body: &Value) -> Result<Vec<String>, EngineError> {
    let at = |pointer: &str| body.pointer(pointer).unwrap_or(&Value::Null);
    let mut warnings = look_over(Config, body)?;
    warnings.extend(look_over(HostConfig, at("/HostConfig"))?);
    known_restart_policy(at("/HostConfig/RestartPolicy"))?;
    for mount in at("/HostConfig/Mounts").as_array().into_iter().flatten() {
        warnings.extend(look_over(Mount, mount)?);
    }
    for endpoint in at("/NetworkingConfig/EndpointsConfig").as_object().into_iter().flat_map(|map| map.values()) {
        warnings.extend(look_over(Endpoint, endpoint)?);
    }
    Ok(warnings)
}

/// Refuses a restart policy by a name that the models do not know.
///
/// # Errors
/// 400 with Docker's words.
pub fn known_restart_policy(policy: &Value) -> Result<(), EngineError> {
    match policy.get("Name").and_then(Value::as_str).unwrap_or_default() {
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        other => Err(EngineError::invalid(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
             'unless-stopped'"
        ))),
    }
}

/// What Go's zero values are in JSON: they ask for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) => false,
    }
}

fn device_request(requests: &Value) -> String {
    let first = requests.get(0).unwrap_or(&Value::Null);
    let driver = first.get("Driver").and_then(Value::as_str).unwrap_or_default();
    let words = |all: &Value| -> String {
        let names: Vec<&str> = all.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", names.join(" "))
    };
    let capabilities: Vec<String> =
        first.get("Capabilities").and_then(Value::as_array).into_iter().flatten().map(words).collect();
    format!("could not select device driver \"{driver}\" with capabilities: [{}]", capabilities.join(" "))
}

fn kernel_memory(_: &Value) -> String {
    "KernelMemory is not supported: the kernel has no limit for its own memory alone; use Memory".to_owned()
}

fn kernel_memory_tcp(_: &Value) -> String {
    "KernelMemoryTCP is not supported: it is deprecated; use Memory".to_owned()
}

fn cpu_count(_: &Value) -> String {
    "CpuCount is not supported: it is for Windows containers only; use NanoCpus".to_owned()
}

fn cpu_percent(_: &Value) -> String {
    "CpuPercent is not supported: it is for Windows containers only; use NanoCpus".to_owned()
}

fn io_maximum(_: &Value) -> String {
    "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps".to_owned()
}

fn cgroup(value: &Value) -> String {
    format!("Cgroup is not supported: {value}; use CgroupParent")
}

fn storage_opt(_: &Value) -> String {
    "--storage-opt is not supported: the size of a container's root can't be limited".to_owned()
}

fn isolation(value: &Value) -> String {
    format!("invalid isolation {value}: linux only supports 'default'")
}

fn driver_opts(_: &Value) -> String {
    "DriverOpts of an endpoint are not supported: the network drivers have none".to_owned()
}

fn gateway_priority(_: &Value) -> String {
    "GwPriority is not supported: the default gateway is that of the network mode's network".to_owned()
}

fn image_options(_: &Value) -> String {
    "mount type image is not supported".to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use bollard_stubs::models as docker;
    use serde::de::value::{Error, MapDeserializer};
    use serde::{Deserialize, de};

    use super::*;

    /// The names a model's `Deserialize` asks for.
    fn names<T: for<'de> Deserialize<'de>>() -> BTreeSet<&'static str> {
        struct Ask<'a>(&'a mut BTreeSet<&'static str>);
        impl<'de> de::Deserializer<'de> for Ask<'_> {
            type Error = Error;
            fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
            }
            fn deserialize_struct<V: de::Visitor<'de>>(
                self,
                _: &'static str,
                fields: &'static [&'static str],
                visitor: V,
            ) -> Result<V::Value, Error> {
                self.0.extend(fields);
                self.deserialize_any(visitor)
            }
            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
                newtype_struct seq tuple tuple_struct map enum identifier ignored_any
            }
        }
        let mut found = BTreeSet::new();
        let _ = T::deserialize(Ask(&mut found));
        found
    }

    fn in_table(part: Part) -> BTreeSet<&'static str> {
        FIELDS.iter().filter(|row| row.part == part).map(|row| row.name).collect()
    }

    #[test]
    fn every_field_of_the_api_is_in_the_table() {
        // What older requests may hold and the newest models have lost.
        let lost: HashMap<&str, &[&str]> = HashMap::from([
            ("ContainerConfig", &["MacAddress"][..]),
            ("HostConfig", &["KernelMemory", "KernelMemoryTCP"]),
        ]);
        let models = [
            (Config, names::<docker::ContainerConfig>()),
            (HostConfig, names::<docker::HostConfig>()),
            (Endpoint, names::<docker::EndpointSettings>()),
            (Mount, names::<docker::Mount>()),
        ];
        for (part, mut model) in models {
            assert!(model.len() > 5, "{part:?}: {model:?}");
            model.extend(lost.get(part.name()).copied().unwrap_or_default());
            assert_eq!(in_table(part), model, "{part:?}");
        }
        let rows: BTreeSet<_> = FIELDS.iter().map(|row| (row.part.name(), row.name)).collect();
        assert_eq!(rows.len(), FIELDS.len(), "a field stands in the table twice");
    }

    #[test]
    fn every_refusal_has_a_reason_and_words() {
        for row in FIELDS {
            if let Standing::Refused { words, .. } = row.standing {
                assert!(!row.note.is_empty() && !words(&Value::from(1)).is_empty(), "{}", row.name);
            }
        }
    }

    #[test]
    fn refused_by_name_and_unknown_told() {
        let check = |text: &str| {
            look_over_request(&serde_json::from_str(text).unwrap()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(
            check(r#"{"Image":"x","HostConfig":{"StorageOpt":{},"CpuCount":0,"Isolation":"default"}}"#),
            Ok(vec![])
        );
        assert_eq!(
            check(r#"{"HostConfig":{"DeviceRequests":[{"Driver":"","Count":-1,"Capabilities":[["gpu"]]}]}}"#),
            Err("could not select device driver \"\" with capabilities: [[gpu]]".to_owned())
        );
        assert_eq!(
            check(r#"{"HostConfig":{"Isolation":"hyperv"}}"#),
            Err("invalid isolation \"hyperv\": linux only supports 'default'".to_owned())
        );
        assert!(
            check(r#"{"HostConfig":{"KernelMemory":7}}"#).unwrap_err().starts_with("KernelMemory is not supported")
        );
        assert_eq!(
            check(r#"{"Image":"x","HostConfig":{"Wings":2}}"#),
            Ok(vec!["HostConfig.Wings is not known to this engine and has no effect.".to_owned()])
        );
    }
}
