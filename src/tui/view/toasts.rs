//! Messages in the lower right corner, newest at the bottom.

use super::dialogs::weight;
use super::paint::Paint;
use crate::tui::model::work::{Message, Weight};
use crate::tui::text::{width, wrap};
use crate::tui::theme::Role;
use ratatui::layout::Rect;

/// Messages shown at once.
const SHOWN: usize = 4;

pub(super) fn draw(paint: &mut Paint<'_>) {
    let screen = paint.buffer.area;
    let now = paint.model.now;
    let model = paint.model;
    let toasts: Vec<&Message> = model.works.toasts(now).collect();
    let mut bottom = screen.bottom().saturating_sub(2);
    for message in toasts.into_iter().rev().take(SHOWN) {
        let room = usize::from(screen.width.saturating_sub(8)).min(60);
        let mut lines: Vec<(Role, String)> = wrap(&message.text, room).into_iter().map(|l| (Role::Text, l)).collect();
        if !message.why.is_empty() {
            lines.extend(wrap(&message.why, room).into_iter().take(5).map(|line| (Role::Dim, line)));
        }
        if !message.advice.is_empty() {
            let advice = format!("{} {}", paint.glyphs().arrow, message.advice);
            lines.extend(wrap(&advice, room).into_iter().map(|line| (Role::Info, line)));
        }
        let columns = lines.iter().map(|(_, line)| width(line)).max().unwrap_or(0) as u16 + 6;
        let rows = lines.len() as u16 + 2;
        if bottom < screen.y + rows + 1 {
            break;
        }
        let area = Rect {
            x: screen.right().saturating_sub(columns + 1),
            y: bottom - rows + 1,
            width: columns.min(screen.width),
            height: rows,
        };
        let (glyph, role) = weight(paint, message.weight);
        paint.ground(area);
        let ground = paint.style(Role::Dialog);
        paint.frame(area, ground.patch(paint.style(if message.weight == Weight::Good { Role::Border } else { role })));
        paint.put(area.x + 2, area.y + 1, area.right(), glyph, role);
        for (row, (role, line)) in lines.iter().enumerate() {
            paint.put(area.x + 4, area.y + 1 + row as u16, area.right() - 1, line, *role);
        }
        bottom = area.y.saturating_sub(1);
    }
}
