//! Draws the model. Reads it only; what is not in view costs nothing.

use super::model::{Model, Screen};
use super::workbench;
use ratatui::Frame;
use ratatui::layout::Rect;

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    match model.screen {
        Screen::Main => {}
        Screen::Workbench => {
            let area = Rect { y: 0, height: frame.area().height.saturating_sub(1), ..frame.area() };
            workbench::draw(frame, area, model);
        }
    }
}
