//! The display on a terminal: what has ended stays as a record, a line a step; below it, redrawn in place, what runs and
//! the last lines it wrote.

use std::io::{self, Write};

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::steps::{News, Step, Steps};
use crate::cli::words::size;

/// Lines of output shown of each running step.
const TAIL: usize = 6;
/// What turns beside a running step.
const SPINNER: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
/// The terminal is taken to be so large where it does not say.
const USUAL_SIZE: (u16, u16) = (24, 80);

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const BLUE: &str = "\x1b[34m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The live display.
pub struct Live<W> {
    out: W,
    record: Vec<Ended>,
    /// How many lines of what runs stand on the terminal, the cursor below them.
    drawn: usize,
    started: Timestamp,
    turns: usize,
    has_colours: bool,
}

/// A step that has ended, or a remark about one, not written yet.
enum Ended {
    Step(usize),
    Remark(String),
}

impl<W: Write> Live<W> {
    /// A display on `out`, a terminal. Colours are left out where `NO_COLOR` is set.
    pub fn new(out: W, started: Timestamp, has_colours: bool) -> Self {
        Self { out, record: Vec::new(), drawn: 0, started, turns: 0, has_colours }
    }

    /// Takes in what is new. Nothing is drawn before [`Live::draw`].
    pub fn note(&mut self, news: Vec<News>) {
        for news in news {
            match news {
                News::Ended(step) => self.record.push(Ended::Step(step)),
                News::Status(_, status) if status.name.starts_with("cache miss") => {
                    self.record.push(Ended::Remark(status.name));
                }
                _ => {}
            }
        }
    }

    /// Draws: what has ended goes into the record, what runs below it.
    ///
    /// # Errors
    /// The terminal's refusal.
    pub fn draw(&mut self, steps: &Steps, size: Option<(u16, u16)>, now: Timestamp) -> io::Result<()> {
        let (rows, columns) = size.unwrap_or(USUAL_SIZE);
        self.turns += 1;
        let mut text = self.cleared();
        text.push_str(&self.take_record(steps, columns, now));
        let lines = self.running(steps, usize::from(rows), usize::from(columns), now);
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        self.put(&text)
    }

    /// Leaves the record alone on the terminal.
    ///
    /// # Errors
    /// The terminal's refusal.
    pub fn finish(&mut self, steps: &Steps, size: Option<(u16, u16)>, now: Timestamp) -> io::Result<()> {
        let mut text = self.cleared();
        text.push_str(&self.take_record(steps, size.unwrap_or(USUAL_SIZE).1, now));
        self.drawn = 0;
        self.put(&text)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Up over what was drawn, and all below cleared.
    fn cleared(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.drawn) }
    }

    fn take_record(&mut self, steps: &Steps, columns: u16, now: Timestamp) -> String {
        let mut text = String::new();
        for ended in std::mem::take(&mut self.record) {
            let line = match ended {
                Ended::Remark(remark) => self.paint(DIM, &fitting(&format!("   {remark}"), usize::from(columns))),
                Ended::Step(step) => match steps.get(step) {
                    Some(step) => self.ended_line(step, usize::from(columns), now),
                    None => continue,
                },
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn ended_line(&self, step: &Step, columns: usize, now: Timestamp) -> String {
        let (colour, mark, end) = match &step.vertex {
            _ if step.is_cancelled() => (DIM, '-', "CANCELED".to_owned()),
            vertex if !vertex.error.is_empty() => (RED, '✘', format!("{:.1}s", step.seconds(now))),
            vertex if vertex.cached => (BLUE, '✔', "CACHED".to_owned()),
            _ => (GREEN, '✔', format!("{:.1}s", step.seconds(now))),
        };
        self.line(colour, mark, &step.vertex.name, &end, columns)
    }

    /// ` mark name ........ end`, the mark (and an end in words) coloured.
    fn line(&self, colour: &str, mark: char, name: &str, end: &str, columns: usize) -> String {
        // Never into the last column: some terminals begin a new line there.
        let room = columns.saturating_sub(1);
        let name = fitting(name, room.saturating_sub(end.width() + 4));
        let gap = room.saturating_sub(3 + name.width() + end.width()).max(1);
        format!(" {} {name}{}{}", self.paint(colour, &mark.to_string()), " ".repeat(gap), self.paint(colour, end))
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.has_colours { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn running(&self, steps: &Steps, rows: usize, columns: usize, now: Timestamp) -> Vec<String> {
        let running: Vec<&Step> = steps.iter().map(|(_, step)| step).filter(|step| step.is_running()).collect();
        let (done, all) =
            steps.iter().fold((0, 0), |(done, all), (_, step)| (done + usize::from(step.is_done()), all + 1));
        let seconds = now.duration_since(self.started).as_secs_f64().max(0.0);
        let mut lines = vec![fitting(&format!("[+] Building {seconds:.1}s ({done}/{all})"), columns.saturating_sub(1))];
        // The first line is the summary's, the last one the cursor's.
        let rows = rows.saturating_sub(2).max(1);
        let heads = running.len().min(rows);
        let tail = (rows - heads).checked_div(heads).unwrap_or(0).min(TAIL);
        let spinner = SPINNER.get(self.turns % SPINNER.len()).copied().unwrap_or('*');
        for step in running.into_iter().take(heads) {
            let end = format!("{:.1}s", step.seconds(now));
            lines.push(self.line(GREEN, spinner, &step.vertex.name, &end, columns));
            let below = below(step);
            for text in below.iter().skip(below.len().saturating_sub(tail)) {
                lines.push(self.paint(DIM, &fitting(&format!("   {text}"), columns.saturating_sub(1))));
            }
        }
        lines
    }
}

/// What is shown below a running step: parts under way, and the last lines of output.
fn below(step: &Step) -> Vec<String> {
    let parts = step.statuses.iter().filter(|status| status.completed.is_none()).map(|status| match status.total {
        0 => status.name.clone(),
        total => format!("{} {} / {}", status.name, size(status.current, 4), size(total, 4)),
    });
    parts.chain(step.tail.iter().map(|line| visible(&line.text))).collect()
}

/// A line as it would look: what stands behind the last carriage return, without escape sequences.
fn visible(text: &str) -> String {
    let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => out.push_str("    "),
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

/// Passes over what follows an ESC: a control sequence up to its letter, a title up to its end, or one character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        Some('[') => {
            characters.find(|character| ('@'..='~').contains(character));
        }
        Some(']') => {
            characters.find(|character| *character == '\x07' || *character == '\x1b');
        }
        _ => {}
    }
}

/// `text` cut to `columns`, with an ellipsis where it was longer.
fn fitting(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut width = 0;
    for character in text.chars() {
        width += character.width().unwrap_or(0);
        if width >= columns {
            break;
        }
        out.push(character);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::{TraceUpdate, Vertex, VertexLog};

    fn time(ms: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(ms).ok()
    }

    fn vertex(digest: &str, started: Option<i64>, completed: Option<i64>) -> TraceUpdate {
        let vertex = Vertex {
            digest: digest.into(),
            name: format!("[{digest}] RUN {digest}"),
            started: started.and_then(time),
            completed: completed.and_then(time),
            ..Vertex::default()
        };
        TraceUpdate { vertexes: vec![vertex], ..TraceUpdate::default() }
    }

    #[test]
    fn what_runs_is_drawn_and_what_ended_stays() {
        let mut steps = Steps::default();
        let mut live = Live::new(Vec::new(), time(0).unwrap(), false);
        let size = Some((8, 30));
        for update in [vertex("a", Some(0), None), vertex("b", Some(0), None), vertex("c", None, None)] {
            live.note(steps.apply(update));
        }
        let output = (0..9).map(|number| format!("line {number}\n")).collect::<String>();
        let log = VertexLog { vertex: "a".into(), timestamp: time(100), stream: 1, msg: output.into() };
        live.note(steps.apply(TraceUpdate { logs: vec![log], ..TraceUpdate::default() }));
        live.draw(&steps, size, time(1000).unwrap()).unwrap();
        let drawn = String::from_utf8(std::mem::take(&mut live.out)).unwrap();
        let expected = "[+] Building 1.0s (0/3)\n ⣽ [a] RUN a             1.0s\n   line 7\n   line 8\n ⣽ [b] RUN b             1.0s\n";
        assert_eq!(drawn, expected);

        live.note(steps.apply(vertex("a", Some(0), Some(1500))));
        live.draw(&steps, size, time(2000).unwrap()).unwrap();
        let drawn = String::from_utf8(std::mem::take(&mut live.out)).unwrap();
        let expected =
            "\x1b[5A\r\x1b[J ✔ [a] RUN a             1.5s\n[+] Building 2.0s (1/3)\n ⣻ [b] RUN b             2.0s\n";
        assert_eq!(drawn, expected);

        live.note(steps.give_up());
        live.finish(&steps, size, time(2000).unwrap()).unwrap();
        assert_eq!(String::from_utf8(live.out).unwrap(), "\x1b[2A\r\x1b[J - [b] RUN b         CANCELED\n");
    }

    #[test]
    fn lines_are_shown_as_they_would_look() {
        assert_eq!(visible("\x1b[31mred\x1b[0m\tx"), "red    x");
        assert_eq!(visible("10%\r50%\r100%"), "100%");
        assert_eq!(visible("\x1b]0;title\x07text"), "text");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        assert_eq!(fitting("größer", 6), "größer");
        assert_eq!(fitting("größer", 5), "größ…");
        assert_eq!(fitting("日本語", 5), "日本…");
        assert_eq!(fitting("x", 0), "");
    }
}
