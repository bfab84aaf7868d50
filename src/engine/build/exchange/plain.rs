//! An image without records as a cache: what its history says was done, in the same order, on the same layers.
//!
//! So the classic builder used `--cache-from`. The history tells commands, not the content of what was copied; so only steps
//! that run a command are taken from it, and only where every layer below is the very same.

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
    let (before, after) = image.history.split_at_checked(done.len())?;
    if before
        .iter()
        .zip(done)
        .any(|(theirs, ours)| told(theirs) != told(ours) || theirs.empty_layer != ours.empty_layer)
    {
        return None;
    }
    let step = after.first().filter(|step| told(step) == plain(&position.created_by))?;
    let mut chains = Vec::new();
    for diff in &image.rootfs.diff_ids {
        chains.push(ChainId::above(chains.last(), diff));
    }
    let at = before.iter().filter(|entry| !entry.empty_layer).count();
    if chains.get(..at)? != layers {
        return None;
    }
    let layer = match step.empty_layer {
        true => None,
        false => Some((*chains.get(at)?, *image.rootfs.diff_ids.get(at)?, at)),
    };
    Some(PastStep { layer, created: step.created.clone() })
}

fn told(entry: &HistoryEntry) -> &str {
    plain(entry.created_by.as_deref().unwrap_or_default())
}

/// A history's text without what only tells which builder wrote it.
fn plain(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim_end();
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
        let further = [done[0].clone(), done[1].clone(), entry("RUN /bin/sh -c make # buildkit", false)];
        let last = past_step(&image, &further, &[base, made], &at("RUN true", "RUN /bin/sh -c true # buildkit"));
        assert_eq!(last.unwrap().layer, None);
    }
}
