//! Keys, pastes and mouse as the bytes a program in a terminal reads (xterm's control sequences document).

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::terminal::Modes;

/// What a key sends; nothing for keys that terminals have no bytes for.
pub fn key(event: &KeyEvent, modes: Modes) -> Vec<u8> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let is_alt = event.modifiers.contains(KeyModifiers::ALT);
    let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    let modifier = modifier_parameter(event.modifiers);
    let plain = |bytes: &[u8]| if is_alt { [b"\x1b", bytes].concat() } else { bytes.to_vec() };
    match event.code {
        KeyCode::Char(c) if is_ctrl => control(c).map_or_else(Vec::new, |byte| plain(&[byte])),
        KeyCode::Char(c) => plain(c.encode_utf8(&mut [0; 4]).as_bytes()),
        KeyCode::Enter => plain(b"\r"),
        KeyCode::Tab => plain(b"\t"),
        KeyCode::BackTab => b"\x1b[Z".to_vec(),
        KeyCode::Backspace => plain(if is_ctrl { b"\x08" } else { b"\x7f" }),
        KeyCode::Esc => plain(b"\x1b"),
        KeyCode::Up => cursor(b'A', modifier, modes),
        KeyCode::Down => cursor(b'B', modifier, modes),
        KeyCode::Right => cursor(b'C', modifier, modes),
        KeyCode::Left => cursor(b'D', modifier, modes),
        KeyCode::Home => cursor(b'H', modifier, modes),
        KeyCode::End => cursor(b'F', modifier, modes),
        KeyCode::Insert => tilde(2, modifier),
        KeyCode::Delete => tilde(3, modifier),
        KeyCode::PageUp => tilde(5, modifier),
        KeyCode::PageDown => tilde(6, modifier),
        KeyCode::F(number) => function(number, modifier),
        _ => Vec::new(),
    }
}

/// What a paste sends.
pub fn paste(text: &str, modes: Modes) -> Vec<u8> {
    if modes.bracketed_paste {
        // The end mark inside the text would let the rest be read as typed.
        format!("\x1b[200~{}\x1b[201~", text.replace("\x1b[201~", "")).into_bytes()
    } else {
        text.replace("\r\n", "\r").replace('\n', "\r").into_bytes()
    }
}

/// What the mouse sends to a program that wants it; `area` is where the terminal is drawn.
pub fn mouse(event: &MouseEvent, area: Rect, modes: Modes) -> Vec<u8> {
    if !modes.mouse || !area.contains((event.column, event.row).into()) {
        return Vec::new();
    }
    let button = |button: MouseButton| match button {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    };
    let (code, end) = match event.kind {
        MouseEventKind::Down(pressed) => (button(pressed), 'M'),
        MouseEventKind::Up(released) => (button(released), 'm'),
        MouseEventKind::Drag(held) => (button(held) + 32, 'M'),
        MouseEventKind::ScrollUp => (64, 'M'),
        MouseEventKind::ScrollDown => (65, 'M'),
        _ => return Vec::new(),
    };
    format!("\x1b[<{code};{};{}{end}", event.column - area.x + 1, event.row - area.y + 1).into_bytes()
}

/// The byte of ctrl and a character (ASCII's control column).
fn control(c: char) -> Option<u8> {
    match c.to_ascii_lowercase() {
        letter @ 'a'..='z' => Some(letter as u8 - b'a' + 1),
        ' ' | '@' | '2' => Some(0),
        '[' | '3' => Some(0x1b),
        '\\' | '4' => Some(0x1c),
        ']' | '5' => Some(0x1d),
        '^' | '6' => Some(0x1e),
        '_' | '/' | '7' | '-' => Some(0x1f),
        '8' | '?' => Some(0x7f),
        _ => None,
    }
}

/// xterm's number of a set of modifiers; 1 is none.
fn modifier_parameter(modifiers: KeyModifiers) -> u8 {
    let has = |modifier, weight| if modifiers.contains(modifier) { weight } else { 0 };
    1 + has(KeyModifiers::SHIFT, 1) + has(KeyModifiers::ALT, 2) + has(KeyModifiers::CONTROL, 4)
}

fn cursor(letter: u8, modifier: u8, modes: Modes) -> Vec<u8> {
    match modifier {
        1 if modes.application_cursor => vec![0x1b, b'O', letter],
        1 => vec![0x1b, b'[', letter],
        _ => format!("\x1b[1;{modifier}{}", letter as char).into_bytes(),
    }
}

fn tilde(number: u8, modifier: u8) -> Vec<u8> {
    match modifier {
        1 => format!("\x1b[{number}~").into_bytes(),
        _ => format!("\x1b[{number};{modifier}~").into_bytes(),
    }
}

fn function(number: u8, modifier: u8) -> Vec<u8> {
    match number {
        1..=4 => {
            let letter = (b'P' + number - 1) as char;
            if modifier == 1 {
                format!("\x1bO{letter}").into_bytes()
            } else {
                format!("\x1b[1;{modifier}{letter}").into_bytes()
            }
        }
        // The gaps are history: F5 is 15, F6 17, F11 23.
        5 => tilde(15, modifier),
        6..=10 => tilde(number + 11, modifier),
        11..=12 => tilde(number + 12, modifier),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(code: KeyCode, modifiers: KeyModifiers) -> String {
        key(&KeyEvent::new(code, modifiers), Modes::default()).escape_ascii().to_string()
    }

    #[test]
    fn keys_send_what_xterm_sends() {
        let none = KeyModifiers::NONE;
        for (code, modifiers, expected) in [
            (KeyCode::Char('a'), none, "a"),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, r"\x03"),
            (KeyCode::Char('b'), KeyModifiers::ALT, r"\x1bb"),
            (KeyCode::Char('\\'), KeyModifiers::CONTROL, r"\x1c"),
            (KeyCode::Enter, none, r"\r"),
            (KeyCode::Backspace, none, r"\x7f"),
            (KeyCode::Up, none, r"\x1b[A"),
            (KeyCode::Left, KeyModifiers::CONTROL, r"\x1b[1;5D"),
            (KeyCode::Delete, none, r"\x1b[3~"),
            (KeyCode::F(1), none, r"\x1bOP"),
            (KeyCode::F(5), none, r"\x1b[15~"),
            (KeyCode::F(12), none, r"\x1b[24~"),
        ] {
            assert_eq!(sent(code, modifiers), expected, "{code:?} with {modifiers:?}");
        }
    }

    #[test]
    fn application_mode_changes_the_cursor_keys() {
        let modes = Modes { application_cursor: true, ..Modes::default() };
        assert_eq!(key(&KeyEvent::new(KeyCode::Up, KeyModifiers::NONE), modes), b"\x1bOA");
    }

    #[test]
    fn a_paste_can_not_leave_its_brackets() {
        let modes = Modes { bracketed_paste: true, ..Modes::default() };
        assert_eq!(paste("a\x1b[201~rm", modes), b"\x1b[200~arm\x1b[201~");
        assert_eq!(paste("a\nb", Modes::default()), b"a\rb");
    }
}
