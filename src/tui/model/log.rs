//! The log that is shown: a ring of raw lines bounded by number and bytes, and where the view stands in it.
//!
//! Lines are numbered for ever, so a position stays true while old lines fall off. All work is in proportion to the
//! rows in view; only a search walks lines, and it stops at its first hit.

use crate::tui::ansi;
use bytes::Bytes;
use regex::Regex;
use std::collections::VecDeque;

/// One line as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Unix nanoseconds of the engine's stamp, where it could be read.
    pub at: Option<i64>,
    pub is_stderr: bool,
    pub text: Bytes,
}

/// Lines of one stream.
#[derive(Debug)]
pub struct LogBatch {
    pub container: String,
    pub epoch: u64,
    pub lines: Vec<LogLine>,
}

/// The end of one stream.
#[derive(Debug)]
pub struct LogEnd {
    pub container: String,
    pub epoch: u64,
    /// `None`: the container ended, or its log did.
    pub error: Option<String>,
}

/// How much of the past is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Tail(u64),
    /// Seconds back from now.
    Since(u64),
    All,
}

/// The last line seen: its stamp, and how many lines carried that same stamp. A stream taken up again asks from that
/// stamp's second on and drops what was seen: nothing is lost, nothing comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    pub at: i64,
    pub same: usize,
}

/// The stream that should be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogWant {
    pub container: String,
    /// Grows with each new stream for the same container; answers of older ones are dropped.
    pub epoch: u64,
    pub window: Window,
    pub after: Option<LogMark>,
    pub follow: bool,
}

/// How times are shown before lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamps {
    Off,
    /// `12:01:22.113`
    Clock,
    /// `2026-11-21T12:01:22.113Z`
    Full,
    /// `3m ago`
    Age,
}

impl Stamps {
    /// The next kind, around.
    pub fn next(self) -> Stamps {
        match self {
            Stamps::Off => Stamps::Clock,
            Stamps::Clock => Stamps::Full,
            Stamps::Full => Stamps::Age,
            Stamps::Age => Stamps::Off,
        }
    }

    /// Columns it takes, with the space behind it.
    pub fn width(self) -> usize {
        match self {
            Stamps::Off => 0,
            Stamps::Clock => 13,
            Stamps::Full => 25,
            Stamps::Age => 8,
        }
    }
}

/// Lines kept at most, and their bytes at most.
pub const MAX_LINES: usize = 200_000;
/// See [`MAX_LINES`].
pub const MAX_BYTES: usize = 48 * 1024 * 1024;
/// A longer line is cut where it comes in.
pub const MAX_LINE: usize = 256 * 1024;

/// A bounded ring of lines.
#[derive(Debug, Default)]
pub struct LogBuffer {
    lines: VecDeque<LogLine>,
    first: u64,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

impl LogBuffer {
    /// An empty ring with the default bounds.
    pub fn new() -> LogBuffer {
        LogBuffer::bounded(MAX_LINES, MAX_BYTES)
    }

    /// An empty ring with other bounds.
    pub fn bounded(max_lines: usize, max_bytes: usize) -> LogBuffer {
        LogBuffer { max_lines, max_bytes, ..LogBuffer::default() }
    }

    /// Adds lines; the oldest go when a bound is passed.
    pub fn extend(&mut self, lines: impl IntoIterator<Item = LogLine>) {
        for line in lines {
            self.bytes += line.text.len();
            self.lines.push_back(line);
            while self.lines.len() > self.max_lines || (self.bytes > self.max_bytes && self.lines.len() > 1) {
                if let Some(gone) = self.lines.pop_front() {
                    self.bytes -= gone.text.len();
                    self.first += 1;
                }
            }
        }
    }

    /// Number of the oldest line kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number behind the newest line.
    pub fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line by its number.
    pub fn get(&self, number: u64) -> Option<&LogLine> {
        self.lines.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Where a stream that is taken up again goes on.
    pub fn mark(&self) -> Option<LogMark> {
        let at = self.lines.back()?.at?;
        Some(LogMark { at, same: self.lines.iter().rev().take_while(|line| line.at == Some(at)).count() })
    }

    /// The whole text, for saving.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| ansi::plain(&line.text).into_owned() + "\n").collect()
    }
}

/// A search in force.
#[derive(Debug, Clone)]
pub struct Search {
    pub typed: String,
    regex: Option<Regex>,
    /// The hit the cursor is on: line number, and which hit in it.
    pub at: Option<(u64, usize)>,
}

impl Search {
    /// Compiles what was typed: plain text, small letters match large ones; `re:` begins a regular expression.
    pub fn new(typed: &str) -> Search {
        let pattern = match typed.strip_prefix("re:") {
            Some(pattern) => pattern.to_owned(),
            None => regex::escape(typed),
        };
        let has_upper = typed.chars().any(char::is_uppercase);
        let regex = (!pattern.is_empty())
            .then(|| regex::RegexBuilder::new(&pattern).case_insensitive(!has_upper).build().ok())
            .flatten();
        Search { typed: typed.to_owned(), regex, at: None }
    }

    /// Byte ranges of the hits in a text; empty hits do not count.
    pub fn hits(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        match &self.regex {
            Some(regex) => regex.find_iter(text).map(|hit| hit.range()).filter(|hit| !hit.is_empty()).collect(),
            None => Vec::new(),
        }
    }
}

/// The log view of one container.
pub struct LogView {
    pub container: Option<String>,
    pub epoch: u64,
    pub window: Window,
    pub after: Option<LogMark>,
    pub buffer: LogBuffer,
    pub is_following: bool,
    /// First line in view, and its rows that are above the view.
    pub top: u64,
    pub skip: usize,
    /// Columns scrolled to the right, while lines are not wrapped.
    pub left: usize,
    pub wraps: bool,
    pub stamps: Stamps,
    pub search: Option<Search>,
    /// The stream ended; why, if that was an error.
    pub ended: Option<Option<String>>,
    /// Something else is being looked at; the stream is closed, and taken up again on return.
    pub is_away: bool,
    /// The container started anew before its old stream ended: that end is not the log's.
    pub has_restarted: bool,
    /// Something came, or the stream ended: an empty view is really empty.
    pub has_answer: bool,
    /// Columns and rows of the view, from the layout.
    pub width: usize,
    pub height: usize,
}

impl Default for LogView {
    fn default() -> Self {
        LogView {
            container: None,
            epoch: 0,
            window: Window::Tail(2_000),
            after: None,
            buffer: LogBuffer::new(),
            is_following: true,
            top: 0,
            skip: 0,
            left: 0,
            wraps: false,
            stamps: Stamps::Clock,
            search: None,
            ended: None,
            is_away: false,
            has_restarted: false,
            has_answer: false,
            width: 80,
            height: 20,
        }
    }
}

impl LogView {
    /// Turns to a container, from its tail; or back to the one that was left.
    pub fn open(&mut self, container: &str) {
        let was_away = std::mem::replace(&mut self.is_away, false);
        if self.container.as_deref() != Some(container) {
            self.container = Some(container.to_owned());
            self.restart();
        } else if was_away {
            self.resume();
        }
    }

    /// Reads the same container's log again from the start of the window.
    pub fn restart(&mut self) {
        self.epoch += 1;
        self.after = None;
        self.buffer = LogBuffer::new();
        self.is_following = true;
        (self.top, self.skip, self.left) = (0, 0, 0);
        self.ended = None;
        self.has_restarted = false;
        self.has_answer = false;
        if let Some(search) = &mut self.search {
            search.at = None;
        }
    }

    /// Takes the stream up again where it broke off.
    pub fn resume(&mut self) {
        self.epoch += 1;
        self.after = self.buffer.mark().or(self.after);
        self.ended = None;
        self.has_restarted = false;
    }

    /// Adds what came, unless it is from a stream we left.
    pub fn take(&mut self, batch: LogBatch) -> bool {
        let is_ours = self.container.as_deref() == Some(batch.container.as_str()) && self.epoch == batch.epoch;
        if is_ours {
            self.has_answer = true;
            self.buffer.extend(batch.lines);
        }
        is_ours
    }

    /// Columns that text has.
    pub fn text_width(&self) -> usize {
        // One column before the text tells standard error.
        self.width.saturating_sub(self.stamps.width() + 1).max(8)
    }

    fn rows_of(&self, number: u64) -> usize {
        match (self.wraps, self.buffer.get(number)) {
            (true, Some(line)) => ansi::rows(&ansi::parse(&line.text), self.text_width()),
            _ => 1,
        }
    }

    /// The position that shows the newest row last.
    fn bottom(&self) -> (u64, usize) {
        let mut missing = self.height.max(1);
        let mut number = self.buffer.end();
        while number > self.buffer.first() {
            number -= 1;
            let rows = self.rows_of(number);
            if rows >= missing {
                return (number, rows - missing);
            }
            missing -= rows;
        }
        (self.buffer.first(), 0)
    }

    /// Puts the view where it belongs after lines came or the size changed.
    pub fn settle(&mut self) {
        if self.is_following {
            (self.top, self.skip) = self.bottom();
        } else if self.top < self.buffer.first() {
            (self.top, self.skip) = (self.buffer.first(), 0);
        }
    }

    /// Scrolls by rows. Up ends following; down past the end begins it.
    pub fn scroll(&mut self, by: isize) {
        if by < 0 {
            for _ in 0..by.unsigned_abs() {
                if self.skip > 0 {
                    self.skip -= 1;
                } else if self.top > self.buffer.first() {
                    self.top -= 1;
                    self.skip = self.rows_of(self.top) - 1;
                } else {
                    break;
                }
                self.is_following = false;
            }
            return;
        }
        let bottom = self.bottom();
        for _ in 0..by {
            if (self.top, self.skip) >= bottom {
                self.is_following = true;
                break;
            }
            self.skip += 1;
            if self.skip >= self.rows_of(self.top) {
                self.top += 1;
                self.skip = 0;
            }
        }
        if (self.top, self.skip) > bottom {
            (self.top, self.skip) = bottom;
        }
    }

    /// To the oldest line kept.
    pub fn to_top(&mut self) {
        self.is_following = false;
        (self.top, self.skip) = (self.buffer.first(), 0);
    }

    /// To the newest, and follow.
    pub fn to_bottom(&mut self) {
        self.is_following = true;
        self.settle();
    }

    /// Begins a search. While following, the newest hit is shown; else the next from the top of the view.
    pub fn search(&mut self, typed: &str) -> bool {
        if typed.is_empty() {
            self.search = None;
            return true;
        }
        let search = Search::new(typed);
        self.search = Some(search);
        if self.is_following { self.find(false, self.buffer.end()) } else { self.find(true, self.top) }
    }

    /// The next hit downwards (or upwards), around the ends.
    pub fn next_hit(&mut self, is_down: bool) -> bool {
        let at = self.search.as_ref().and_then(|search| search.at);
        let Some((number, index)) = at else {
            return self.find(is_down, if is_down { self.top } else { self.buffer.end() });
        };
        let hits = self.hits_in(number);
        if is_down && index + 1 < hits {
            return self.show(number, index + 1);
        }
        if !is_down && index > 0 && index <= hits {
            return self.show(number, index - 1);
        }
        self.find(is_down, if is_down { number + 1 } else { number })
    }

    fn hits_in(&self, number: u64) -> usize {
        match (&self.search, self.buffer.get(number)) {
            (Some(search), Some(line)) => search.hits(&ansi::plain(&line.text)).len(),
            _ => 0,
        }
    }

    /// Looks from `from` on: downwards that line is the first looked at, upwards the one above it.
    fn find(&mut self, is_down: bool, from: u64) -> bool {
        let (first, end) = (self.buffer.first(), self.buffer.end());
        let from = from.clamp(first, end);
        let found = if is_down {
            (from..end).chain(first..from).find(|number| self.hits_in(*number) > 0)
        } else {
            (first..from).rev().chain((from..end).rev()).find(|number| self.hits_in(*number) > 0)
        };
        match found {
            Some(number) => {
                let index = if is_down { 0 } else { self.hits_in(number).saturating_sub(1) };
                self.show(number, index)
            }
            None => false,
        }
    }

    fn show(&mut self, number: u64, index: usize) -> bool {
        if let Some(search) = &mut self.search {
            search.at = Some((number, index));
        }
        let is_in_view = number >= self.top && number < self.top + self.height as u64 && !self.wraps;
        self.is_following = false;
        if !is_in_view {
            (self.top, self.skip) = (number, 0);
            self.scroll(-((self.height / 2) as isize));
        }
        if !self.wraps {
            self.reveal_column(number, index);
        }
        true
    }

    fn reveal_column(&mut self, number: u64, index: usize) {
        let (Some(search), Some(line)) = (&self.search, self.buffer.get(number)) else { return };
        let plain = ansi::plain(&line.text);
        let Some(hit) = search.hits(&plain).into_iter().nth(index) else { return };
        let column = crate::tui::text::width(plain.get(..hit.start).unwrap_or(""));
        if column < self.left || column + 8 > self.left + self.text_width() {
            self.left = column.saturating_sub(self.text_width() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine { at: Some(text.len() as i64), is_stderr: false, text: Bytes::from(text.to_owned()) }
    }

    fn view(lines: usize) -> LogView {
        let mut view = LogView { height: 4, width: 21, stamps: Stamps::Off, ..LogView::default() };
        view.buffer.extend((0..lines).map(|i| line(&format!("line {i}"))));
        view.settle();
        view
    }

    #[test]
    fn the_ring_is_bounded_by_lines_and_by_bytes() {
        let mut ring = LogBuffer::bounded(3, 1000);
        ring.extend((0..5).map(|i| line(&i.to_string())));
        assert_eq!((ring.first(), ring.end(), ring.len()), (2, 5, 3));
        let mut ring = LogBuffer::bounded(100, 10);
        ring.extend(["aaaa", "bbbb", "cccc"].map(line));
        assert_eq!(ring.len(), 2);
        ring.extend([line(&"x".repeat(50))]);
        assert_eq!(ring.len(), 1, "one line is always kept");
    }

    #[test]
    fn scrolling_up_pauses_and_past_the_end_resumes() {
        let mut view = view(10);
        assert_eq!((view.top, view.is_following), (6, true));
        view.scroll(-2);
        assert_eq!((view.top, view.is_following), (4, false));
        view.buffer.extend([line("new")]);
        view.settle();
        assert_eq!(view.top, 4, "a paused view stands still");
        view.scroll(100);
        assert_eq!((view.top, view.is_following), (7, true));
    }

    #[test]
    fn wrapped_lines_scroll_by_rows() {
        let mut view = view(2);
        view.wraps = true;
        view.buffer.extend([line(&"x".repeat(70))]);
        view.settle();
        assert_eq!((view.top, view.skip), (2, 0), "four rows of twenty columns");
        view.scroll(-1);
        assert_eq!((view.top, view.skip), (1, 0));
        view.scroll(1);
        assert_eq!((view.top, view.skip), (2, 0));
        view.height = 2;
        view.to_bottom();
        assert_eq!((view.top, view.skip), (2, 2));
    }

    #[test]
    fn a_search_goes_both_ways_and_around() {
        let mut view = view(30);
        assert!(view.search("line 1"), "the newest hit first, while following");
        assert_eq!(view.search.as_ref().unwrap().at, Some((19, 0)));
        view.next_hit(true);
        assert_eq!(view.search.as_ref().unwrap().at, Some((1, 0)), "around the end");
        view.next_hit(false);
        assert_eq!(view.search.as_ref().unwrap().at, Some((19, 0)));
        assert!(!view.search("nowhere"));
        assert!(!view.search("LINE 2") && view.search("re:e 2\\d$"));
    }

    #[test]
    fn a_mark_counts_lines_with_the_same_stamp() {
        let mut view = view(0);
        view.buffer.extend(["a", "bb", "cc"].map(line));
        assert_eq!(view.buffer.mark(), Some(LogMark { at: 2, same: 2 }));
    }

    #[test]
    fn answers_of_an_older_stream_are_dropped() {
        let mut view = view(0);
        view.open("a");
        let old = view.epoch;
        view.restart();
        assert!(!view.take(LogBatch { container: "a".into(), epoch: old, lines: vec![line("x")] }));
        assert!(view.take(LogBatch { container: "a".into(), epoch: view.epoch, lines: vec![line("x")] }));
    }
}
