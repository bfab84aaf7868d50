//! One line of editable text: cursor, words, the usual shell keys.

use crate::tui::keys::Key;
use crossterm::event::{KeyCode, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

/// A line being edited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    text: String,
    /// Byte offset, always on a grapheme's border.
    cursor: usize,
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Input { text: text.to_owned(), cursor: text.len() }
    }
}

impl Input {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text before and behind the cursor.
    pub fn parts(&self) -> (&str, &str) {
        self.text.split_at(self.cursor)
    }

    /// Puts text in at the cursor.
    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].graphemes(true).next_back().map_or(0, str::len)
    }

    fn behind(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_start(&self) -> usize {
        let head = self.text[..self.cursor].trim_end();
        head.rfind(|c: char| c.is_whitespace() || matches!(c, '/' | ':' | ','))
            .map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8))
    }

    /// One key; false: it means nothing here.
    pub fn key(&mut self, key: Key) -> bool {
        let is_ctrl = key.mods.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Left => self.cursor -= self.before(),
            KeyCode::Right => self.cursor += self.behind(),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Char('a') if is_ctrl => self.cursor = 0,
            KeyCode::Char('e') if is_ctrl => self.cursor = self.text.len(),
            KeyCode::Char('u') if is_ctrl => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('k') if is_ctrl => self.text.truncate(self.cursor),
            KeyCode::Char('w') if is_ctrl => {
                let start = self.word_start().min(self.cursor);
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            KeyCode::Backspace => {
                let gone = self.before();
                self.text.drain(self.cursor - gone..self.cursor);
                self.cursor -= gone;
            }
            KeyCode::Delete => {
                let gone = self.behind();
                self.text.drain(self.cursor..self.cursor + gone);
            }
            _ => match key.typed() {
                Some(c) => self.insert(c.encode_utf8(&mut [0; 4])),
                None => return false,
            },
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_moves_by_what_people_see() {
        let mut input = Input::from("e\u{301}x");
        input.key(Key::plain(KeyCode::Left));
        input.key(Key::plain(KeyCode::Backspace));
        assert_eq!(input.text(), "x");
        let mut input = Input::from("ghcr.io/owner/name");
        input.key(Key::parse("ctrl-w").unwrap());
        assert_eq!(input.text(), "ghcr.io/owner/");
        input.key(Key::parse("ctrl-u").unwrap());
        assert_eq!((input.text(), input.parts()), ("", ("", "")));
    }
}
