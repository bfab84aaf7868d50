//! The offer of Dockerfiles.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

use super::{Look, inside, middle, set_cursor};
use crate::tui::text::{self, width};
use crate::tui::theme::Role;
use crate::tui::workbench::chooser::Choice;
use crate::tui::workbench::model::Workbench;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, bench: &Workbench, look: Look<'_>) {
    let Some(chooser) = &bench.chooser else { return };
    let choices = chooser.choices();
    let rows = u16::try_from(choices.len()).unwrap_or(u16::MAX).clamp(1, 12);
    let frame_area = middle(area, 76, rows + 5);
    frame.render_widget(Clear, frame_area);
    let block = Block::bordered()
        .border_set(look.glyphs.border)
        .border_style(look.style(Role::DialogBorder))
        .style(look.style(Role::Dialog))
        .title(look.span(" Open a Dockerfile ", Role::TitleFocus));
    frame.render_widget(block, frame_area);
    let inner = inside(frame_area);
    let row =
        |offset: u16| Rect { x: inner.x + 1, y: inner.y + offset, height: 1, width: inner.width.saturating_sub(2) };
    let room = usize::from(row(0).width);
    let typed = text::clean(chooser.typed());
    if typed.is_empty() {
        let hint = text::left("type to narrow, or a path", room, look.glyphs.ellipsis);
        frame.render_widget(look.span(hint, Role::Input), row(0));
    } else {
        frame.render_widget(look.span(text::left(&typed, room, look.glyphs.ellipsis), Role::InputFocus), row(0));
    }
    set_cursor(frame, row(0), width(&typed), 0);
    let height = usize::from(rows);
    let first = chooser.selected().saturating_sub(height.saturating_sub(1));
    for (place, choice) in choices.iter().enumerate().skip(first).take(height) {
        let (word, note) = match choice {
            Choice::Open(path) => (path, ""),
            Choice::Create(path) => (path, "new"),
        };
        let path = word.strip_prefix(chooser.folder()).unwrap_or(word);
        let path = text::clean(&path.display().to_string());
        let line = format!(" {} {note:>4} ", text::left(&path, room.saturating_sub(7), look.glyphs.ellipsis));
        let role = if place == chooser.selected() { Role::Selected } else { Role::Text };
        frame.render_widget(look.span(line, role), row(1 + u16::try_from(place - first).unwrap_or(0)));
    }
    let below = format!("in {}", text::clean(&chooser.folder().display().to_string()));
    let hint = text::cut(&format!("enter opens, esc goes back   {below}"), room, look.glyphs.ellipsis);
    frame.render_widget(Line::from(look.span(hint, Role::Hint)), row(rows + 2));
}
