//! How a running build is shown: one of four displays, fed by the build's messages.

mod live;
mod plain;
mod raw;
mod steps;

use std::io::{self, IsTerminal, Stderr, Write};
use std::time::Instant;

use jiff::Timestamp;

use self::live::Live;
use self::plain::Plain;
pub use self::plain::clock;
pub use self::steps::{Step, Steps};
use super::explain::Explanation;
use super::flags::ProgressMode;
use crate::buildkit::TraceUpdate;

/// Shows a build on standard error, as buildx does.
pub struct Display {
    /// What was told so far.
    pub steps: Steps,
    /// What the cache had, and why not.
    pub explanation: Explanation,
    kind: Kind,
}

enum Kind {
    Plain(Plain<Stderr>),
    Live(Live<Stderr>),
    Raw(Stderr),
    Quiet,
}

impl Display {
    /// The display of `mode`.
    ///
    /// # Errors
    /// `tty` where standard error is no terminal.
    pub fn new(mode: ProgressMode, is_quiet: bool) -> anyhow::Result<Self> {
        let is_terminal = io::stderr().is_terminal();
        let live = || {
            let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Kind::Live(Live::new(io::stderr(), Timestamp::now(), has_colours))
        };
        let kind = match mode {
            _ if is_quiet => Kind::Quiet,
            ProgressMode::Quiet => Kind::Quiet,
            ProgressMode::Rawjson => Kind::Raw(io::stderr()),
            ProgressMode::Tty if !is_terminal => {
                anyhow::bail!("--progress=tty: standard error is no terminal; plain and auto need none")
            }
            ProgressMode::Tty => live(),
            ProgressMode::Auto if is_terminal => live(),
            ProgressMode::Auto | ProgressMode::Plain => Kind::Plain(Plain::new(io::stderr(), Instant::now())),
        };
        Ok(Self { steps: Steps::default(), explanation: Explanation::default(), kind })
    }

    /// Whether people read it, who are told about warnings and failures in words.
    pub fn is_for_people(&self) -> bool {
        matches!(self.kind, Kind::Plain(_) | Kind::Live(_))
    }

    /// Shows an update.
    ///
    /// # Errors
    /// Nobody reads standard error any more.
    pub fn update(&mut self, update: TraceUpdate) -> io::Result<()> {
        if let Kind::Raw(out) = &mut self.kind {
            writeln!(out, "{}", raw::line(&update))?;
        }
        self.explanation.take(&update);
        let news = self.steps.apply(update);
        match &mut self.kind {
            Kind::Plain(plain) => plain.tell(news, &self.steps, Instant::now()),
            Kind::Live(live) => {
                live.note(news);
                Ok(())
            }
            Kind::Raw(_) | Kind::Quiet => Ok(()),
        }
    }

    /// Some time has passed: ten times a second.
    ///
    /// # Errors
    /// Nobody reads standard error any more.
    pub fn tick(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Plain(plain) => plain.turn(&self.steps, Instant::now()),
            Kind::Live(live) => live.draw(&self.steps, crossterm_size(), Timestamp::now()),
            Kind::Raw(_) | Kind::Quiet => Ok(()),
        }
    }

    /// The build has ended, or was broken off: steps that have not ended never will.
    ///
    /// # Errors
    /// Nobody reads standard error any more.
    pub fn finish(&mut self) -> io::Result<()> {
        let news = self.steps.give_up();
        match &mut self.kind {
            Kind::Plain(plain) => {
                plain.tell(news, &self.steps, Instant::now())?;
                plain.finish(&self.steps, Instant::now())
            }
            Kind::Live(live) => {
                live.note(news);
                live.finish(&self.steps, crossterm_size(), Timestamp::now())
            }
            Kind::Raw(_) | Kind::Quiet => Ok(()),
        }
    }
}

/// Rows and columns of the terminal; of whichever stream is one.
fn crossterm_size() -> Option<(u16, u16)> {
    crossterm::terminal::size()
        .ok()
        .map(|(columns, rows)| (rows, columns))
        .filter(|(rows, columns)| *rows > 0 && *columns > 0)
}
