//! Draws the model. Reads it only; what is not in view costs nothing.

mod detail;
mod dialogs;
mod empty;
mod footer;
pub mod graph;
mod header;
mod lists;
mod log;
pub mod paint;
mod pickers;
mod stats;
mod toasts;
use super::model::{Model, Screen};
use super::{shell, workbench};
use crate::tui::model::detail::Tab;
use paint::Paint;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let screen = frame.area();
    if screen.width < 10 || screen.height < 3 {
        return;
    }
    // The rooms with screens of their own draw with the frame; what lies over them comes afterwards.
    match model.screen {
        Screen::Workbench => {
            let area = Rect { height: screen.height - 1, ..screen };
            workbench::draw(frame, area, model);
        }
        Screen::Main => {
            let mut paint = Paint { buffer: frame.buffer_mut(), model, cursor: None };
            paint.tint(screen, model.theme.style(super::theme::Role::Text));
            header::draw(&mut paint);
            lists::draw(&mut paint);
            detail::draw(&mut paint);
            if model.tab() == Some(Tab::Shell) && !model.layout.detail.is_empty() {
                shell::draw(frame, model.layout.body(), model);
            }
        }
    }
    let mut paint = Paint { buffer: frame.buffer_mut(), model, cursor: None };
    footer::draw(&mut paint);
    if let Some(overlay) = model.overlays.last() {
        paint.tint(screen, Style::default().add_modifier(Modifier::DIM));
        dialogs::draw(&mut paint, overlay);
    }
    toasts::draw(&mut paint);
    if let Some(cursor) = paint.cursor {
        frame.set_cursor_position(cursor);
    }
}

#[cfg(test)]
mod tests;
