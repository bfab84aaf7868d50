//! A question in the middle of the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear};

use super::{Look, inside, middle, set_cursor};
use crate::tui::text::{self, width};
use crate::tui::theme::Role;
use crate::tui::workbench::model::Prompt;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, prompt: &Prompt, look: Look<'_>) {
    let (title, body, hint) = match prompt {
        Prompt::Tag { text } => ("Name of the image", text.as_str(), "enter keeps it, esc leaves it as it was"),
        Prompt::Unsaved => {
            ("Not saved", "The text was changed since it was saved.", "s saves it, d discards, esc stays")
        }
    };
    let frame_area = middle(area, 58, 5);
    frame.render_widget(Clear, frame_area);
    let block = Block::bordered()
        .border_set(look.glyphs.border)
        .border_style(look.style(Role::DialogBorder))
        .style(look.style(Role::Dialog))
        .title(look.span(format!(" {title} "), Role::TitleFocus));
    frame.render_widget(block, frame_area);
    let inner = inside(frame_area);
    let row =
        |offset: u16| Rect { x: inner.x + 1, y: inner.y + offset, height: 1, width: inner.width.saturating_sub(2) };
    if let Prompt::Tag { .. } = prompt {
        let room = usize::from(row(0).width);
        let shown = text::left(&text::clean(body), room, look.glyphs.ellipsis);
        frame.render_widget(look.span(shown, Role::InputFocus), row(0));
        set_cursor(frame, row(0), width(body), 0);
    } else {
        frame.render_widget(look.span(body, Role::Text), row(0));
    }
    frame.render_widget(Line::from(look.span(hint, Role::Hint)), row(2));
}
