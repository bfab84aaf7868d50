//! Documents of the detail view: an engine's answer as lines of pieces with meaning.

use super::super::ansi;
use super::super::model::Model;
use super::super::model::build::{Outcome, StepState};
use super::super::model::container::image_name;
use super::super::model::detail::{DetailData, DetailKey, Doc, Piece, Subject, Tab};
use super::super::text;
use super::super::theme::Role;
use crate::client::models as docker;
use serde_json::Value;

/// Columns left free at both sides of a document.
const MARGINS: usize = 2;
/// A reason is not folded more narrowly than this, as before the first layout.
const NARROWEST: usize = 20;

/// The document for an answer.
pub fn document(model: &Model, key: &DetailKey, data: &DetailData) -> Doc {
    match (key.tab, data) {
        (Tab::Env, DetailData::Container(container)) => environment(container),
        (_, DetailData::Top(top)) => processes(top),
        (Tab::Layers, DetailData::Image { inspect, history }) => layers(model, inspect, history),
        (Tab::Overview, DetailData::Volume(volume)) => volume_overview(model, volume),
        (Tab::Overview, DetailData::Network(network)) => network_overview(network),
        (_, DetailData::Container(container)) => json(container),
        (_, DetailData::Image { inspect, .. }) => json(inspect),
        (_, DetailData::Volume(volume)) => json(volume),
        (_, DetailData::Network(network)) => json(network),
        (_, DetailData::BuildLog(log)) => build_log(log),
    }
}

/// A document that needs no answer: what the model itself knows of the subject.
pub fn local(model: &Model, subject: &Subject, tab: Tab) -> Option<Doc> {
    match subject {
        Subject::Project(name) => Some(project(model, name)),
        Subject::Build(_) if tab == Tab::Log && !model.knows_builds => {
            let mut doc = Doc::default();
            doc.line(vec![piece(Role::Dim, "This host keeps no logs of builds: the workbench (B) has its last one.")]);
            Some(doc)
        }
        Subject::Build(id) if tab == Tab::Steps => {
            model.builds.get(id).map(|it| build(it, model.doc.width.saturating_sub(MARGINS)))
        }
        _ => None,
    }
}

fn piece(role: Role, text: impl Into<String>) -> Piece {
    (role, text.into())
}

fn fact(doc: &mut Doc, name: &str, value: impl AsRef<str>) {
    if !value.as_ref().is_empty() {
        doc.line(vec![piece(Role::Dim, format!("{name:<12}")), piece(Role::Text, text::clean(value.as_ref()))]);
    }
}

fn heading(doc: &mut Doc, title: impl Into<String>) {
    if !doc.lines.is_empty() {
        doc.line(Vec::new());
    }
    doc.line(vec![piece(Role::Accent, title)]);
}

/// JSON, pretty and coloured; empty values are left out so that what is set stands out.
pub fn json(value: &impl serde::Serialize) -> Doc {
    let mut doc = Doc::default();
    match serde_json::to_value(value) {
        Ok(mut value) => {
            sort(&mut value);
            let mut line = Vec::new();
            write_json(&value, 0, &mut line, &mut doc);
            doc.line(line);
        }
        Err(why) => doc.line(vec![piece(Role::Bad, why.to_string())]),
    }
    doc
}

/// Maps that came out of hash maps have no order of their own.
fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(sort);
        }
        Value::Array(values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}

fn write_json(value: &Value, depth: usize, line: &mut Vec<Piece>, doc: &mut Doc) {
    let indent = |depth: usize| piece(Role::Text, "  ".repeat(depth));
    match value {
        Value::Object(map) if !map.is_empty() => {
            line.push(piece(Role::Faint, "{"));
            doc.line(std::mem::take(line));
            let count = map.len();
            for (at, (key, value)) in map.iter().enumerate() {
                line.push(indent(depth + 1));
                line.push(piece(Role::JsonKey, text::clean(&Value::String(key.clone()).to_string())));
                line.push(piece(Role::Faint, ": "));
                write_json(value, depth + 1, line, doc);
                if at + 1 < count {
                    line.push(piece(Role::Faint, ","));
                }
                doc.line(std::mem::take(line));
            }
            line.push(indent(depth));
            line.push(piece(Role::Faint, "}"));
        }
        Value::Array(values) if !values.is_empty() => {
            line.push(piece(Role::Faint, "["));
            doc.line(std::mem::take(line));
            let count = values.len();
            for (at, value) in values.iter().enumerate() {
                line.push(indent(depth + 1));
                write_json(value, depth + 1, line, doc);
                if at + 1 < count {
                    line.push(piece(Role::Faint, ","));
                }
                doc.line(std::mem::take(line));
            }
            line.push(indent(depth));
            line.push(piece(Role::Faint, "]"));
        }
        Value::Object(_) => line.push(piece(Role::Faint, "{}")),
        Value::Array(_) => line.push(piece(Role::Faint, "[]")),
        Value::String(_) => line.push(piece(Role::JsonString, text::clean(&value.to_string()))),
        Value::Number(_) => line.push(piece(Role::JsonNumber, value.to_string())),
        Value::Bool(_) | Value::Null => line.push(piece(Role::JsonWord, value.to_string())),
    }
}

fn environment(container: &docker::ContainerInspectResponse) -> Doc {
    let mut doc = Doc::default();
    let mut env = container.config.as_ref().and_then(|config| config.env.clone()).unwrap_or_default();
    env.sort();
    let longest =
        env.iter().filter_map(|e| e.split_once('=')).map(|(key, _)| text::width(key)).max().unwrap_or(0).min(32);
    for entry in &env {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        doc.line(vec![
            piece(Role::JsonKey, text::left(&text::clean(key), longest.max(text::width(key)), "")),
            piece(Role::Faint, "  "),
            piece(Role::Text, text::clean(value)),
        ]);
    }
    if env.is_empty() {
        doc.line(vec![piece(Role::Dim, "No environment variables are set.")]);
    }
    doc
}

fn processes(top: &docker::ContainerTopResponse) -> Doc {
    let titles = top.titles.clone().unwrap_or_default();
    let rows = top.processes.clone().unwrap_or_default();
    let mut widths: Vec<usize> = titles.iter().map(|title| text::width(title)).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(text::width(cell));
        }
    }
    let is_number = |at: usize| rows.iter().all(|row| row.get(at).is_some_and(|cell| cell.parse::<f64>().is_ok()));
    let line = |cells: &[String], role: Role| {
        let last = widths.len().saturating_sub(1);
        let cells = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let cell = text::clean(cell);
            let padded = match at {
                at if at == last => cell,
                at if is_number(at) && !rows.is_empty() => text::right(&cell, *width, ""),
                _ => text::left(&cell, *width, ""),
            };
            piece(if at == last && role == Role::Dim { Role::Text } else { role }, padded + "  ")
        });
        cells.collect::<Vec<_>>()
    };
    let mut doc = Doc::default();
    doc.line(line(&titles, Role::Accent));
    for row in &rows {
        doc.line(line(row, Role::Dim));
    }
    doc
}

fn layers(model: &Model, inspect: &docker::ImageInspect, history: &[docker::ImageHistoryResponseItem]) -> Doc {
    let mut doc = Doc::default();
    let tags: Vec<String> = inspect.repo_tags.iter().flatten().map(|tag| image_name(tag)).collect();
    fact(&mut doc, "Names", tags.join("  "));
    fact(&mut doc, "Id", text::short_id(inspect.id.as_deref().unwrap_or("")));
    let platform = [&inspect.os, &inspect.architecture].map(|part| part.clone().unwrap_or_default()).join("/");
    fact(&mut doc, "Platform", platform.trim_matches('/'));
    fact(&mut doc, "Size", text::size(inspect.size.unwrap_or_default().max(0) as u64));
    if let Some(config) = &inspect.config {
        fact(&mut doc, "Entrypoint", config.entrypoint.clone().unwrap_or_default().join(" "));
        fact(&mut doc, "Command", config.cmd.clone().unwrap_or_default().join(" "));
        fact(&mut doc, "Folder", config.working_dir.clone().unwrap_or_default());
        fact(&mut doc, "User", config.user.clone().unwrap_or_default());
        fact(&mut doc, "Ports", config.exposed_ports.clone().unwrap_or_default().join("  "));
    }
    if let Some(image) = inspect.id.as_ref().and_then(|id| model.images.get(id)) {
        fact(&mut doc, "Used by", image.users.join("  "));
    }
    let count = history.iter().filter(|item| item.size > 0).count();
    heading(&mut doc, format!("{}, newest first", text::count(count, "layer")));
    let largest = history.iter().map(|item| item.size.max(0)).max().unwrap_or(0).max(1);
    for item in history {
        let size = item.size.max(0);
        let filled = ((size as f64 / largest as f64) * 10.0).ceil() as usize;
        let (role, label) =
            if size == 0 { (Role::Faint, String::new()) } else { (Role::Text, text::size(size as u64)) };
        let command = command(&item.created_by);
        let (verb, rest) = command.split_once(' ').unwrap_or((command.as_str(), ""));
        doc.line(vec![
            piece(role, format!("{label:>8} ")),
            piece(Role::GraphCpu, model.glyphs.bar_full.repeat(filled)),
            piece(Role::Faint, model.glyphs.bar_empty.repeat(10 - filled.min(10))),
            piece(Role::JsonKey, format!(" {verb}")),
            piece(if size == 0 { Role::Dim } else { Role::Text }, format!(" {rest}")),
        ]);
    }
    doc
}

/// A history entry as the Dockerfile line it came from.
fn command(created_by: &str) -> String {
    let text = text::clean(created_by);
    let shell = text.strip_prefix("/bin/sh -c ");
    let text = shell.unwrap_or(&text);
    match text.strip_prefix("#(nop) ") {
        Some(rest) => rest.trim().to_owned(),
        None if text.is_empty() => "(unknown)".to_owned(),
        None if text.split(' ').next().is_some_and(|w| w.len() > 1 && w.chars().all(|c| c.is_ascii_uppercase())) => {
            text.trim_end_matches(" # buildkit").to_owned()
        }
        None if shell.is_some() => format!("RUN {}", text.trim_end_matches(" # buildkit")),
        None => text.to_owned(),
    }
}

fn volume_overview(model: &Model, volume: &docker::Volume) -> Doc {
    let mut doc = Doc::default();
    let row = model.volumes.get(&volume.name);
    fact(&mut doc, "Name", &volume.name);
    fact(&mut doc, "Driver", &volume.driver);
    fact(&mut doc, "Mountpoint", &volume.mountpoint);
    fact(&mut doc, "Created", volume.created_at.clone().unwrap_or_default());
    fact(&mut doc, "Size", row.and_then(|row| row.size).map_or_else(|| "not measured yet".to_owned(), text::size));
    pairs(&mut doc, "Options", volume.options.iter());
    pairs(&mut doc, "Labels", volume.labels.iter());
    heading(&mut doc, "Used by");
    users(&mut doc, row.map(|row| row.users.as_slice()).unwrap_or_default());
    doc
}

fn pairs<'a>(doc: &mut Doc, title: &str, pairs: impl Iterator<Item = (&'a String, &'a String)>) {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort();
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        fact(doc, if at == 0 { title } else { "" }, format!("{key}={value}"));
    }
}

fn users(doc: &mut Doc, users: &[String]) {
    if users.is_empty() {
        doc.line(vec![piece(Role::Dim, "no container")]);
    }
    for user in users {
        doc.line(vec![piece(Role::Text, text::clean(user))]);
    }
}

fn network_overview(network: &docker::NetworkInspect) -> Doc {
    let mut doc = Doc::default();
    fact(&mut doc, "Name", network.name.clone().unwrap_or_default());
    fact(&mut doc, "Id", text::short_id(network.id.as_deref().unwrap_or("")));
    fact(&mut doc, "Driver", network.driver.clone().unwrap_or_default());
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.clone()).unwrap_or_default();
    for config in configs {
        fact(&mut doc, "Subnet", config.subnet.unwrap_or_default());
        fact(&mut doc, "Gateway", config.gateway.unwrap_or_default());
    }
    let yes = [("internal", network.internal), ("attachable", network.attachable), ("IPv6", network.enable_ipv6)];
    let yes: Vec<&str> = yes.iter().filter(|(_, on)| *on == Some(true)).map(|(name, _)| *name).collect();
    fact(&mut doc, "Flags", yes.join("  "));
    pairs(&mut doc, "Options", network.options.iter().flatten());
    pairs(&mut doc, "Labels", network.labels.iter().flatten());
    let mut members: Vec<&docker::EndpointResource> =
        network.containers.iter().flatten().map(|(_, member)| member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    heading(&mut doc, text::count(members.len(), "container"));
    for member in members {
        doc.line(vec![
            piece(Role::Text, text::left(&text::clean(member.name.as_deref().unwrap_or("")), 24, "…")),
            piece(Role::JsonString, text::left(member.ipv4_address.as_deref().unwrap_or(""), 20, "")),
            piece(Role::Dim, text::clean(member.mac_address.as_deref().unwrap_or(""))),
        ]);
    }
    doc
}

fn project(model: &Model, name: &str) -> Doc {
    let mut doc = Doc::default();
    let members = model.containers.members(name);
    let running = members.iter().filter(|c| c.state.is_alive()).count();
    fact(&mut doc, "Project", name);
    fact(&mut doc, "Running", format!("{running} of {}", members.len()));
    let (cpu, memory) = members.iter().fold((0.0, 0), |(cpu, memory), c| (cpu + c.cpu, memory + c.memory));
    fact(&mut doc, "Load", format!("cpu {}  mem {}", text::percent(cpu), text::bytes(memory)));
    heading(&mut doc, "Services");
    for member in members {
        let alive = member.state.is_alive();
        doc.line(vec![
            piece(if alive { Role::Ok } else { Role::Dim }, text::left(&member.state.words(), 15, "…")),
            piece(Role::Text, text::left(&member.label, 16, "…") + " "),
            piece(Role::Dim, text::left(&member.image, 22, "…") + " "),
            piece(Role::JsonNumber, text::right(&if alive { text::percent(member.cpu) } else { String::new() }, 6, "")),
            piece(
                Role::JsonNumber,
                text::right(&if alive { text::bytes(member.memory) } else { String::new() }, 8, ""),
            ),
            piece(Role::Dim, format!("  {}", member.ports.join(" "))),
        ]);
    }
    doc
}

/// `columns` is how wide a reason of a failure may be, of which nothing is to be cut off.
fn build(build: &super::super::model::build::Build, columns: usize) -> Doc {
    let mut doc = Doc::default();
    let (role, state) = match &build.outcome {
        Outcome::Running => (Role::Busy, "running"),
        Outcome::Succeeded => (Role::Ok, "succeeded"),
        Outcome::Failed(_) => (Role::Bad, "failed"),
        Outcome::Cancelled => (Role::Warn, "cancelled"),
    };
    fact(&mut doc, "Name", if build.tag == build.dockerfile { "" } else { &build.tag });
    fact(&mut doc, "Dockerfile", &build.dockerfile);
    fact(&mut doc, "Context", &build.context);
    fact(&mut doc, "Image", text::short_id(&build.image));
    doc.line(vec![piece(Role::Dim, format!("{:<12}", "State")), piece(role, state)]);
    fact(&mut doc, "Took", text::elapsed(build.millis));
    fact(&mut doc, "Steps", format!("{} of {}, {} cached", build.finished(), build.steps.len(), build.cached()));
    if let Outcome::Failed(why) = &build.outcome {
        heading(&mut doc, "Error");
        let lines = why.lines().flat_map(|line| text::wrap(&text::clean(line), columns.max(NARROWEST)));
        lines.for_each(|line| doc.line(vec![piece(Role::Bad, line)]));
    }
    heading(&mut doc, "Steps");
    for step in &build.steps {
        let (role, word) = match step.state {
            StepState::Waiting => (Role::Faint, "waiting"),
            StepState::Running => (Role::Busy, "running"),
            StepState::Cached => (Role::Info, "cached"),
            StepState::Done => (Role::Ok, "done"),
            StepState::Failed => (Role::Bad, "failed"),
            StepState::Cancelled => (Role::Faint, "not done"),
        };
        let took = if step.millis > 0 { text::elapsed(step.millis) } else { String::new() };
        doc.line(vec![
            piece(role, format!("{word:<10}")),
            piece(Role::Dim, format!("{took:>7}  ")),
            piece(Role::Text, text::clean(&step.name)),
        ]);
        if let Some(why) = &step.why {
            doc.line(vec![piece(Role::Warn, format!("{:19}{}", "", text::clean(why)))]);
        }
    }
    doc
}

/// What a build said, as its steps wrote it.
fn build_log(log: &[u8]) -> Doc {
    let mut doc = Doc::default();
    if log.is_empty() {
        doc.line(vec![piece(Role::Dim, "It has said nothing yet.")]);
        return doc;
    }
    for line in log.strip_suffix(b"\n").unwrap_or(log).split(|byte| *byte == b'\n') {
        doc.line(vec![piece(Role::Text, ansi::plain(line))]);
    }
    doc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_pretty_coloured_and_without_nulls() {
        let doc = json(&serde_json::json!({"a": 1, "b": null, "c": {"d": ["x", true]}, "e": {}}));
        assert_eq!(
            doc.plain(),
            "{\n  \"a\": 1,\n  \"c\": {\n    \"d\": [\n      \"x\",\n      true\n    ]\n  },\n  \"e\": {}\n}\n"
        );
        assert_eq!(doc.lines[1][3].0, Role::JsonNumber);
    }

    #[test]
    fn history_reads_like_a_dockerfile() {
        assert_eq!(command("/bin/sh -c #(nop)  CMD [\"sh\"]"), "CMD [\"sh\"]");
        assert_eq!(command("/bin/sh -c apt-get update"), "RUN apt-get update");
        assert_eq!(command("programs of this host: sh ls"), "programs of this host: sh ls");
        assert_eq!(command("COPY . /src # buildkit"), "COPY . /src");
        assert_eq!(command("RUN /bin/sh -c make # buildkit"), "RUN /bin/sh -c make");
    }
}
