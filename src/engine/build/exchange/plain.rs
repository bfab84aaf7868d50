//! An image without records as a cache: what its history says was done, in the same order, on the same layers.
//!
//! So the classic builder used `--cache-from`. The history tells commands, not the content of what was copied; so only steps
//! that run a command are taken from it, and only where every layer below is the very same. A COPY or WORKDIR is done, and where
//! its layer turns out to be the image's but for the times of folders it made, the image's is taken in its place: else nothing
//! that stands on it could be.

use super::super::stage::Position;
use crate::engine::image::{HistoryEntry, ImageConfig};
use crate::engine::layer::{ChainId, DiffId};

/// What a step became in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PastStep {
    /// Its layer, and its place among the image's layers; `None` if it made none.
    pub layer: Option<(ChainId, DiffId, usize)>,
    /// When it was done.
    pub created: Option<String>,
}

/// What came of the COPY, ADD or WORKDIR at `position` in an image, under the same conditions as with [`past_step`]. Whether it made
/// the same is still to be seen.
pub(super) fn past_files(
    image: &ImageConfig,
    done: &[HistoryEntry],
    layers: &[ChainId],
    position: &Position,
) -> Option<PastStep> {
    let step = after(image, done, layers)?;
    (is_files(&position.text) && is_files(told(step))).then(|| outcome(image, step, layers))?
}

/// What came of the step at `position` in an image, if that was built up to there by the same steps: `done` and `layers` are
/// the history and the layers so far.
pub(super) fn past_step(
    image: &ImageConfig,
    done: &[HistoryEntry],
    layers: &[ChainId],
    position: &Position,
) -> Option<PastStep> {
    let runs = position.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("RUN "));
    // What is mounted counts too, and the history does not tell it.
    if !runs || position.text.contains("--mount") || position.text.contains("<<") {
        return None;
    }
    let step = after(image, done, layers).filter(|step| told(step) == plain(&position.created_by))?;
    outcome(image, step, layers)
}

/// The image's next step, if it was built so far as `done` tells, on `layers`.
fn after<'a>(image: &'a ImageConfig, done: &[HistoryEntry], layers: &[ChainId]) -> Option<&'a HistoryEntry> {
    let (before, after) = image.history.split_at_checked(done.len())?;
    // What was copied is in the layers, whatever the texts say.
    let is_same = |theirs: &str, ours: &str| theirs == ours || is_copy(theirs) && is_copy(ours);
    let is_other = |(theirs, ours): (&HistoryEntry, &HistoryEntry)| {
        !is_same(told(theirs), told(ours)) || theirs.empty_layer != ours.empty_layer
    };
    if before.iter().zip(done).any(is_other) || chains(image).get(..layers.len())? != layers {
        return None;
    }
    after.first().filter(|_| before.iter().filter(|entry| !entry.empty_layer).count() == layers.len())
}

fn outcome(image: &ImageConfig, step: &HistoryEntry, below: &[ChainId]) -> Option<PastStep> {
    let at = below.len();
    let layer = match step.empty_layer {
        true => None,
        false => Some((*chains(image).get(at)?, *image.rootfs.diff_ids.get(at)?, at)),
    };
    Some(PastStep { layer, created: step.created.clone() })
}

fn chains(image: &ImageConfig) -> Vec<ChainId> {
    let mut chains: Vec<ChainId> = Vec::new();
    for diff in &image.rootfs.diff_ids {
        chains.push(ChainId::above(chains.last(), diff));
    }
    chains
}

fn is_copy(text: &str) -> bool {
    is_files(text) && !text.trim_start().to_ascii_uppercase().starts_with("WORKDIR")
}

fn is_files(text: &str) -> bool {
    text.split_whitespace()
        .next()
        .is_some_and(|word| matches!(word.to_ascii_uppercase().as_str(), "COPY" | "ADD" | "WORKDIR"))
}

fn told(entry: &HistoryEntry) -> &str {
    plain(entry.created_by.as_deref().unwrap_or_default())
}

/// A history's text without what only tells which builder wrote it.
fn plain(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim_end();
    // How the classic builder notes what runs nothing.
    let text = text.strip_prefix("/bin/sh -c #(nop)").unwrap_or(text).trim_start();
    text.strip_prefix("RUN ").unwrap_or(text).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::image::RootFs;
    use crate::engine::layer::Digest;

    fn entry(created_by: &str, empty_layer: bool) -> HistoryEntry {
        HistoryEntry { created_by: Some(created_by.to_owned()), empty_layer, ..HistoryEntry::default() }
    }

    fn diff(text: &str) -> DiffId {
        DiffId(Digest::of(text.as_bytes()))
    }

    #[test]
    fn a_command_on_the_same_layers_is_found() {
        let image = ImageConfig {
            history: vec![
                entry("base", false),
                entry("ENV A=1", true),
                entry("/bin/sh -c make", false),
                entry("/bin/sh -c true", true),
            ],
            rootfs: RootFs { diff_ids: vec![diff("base"), diff("made")], ..RootFs::default() },
            ..ImageConfig::default()
        };
        let base = ChainId::above(None, &diff("base"));
        let made = ChainId::above(Some(&base), &diff("made"));
        let done = [entry("base", false), entry("ENV A=1", true)];
        let at = |text: &str, created_by: &str| Position {
            text: text.to_owned(),
            created_by: created_by.to_owned(),
            ..Position::default()
        };
        let make = at("RUN make", "RUN /bin/sh -c make # buildkit");
        let found = past_step(&image, &done, &[base], &make).unwrap();
        assert_eq!(found.layer, Some((made, diff("made"), 1)));
        assert_eq!(past_step(&image, &done, &[made], &make), None, "other layers below");
        assert_eq!(past_step(&image, &[entry("base", false), entry("ENV A=2", true)], &[base], &make), None);
        assert_eq!(past_step(&image, &done, &[base], &at("COPY a b", "COPY a b # buildkit")), None);
        assert_eq!(past_step(&image, &done, &[base], &at("RUN x", "RUN /bin/sh -c x # buildkit")), None);
        assert_eq!(past_files(&image, &done, &[base], &at("COPY a b", "COPY a b # buildkit")), None, "a command");
        let mut classic = image.clone();
        for (at, text) in [(1, " ENV A=1"), (2, " COPY file:0123 in /b "), (3, " ADD dir:4567 in /c ")] {
            classic.history[at].created_by = Some(format!("/bin/sh -c #(nop) {text}"));
        }
        let found = past_files(&classic, &done, &[base], &at("COPY a b", "COPY a b # buildkit")).unwrap();
        assert_eq!(found.layer, Some((made, diff("made"), 1)));
        let ours = [done[0].clone(), done[1].clone(), entry("COPY a b # buildkit", false)];
        let add = at("add x y", "ADD x y # buildkit");
        assert!(past_files(&classic, &ours, &[base, made], &add).is_some_and(|step| step.layer.is_none()));
        assert_eq!(past_files(&classic, &ours, &[base, base], &add), None, "it copied something else");
        let further = [done[0].clone(), done[1].clone(), entry("RUN /bin/sh -c make # buildkit", false)];
        let last = past_step(&image, &further, &[base, made], &at("RUN true", "RUN /bin/sh -c true # buildkit"));
        assert_eq!(last.unwrap().layer, None);
    }
}
