//! Empty states that teach: what could be here, and the key that brings it.

use super::paint::Paint;
use crate::tui::event::Link;
use crate::tui::layout::PaneArea;
use crate::tui::model::{Model, Pane};
use crate::tui::theme::Role;
use ratatui::layout::Rect;

/// Inside an empty list.
pub(super) fn list(paint: &mut Paint<'_>, area: &PaneArea, is_loaded: bool, filter: &str) {
    let rect = area.rows;
    let text = match (is_loaded, filter, area.pane) {
        (false, ..) => "...".to_owned(),
        (true, "", Pane::Containers) => "no containers yet: n runs one".to_owned(),
        (true, "", Pane::Images) => "no images yet: U pulls one".to_owned(),
        (true, "", Pane::Volumes) => "no volumes: n makes one".to_owned(),
        (true, "", Pane::Networks) => "no networks: n makes one".to_owned(),
        (true, "", Pane::Builds) => "no builds yet: B opens the workbench".to_owned(),
        (true, filter, _) => format!("nothing matches {filter}: esc clears"),
    };
    paint.put(rect.x + 1, rect.y, rect.right(), &text, Role::Faint);
}

/// The details when there is nothing to be detailed.
pub(super) fn detail(paint: &mut Paint<'_>, body: Rect) {
    let model = paint.model;
    let (title, lines) = words(model);
    let rows = lines.len() as u16 + 2;
    let wide = lines.iter().map(|(key, text)| key.len() + text.chars().count() + 3).max().unwrap_or(0).max(title.len());
    let x = body.x + body.width.saturating_sub(wide as u16) / 2;
    let mut y = body.y + body.height.saturating_sub(rows) * 2 / 5;
    paint.put(x, y, body.right(), title, Role::Accent);
    y += 2;
    for (key, text) in lines {
        if y >= body.bottom() {
            break;
        }
        let at = paint.put_right(x, y, x + 3, key, Role::Key) + key.len() as u16;
        paint.put(at + 2, y, body.right(), &text, Role::Dim);
        y += 1;
    }
}

fn words(model: &Model) -> (&'static str, Vec<(&'static str, String)>) {
    let is_boxyard = model.facts.as_ref().is_some_and(|facts| facts.is_boxyard);
    let has_images = !model.images.items().is_empty();
    match (&model.link, model.pane) {
        (Link::Connecting, _) => ("Connecting to the engine", Vec::new()),
        (Link::Down { .. }, _) => (
            "The engine does not answer",
            vec![("", "It is tried again by itself; nothing has to be done here.".to_owned())],
        ),
        (_, Pane::Containers) if model.containers.filter().is_empty() => {
            let first = match (has_images, is_boxyard) {
                (false, true) => "make an image of this host's own programs and run a shell in it".to_owned(),
                (false, false) => "run a container; its image is pulled if it is not here".to_owned(),
                (true, _) => "run a container".to_owned(),
            };
            let mut lines = vec![("n", first)];
            lines.push(("U", "pull an image from a registry".to_owned()));
            lines.push(("B", "write a Dockerfile and build it".to_owned()));
            lines.push(("?", "all keys".to_owned()));
            ("Nothing runs here yet", lines)
        }
        (_, Pane::Images) if model.images.filter().is_empty() => (
            "No images here yet",
            vec![("U", "pull one from a registry".to_owned()), ("B", "build one from a Dockerfile".to_owned())],
        ),
        (_, Pane::Volumes) if model.volumes.filter().is_empty() => (
            "No volumes here yet",
            vec![
                ("n", "create one".to_owned()),
                ("", "Data in a volume outlives the containers that use it.".to_owned()),
            ],
        ),
        (_, Pane::Builds) if model.builds.filter().is_empty() => (
            "No builds yet",
            vec![
                ("B", "open the workbench: Dockerfile and layers side by side".to_owned()),
                ("", "Every build shows here, with its steps and what came from the cache.".to_owned()),
            ],
        ),
        _ => ("Nothing matches", vec![("esc", "clear the filter".to_owned())]),
    }
}
