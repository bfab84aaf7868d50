//! Everything a person sees. Knows the client and the Dockerfile language, never the engine.
//!
//! One queue of [`event::Event`]s (keys, mouse, the engine's answers, time), one pure function that changes the model
//! ([`update::update`]: `(&mut Model, Event) -> Vec<Effect>`), and effects carried out on tokio by [`io`] that answer
//! with events. [`app`] is the loop around it: it drains the queue, updates, and draws once ([`view::draw`]). Streams
//! that must be open follow from the model ([`update::wants`]), so nothing can forget to close one.
//!
//! | to add | put it |
//! | --- | --- |
//! | an action or key | a row in [`actions`]; footer, help, palette and docs/keys.md follow (bless: `BOXYARD_BLESS=1 cargo test keys_page`) |
//! | a work of the engine | a [`job::Job`], its words there, its calls in `io::jobs`; start it with `actions::containers_begin` |
//! | a tab of the details | [`model::detail::Tab`] and [`model::detail::Subject::tabs`]; a document needs only `update::docs` |
//! | a look | a [`theme::Role`] in every theme file |
//! | a screen | a [`model::Screen`]; see below |
//!
//! The workbench ([`workbench`], a screen) and the embedded terminal ([`shell`], a tab) are rooms of their own with one
//! door each, all functions of the model:
//!
//! - their state is `model.workbench` / `model.shell`, their events [`event::Event::Workbench`] / `Shell` go to their
//!   `update`, their effects [`effect::Effect::Workbench`] / `Shell` go to the `carry_out` of what
//!   [`io::Runner`] holds for them ([`workbench::Builders`], [`shell::Sessions`]): it keeps their running tasks and ends them;
//! - `input(model, &crossterm event)` sees raw keys, mouse and pastes before the actions table and answers
//!   `Some(effects)` for what it takes (workbench: while its screen is open; shell: while `has_keys`), `None` for what
//!   should reach the table (`Scope::Workbench`, `Scope::Shell`, then `Scope::Global`). Overlays and the footer's input
//!   line come before both;
//! - `settle(model)` runs after every batch, when `model.layout` is fresh: `model.layout.body()` is the tab's inside
//!   (the shell's size); the workbench owns everything between header and footer;
//! - `draw(frame, area, model)` draws, `model.touch()` asks for a drawing, `model.say(..)` makes a toast,
//!   `model.works` shows progress in the footer, `model.builds` is the list of builds.

pub mod actions;
pub mod ansi;
pub mod app;
pub mod effect;
pub mod event;
#[cfg(test)]
mod fixture;
pub mod form;
pub mod fuzzy;
pub mod glyphs;
pub mod io;
pub mod job;
pub mod keys;
pub mod layout;
pub mod model;
pub mod shell;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;
pub mod workbench;

use crate::client::Docker;
use actions::keymap::Keymap;
use model::Model;
use ratatui::layout::Size;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use theme::{Depth, Theme};

/// What drives the containers, for the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineKind {
    /// Our own, in this process.
    Embedded {
        /// Its state root.
        root: String,
    },
    /// Any other, by its URL.
    Host(String),
}

/// How the screen is to be.
#[derive(Debug, Clone)]
pub struct TuiOptions {
    pub about: EngineKind,
    /// A theme's name, or the path of a theme file; `None`: what fits the terminal.
    pub theme: Option<String>,
    /// Plain ASCII marks; `None`: what fits the terminal.
    pub ascii: Option<bool>,
    /// Changed keys: action to keys.
    pub keys: BTreeMap<String, Vec<String>>,
    /// Whether removals ask first.
    pub asks_before_removal: bool,
    /// The Dockerfile that the workbench opens first; `None`: it looks for some below the current folder.
    pub dockerfile: Option<PathBuf>,
}

impl Default for TuiOptions {
    fn default() -> Self {
        TuiOptions {
            about: EngineKind::Host(String::new()),
            theme: None,
            ascii: None,
            keys: BTreeMap::new(),
            asks_before_removal: true,
            dockerfile: None,
        }
    }
}

/// Takes the terminal over and runs until the user leaves.
///
/// # Errors
/// No terminal; a theme or key in the options that is none.
pub async fn run(client: Docker, options: TuiOptions) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "boxyard's screen needs a terminal; for scripts there are `boxyard serve` and the docker command line"
    );
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let term = variable("TERM");
    let no_color = !variable("NO_COLOR").is_empty();
    let depth = Depth::detect(no_color, &variable("COLORTERM"), &term);
    let theme = choose_theme(options.theme.as_deref(), depth)?;
    let locale = [variable("LC_ALL"), variable("LC_CTYPE"), variable("LANG")].into_iter().find(|v| !v.is_empty());
    let glyphs = match options.ascii {
        Some(true) => &glyphs::ASCII,
        Some(false) => &glyphs::UNICODE,
        None => glyphs::detect(&term, &locale.unwrap_or_default()),
    };
    let keymap = Keymap::new(&options.keys).map_err(anyhow::Error::msg)?;
    let screen = terminal::Screen::enter()?;
    let size = screen.terminal.size().unwrap_or(Size::new(80, 24));
    let mut model = Model::new(size, options.about, theme, glyphs, Arc::new(keymap));
    model.zone = jiff::tz::TimeZone::system();
    model.depth = depth;
    model.asks_before_removal = options.asks_before_removal;
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    model.workbench = workbench::Workbench::new(&folder, options.dockerfile);
    app::run(client, model, screen).await
}

/// The theme that was asked for, else the one that suits the terminal's depth and background.
fn choose_theme(asked: Option<&str>, depth: Depth) -> Result<Theme, theme::ThemeError> {
    let theme = match (asked, depth) {
        (Some(name), _) => Theme::load(name)?,
        (None, Depth::Mono) => Theme::built_in("mono")?,
        (None, Depth::Sixteen) => Theme::built_in("ansi")?,
        (None, _) => Theme::built_in(if is_light() { "light" } else { "dark" })?,
    };
    Ok(if depth == Depth::Indexed { theme.indexed() } else { theme })
}

/// Asks the terminal for its background. One that does not answer is taken for dark.
fn is_light() -> bool {
    let mut options = terminal_colorsaurus::QueryOptions::default();
    options.timeout = Duration::from_millis(150);
    matches!(terminal_colorsaurus::theme_mode(options), Ok(terminal_colorsaurus::ThemeMode::Light))
}
