//! What keys, clicks and pasted text do to the workbench: to whatever of it has the keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::CursorMove;

use super::chooser::Choice;
use super::document::{Edit, Movement, Selecting};
use super::model::{Focus, LogPlace, Prompt, StepChoice, Workbench};
use super::update::{Request, Requests, WorkbenchEffect};

impl Workbench {
    /// Whether a key that is no command means something to what has the keys.
    pub fn wants(&self, key: &KeyEvent) -> bool {
        if self.prompt.is_some() || self.chooser.is_some() {
            return true;
        }
        match self.focus {
            Focus::Editor => self.document.is_some() && edit_of(key).is_some(),
            Focus::Problems | Focus::Steps | Focus::Log => matches!(
                key.code,
                KeyCode::Up
                    | KeyCode::Down
                    | KeyCode::PageUp
                    | KeyCode::PageDown
                    | KeyCode::Home
                    | KeyCode::End
                    | KeyCode::Enter
                    | KeyCode::Char('j' | 'k' | 'g' | 'G' | 'f' | 'd' | 'u')
            ),
        }
    }

    /// A key that is no command: text for what has the keys, or a movement in it.
    pub fn key(&mut self, key: &KeyEvent) -> Requests {
        if self.prompt.is_some() {
            return self.prompt_key(key);
        }
        if self.chooser.is_some() {
            return self.chooser_key(key);
        }
        match self.focus {
            Focus::Editor => return self.editor_key(key),
            Focus::Problems => self.problems_key(key),
            Focus::Steps => self.steps_key(key),
            Focus::Log => self.log_key(key),
        }
        Vec::new()
    }

    /// Text from the clipboard.
    pub fn paste(&mut self, text: &str) {
        match (&mut self.prompt, &mut self.chooser) {
            (Some(Prompt::Tag { text: typed }), _) => typed.push_str(text.lines().next().unwrap_or_default()),
            (Some(Prompt::Unsaved), _) => {}
            (None, Some(chooser)) => text.lines().next().unwrap_or_default().chars().for_each(|c| chooser.type_char(c)),
            (None, None) => self.edit(Edit::Paste(text.to_owned())),
        }
    }

    fn prompt_key(&mut self, key: &KeyEvent) -> Requests {
        match (self.prompt.take(), key.code) {
            (Some(Prompt::Tag { text }), KeyCode::Enter) => self.set_tag(&text),
            (Some(Prompt::Tag { mut text }), KeyCode::Char(c)) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                text.push(c);
                self.prompt = Some(Prompt::Tag { text });
            }
            (Some(Prompt::Tag { mut text }), KeyCode::Backspace) => {
                text.pop();
                self.prompt = Some(Prompt::Tag { text });
            }
            (Some(Prompt::Unsaved), KeyCode::Char('s' | 'y') | KeyCode::Enter) => {
                self.leave_when_saved = true;
                return self.save();
            }
            (Some(Prompt::Unsaved), KeyCode::Char('d' | 'n')) => {
                self.document = None;
                return vec![Request::Leave];
            }
            (_, KeyCode::Esc) => {}
            (prompt, _) => self.prompt = prompt,
        }
        Vec::new()
    }

    fn chooser_key(&mut self, key: &KeyEvent) -> Requests {
        let Some(chooser) = &mut self.chooser else { return Vec::new() };
        match key.code {
            KeyCode::Esc => {
                self.chooser = None;
                if self.document.is_none() {
                    return vec![Request::Leave];
                }
            }
            KeyCode::Enter => {
                if let Some(Choice::Open(path) | Choice::Create(path)) = chooser.choice() {
                    return vec![Request::Do(WorkbenchEffect::Open(path))];
                }
            }
            KeyCode::Up => chooser.step(-1),
            KeyCode::Down => chooser.step(1),
            KeyCode::Backspace => chooser.erase(),
            KeyCode::Char(c) if types(key) => chooser.type_char(c),
            _ => {}
        }
        Vec::new()
    }

    fn editor_key(&mut self, key: &KeyEvent) -> Requests {
        let Some(edit) = edit_of(key) else { return Vec::new() };
        let copies = matches!(edit, Edit::Copy | Edit::Cut);
        self.edit(edit);
        match &self.document {
            Some(document) if copies && !document.yanked().is_empty() => vec![Request::Copy(document.yanked())],
            _ => Vec::new(),
        }
    }

    fn problems_key(&mut self, key: &KeyEvent) {
        let Some(document) = &mut self.document else { return };
        let count = document.parsed().diagnostics.len();
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.problem = self.problem.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.problem = (self.problem + 1).min(count.saturating_sub(1)),
            KeyCode::Enter => {
                if let Some(line) = document.parsed().diagnostics.get(self.problem).map(|it| it.lines.first) {
                    document.go_to_line(line);
                    self.focus = Focus::Editor;
                }
            }
            _ => {}
        }
    }

    fn steps_key(&mut self, key: &KeyEvent) {
        let count = self.build.as_ref().map_or(0, |build| build.steps.all().len());
        let last = count.saturating_sub(1);
        let here = self.shown_step().unwrap_or(0);
        let place = match key.code {
            KeyCode::Up | KeyCode::Char('k') => here.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (here + 1).min(last),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            KeyCode::Enter => {
                self.focus = Focus::Log;
                return;
            }
            KeyCode::Char('f') => {
                self.step = StepChoice::Current;
                return;
            }
            _ => return,
        };
        (self.step, self.log) = (StepChoice::At(place), LogPlace::End);
    }

    fn log_key(&mut self, key: &KeyEvent) {
        let is_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = isize::try_from(self.log_page.max(1)).unwrap_or(1);
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll_log(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_log(1),
            KeyCode::PageUp => self.scroll_log(-page),
            KeyCode::PageDown => self.scroll_log(page),
            KeyCode::Char('u') if is_ctrl => self.scroll_log(-page / 2),
            KeyCode::Char('d') if is_ctrl => self.scroll_log(page / 2),
            KeyCode::Home | KeyCode::Char('g') => self.log = LogPlace::From(0),
            KeyCode::End | KeyCode::Char('G' | 'f') => self.log = LogPlace::End,
            _ => {}
        }
    }

    /// Scrolls the output; reaching its end follows it again.
    pub fn scroll_log(&mut self, by: isize) {
        let Some(step) = self.shown_step().and_then(|place| self.build.as_ref()?.steps.get(place)) else { return };
        let lines = step.log.len();
        let (first, _) = self.log_window(lines, self.log_page);
        let next = first.saturating_add_signed(by);
        self.log = if next >= lines.saturating_sub(self.log_page) { LogPlace::End } else { LogPlace::From(next) };
    }

    /// Puts the cursor on a place of the text, as a click does: `row` and `column` from the editor's corner.
    pub fn click_text(&mut self, row: usize, column: usize) {
        self.focus = Focus::Editor;
        if let Some(document) = &mut self.document {
            let (top, left) = document.scroll();
            let row = top + row;
            let line = document.lines().get(row).map(String::as_str).unwrap_or_default();
            let column = super::document::character_at(line, left + column);
            document.edit(Edit::Move(Movement::To((row, column)), Selecting::No));
        }
    }

    /// Selects a step, as a click on a row of the `height` shown does.
    pub fn click_step(&mut self, row: usize, height: usize) {
        self.focus = Focus::Steps;
        let place = self.first_step(height) + row;
        if self.build.as_ref().is_some_and(|build| place < build.steps.all().len()) {
            (self.step, self.log) = (StepChoice::At(place), LogPlace::End);
        }
    }

    /// Selects a finding, as a click on a row of the `height` shown does.
    pub fn click_problem(&mut self, row: usize, height: usize) {
        let count = self.document.as_ref().map_or(0, |document| document.parsed().diagnostics.len());
        self.problem = (self.first_problem(height) + row).min(count.saturating_sub(1));
        self.focus = Focus::Problems;
    }

    /// Moves the cursor by lines, as the wheel does.
    pub fn scroll_text(&mut self, by: isize) {
        if let Some(document) = &mut self.document {
            let (row, column) = document.cursor();
            document.edit(Edit::Move(Movement::To((row.saturating_add_signed(by), column)), Selecting::No));
        }
    }
}

/// Whether a key with a character is meant as that character.
fn types(key: &KeyEvent) -> bool {
    !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
}

/// What a key does to the text.
fn edit_of(key: &KeyEvent) -> Option<Edit> {
    let has = |modifier| key.modifiers.contains(modifier);
    let (is_ctrl, is_alt) = (has(KeyModifiers::CONTROL), has(KeyModifiers::ALT));
    let selecting = if has(KeyModifiers::SHIFT) { Selecting::Yes } else { Selecting::No };
    let go = |movement| Some(Edit::Move(Movement::Cursor(movement), selecting));
    match key.code {
        KeyCode::Char(c) if is_ctrl => match c.to_ascii_lowercase() {
            'z' => Some(Edit::Undo),
            'y' => Some(Edit::Redo),
            'x' => Some(Edit::Cut),
            'c' => Some(Edit::Copy),
            'v' => Some(Edit::PasteYanked),
            'a' => Some(Edit::SelectAll),
            'w' => Some(Edit::DeleteWordBack),
            'd' => Some(Edit::Move(Movement::HalfPageDown, Selecting::No)),
            'u' => Some(Edit::Move(Movement::HalfPageUp, Selecting::No)),
            _ => None,
        },
        KeyCode::Char(c) if !is_alt => Some(Edit::Insert(c)),
        KeyCode::Enter => Some(Edit::NewLine),
        KeyCode::Tab => Some(Edit::Indent),
        KeyCode::Backspace if is_ctrl || is_alt => Some(Edit::DeleteWordBack),
        KeyCode::Backspace => Some(Edit::DeleteBack),
        KeyCode::Delete if has(KeyModifiers::SHIFT) => Some(Edit::DeleteLine),
        KeyCode::Delete => Some(Edit::DeleteForward),
        KeyCode::Left if is_ctrl => go(CursorMove::WordBack),
        KeyCode::Right if is_ctrl => go(CursorMove::WordForward),
        KeyCode::Left => go(CursorMove::Back),
        KeyCode::Right => go(CursorMove::Forward),
        KeyCode::Up => go(CursorMove::Up),
        KeyCode::Down => go(CursorMove::Down),
        KeyCode::Home if is_ctrl => go(CursorMove::Top),
        KeyCode::End if is_ctrl => go(CursorMove::Bottom),
        KeyCode::Home => go(CursorMove::Head),
        KeyCode::End => go(CursorMove::End),
        KeyCode::PageUp => Some(Edit::Move(Movement::PageUp, selecting)),
        KeyCode::PageDown => Some(Edit::Move(Movement::PageDown, selecting)),
        _ => None,
    }
}
