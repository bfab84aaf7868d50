//! The layers: one step a row, with its state in a mark and a word, its time and what it adds.

use std::time::Duration;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Look, seconds};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::workbench::build::Outcome;
use crate::tui::workbench::model::{Focus, Workbench};
use crate::tui::workbench::steps::{Step, StepState};

/// Columns of the word or time at the right.
const STATE_COLUMNS: usize = 15;
/// Columns of the size.
const SIZE_COLUMNS: usize = 9;
/// Cells of a progress bar.
const BAR: usize = 5;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, bench: &Workbench, look: Look<'_>) {
    let Some(build) = &bench.build else {
        let hint = if bench.document.is_some() { " f5 builds it: each instruction becomes a layer." } else { "" };
        frame.render_widget(look.span(hint, Role::Dim), area);
        return;
    };
    let steps = build.steps.all();
    if steps.is_empty() {
        let waiting = match &build.outcome {
            Outcome::Running => (format!(" {} sending the build context", look.spinner()), Role::Busy),
            Outcome::Failed { why, .. } => (format!(" {} {}", look.glyphs.failed, text::clean(why)), Role::Bad),
            _ => (String::new(), Role::Dim),
        };
        let rows = text::wrap(&waiting.0, usize::from(area.width));
        let rows: Vec<Line<'_>> = rows.into_iter().map(|row| Line::from(look.span(row, waiting.1))).collect();
        frame.render_widget(ratatui::text::Text::from(rows), area);
        return;
    }
    let shown = bench.shown_step();
    let height = usize::from(area.height);
    let first = bench.first_step(height);
    let has_sizes = area.width >= 50 && steps.iter().any(|step| step.size.is_some());
    for (place, step) in steps.iter().enumerate().skip(first).take(height) {
        let row = Rect { y: area.y + u16::try_from(place - first).unwrap_or(0), height: 1, ..area };
        let mut line = step_line(step, bench.now, usize::from(area.width), has_sizes, look);
        if shown == Some(place) {
            let role = if bench.focus == Focus::Steps { Role::Selected } else { Role::SelectedDim };
            line.spans.iter_mut().for_each(|span| span.style = span.style.patch(look.style(role)));
        }
        frame.render_widget(line, row);
    }
}

fn step_line(step: &Step, now: Timestamp, columns: usize, has_sizes: bool, look: Look<'_>) -> Line<'static> {
    let (mark, role) = look.mark(&step.state);
    let size_columns = if has_sizes { SIZE_COLUMNS } else { 0 };
    let title_columns = columns.saturating_sub(3 + STATE_COLUMNS + size_columns + 1);
    let title = text::clean(&step.title);
    let why = step.why.as_deref().map(|why| format!(" {} {}", look.glyphs.dot, text::clean(why)));
    let why_columns = why.as_ref().map_or(0, |_| title_columns.saturating_sub(text::width(&title)));
    let title = text::left(&title, title_columns - why_columns, look.glyphs.ellipsis);
    let title_role = match step.state {
        StepState::Waiting | StepState::Cancelled => Role::Dim,
        _ => Role::Text,
    };
    let mut spans = vec![look.span(format!(" {mark} "), role), look.span(title, title_role)];
    if let Some(why) = why.filter(|_| why_columns > 0) {
        spans.push(look.span(text::left(&why, why_columns, look.glyphs.ellipsis), Role::Warn));
    }
    spans.extend(state_words(step, now, look));
    if has_sizes {
        let size = step.size.filter(|size| *size > 0).map(text::size).unwrap_or_default();
        spans.push(look.span(text::right(&size, size_columns, look.glyphs.ellipsis), Role::Dim));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

/// Exactly [`STATE_COLUMNS`]: how far the step is.
fn state_words(step: &Step, now: Timestamp, look: Look<'_>) -> Vec<Span<'static>> {
    let right = |words: String, role| vec![look.span(text::right(&words, STATE_COLUMNS, look.glyphs.ellipsis), role)];
    let took = step.took(now).unwrap_or(Duration::ZERO);
    match &step.state {
        StepState::Waiting => right(String::new(), Role::Dim),
        StepState::Cancelled => right("cancelled".to_owned(), Role::Dim),
        StepState::Cached => right("cached".to_owned(), Role::Info),
        StepState::Done { .. } => right(seconds(took), Role::Dim),
        StepState::Failed { .. } => right(format!("failed {}", seconds(took)), Role::Bad),
        StepState::Running { .. } => match step.progress() {
            Some((done, total)) => progress_bar(done, total, look),
            None => right(format!("running {}", seconds(took)), Role::Busy),
        },
    }
}

fn progress_bar(done: u64, total: u64, look: Look<'_>) -> Vec<Span<'static>> {
    let percent = usize::try_from(done.saturating_mul(100) / total.max(1)).unwrap_or(100).min(100);
    let full = percent * BAR / 100;
    let words = format!(" {percent:>3}%");
    let pad = STATE_COLUMNS.saturating_sub(BAR + words.len());
    vec![
        Span::raw(" ".repeat(pad)),
        look.span(look.glyphs.bar_full.repeat(full), Role::Busy),
        look.span(look.glyphs.bar_empty.repeat(BAR - full), Role::Faint),
        look.span(words, Role::Busy),
    ]
}
