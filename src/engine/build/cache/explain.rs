//! Why the cache has nothing for a step: what differs from the nearest earlier run of it.
//!
//! Nearest is the step of the same text in the same project, with the most inputs equal; where the text was edited, the step
//! of the same kind that stood in the same place of the same stage. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::key::{BELOW, FILE, FILES, Key};
use super::record::{About, BaseImage, Record};

/// How many differences a person is told.
const MAX_TOLD: usize = 3;
/// Inputs that follow from the steps before: told only where nothing else differs.
const DERIVED: [&str; 3] = [BELOW, "configuration", "result"];

/// A step that the cache has nothing for.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::build) struct Missed<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Where it stands.
    pub about: &'a About,
    /// All instructions of its stage, as written: a step that still stands elsewhere was not edited into this one.
    pub texts: &'a [String],
    /// The first step before it that was done anew in this build.
    pub changed: Option<&'a str>,
    /// When work on its stage began: what is younger is of this very build.
    pub since: Timestamp,
}

/// Why there is no record. `None` where nothing like it was ever done.
pub(super) fn why<'r>(records: impl Iterator<Item = &'r Record> + Clone, missed: Missed<'_>) -> Option<String> {
    let Missed { key, about, texts, .. } = missed;
    let is_of_project = |record: &Record| record.about.project == about.project && record.about.stage == about.stage;
    let is_same_text = |record: &Record| !about.text.is_empty() && record.about.text == about.text;
    let same = records
        .clone()
        .filter(|record| record.kind == key.kind && (record.identity == key.identity || is_same_text(record)));
    let nearest = same.max_by_key(|record| {
        let equal = record.inputs.iter().filter(|(name, value)| key.inputs.get(*name) == Some(*value)).count();
        (is_of_project(record), record.identity == key.identity, equal, record.used)
    });
    if let Some(nearest) = nearest {
        if nearest.key == key.digest() {
            return Some("its layer is gone".to_owned());
        }
        return Some(difference(nearest, missed));
    }
    let is_replaced = |record: &&Record| {
        record.kind == key.kind
            && is_of_project(record)
            && record.about.index == about.index
            && !texts.contains(&record.about.text)
    };
    if let Some(before) = records.clone().filter(is_replaced).max_by_key(|record| record.used) {
        return Some(format!("instruction changed (was: {})", shortened(&before.about.text)));
    }
    let was_built = |record: &Record| is_of_project(record) && record.created < missed.since;
    records.clone().any(was_built).then(|| "the instruction is new".to_owned())
}

/// The first few differences in words; what lies below is told only where nothing else differs.
fn difference(nearest: &Record, missed: Missed<'_>) -> String {
    let (before, now) = (&nearest.inputs, &missed.key.inputs);
    let mut told = Vec::new();
    told.extend(base_difference(nearest.about.base.as_ref(), missed.about.base.as_ref()));
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names.into_iter().filter(|name| !DERIVED.contains(&name.as_str())) {
        match (before.get(name), now.get(name)) {
            (Some(before), Some(now)) if before == now => {}
            (before, now) => told.push(one_difference(name, before, now)),
        }
    }
    if told.is_empty() && nearest.identity != missed.key.identity {
        told.push(format!("a variable in it changed (was: {})", shortened(&nearest.identity)));
    }
    if told.is_empty() {
        return match missed.changed {
            Some(step) => format!("a step before it changed: {}", shortened(step)),
            None => "a step before it changed".to_owned(),
        };
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    let mut text = told.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn base_difference(before: Option<&BaseImage>, now: Option<&BaseImage>) -> Option<String> {
    let (before, now) = (before?, now?);
    if before.id == now.id {
        return None;
    }
    let short = |image: &BaseImage| format!("sha256:{}", image.id.hex().get(..12).unwrap_or_default());
    Some(match before.name == now.name {
        true => format!("base image {} changed ({} -> {})", now.name, short(before), short(now)),
        false => format!("another base image: {} -> {}", before.name, now.name),
    })
}

fn one_difference(name: &str, before: Option<&String>, now: Option<&String>) -> String {
    if let Some(path) = name.strip_prefix(FILE) {
        return match (before, now) {
            (None, _) => format!("{path} is new"),
            (_, None) => format!("{path} is gone"),
            (Some(before), Some(now)) => format!("{path} changed ({})", file_difference(before, now)),
        };
    }
    match (before, now) {
        (None, Some(now)) => format!("{name} is new ({})", shortened(now)),
        (Some(_), None) | (None, None) => format!("{name} is gone"),
        (Some(_), Some(_)) if name == FILES => "files changed".to_owned(),
        (Some(before), Some(now)) => format!("{name}: {} -> {}", shortened(before), shortened(now)),
    }
}

/// File facts are words separated by blanks: kind, mode, owner, content.
fn file_difference(before: &str, now: &str) -> String {
    let (before, now): (Vec<&str>, Vec<&str>) = (before.splitn(4, ' ').collect(), now.splitn(4, ' ').collect());
    let names = ["kind", "mode", "owner", "content"];
    let differing = names.iter().enumerate().filter(|(at, _)| before.get(*at) != now.get(*at));
    let words = differing.map(|(at, name)| match (*name, before.get(at), now.get(at)) {
        ("mode" | "owner", Some(before), Some(now)) => format!("{name} {before} -> {now}"),
        _ => (*name).to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 && line.len() == text.len() {
        return line.to_owned();
    }
    format!("{}…", line.chars().take(59).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::image::ImageId;
    use crate::engine::layer::{ChainId, Digest};

    fn chain(text: &str) -> ChainId {
        ChainId(Digest::of(text.as_bytes()))
    }

    fn at(index: usize, text: &str) -> About {
        About { project: "app".into(), stage: "0".into(), index, text: text.into(), base: None }
    }

    fn on(about: About, name: &str, id: &str) -> About {
        About { base: Some(BaseImage { name: name.into(), id: ImageId(Digest::of(id.as_bytes())) }), ..about }
    }

    fn copy(below: &str, pairs: &[(&str, &str)]) -> Key {
        let files = pairs.iter().map(|(path, facts)| ((*path).to_owned(), (*facts).to_owned())).collect();
        Key::new("copy", "COPY . /app/", Some(&chain(below))).with_files(&files)
    }

    fn record(key: &Key, about: About) -> Record {
        Record {
            key: key.digest(),
            kind: key.kind.to_owned(),
            identity: key.identity.clone(),
            inputs: key.inputs.clone(),
            below: None,
            layer: None,
            size: 0,
            created: Timestamp::UNIX_EPOCH,
            used: None,
            uses: 0,
            about,
        }
    }

    fn told(records: &[Record], key: &Key, about: &About) -> Option<String> {
        why(
            records.iter(),
            Missed {
                key,
                about,
                texts: std::slice::from_ref(&about.text),
                changed: Some("RUN make"),
                since: Timestamp::MAX,
            },
        )
    }

    #[test]
    fn files_are_told_by_what_differs() {
        let before = copy("a", &[("src/a.rs", "file 644 0:0 aa"), ("b", "file 644 0:0 bb"), ("c", "file 644 0:0 cc")]);
        let about = at(1, "COPY . /app/");
        let records = [record(&before, about.clone())];
        let now = copy("a", &[("src/a.rs", "file 644 0:0 xx"), ("b", "file 755 1:0 bb"), ("d", "file 644 0:0 dd")]);
        assert_eq!(
            told(&records, &now, &about).unwrap(),
            "b changed (mode 644 -> 755, owner 0:0 -> 1:0), c is gone, d is new and 1 more"
        );
        let below = copy("z", &[("src/a.rs", "file 644 0:0 aa"), ("b", "file 644 0:0 bb"), ("c", "file 644 0:0 cc")]);
        assert_eq!(told(&records, &below, &about).unwrap(), "a step before it changed: RUN make");
        assert_eq!(told(&records, &before, &about).unwrap(), "its layer is gone");
    }

    #[test]
    fn variables_are_told_by_name() {
        let run = |version: &str| Key::new("run", "RUN make", Some(&chain("a"))).with("ARG VERSION", version);
        let about = at(2, "RUN make");
        let records = [record(&run("1"), about.clone())];
        assert_eq!(told(&records, &run("2"), &about).unwrap(), "ARG VERSION: 1 -> 2");
        let config = |value: &str| Key::new("config", format!("ENV A={value}"), None).with("result", value);
        let about = at(1, "ENV A=$B");
        let records = [record(&config("1"), about.clone())];
        assert_eq!(told(&records, &config("2"), &about).unwrap(), "a variable in it changed (was: ENV A=1)");
    }

    #[test]
    fn an_edited_instruction_is_told_with_what_it_was() {
        let run = |text: &str| Key::new("run", text, Some(&chain("a")));
        let records = [record(&run("RUN a"), at(1, "RUN a")), record(&run("RUN z"), at(2, "RUN z"))];
        assert_eq!(told(&records, &run("RUN b"), &at(1, "RUN b")).unwrap(), "instruction changed (was: RUN a)");
        let about = at(1, "RUN b");
        let texts = ["RUN b", "RUN a", "RUN z"].map(str::to_owned);
        let missed = Missed { key: &run("RUN b"), about: &about, texts: &texts, changed: None, since: Timestamp::MAX };
        assert_eq!(why(records.iter(), missed).unwrap(), "the instruction is new", "RUN a only moved down");
        let missed = Missed { since: Timestamp::UNIX_EPOCH, ..missed };
        assert_eq!(why(records.iter(), missed), None, "all there is was made by this build");
        let elsewhere = About { project: "other".into(), ..about.clone() };
        assert_eq!(told(&records, &run("RUN b"), &elsewhere), None);
    }

    #[test]
    fn a_base_image_is_told_by_its_digests() {
        let run = |below: &str| Key::new("run", "RUN a", Some(&chain(below)));
        let about = at(1, "RUN a");
        let records = [record(&run("x"), on(about.clone(), "debian:12", "x"))];
        let [old, new] = ["x", "y"].map(|id| Digest::of(id.as_bytes()).hex().chars().take(12).collect::<String>());
        assert_eq!(
            told(&records, &run("y"), &on(about.clone(), "debian:12", "y")).unwrap(),
            format!("base image debian:12 changed (sha256:{old} -> sha256:{new})")
        );
        assert_eq!(
            told(&records, &run("y"), &on(about, "debian:13", "y")).unwrap(),
            "another base image: debian:12 -> debian:13"
        );
    }

    #[test]
    fn the_same_project_is_nearest() {
        let key = |a: &str, b: &str| Key::new("run", "RUN a", None).with("ARG A", a).with("ARG B", b);
        let own = record(&key("1", "1"), at(1, "RUN a"));
        let other = record(&key("2", "1"), About { project: "other".into(), ..at(1, "RUN a") });
        assert_eq!(told(&[own, other], &key("2", "2"), &at(1, "RUN a")).unwrap(), "ARG A: 1 -> 2, ARG B: 1 -> 2");
    }
}
