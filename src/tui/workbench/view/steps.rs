//! The layers: one step a row, with its state in a mark and a word, its time and what it adds.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Look, Places, seconds};
use crate::tui::text;
use crate::tui::theme::Role;
use crate::tui::workbench::build::{Build, Outcome};
use crate::tui::workbench::model::{Focus, Workbench};
use crate::tui::workbench::steps::{Step, StepState};

/// Columns of the mark and the blanks around it.
const MARK_COLUMNS: u16 = 3;
/// Columns of the word or time at the right.
const STATE_COLUMNS: usize = 15;
/// Columns of the size.
const SIZE_COLUMNS: usize = 9;
/// Columns of a reason that are worth being shown.
const LEAST_REASON: usize = 16;
/// With fewer columns than these, sizes leave too little of the instructions.
const FOR_SIZES: usize = 50;
/// Cells of a progress bar.
const BAR: usize = 5;

pub(super) fn draw(frame: &mut Frame<'_>, places: &Places, bench: &Workbench, look: Look<'_>) {
    let area = places.steps;
    let Some(build) = &bench.build else {
        let hint = if bench.document.is_some() { " f5 builds it: each instruction becomes a layer." } else { "" };
        frame.render_widget(look.span(hint, Role::Dim), area);
        return;
    };
    let steps = build.steps.all();
    draw_aside(frame, if steps.is_empty() { area } else { places.aside }, build, bench.now, look);
    let shown = bench.shown_step();
    let height = usize::from(area.height);
    let first = bench.first_step(height);
    let columns = Columns::of(steps, usize::from(area.width));
    for (place, step) in steps.iter().enumerate().skip(first).take(height) {
        let row = Rect { y: area.y + u16::try_from(place - first).unwrap_or(0), height: 1, ..area };
        let mut line = step_line(step, bench.now, &columns, look);
        if shown == Some(place) {
            let role = if bench.focus == Focus::Steps { Role::Selected } else { Role::SelectedDim };
            line.spans.iter_mut().for_each(|span| span.style = span.style.patch(look.style(role)));
        }
        frame.render_widget(line, row);
    }
}

/// What there is to tell beside the instructions: work of the builder's own, or why there are no instructions.
fn aside(build: &Build, now: Timestamp) -> Option<(Role, String)> {
    let dot = |words: &str| if words.is_empty() { String::new() } else { format!(": {words}") };
    match (build.steps.aside(now), &build.outcome) {
        (Some(Step { state: StepState::Failed { why, .. }, title, .. }), _) => {
            Some((Role::Bad, format!("{title}{}", dot(&text::clean(why)))))
        }
        (Some(step), _) => {
            let part = step.parts.last().map(|part| text::clean(&part.name)).unwrap_or_default();
            let took = seconds(step.took(now).unwrap_or_default());
            Some((Role::Busy, format!("{}{} {took}", text::clean(&step.title), dot(&part))))
        }
        (None, _) if !build.steps.all().is_empty() => None,
        (None, Outcome::Running) => Some((Role::Busy, "sending the build context".to_owned())),
        (None, Outcome::Failed { why, .. }) => Some((Role::Bad, text::clean(why))),
        (None, _) => None,
    }
}

/// The words under each other, as wide as the area but for the mark.
fn rows(words: &str, columns: u16) -> Vec<String> {
    text::wrap(words, usize::from(columns.saturating_sub(MARK_COLUMNS)))
}

/// How many rows that takes.
pub(super) fn rows_aside(build: &Build, now: Timestamp, columns: u16) -> u16 {
    let count = aside(build, now).map_or(0, |(_, words)| rows(&words, columns).len());
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn draw_aside(frame: &mut Frame<'_>, area: Rect, build: &Build, now: Timestamp, look: Look<'_>) {
    let Some((role, words)) = aside(build, now) else { return };
    let mark = if role == Role::Bad { look.glyphs.failed } else { look.spinner() };
    let marks = [format!(" {mark} ")].into_iter().chain(std::iter::repeat("   ".to_owned()));
    let rows = rows(&words, area.width).into_iter().zip(marks);
    let rows: Vec<Line<'_>> = rows.map(|(row, mark)| Line::from(look.span(format!("{mark}{row}"), role))).collect();
    frame.render_widget(ratatui::text::Text::from(rows), area);
}

/// How wide the parts of the rows are: the same in all of them.
struct Columns {
    all: usize,
    state: usize,
    size: usize,
}

impl Columns {
    /// Room for what running steps may come to say, or, once all have ended, for what they do say.
    fn of(steps: &[Step], all: usize) -> Self {
        let said = steps.iter().map(|step| ended_words(step).map(|(words, _)| text::width(&words) + 1));
        let state = said.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).unwrap_or(STATE_COLUMNS);
        let has_sizes = all >= FOR_SIZES && steps.iter().any(|step| step.size.is_some_and(|size| size > 0));
        Self { all, state, size: if has_sizes { SIZE_COLUMNS } else { 0 } }
    }
}

fn step_line(step: &Step, now: Timestamp, columns: &Columns, look: Look<'_>) -> Line<'static> {
    let (mark, role) = look.mark(&step.state);
    let title_columns = columns.all.saturating_sub(3 + columns.state + columns.size + 1);
    let title = text::clean(&step.title);
    let why = step.why.as_deref().map(|why| format!(" {} {}", look.glyphs.dot, text::clean(why)));
    // A reason cut after its first letters tells nothing.
    let why_columns = why.as_ref().map_or(0, |why| {
        let room = title_columns.saturating_sub(text::width(&title));
        if room < text::width(why).min(LEAST_REASON) { 0 } else { room }
    });
    let title = text::left(&title, title_columns - why_columns, look.glyphs.ellipsis);
    let title_role = match step.state {
        StepState::Waiting | StepState::Cancelled => Role::Dim,
        _ => Role::Text,
    };
    let mut spans = vec![look.span(format!(" {mark} "), role), look.span(title, title_role)];
    if let Some(why) = why.filter(|_| why_columns > 0) {
        spans.push(look.span(text::left(&why, why_columns, look.glyphs.ellipsis), Role::Warn));
    }
    spans.extend(state_words(step, now, columns.state, look));
    if columns.size > 0 {
        let size = step.size.filter(|size| *size > 0).map(text::size).unwrap_or_default();
        spans.push(look.span(text::right(&size, columns.size, look.glyphs.ellipsis), Role::Dim));
    }
    spans.push(Span::raw(" "));
    Line::from(spans)
}

/// Exactly `columns`: how far the step is.
fn state_words(step: &Step, now: Timestamp, columns: usize, look: Look<'_>) -> Vec<Span<'static>> {
    let right = |words: String, role| vec![look.span(text::right(&words, columns, look.glyphs.ellipsis), role)];
    match (ended_words(step), step.progress()) {
        (Some((words, role)), _) => right(words, role),
        (None, _) if step.state == StepState::Waiting => right(String::new(), Role::Dim),
        (None, Some((done, total))) => progress_bar(done, total, look),
        (None, None) => right(format!("running {}", seconds(step.took(now).unwrap_or_default())), Role::Busy),
    }
}

/// How the step ended, if it has.
fn ended_words(step: &Step) -> Option<(String, Role)> {
    match &step.state {
        StepState::Waiting | StepState::Running { .. } => None,
        StepState::Cancelled => Some(("cancelled".to_owned(), Role::Dim)),
        StepState::Cached => Some(("cached".to_owned(), Role::Info)),
        StepState::Done { took } => Some((seconds(*took), Role::Dim)),
        StepState::Failed { took, .. } => Some((format!("failed {}", seconds(*took)), Role::Bad)),
    }
}

/// Exactly [`STATE_COLUMNS`].
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::{TraceUpdate, Vertex};
    use crate::tui::workbench::steps::Steps;

    #[test]
    fn words_of_states_take_no_more_room_than_they_need() {
        let at = |second: i64| Some(Timestamp::from_second(second).unwrap());
        let vertex = |digest: &str| Vertex {
            digest: digest.into(),
            name: "[1/2] COPY . /src".into(),
            started: at(1),
            ..Vertex::default()
        };
        let mut steps = Steps::default();
        let mut tell = |vertexes| {
            steps.apply(&TraceUpdate { vertexes, ..TraceUpdate::default() });
            let columns = Columns::of(steps.all(), 60);
            (columns.state, columns.size)
        };
        let cached = Vertex { completed: at(1), cached: true, ..vertex("a") };
        assert_eq!(tell(vec![cached, vertex("b")]), (STATE_COLUMNS, 0), "it may come to a bar");
        let done = Vertex { completed: at(9), ..vertex("b") };
        assert_eq!(tell(vec![done]), (" cached".len(), 0));
        let failed = Vertex { completed: at(9), error: "no".into(), ..vertex("c") };
        assert_eq!(tell(vec![failed]), (" failed 8.0s".len(), 0));
    }
}
