//! The terminal itself: taken over at the start, given back at the end whatever happens.
//!
//! Given back on return, on panic (before the message is printed) and on signals. Giving back twice does no harm.

use crossterm::event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste};
use crossterm::style::Print;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{self, Stdout, Write};

/// Clicks and the wheel in SGR coding; no motion, which would flood us.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1000l";

/// The screen while we have it.
pub struct Screen {
    pub terminal: Terminal<CrosstermBackend<io::BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// There is no terminal, or it cannot be put into raw mode.
    pub fn enter() -> io::Result<Screen> {
        install_panic_hook();
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Print(MOUSE_ON), cursor::Hide);
        if let Err(error) = entered {
            give_back();
            return Err(error);
        }
        let backend = CrosstermBackend::new(io::BufWriter::with_capacity(64 * 1024, io::stdout()));
        Ok(Screen { terminal: Terminal::new(backend)? })
    }

    /// Puts text on the clipboard of the terminal, wherever that runs.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        use base64::Engine as _;
        // Terminals cut off or ignore what is longer (xterm: 75,000 bytes of base64).
        let text = text.get(..text.floor_char_boundary(55_000.min(text.len()))).unwrap_or(text);
        let coded = base64::prelude::BASE64_STANDARD.encode(text);
        let mut out = io::stdout();
        write!(out, "\x1b]52;c;{coded}\x07")?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back.
pub fn give_back() {
    let _ = execute!(
        io::stdout(),
        Print(MOUSE_OFF),
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show
    );
    let _ = disable_raw_mode();
}

/// A panic of the drawing thread ends the program, so its message belongs on the terminal, given back before. Panics
/// of tasks do not: they are logged, and what the task was for fails in its own way.
fn install_panic_hook() {
    let before = std::panic::take_hook();
    let drawing = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == drawing {
            give_back();
            before(info);
        } else {
            tracing::error!("a task panicked: {info}");
        }
    }));
}
