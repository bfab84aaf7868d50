//! The embedded terminal: a shell inside a container, in the detail view's Shell tab.
//!
//! Each container has at most one; it lives on while other things are looked at. While the terminal has the keys every key
//! goes to the shell, but for the action `shell.release`. Sessions themselves are kept by [`Sessions`], beside the other
//! running work; the model knows them by number.

mod encode;
mod session;
mod terminal;

use std::collections::HashMap;

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers, MouseEventKind};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tokio::sync::mpsc::UnboundedSender;

use super::actions::Scope;
use super::actions::keymap::Keymap;
use super::effect::Effect;
use super::event::Event;
use super::keys::Key;
use super::model::Model;
use super::model::detail::{Subject, Tab};
use super::theme::Role;
use crate::client::Docker;
use session::{Session, SessionNews, ShellRequest};
use terminal::{Size, Terminal};

/// What the terminal is told: news of the session of that number.
#[derive(Debug)]
pub struct ShellEvent {
    session: u64,
    news: SessionNews,
}

/// What the terminal wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum ShellEffect {
    /// Start a shell.
    Open { session: u64, container: String, size: (u16, u16) },
    /// Type into it.
    Send { session: u64, bytes: Vec<u8> },
    /// Tell it its size: rows, columns.
    Resize { session: u64, size: (u16, u16) },
    /// End it.
    Close { session: u64 },
}

/// How a shell stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    Ended(Option<i64>),
    Failed(String),
}

#[derive(Debug)]
struct Pane {
    session: u64,
    terminal: Terminal,
    state: State,
}

/// The terminals that are open, by container ID.
#[derive(Debug, Default)]
pub struct ShellPane {
    panes: HashMap<String, Pane>,
    sessions_begun: u64,
    has_keys: bool,
}

/// The shells that run, by number; kept where effects are carried out.
#[derive(Debug, Default)]
pub struct Sessions {
    running: HashMap<u64, Session>,
}

impl Sessions {
    /// Carries out an effect at once; news come as events.
    pub fn carry_out(&mut self, effect: ShellEffect, client: &Docker, events: &UnboundedSender<Event>) {
        match effect {
            ShellEffect::Open { session, container, size: (rows, columns) } => {
                let events = events.clone();
                // The screen may be gone when news come; then nobody needs them.
                let tell = move |news| drop(events.send(Event::Shell(ShellEvent { session, news })));
                let request = ShellRequest { container, size: Size { rows, columns } };
                self.running.insert(session, Session::start(client.clone(), request, tell));
            }
            ShellEffect::Send { session, bytes } => {
                if let Some(session) = self.running.get(&session) {
                    session.send(bytes);
                }
            }
            ShellEffect::Resize { session, size: (rows, columns) } => {
                if let Some(session) = self.running.get(&session) {
                    session.resize(Size { rows, columns });
                }
            }
            ShellEffect::Close { session } => drop(self.running.remove(&session)),
        }
    }
}

/// The container whose Shell tab is on the screen.
fn shown(model: &Model) -> Option<String> {
    match (model.tab(), model.subject()) {
        (Some(Tab::Shell), Subject::Container(id)) => Some(id),
        _ => None,
    }
}

/// True while it has the keyboard: every key but the one of `shell.release` goes to [`input`].
pub fn has_keys(model: &Model) -> bool {
    model.shell.has_keys && shown(model).is_some_and(|id| model.shell.panes.contains_key(&id))
}

/// Gives the keyboard back to the lists (the action `shell.release`).
pub fn release(model: &mut Model) -> Vec<Effect> {
    model.shell.has_keys = false;
    model.touch();
    Vec::new()
}

/// Gives the keyboard to the shell of the container that is shown, starting one where there is none.
pub fn focus(model: &mut Model) -> Vec<Effect> {
    match shown(model) {
        Some(id) => open(model, &id),
        None => Vec::new(),
    }
}

/// Raw input while its tab is shown. `None`: not for us, go on with the actions table.
pub fn input(model: &mut Model, input: &Input) -> Option<Vec<Effect>> {
    let id = shown(model)?;
    let body = model.layout.body();
    if !has_keys(model) && !matches!(input, Input::Mouse(mouse) if body.contains((mouse.column, mouse.row).into())) {
        return None;
    }
    let pane = model.shell.panes.get_mut(&id)?;
    let modes = pane.terminal.modes();
    if matches!(input, Input::Key(event) if is_release(&model.keymap, event)) {
        return None;
    }
    let bytes = match input {
        Input::Key(key) if pane.state != State::Running => return ended_key(model, key, &id),
        Input::Key(key) if scroll_key(pane, key) => Vec::new(),
        Input::Key(key) => {
            pane.terminal.scroll_to_end();
            encode::key(key, modes)
        }
        Input::Paste(text) => encode::paste(text, modes),
        Input::Mouse(mouse) => {
            let bytes = encode::mouse(mouse, body, modes);
            match mouse.kind {
                MouseEventKind::ScrollUp if bytes.is_empty() => pane.terminal.scroll(3),
                MouseEventKind::ScrollDown if bytes.is_empty() => pane.terminal.scroll(-3),
                MouseEventKind::Down(_) => model.shell.has_keys = true,
                _ => {}
            }
            bytes
        }
        _ => return None,
    };
    model.touch();
    let session = model.shell.panes.get(&id)?.session;
    Some(if bytes.is_empty() { Vec::new() } else { vec![Effect::Shell(ShellEffect::Send { session, bytes })] })
}

/// Whether a key is the one that gives the keys back.
fn is_release(keymap: &Keymap, event: &KeyEvent) -> bool {
    let action = Key::of(event).and_then(|key| keymap.action(&[Scope::Shell], key));
    action.is_some_and(|action| action.name == "shell.release")
}

/// A shell that ended keeps its last picture: enter starts a new one, anything else gives the keys back.
fn ended_key(model: &mut Model, key: &KeyEvent, id: &str) -> Option<Vec<Effect>> {
    model.shell.panes.remove(id);
    model.shell.has_keys = false;
    model.touch();
    (key.code == KeyCode::Enter).then(|| open(model, id)).or(Some(Vec::new()))
}

/// shift-pgup and shift-pgdn look at what went off the top, as in most terminals.
fn scroll_key(pane: &mut Pane, key: &KeyEvent) -> bool {
    let page = isize::try_from(pane.terminal.size().rows / 2).unwrap_or(1);
    match key.code {
        KeyCode::PageUp if key.modifiers.contains(KeyModifiers::SHIFT) => pane.terminal.scroll(page),
        KeyCode::PageDown if key.modifiers.contains(KeyModifiers::SHIFT) => pane.terminal.scroll(-page),
        _ => return false,
    }
    true
}

/// Opens a shell in a container, or goes back to the one that is open (the action `container.shell`).
pub fn open(model: &mut Model, container: &str) -> Vec<Effect> {
    model.open_tab(Tab::Shell);
    model.shell.has_keys = true;
    model.touch();
    if model.shell.panes.get(container).is_some_and(|pane| pane.state == State::Running) {
        return Vec::new();
    }
    model.shell.sessions_begun += 1;
    let session = model.shell.sessions_begun;
    let size = Size::of(model.layout.body());
    let pane = Pane { session, terminal: Terminal::new(size), state: State::Running };
    model.shell.panes.insert(container.to_owned(), pane);
    let container = container.to_owned();
    vec![Effect::Shell(ShellEffect::Open { session, container, size: (size.rows, size.columns) })]
}

/// One of its own events.
pub fn update(model: &mut Model, event: ShellEvent) -> Vec<Effect> {
    let session = event.session;
    let Some(pane) = model.shell.panes.values_mut().find(|pane| pane.session == session) else { return Vec::new() };
    let effects = match event.news {
        SessionNews::Output(bytes) => {
            let answer = pane.terminal.process(&bytes);
            if answer.is_empty() { Vec::new() } else { vec![ShellEffect::Send { session, bytes: answer }] }
        }
        SessionNews::Ended(code) => {
            pane.state = State::Ended(code);
            vec![ShellEffect::Close { session }]
        }
        SessionNews::Failed(why) => {
            pane.state = State::Failed(why);
            vec![ShellEffect::Close { session }]
        }
    };
    model.touch();
    effects.into_iter().map(Effect::Shell).collect()
}

/// After each batch: the area may have changed size.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    let Some(id) = shown(model) else { return Vec::new() };
    let size = Size::of(model.layout.body());
    let running = model.shell.panes.get_mut(&id).filter(|pane| pane.state == State::Running);
    let resized = running.and_then(|pane| pane.terminal.resize(size).then_some(pane.session));
    let resize = |session| Effect::Shell(ShellEffect::Resize { session, size: (size.rows, size.columns) });
    resized.map(resize).into_iter().collect()
}

/// Draws into the Shell tab's body.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let base = model.theme.style(Role::Text);
    let dim = model.theme.style(Role::Dim);
    let Some(pane) = shown(model).and_then(|id| model.shell.panes.get(&id)) else {
        let keys = model.theme.style(Role::Key);
        let line = Line::from(vec![
            Span::styled(" Press ", dim),
            Span::styled("E", keys),
            Span::styled(" to open a shell in this container. ", dim),
            Span::styled("ctrl-\\", keys),
            Span::styled(" gives the keys back.", dim),
        ]);
        frame.render_widget(line, area);
        return;
    };
    let cursor = pane.terminal.draw(area, base, frame.buffer_mut());
    let note = match &pane.state {
        State::Running if pane.terminal.scrolled() > 0 => Some(format!("{} lines up", pane.terminal.scrolled())),
        State::Running => None,
        State::Ended(Some(code)) => Some(format!("the shell ended with exit code {code}; enter starts a new one")),
        State::Ended(None) => Some("the shell ended; enter starts a new one".to_owned()),
        State::Failed(why) => Some(format!("no shell: {}", super::text::clean(why))),
    };
    if let Some(note) = note {
        let row = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        let room = usize::from(row.width);
        let note = super::text::left(&format!(" {note}"), room, model.glyphs.ellipsis);
        frame.render_widget(Span::styled(note, model.theme.style(Role::SelectedDim)), row);
    } else if let Some(cursor) = cursor.filter(|_| has_keys(model)) {
        frame.set_cursor_position(cursor);
    }
}
