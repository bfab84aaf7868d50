//! A machine that never changes, for tests of the screen: a shop, a few loners, and what they write.

use crate::client::models as docker;
use crate::tui::EngineKind;
use crate::tui::actions::keymap::Keymap;
use crate::tui::event::{EngineFacts, Event, Link, Listing};
use crate::tui::glyphs::{Glyphs, UNICODE};
use crate::tui::keys::Key;
use crate::tui::model::Model;
use crate::tui::model::build::{Build, Outcome, Step, StepState};
use crate::tui::model::log::{LogBatch, LogLine};
use crate::tui::model::stats::Sample;
use crate::tui::theme::Theme;
use crate::tui::update::{settle, update};
use crossterm::event::{Event as Input, KeyEvent};
use jiff::Timestamp;
use ratatui::layout::Size;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Noon on a Saturday.
pub fn noon() -> Timestamp {
    Timestamp::from_second(1_795_262_400).expect("a time in this century")
}

/// An engine with something on it.
pub fn shop(columns: u16, rows: u16) -> Model {
    themed(columns, rows, "dark", &UNICODE)
}

/// The same in another theme.
pub fn themed(columns: u16, rows: u16, theme: &str, glyphs: &'static Glyphs) -> Model {
    let mut model = empty(columns, rows, theme, glyphs);
    feed(&mut model, Event::Listed(Listing::Images(images())));
    feed(&mut model, Event::Listed(Listing::Volumes(volumes())));
    feed(&mut model, Event::Listed(Listing::Networks(networks())));
    feed(&mut model, Event::Listed(Listing::Containers(containers())));
    builds(&mut model);
    settle(&mut model);
    model.containers.select("c-web");
    settle(&mut model);
    measure(&mut model);
    logs(&mut model);
    model
}

/// An engine with nothing on it.
pub fn empty(columns: u16, rows: u16, theme: &str, glyphs: &'static Glyphs) -> Model {
    let keymap = Keymap::new(&BTreeMap::new()).expect("the defaults do not clash");
    let about = EngineKind::Embedded { root: "/var/lib/boxyard".to_owned() };
    let theme = Theme::built_in(theme).expect("a theme that ships");
    let mut model = Model::new(Size::new(columns, rows), about, theme, glyphs, Arc::new(keymap));
    feed(&mut model, Event::Tick(noon()));
    feed(&mut model, Event::Link(Link::Up));
    let facts = EngineFacts {
        version: "boxyard 0.1.0".to_owned(),
        cpus: 8,
        memory: 24_696_061_952,
        is_boxyard: true,
        ..EngineFacts::default()
    };
    feed(&mut model, Event::Listed(Listing::Facts(facts)));
    feed(&mut model, Event::Listed(Listing::Containers(Vec::new())));
    feed(&mut model, Event::Listed(Listing::Images(Vec::new())));
    feed(&mut model, Event::Listed(Listing::Volumes(Vec::new())));
    feed(&mut model, Event::Listed(Listing::Networks(Vec::new())));
    model
}

/// One event and what follows a batch.
pub fn feed(model: &mut Model, event: Event) -> Vec<crate::tui::effect::Effect> {
    let mut effects = update(model, event);
    effects.extend(settle(model));
    effects
}

/// Keys one by one, e.g. `press(&mut model, "/ w e b enter")`.
pub fn press(model: &mut Model, keys: &str) -> Vec<crate::tui::effect::Effect> {
    keys.split(' ')
        .flat_map(|key| {
            let key = Key::parse(key).expect("a key");
            feed(model, Event::Input(Input::Key(KeyEvent::new(key.code, key.mods))))
        })
        .collect()
}

pub fn containers() -> Vec<docker::ContainerSummary> {
    let day = noon().as_second();
    let row = |id: &str,
               name: &str,
               image: &str,
               state: &str,
               status: &str,
               age: i64,
               project: Option<&str>,
               port: u16| {
        let mut labels = serde_json::Map::new();
        if let Some(project) = project {
            labels.insert("com.docker.compose.project".into(), project.into());
            labels.insert("com.docker.compose.service".into(), name.into());
        }
        let ports = if port > 0 { json!([{"PrivatePort": 80, "PublicPort": port, "Type": "tcp"}]) } else { json!([]) };
        let full = project.map_or(name.to_owned(), |project| format!("{project}-{name}-1"));
        json!({
            "Id": id, "Names": [format!("/{full}")], "Image": image, "ImageID": format!("sha256:{image}"),
            "Command": "run", "Created": day - age, "State": state, "Status": status, "Labels": labels, "Ports": ports,
            "Mounts": if name == "db" { json!([{"Type": "volume", "Name": "shop_data", "Destination": "/data"}]) } else { json!([]) },
            "NetworkSettings": {"Networks": {project.map_or("bridge".to_owned(), |p| format!("{p}_default")): {}}},
        })
    };
    let rows = json!([
        row("c-web", "web", "nginx:1.27", "running", "Up 3 hours (healthy)", 10_800, Some("shop"), 8080),
        row("c-api", "api", "shop/api:dev", "running", "Up 3 hours", 10_800, Some("shop"), 0),
        row("c-db", "db", "postgres:17", "running", "Up 3 hours", 10_900, Some("shop"), 0),
        row("c-worker", "worker", "shop/api:dev", "exited", "Exited (137) 2 minutes ago", 10_700, Some("shop"), 0),
        row("c-registry", "registry", "registry:2", "running", "Up 4 days (unhealthy)", 345_600, None, 5000),
        row("c-bench", "bench", "debian:bookworm", "paused", "Up 2 hours (Paused)", 7_200, None, 0),
        row("c-migrate", "migrate", "shop/api:dev", "exited", "Exited (0) 3 hours ago", 10_900, None, 0),
    ]);
    serde_json::from_value(rows).expect("summaries")
}

pub fn images() -> Vec<docker::ImageSummary> {
    let day = noon().as_second();
    let row = |name: &str, size: i64, age: i64| {
        json!({"Id": format!("sha256:{name}"), "ParentId": "", "RepoTags": if name.starts_with("0x") { json!([]) } else { json!([name]) },
               "RepoDigests": [], "Created": day - age, "Size": size, "SharedSize": size / 3, "Labels": {}, "Containers": -1})
    };
    let rows = json!([
        row("nginx:1.27", 71_000_000, 864_000),
        row("postgres:17", 438_000_000, 1_900_000),
        row("shop/api:dev", 187_000_000, 11_000),
        row("debian:bookworm", 117_000_000, 2_000_000),
        row("registry:2", 25_400_000, 40_000_000),
        row("0x2b7f9a", 187_000_000, 90_000),
    ]);
    serde_json::from_value(rows).expect("images")
}

pub fn volumes() -> Vec<docker::Volume> {
    let row = |name: &str, size: i64| {
        json!({"Name": name, "Driver": "local", "Mountpoint": format!("/var/lib/boxyard/volumes/{name}/_data"), "Labels": {},
               "Scope": "local", "Options": {}, "UsageData": {"Size": size, "RefCount": 1}})
    };
    let anonymous = "5f0c".repeat(16);
    let rows = json!([row("shop_data", 1_240_000_000), row("registry", 310_000_000), row(&anonymous, 4_096)]);
    serde_json::from_value(rows).expect("volumes")
}

pub fn networks() -> Vec<docker::NetworkSummary> {
    let row = |name: &str, driver: &str, subnet: &str| {
        let config = if subnet.is_empty() { json!([]) } else { json!([{"Subnet": subnet}]) };
        json!({"Name": name, "Id": format!("n-{name}"), "Driver": driver, "IPAM": {"Config": config}, "Internal": false})
    };
    let rows = json!([
        row("bridge", "bridge", "172.17.0.0/16"),
        row("host", "host", ""),
        row("none", "null", ""),
        row("shop_default", "bridge", "172.18.0.0/16"),
    ]);
    serde_json::from_value(rows).expect("networks")
}

fn builds(model: &mut Model) {
    let step = |name: &str, state, millis| Step { name: name.to_owned(), state, millis, why: None };
    let build = |id: &str, tag: &str, millis, outcome, steps: Vec<Step>| Build {
        id: id.to_owned(),
        tag: tag.to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        context: "./api".to_owned(),
        image: String::new(),
        started: noon(),
        millis,
        steps,
        outcome,
    };
    let done = vec![
        step("[1/4] FROM debian:bookworm", StepState::Cached, 0),
        step("[2/4] RUN apt-get update", StepState::Cached, 0),
        step("[3/4] COPY . /src", StepState::Done, 420),
        step("[4/4] RUN make", StepState::Done, 13_780),
    ];
    let failed = vec![step("[1/2] FROM nginx", StepState::Cached, 0), step("[2/2] RUN false", StepState::Failed, 90)];
    model.builds.put(build("b1", "shop/api:dev", 14_200, Outcome::Succeeded, done));
    model.builds.put(build("b0", "site:test", 900, Outcome::Failed("exit code 1".to_owned()), failed));
}

/// Two minutes of measurements.
fn measure(model: &mut Model) {
    let running = [("c-web", 12.0, 64u64), ("c-api", 38.0, 212), ("c-db", 4.0, 480), ("c-registry", 0.4, 31)];
    for (id, level, megabytes) in running {
        let (mut cpu, mut received, mut sent, mut read, mut written) = (0.0, 0u64, 0u64, 0u64, 0u64);
        for second in 0..120u64 {
            let wave = (second as f64 / 9.0).sin() * 0.6 + (second as f64 / 3.1).cos() * 0.3 + 1.0;
            cpu += level * wave * 10_000_000.0;
            received += (level * wave * 9_000.0) as u64;
            sent += (level * (2.0 - wave).max(0.0) * 21_000.0) as u64;
            read += if second % 17 == 0 { 900_000 } else { 4_000 };
            written += (level * wave * 3_000.0) as u64;
            let sample = Sample {
                at: second as i64 * 1000,
                cpu_total: cpu as u64,
                system_total: second * 8_000_000_000,
                before: None,
                cpus: 8,
                memory: (megabytes << 20) + second * 70_000,
                limit: if id == "c-web" { 512 << 20 } else { 24_696_061_952 },
                received,
                sent,
                read,
                written,
                pids: 5,
            };
            feed(model, Event::Stats(id.to_owned(), Box::new(sample)));
        }
    }
}

fn logs(model: &mut Model) {
    let start = noon().as_nanosecond() as i64;
    let paths = ["/index.html", "/app.css", "/app.js", "/api/cart", "/img/logo.svg", "/api/login"];
    let lines = (0..400i64).map(|n| {
        let path = paths[n as usize % paths.len()];
        let text = match n % 40 {
            7 => format!("\x1b[33mwarn\x1b[0m upstream api answered after 812ms for {path}"),
            23 => "\x1b[1;31merror\x1b[0m connect() failed (111: Connection refused) while connecting to upstream"
                .to_owned(),
            _ => format!("GET {path} \x1b[32m200\x1b[0m {}ms", 1 + n * 7 % 23),
        };
        LogLine { at: Some(start - (400 - n) * 237_000_000), is_stderr: n % 40 == 23, text: text.into() }
    });
    let batch = LogBatch { container: "c-web".to_owned(), epoch: model.logs.epoch, lines: lines.collect() };
    feed(model, Event::Logs(batch));
}
