//! The marks of our own chrome. All are one column wide in every common font; a second set is plain ASCII.
//!
//! A state is told by its mark and by a word, never by colour alone.

use ratatui::symbols::border;

/// One set of marks.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    pub running: &'static str,
    pub paused: &'static str,
    pub created: &'static str,
    pub exited: &'static str,
    pub failed: &'static str,
    pub restarting: &'static str,
    pub removing: &'static str,
    pub done: &'static str,
    pub warning: &'static str,
    pub info: &'static str,
    pub waiting: &'static str,
    pub open: &'static str,
    pub folded: &'static str,
    pub mark: &'static str,
    pub dot: &'static str,
    pub ellipsis: &'static str,
    pub arrow: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub bar_full: &'static str,
    pub bar_empty: &'static str,
    pub rule: &'static str,
    pub thumb: &'static str,
    pub caret: &'static str,
    pub checked: &'static str,
    pub unchecked: &'static str,
    pub spinner: &'static [&'static str],
    /// Eight heights, lowest first.
    pub heights: [&'static str; 8],
    pub border: border::Set<'static>,
    /// Left and right joints of a separator inside a box.
    pub joint_left: &'static str,
    pub joint_right: &'static str,
    /// Whether braille cells can be drawn.
    pub braille: bool,
}

/// For terminals with a Unicode font.
pub const UNICODE: Glyphs = Glyphs {
    running: "●",
    paused: "◐",
    created: "◌",
    exited: "○",
    failed: "✖",
    restarting: "↻",
    removing: "−",
    done: "✔",
    warning: "▲",
    info: "•",
    waiting: "·",
    open: "▾",
    folded: "▸",
    mark: "▌",
    dot: "·",
    ellipsis: "…",
    arrow: "→",
    up: "↑",
    down: "↓",
    bar_full: "▰",
    bar_empty: "▱",
    rule: "─",
    thumb: "┃",
    caret: "▏",
    checked: "◉",
    unchecked: "○",
    spinner: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    heights: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    border: border::ROUNDED,
    joint_left: "├",
    joint_right: "┤",
    braille: true,
};

/// For a Linux console, a serial line, or a locale without UTF-8.
pub const ASCII: Glyphs = Glyphs {
    running: "*",
    paused: "=",
    created: "+",
    exited: "-",
    failed: "x",
    restarting: "@",
    removing: "-",
    done: "v",
    warning: "!",
    info: "i",
    waiting: ".",
    open: "v",
    folded: ">",
    mark: "|",
    dot: "-",
    ellipsis: "~",
    arrow: ">",
    up: "^",
    down: "v",
    bar_full: "#",
    bar_empty: ".",
    rule: "-",
    thumb: "#",
    caret: "!",
    checked: "x",
    unchecked: ".",
    spinner: &["|", "/", "-", "\\"],
    heights: ["_", "_", ".", ".", "-", "-", "=", "#"],
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
    joint_left: "+",
    joint_right: "+",
    braille: false,
};

/// The set this terminal can show, from its environment.
pub fn detect(term: &str, locale: &str) -> &'static Glyphs {
    let utf8 = locale.is_empty() || locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    if utf8 && !matches!(term, "linux" | "dumb" | "vt100" | "vt220") { &UNICODE } else { &ASCII }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn every_mark_is_one_column_wide() {
        for set in [&UNICODE, &ASCII] {
            let marks = [
                set.running,
                set.paused,
                set.created,
                set.exited,
                set.failed,
                set.restarting,
                set.removing,
                set.done,
                set.warning,
                set.info,
                set.waiting,
                set.open,
                set.folded,
                set.mark,
                set.dot,
                set.ellipsis,
                set.arrow,
                set.up,
                set.down,
                set.bar_full,
                set.bar_empty,
                set.rule,
                set.thumb,
                set.caret,
                set.checked,
                set.unchecked,
            ];
            for mark in marks.iter().chain(set.spinner).chain(&set.heights) {
                assert_eq!(mark.width(), 1, "{mark}");
            }
        }
    }

    #[test]
    fn poor_terminals_get_ascii() {
        assert_eq!(detect("linux", "C.UTF-8"), &ASCII);
        assert_eq!(detect("xterm", "C"), &ASCII);
        assert_eq!(detect("xterm-256color", "en_US.utf8"), &UNICODE);
    }
}
