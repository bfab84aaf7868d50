//! Containers: lifecycle, lists, attach, wait, statistics.

use std::future::ready;

use bollard_stubs::models as docker;
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;

use crate::api::call::{Call, without_nulls};
use crate::api::hijack;
use crate::api::reply::{Created, Done, Json, Reply};
use crate::api::websocket::Handshake;
use crate::engine::EngineError;
use crate::engine::container::{
    AttachOptions, CommitOptions, ListContainers, RemoveContainer, StatsOptions, StopOptions, StopTimeout,
    TerminalSize, WaitCondition,
};
use crate::engine::oci::fields::{known_restart_policy, look_over_request};

pub async fn list(call: Call) -> Result<Json<Vec<docker::ContainerSummary>>, EngineError> {
    let query = call.query();
    let limit = query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let options = ListContainers { all: query.flag("all"), limit, size: query.flag("size"), filters: query.filters()? };
    call.engine().containers().list(options).await.map(Json)
}

pub async fn create(call: Call) -> Result<Created<docker::ContainerCreateResponse>, EngineError> {
    let body = with_address_at_its_network(as_options_are_typed(call.json()?));
    let warnings = look_over_request(&body)?;
    let body: docker::ContainerCreateBody =
        serde_json::from_value(body).map_err(|error| EngineError::invalid(format!("invalid JSON: {error}")))?;
    let (name, platform) = (call.query().text("name"), call.query().text("platform"));
    let mut made = call.engine().containers().create(name, body, platform).await?;
    made.warnings.extend(warnings);
    Ok(Created(made))
}

/// Before 1.44 the address stood with the container; it means the network mode's network.
fn with_address_at_its_network(mut body: Value) -> Value {
    let address = body.get("MacAddress").and_then(Value::as_str).unwrap_or_default().to_owned();
    if address.is_empty() {
        return body;
    }
    let mode = body.pointer("/HostConfig/NetworkMode").and_then(Value::as_str).unwrap_or_default();
    let mode = if mode.is_empty() { "default".to_owned() } else { mode.to_owned() };
    if let Value::Object(fields) = &mut body {
        let networking = fields.entry("NetworkingConfig").or_insert_with(|| Value::Object(Default::default()));
        // indexing makes what is missing; a NetworkingConfig of another kind is told by the decoder
        if networking.is_object() && networking.get("EndpointsConfig").is_none_or(Value::is_object) {
            let endpoint = &mut networking["EndpointsConfig"][mode];
            if endpoint.get("MacAddress").is_none() && (endpoint.is_null() || endpoint.is_object()) {
                endpoint["MacAddress"] = Value::String(address);
            }
        }
    }
    body
}

/// Clients write null where they mean nothing, and one string where a list of one is meant; Docker's own decoder takes
/// both, the typed models take neither inside of maps.
fn as_options_are_typed(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        for name in ["Cmd", "Entrypoint"] {
            if let Some(word) = fields.get_mut(name).filter(|value| value.is_string()) {
                *word = Value::Array(vec![word.take()]);
            }
        }
        for name in ["ExposedPorts", "Volumes"] {
            let values =
                fields.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut());
            values.filter(|value| value.is_null()).for_each(|value| *value = Value::Object(serde_json::Map::new()));
        }
    }
    without_nulls(body)
}

pub async fn inspect(call: Call) -> Result<Json<Value>, EngineError> {
    let found = call.engine().containers().inspect(call.id(), call.query().flag("size")).await?;
    let unsayable = |error| EngineError::system("the container can't be written as JSON").because(error);
    Ok(Json(with_address_on_default_bridge(serde_json::to_value(found).map_err(unsayable)?)))
}

/// Adds what clients before 1.52 read: the address on the default bridge, in `NetworkSettings` itself.
fn with_address_on_default_bridge(mut found: Value) -> Value {
    let endpoint = found.pointer("/NetworkSettings/Networks/bridge").cloned().unwrap_or_default();
    if let Some(settings) = found.pointer_mut("/NetworkSettings").and_then(Value::as_object_mut) {
        for name in ["EndpointID", "Gateway", "GlobalIPv6Address", "IPAddress", "IPv6Gateway", "MacAddress"] {
            let value = endpoint.get(name).cloned().unwrap_or_else(|| Value::from(""));
            settings.entry(name).or_insert(value);
        }
        for name in ["GlobalIPv6PrefixLen", "IPPrefixLen"] {
            let value = endpoint.get(name).cloned().unwrap_or_else(|| Value::from(0));
            settings.entry(name).or_insert(value);
        }
    }
    found
}

pub async fn top(call: Call) -> Result<Json<docker::ContainerTopResponse>, EngineError> {
    let arguments = call.query().text("ps_args").unwrap_or("-ef");
    call.engine().containers().top(call.id(), arguments).await.map(Json)
}

/// A null instead of an empty list, as Docker answers.
pub async fn changes(call: Call) -> Result<Json<Option<Vec<docker::FilesystemChange>>>, EngineError> {
    let changes = call.engine().containers().changes(call.id()).await?;
    Ok(Json(Some(changes).filter(|changes| !changes.is_empty())))
}

pub async fn stats(call: Call) -> Result<Reply, EngineError> {
    let query = call.query();
    let is_stream = query.flag_or("stream", true);
    let is_one_shot = query.flag("one-shot");
    if is_stream && is_one_shot {
        return Err(EngineError::invalid("cannot have stream=true and one-shot=true"));
    }
    let options = StatsOptions { stream: is_stream, one_shot: is_one_shot };
    let mut samples = call.engine().containers().stats(call.id(), options).await?;
    if is_stream {
        return Ok(Reply::lines(until_refused(samples)));
    }
    match samples.next().await {
        Some(sample) => Ok(Reply::json(http::StatusCode::OK, &sample?)),
        None => Err(EngineError::system(format!("no statistics of {}", call.id()))),
    }
}

/// A stream's items up to its first failure; the head is long sent, so that can only be logged.
fn until_refused<T>(items: impl Stream<Item = Result<T, EngineError>>) -> impl Stream<Item = T> {
    items
        .map(|item| item.inspect_err(|error| tracing::warn!(%error, "a stream ended early")).ok())
        .take_while(|item| ready(item.is_some()))
        .filter_map(ready)
}

pub async fn resize(call: Call) -> Result<Done, EngineError> {
    call.engine().containers().resize(call.id(), terminal_size(&call)?).await.map(|()| Done)
}

/// The query's `h` and `w`.
pub fn terminal_size(call: &Call) -> Result<TerminalSize, EngineError> {
    let side = |name: &str| call.query().number::<u16>(name).map(Option::unwrap_or_default);
    Ok(TerminalSize { rows: side("h")?, columns: side("w")? })
}

pub async fn start(call: Call) -> Result<(), EngineError> {
    call.engine().containers().start(call.id()).await
}

pub async fn stop(call: Call) -> Result<(), EngineError> {
    call.engine().containers().stop(call.id(), stop_options(&call)?).await
}

pub async fn restart(call: Call) -> Result<(), EngineError> {
    call.engine().containers().restart(call.id(), stop_options(&call)?).await
}

fn stop_options(call: &Call) -> Result<StopOptions, EngineError> {
    let timeout = call.query().number::<i64>("t")?.map(StopTimeout::from_seconds);
    Ok(StopOptions { signal: call.query().owned("signal"), timeout })
}

pub async fn kill(call: Call) -> Result<(), EngineError> {
    call.engine().containers().kill(call.id(), call.query().text("signal").unwrap_or_default()).await
}

pub async fn update(call: Call) -> Result<Json<docker::ContainerUpdateResponse>, EngineError> {
    let body: Value = call.json()?;
    known_restart_policy(body.get("RestartPolicy").unwrap_or(&Value::Null))?;
    call.engine().containers().update(call.id(), call.loose_json()?).await.map(Json)
}

pub async fn rename(call: Call) -> Result<(), EngineError> {
    call.engine().containers().rename(call.id(), call.query().text("name").unwrap_or_default()).await
}

pub async fn pause(call: Call) -> Result<(), EngineError> {
    call.engine().containers().pause(call.id()).await
}

pub async fn unpause(call: Call) -> Result<(), EngineError> {
    call.engine().containers().unpause(call.id()).await
}

pub async fn attach(mut call: Call) -> Result<Reply, EngineError> {
    let attached = call.engine().containers().attach(call.id(), attach_options(&call)).await?;
    Ok(hijack::connect(call.take_upgrade(), attached, call.version()))
}

pub async fn attach_by_websocket(mut call: Call) -> Result<Reply, EngineError> {
    let handshake = Handshake::of(&call)?;
    let attached = call.engine().containers().attach(call.id(), attach_options(&call)).await?;
    Ok(handshake.connect(&mut call, attached))
}

fn attach_options(call: &Call) -> AttachOptions {
    let query = call.query();
    AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.owned("detachKeys"),
    }
}

/// Sends the head at once and the document when the container ends: clients start the container in between.
pub async fn wait(call: Call) -> Result<Reply, EngineError> {
    let condition = WaitCondition::parse(call.query().text("condition").unwrap_or_default())?;
    let waiting = call.engine().containers().wait(call.id(), condition).await?;
    Ok(Reply::lines(stream::once(waiting)))
}

pub async fn remove(call: Call) -> Result<(), EngineError> {
    let query = call.query();
    let options = RemoveContainer { force: query.flag("force"), volumes: query.flag("v"), link: query.flag("link") };
    call.engine().containers().remove(call.id(), options).await
}

pub async fn prune(call: Call) -> Result<Json<docker::ContainerPruneResponse>, EngineError> {
    call.engine().containers().prune(&call.query().filters()?).await.map(Json)
}

pub async fn commit(call: Call) -> Result<Created<Value>, EngineError> {
    let query = call.query();
    let container = query.text("container").ok_or_else(|| EngineError::invalid("container name or ID is missing"))?;
    let config: Value = call.json_or_default()?;
    let config = match without_nulls(config) {
        Value::Object(fields) if fields.is_empty() => None,
        Value::Null => None,
        config => Some(
            serde_json::from_value(config).map_err(|error| EngineError::invalid(format!("invalid JSON: {error}")))?,
        ),
    };
    let options = CommitOptions {
        repo: query.owned("repo"),
        tag: query.owned("tag"),
        comment: query.owned("comment"),
        author: query.owned("author"),
        pause: query.flag_or("pause", true),
        changes: query.list("changes"),
        config,
    };
    let made = call.engine().containers().commit(container, options).await?;
    Ok(Created(serde_json::json!({ "Id": made.id })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_loosely_is_taken() {
        let body = serde_json::json!({
            "Image": "x", "Cmd": "ls", "Entrypoint": null, "ExposedPorts": {"80/tcp": null},
            "NetworkingConfig": {"EndpointsConfig": {"net": null}},
        });
        let body: docker::ContainerCreateBody = serde_json::from_value(as_options_are_typed(body)).unwrap();
        assert_eq!(body.cmd.unwrap(), ["ls"]);
        assert_eq!(body.entrypoint, None);
        assert_eq!(body.exposed_ports.unwrap(), ["80/tcp"]);
    }

    #[test]
    fn the_address_on_the_default_bridge_is_told_twice() {
        let found = serde_json::json!({"NetworkSettings": {"Networks": {"bridge": {"IPAddress": "10.0.0.2", "IPPrefixLen": 24}}}});
        let found = with_address_on_default_bridge(found);
        assert_eq!(found["NetworkSettings"]["IPAddress"], "10.0.0.2");
        assert_eq!(found["NetworkSettings"]["IPPrefixLen"], 24);
        assert_eq!(found["NetworkSettings"]["Gateway"], "");
    }

    #[test]
    fn what_the_docker_cli_sends_is_taken() {
        // Cut down from `docker create -p 80:80 --restart always x` of 28.2.
        let body = serde_json::json!({
            "Hostname": "", "AttachStdin": false, "ExposedPorts": {"80/tcp": {}}, "Env": null, "Cmd": null, "Image": "x",
            "Volumes": {}, "Labels": {}, "HostConfig": {
                "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default",
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "80"}]},
                "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "CgroupnsMode": "", "Isolation": "",
                "ConsoleSize": [24, 80], "MaskedPaths": null, "ReadonlyPaths": null, "MemorySwappiness": -1,
            }, "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": null, "Links": null, "MacAddress": ""}}},
        });
        let body: docker::ContainerCreateBody = serde_json::from_value(as_options_are_typed(body)).unwrap();
        assert_eq!(body.image.as_deref(), Some("x"));
    }
}
