//! A terminal inside the screen: bytes of a program in, cells out.
//!
//! Emulation is vt100's. This file adds what a program asks its terminal for and expects an answer to: where the cursor
//! is, whether anybody is there, what kind of terminal it is (busybox ash asks before its first prompt).

use std::num::NonZeroU16;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};

/// Lines kept above the screen.
const SCROLLBACK: usize = 2_000;

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

impl Size {
    /// The size of an area of the screen; at least one cell.
    pub fn of(area: Rect) -> Self {
        Self { rows: area.height.max(1), columns: area.width.max(1) }
    }

    fn non_zero(self) -> (NonZeroU16, NonZeroU16) {
        let at_least_one = |value| NonZeroU16::new(value).unwrap_or(NonZeroU16::MIN);
        (at_least_one(self.rows), at_least_one(self.columns))
    }
}

/// Answers to what the program asked, gathered until they are sent.
#[derive(Debug, Default)]
struct Answers {
    bytes: Vec<u8>,
}

impl vt100::Callbacks for Answers {
    /// Device status and attributes (ECMA-48 DSR, DA; xterm's control sequences document).
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        function: char,
    ) {
        let parameter = parameters.first().and_then(|group| group.first()).copied().unwrap_or(0);
        match (first, function, parameter) {
            (None, 'n', 5) => self.bytes.extend_from_slice(b"\x1b[0n"),
            (None, 'n', 6) => {
                let (row, column) = screen.cursor_position();
                self.bytes.extend_from_slice(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
            }
            // A VT220 with colours.
            (None, 'c', 0) => self.bytes.extend_from_slice(b"\x1b[?62;22c"),
            (Some(b'>'), 'c', 0) => self.bytes.extend_from_slice(b"\x1b[>0;10;0c"),
            _ => {}
        }
    }
}

/// A terminal.
pub struct Terminal {
    parser: vt100::Parser<Answers>,
    size: Size,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Terminal {
    /// An empty terminal.
    pub fn new(size: Size) -> Self {
        let (rows, columns) = size.non_zero();
        Self { parser: vt100::Parser::new_with_callbacks(rows, columns, SCROLLBACK, Answers::default()), size }
    }

    /// Takes in what the program printed; the bytes returned answer what it asked and belong into its input.
    #[must_use]
    pub fn process(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.parser.process(bytes);
        std::mem::take(&mut self.parser.callbacks_mut().bytes)
    }

    /// Its size now.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Changes its size; whether it did change.
    pub fn resize(&mut self, size: Size) -> bool {
        if size == self.size {
            return false;
        }
        let (rows, columns) = size.non_zero();
        self.parser.set_size(rows, columns);
        self.size = size;
        true
    }

    /// What its keys should send now.
    pub fn modes(&self) -> Modes {
        let screen = self.parser.screen();
        Modes {
            application_cursor: screen.application_cursor(),
            bracketed_paste: screen.bracketed_paste(),
            mouse: screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None
                && screen.mouse_protocol_encoding() == vt100::MouseProtocolEncoding::Sgr,
            alternate_screen: screen.alternate_screen(),
        }
    }

    /// Scrolls back (positive) or forth through what went off the top.
    pub fn scroll(&mut self, rows: isize) {
        let screen = self.parser.screen_mut();
        let now = screen.scrollback().saturating_add_signed(rows).min(screen.scrollback_len());
        screen.set_scrollback(now);
    }

    /// Back to the newest line.
    pub fn scroll_to_end(&mut self) {
        self.parser.screen_mut().set_scrollback(0);
    }

    /// How many lines up it is scrolled.
    pub fn scrolled(&self) -> usize {
        self.parser.screen().scrollback()
    }

    #[cfg(test)]
    fn contents(&self) -> String {
        self.parser.screen().contents()
    }

    /// Draws it into `area` and says where the cursor is, if it shows.
    pub fn draw(&self, area: Rect, base: Style, buffer: &mut Buffer) -> Option<Position> {
        let screen = self.parser.screen();
        buffer.set_style(area, base);
        for row in 0..area.height.min(self.size.rows) {
            for column in 0..area.width.min(self.size.columns) {
                let (Some(cell), Some(target)) =
                    (screen.cell(row, column), buffer.cell_mut((area.x + column, area.y + row)))
                else {
                    continue;
                };
                if cell.is_wide_continuation() {
                    target.set_symbol("");
                    continue;
                }
                target.set_symbol(if cell.has_contents() { cell.contents() } else { " " });
                target.set_style(style_of(cell, base));
            }
        }
        let (row, column) = screen.cursor_position();
        let is_shown = !screen.hide_cursor() && self.scrolled() == 0 && row < area.height && column < area.width;
        is_shown.then(|| Position::new(area.x + column, area.y + row))
    }
}

/// What a program switched its terminal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Cursor keys send `ESC O x` (DECCKM).
    pub application_cursor: bool,
    /// Pastes come in brackets.
    pub bracketed_paste: bool,
    /// It wants the mouse, in SGR's encoding.
    pub mouse: bool,
    /// A full-screen program, which has no scrollback.
    pub alternate_screen: bool,
}

fn style_of(cell: &vt100::Cell, base: Style) -> Style {
    let mut style = base;
    if let Some(color) = color_of(cell.fgcolor()) {
        style = style.fg(color);
    }
    if let Some(color) = color_of(cell.bgcolor()) {
        style = style.bg(color);
    }
    for (is_set, modifier) in [
        (cell.bold(), Modifier::BOLD),
        (cell.dim(), Modifier::DIM),
        (cell.italic(), Modifier::ITALIC),
        (cell.underline(), Modifier::UNDERLINED),
        (cell.inverse(), Modifier::REVERSED),
    ] {
        if is_set {
            style = style.add_modifier(modifier);
        }
    }
    style
}

fn color_of(color: vt100::Color) -> Option<Color> {
    match color {
        vt100::Color::Default => None,
        vt100::Color::Idx(index) => Some(Color::Indexed(index)),
        vt100::Color::Rgb(red, green, blue) => Some(Color::Rgb(red, green, blue)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { rows: 4, columns: 20 };

    #[test]
    fn questions_are_answered() {
        let mut terminal = Terminal::new(SIZE);
        assert_eq!(terminal.process(b"hi\x1b[6n"), b"\x1b[1;3R");
        assert_eq!(terminal.process(b"\x1b[c"), b"\x1b[?62;22c");
        assert_eq!(terminal.process(b"\x1b[5n"), b"\x1b[0n");
    }

    #[test]
    fn cells_are_drawn_with_their_colours() {
        let mut terminal = Terminal::new(SIZE);
        assert!(terminal.process(b"\x1b[31mred\x1b[0m ok\r\n$ ").is_empty());
        let area = Rect::new(0, 0, 20, 4);
        let mut buffer = Buffer::empty(area);
        let cursor = terminal.draw(area, Style::new(), &mut buffer);
        assert_eq!(cursor, Some(Position::new(2, 1)));
        assert_eq!(buffer[(0, 0)].symbol(), "r");
        assert_eq!(buffer[(0, 0)].fg, Color::Indexed(1));
        assert_eq!(buffer[(4, 0)].fg, Color::Reset);
    }

    #[test]
    fn what_went_off_the_top_can_be_scrolled_to() {
        let mut terminal = Terminal::new(SIZE);
        for number in 0..10 {
            assert!(terminal.process(format!("line {number}\r\n").as_bytes()).is_empty());
        }
        terminal.scroll(3);
        assert_eq!(terminal.scrolled(), 3);
        assert!(terminal.contents().starts_with("line 4"), "{}", terminal.contents());
        terminal.scroll_to_end();
        assert_eq!(terminal.scrolled(), 0);
    }
}
