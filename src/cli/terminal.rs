//! A terminal handed to a program elsewhere: raw while it runs, restored whatever happens, its size told on each change.

use std::io::{self, IsTerminal};

use crossterm::terminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The terminal in raw mode; restored when dropped.
pub struct RawTerminal(());

impl RawTerminal {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// Standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = terminal::disable_raw_mode();
    }
}

/// Whether keys come from a person.
pub fn has_keys() -> bool {
    io::stdin().is_terminal()
}

/// Rows and columns, where there is a terminal.
pub fn size() -> Option<(u16, u16)> {
    terminal::size().ok().map(|(columns, rows)| (rows, columns)).filter(|_| io::stdout().is_terminal())
}

/// Tells each change of the terminal's size.
///
/// # Errors
/// The kernel's refusal to watch for the signal.
pub fn size_changes() -> io::Result<Signal> {
    signal(SignalKind::window_change())
}
