//! The brush: text by role, boxes, rows, inputs. Never writes outside the area it is given.

use crate::tui::glyphs::Glyphs;
use crate::tui::model::Model;
use crate::tui::text::{cut, width};
use crate::tui::theme::Role;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};

/// Draws into a buffer with a model's theme and glyphs.
pub struct Paint<'a> {
    pub buffer: &'a mut Buffer,
    pub model: &'a Model,
    /// Where the terminal's cursor belongs, if anywhere.
    pub cursor: Option<Position>,
}

impl<'a> Paint<'a> {
    pub fn style(&self, role: Role) -> Style {
        self.model.theme.style(role)
    }

    pub fn glyphs(&self) -> &'static Glyphs {
        self.model.glyphs
    }

    /// Writes `text` from `x` up to `end` (exclusive); a cut is shown. Returns the column behind it.
    pub fn text(&mut self, x: u16, y: u16, end: u16, text: &str, style: Style) -> u16 {
        let end = end.min(self.buffer.area.right());
        if x >= end || y >= self.buffer.area.bottom() {
            return x;
        }
        let room = usize::from(end - x);
        let shown = cut(text, room, self.glyphs().ellipsis);
        self.buffer.set_stringn(x, y, &shown, room, style).0
    }

    /// [`Paint::text`] by role.
    pub fn put(&mut self, x: u16, y: u16, end: u16, text: &str, role: Role) -> u16 {
        self.text(x, y, end, text, self.style(role))
    }

    /// Writes several pieces one behind the other.
    pub fn pieces(&mut self, x: u16, y: u16, end: u16, pieces: &[(Role, &str)]) -> u16 {
        pieces.iter().fold(x, |x, (role, text)| self.put(x, y, end, text, *role))
    }

    /// Writes `text` so that it ends before `end`. Returns its first column.
    pub fn put_right(&mut self, start: u16, y: u16, end: u16, text: &str, role: Role) -> u16 {
        let x = end.saturating_sub(width(text) as u16).max(start);
        self.put(x, y, end, text, role);
        x
    }

    /// Writes `text` in the middle of a line.
    pub fn put_center(&mut self, area: Rect, y: u16, text: &str, role: Role) {
        let wide = (width(text) as u16).min(area.width);
        let x = area.x + (area.width - wide) / 2;
        self.put(x, y, area.right(), text, role);
    }

    /// Sets the style of a whole area, over what is drawn there.
    pub fn tint(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area.intersection(self.buffer.area), style);
    }

    /// A horizontal rule.
    pub fn rule(&mut self, x: u16, y: u16, end: u16, style: Style) {
        let rule = self.glyphs().rule;
        for x in x..end.min(self.buffer.area.right()) {
            self.text(x, y, x + 1, rule, style);
        }
    }

    /// A frame.
    pub fn frame(&mut self, area: Rect, style: Style) {
        if area.width < 2 || area.height < 2 {
            return;
        }
        let set = self.glyphs().border;
        let (left, right, top, bottom) = (area.x, area.right() - 1, area.y, area.bottom() - 1);
        for x in left + 1..right {
            self.text(x, top, x + 1, set.horizontal_top, style);
            self.text(x, bottom, x + 1, set.horizontal_bottom, style);
        }
        for y in top + 1..bottom {
            self.text(left, y, left + 1, set.vertical_left, style);
            self.text(right, y, right + 1, set.vertical_right, style);
        }
        self.text(left, top, left + 1, set.top_left, style);
        self.text(right, top, right + 1, set.top_right, style);
        self.text(left, bottom, left + 1, set.bottom_left, style);
        self.text(right, bottom, right + 1, set.bottom_right, style);
    }

    /// A thumb on a frame's right side, where there is more than is shown.
    pub fn scrollbar(&mut self, x: u16, y: u16, height: u16, top: usize, total: usize, style: Style) {
        let rows = usize::from(height);
        if height < 2 || total <= rows {
            return;
        }
        let length = (rows * rows / total).clamp(1, rows);
        let start = top * (rows - length) / (total - rows).max(1);
        for row in start..(start + length).min(rows) {
            self.text(x, y + row as u16, x + 1, self.glyphs().thumb, style);
        }
    }

    /// Empties an area and gives it the dialogs' ground.
    pub fn ground(&mut self, area: Rect) {
        Clear.render(area.intersection(self.buffer.area), self.buffer);
        self.tint(area, self.style(Role::Dialog));
    }

    /// A dialog's box in the middle of the screen, with a title; returns its inside with a column of air.
    pub fn dialog(&mut self, columns: u16, rows: u16, title: &str, border: Role) -> Rect {
        let screen = self.buffer.area;
        let columns = columns.min(screen.width.saturating_sub(2)).max(10.min(screen.width));
        let rows = rows.min(screen.height.saturating_sub(2)).max(3.min(screen.height));
        let area = Rect {
            x: screen.x + (screen.width - columns) / 2,
            y: screen.y + (screen.height - rows) * 2 / 5,
            width: columns,
            height: rows,
        };
        self.ground(area);
        self.frame(area, self.style(border));
        let style = self.style(border).patch(self.style(Role::TitleFocus));
        let style = if border == Role::DialogDanger { self.style(border) } else { style };
        self.text(area.x + 2, area.y, area.right().saturating_sub(2), &format!(" {title} "), style);
        Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width.saturating_sub(4),
            height: area.height.saturating_sub(2),
        }
    }

    /// A text field with the terminal's cursor in it, scrolled so that the cursor shows.
    pub fn input(&mut self, x: u16, y: u16, end: u16, input: &crate::tui::form::input::Input, style: Style) {
        let (before, behind) = input.parts();
        let room = usize::from(end.saturating_sub(x + 1));
        let mut start = 0;
        while width(&before[start..]) > room {
            start += before[start..].chars().next().map_or(1, char::len_utf8);
        }
        let at = self.buffer.set_stringn(x, y, &before[start..], room, style).0;
        self.buffer.set_stringn(at, y, behind, usize::from(end.saturating_sub(at)), style);
        self.cursor = Some(Position { x: at.min(end.saturating_sub(1)), y });
    }

    /// A bar of `columns` cells for a share between 0 and 1.
    pub fn bar(&mut self, x: u16, y: u16, columns: u16, share: f64, role: Role) -> u16 {
        let full = (share.clamp(0.0, 1.0) * f64::from(columns)).round() as u16;
        for cell in 0..columns {
            let (glyph, role) =
                if cell < full { (self.glyphs().bar_full, role) } else { (self.glyphs().bar_empty, Role::Faint) };
            self.put(x + cell, y, x + cell + 1, glyph, role);
        }
        x + columns
    }

    /// The spinner's present picture.
    pub fn spinner(&self) -> &'static str {
        let frames = self.glyphs().spinner;
        frames.get(self.model.spin % frames.len().max(1)).copied().unwrap_or("")
    }
}
