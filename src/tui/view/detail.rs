//! The right side: frame, tabs, and the tab that is open.

use super::paint::Paint;
use super::{empty, log, stats};
use crate::tui::ansi::{self, Span};
use crate::tui::layout::name_width;
use crate::tui::model::detail::{Doc, DocView, Subject, Tab};
use crate::tui::model::{Focus, Model};
use crate::tui::text::cut;
use crate::tui::theme::Role;
use ratatui::layout::Rect;

pub(super) fn draw(paint: &mut Paint<'_>) {
    let model = paint.model;
    let frame = model.layout.detail;
    if frame.is_empty() {
        return;
    }
    let has_focus = model.focus == Focus::Detail;
    let style = paint.style(if has_focus { Role::BorderFocus } else { Role::Border });
    paint.frame(frame, style);
    let body = model.layout.body();
    let subject = model.subject();
    if subject == Subject::Nothing {
        empty::detail(paint, body);
        return;
    }
    title(paint, frame, has_focus);
    match model.tab() {
        Some(Tab::Logs) => log::draw(paint, body),
        Some(Tab::Stats) => stats::draw(paint, body),
        Some(Tab::Shell) | None => {}
        Some(tab) => document(paint, body, &subject, tab),
    }
    let (top, total) = match model.tab() {
        Some(Tab::Logs) => {
            let buffer = &model.logs.buffer;
            (model.logs.top.saturating_sub(buffer.first()) as usize, buffer.len())
        }
        Some(Tab::Stats | Tab::Shell) | None => (0, 0),
        Some(_) => {
            (model.doc.top, model.doc.doc.as_ref().and_then(|doc| doc.as_ref().ok()).map_or(0, |d| d.lines.len()))
        }
    };
    paint.scrollbar(frame.right() - 1, body.y, body.height, top, total, style);
}

fn title(paint: &mut Paint<'_>, frame: Rect, has_focus: bool) {
    let model = paint.model;
    let y = frame.y;
    let name = cut(&model.subject_name(), name_width(model, usize::from(frame.width)), paint.glyphs().ellipsis);
    let role = if has_focus { Role::TitleFocus } else { Role::Accent };
    paint.put(frame.x + 2, y, frame.right() - 1, &format!(" {name} "), role);
    for (tab, area) in &model.layout.tabs {
        let role = if model.tab() == Some(*tab) { Role::TabActive } else { Role::Tab };
        paint.put(area.x - 1, y, area.right() + 1, " ", Role::Text);
        let x = paint.put(area.x, y, area.right(), tab.title(), role);
        paint.put(x, y, x + 1, " ", Role::Text);
    }
    let used = model.layout.tabs.last().map_or(frame.x + 4, |(_, area)| area.right());
    if let Some((role, status)) = status(model) {
        // Beside the tabs where it fits, else in the lower border.
        let status = format!(" {status} ");
        let fits = usize::from(frame.right().saturating_sub(used + 3)) >= crate::tui::text::width(&status);
        let (start, y) = if fits { (used + 2, y) } else { (frame.x + 2, frame.bottom() - 1) };
        paint.put_right(start, y, frame.right() - 1, &status, role);
    }
}

/// What the tab says about itself at the right of its title.
fn status(model: &Model) -> Option<(Role, String)> {
    match model.tab()? {
        Tab::Logs => Some(log::status(model)),
        Tab::Stats => {
            let container = model.container()?;
            container.state.is_alive().then(|| (Role::Dim, "every second".to_owned()))
        }
        Tab::Top => Some((Role::Dim, "every 2 s".to_owned())),
        _ => {
            let search = model.doc.search.as_ref()?;
            Some((Role::Dim, format!("/{}", search.typed)))
        }
    }
}

fn document(paint: &mut Paint<'_>, body: Rect, subject: &Subject, tab: Tab) {
    let model = paint.model;
    match model.doc.of(subject, tab) {
        Some(Ok(doc)) => lines(paint, body, doc, &model.doc),
        Some(Err(why)) => {
            let warning = paint.glyphs().warning;
            paint.put(
                body.x + 1,
                body.y,
                body.right(),
                &format!("{warning} {}", crate::tui::text::clean(why)),
                Role::Bad,
            );
        }
        None => {
            paint.put(body.x + 1, body.y, body.right(), "reading", Role::Faint);
        }
    }
}

/// The lines in view.
fn lines(paint: &mut Paint<'_>, body: Rect, doc: &Doc, view: &DocView) {
    let inner = Rect { x: body.x + 1, width: body.width.saturating_sub(2), ..body };
    for row in 0..usize::from(inner.height) {
        let number = view.top + row;
        let Some(pieces) = doc.lines.get(number) else { break };
        let mut spans: Vec<Span> =
            pieces.iter().map(|(role, text)| Span { style: paint.style(*role), text: text.clone() }).collect();
        if let Some(search) = &view.search {
            let hits = search.hits(&doc.text(number)).into_iter().enumerate().map(|(at, hit)| {
                let is_now = search.at == Some((number as u64, at));
                (hit, paint.style(if is_now { Role::MatchNow } else { Role::Match }))
            });
            spans = ansi::highlight(spans, &hits.collect::<Vec<_>>());
        }
        log::spans(paint, inner, inner.y + row as u16, ansi::shift(spans, view.left));
    }
}
