//! What the selected step printed: only the lines in view are looked at.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Look, Places, draw_separator};
use crate::tui::ansi;
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::workbench::model::{Focus, Workbench};
use crate::tui::workbench::steps::{Step, StepState};

pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, bench: &Workbench, look: Look<'_>) {
    if places.log.is_empty() {
        return;
    }
    let step = bench.shown_step().and_then(|place| bench.build.as_ref()?.steps.get(place));
    let (first, is_following) = bench.log_window(step.map_or(0, |step| step.log.len()), usize::from(places.log.height));
    let title = step.map(|step| text::clean(&step.title)).unwrap_or_default();
    let note = step.filter(|step| !step.log.is_empty()).map(|step| {
        let is_live = matches!(step.state, StepState::Running { .. });
        match (is_following, is_live) {
            (true, true) => look.span("following", Role::Ok),
            (true, false) => look.span(text::count(step.log.len(), "line"), Role::Dim),
            (false, _) => look.span(format!("line {} of {}", first + 1, step.log.len()), Role::Warn),
        }
    });
    draw_separator(frame, places.log_title, &title, note, bench.focus == Focus::Log, look);
    let Some(step) = step else { return };
    let size = (usize::from(places.log.width.saturating_sub(1)), usize::from(places.log.height));
    let rows = lines(step, first, size, look);
    for (y, line) in (places.log.y..places.log.bottom()).zip(rows) {
        let row = Rect { x: places.log.x + 1, y, height: 1, width: places.log.width.saturating_sub(1) };
        frame.render_widget(line, row);
    }
}

fn lines(step: &Step, first: usize, (width, height): (usize, usize), look: Look<'_>) -> Vec<Line<'static>> {
    let base = look.style(Role::Text);
    let mut lines: Vec<Line<'static>> = step
        .log
        .window(first, height)
        .map(|line| {
            let pieces = ansi::parse(line).into_iter();
            Line::from(pieces.map(|piece| Span::styled(piece.text, base.patch(piece.style))).collect::<Vec<_>>())
        })
        .collect();
    if lines.is_empty() {
        lines.extend(parts(step, width, look));
    }
    if lines.is_empty() {
        lines.push(look.span(nothing_printed(&step.state), Role::Dim).into());
    }
    if let StepState::Failed { why, .. } = &step.state {
        // Why it failed is never cut: it takes as many rows as it needs, the output gets the rest.
        let why = text::wrap(&format!("{} {}", look.glyphs.failed, text::clean(why)), width);
        let room = height.saturating_sub(why.len());
        lines.drain(..lines.len().saturating_sub(room));
        lines.extend(why.into_iter().map(|row| Line::from(look.span(row, Role::Bad))));
    }
    lines
}

/// What a step that prints nothing tells of its progress, one a row: the layers of a pull by name and state, others in
/// their own words.
fn parts(step: &Step, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let rows = step.parts.iter().map(|part| {
        let (now, all) = (u64::try_from(part.current).unwrap_or(0), u64::try_from(part.total).unwrap_or(0));
        let amount = match (now, all) {
            (0, 0) => String::new(),
            (now, 0) => text::size(now),
            (now, all) => format!("{} of {}", text::size(now), text::size(all)),
        };
        let role = if part.completed.is_some() { Role::Dim } else { Role::Text };
        let amount = look.span(amount, Role::Dim);
        let name = text::clean(&part.name);
        if part.id == part.name {
            let room = width.saturating_sub(amount.width() + 1);
            let name = text::cut(&name, room, look.glyphs.ellipsis);
            return Line::from(vec![look.span(format!("{name} "), role), amount]);
        }
        let id = text::left(&text::clean(&part.id), 14, look.glyphs.ellipsis);
        let state = text::left(&name, 14, look.glyphs.ellipsis);
        Line::from(vec![look.span(id, Role::Info), look.span(format!(" {state} "), role), amount])
    });
    rows.collect()
}

fn nothing_printed(state: &StepState) -> &'static str {
    match state {
        StepState::Waiting => "not begun yet",
        StepState::Cached => "taken from the cache: nothing had to be done",
        StepState::Running { .. } => "nothing printed yet",
        StepState::Cancelled => "cancelled",
        StepState::Done { .. } | StepState::Failed { .. } => "nothing printed",
    }
}
