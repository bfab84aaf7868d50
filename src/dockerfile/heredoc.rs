//! Finds the heredocs (`<<EOF`) of an instruction's line.

use std::ops::Range;

use super::expand::{Escape, Mode, raw_words};
use super::words::{self, Json};

/// A heredoc's mark on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub name: String,
    pub expand: bool,
    pub strip_tabs: bool,
    /// Where it stands on the line.
    pub range: Range<usize>,
}

/// The instructions that may have heredocs.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// The heredocs of a logical line, in order; none where the instruction has no heredocs (ONBUILD has its trigger's) and
/// in the JSON form.
pub(super) fn marks(line: &str, escape: Escape) -> Vec<Mark> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let (mut keyword, mut rest) = split_keyword(line);
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        (keyword, rest) = split_keyword(rest.trim_start());
    }
    if !WITH_HEREDOCS.iter().any(|name| keyword.eq_ignore_ascii_case(name)) {
        return Vec::new();
    }
    let (_, arguments) = words::flags(rest, 0, escape);
    if matches!(words::json(rest.get(arguments..).unwrap_or_default()), Json::Strings(_)) {
        return Vec::new();
    }
    // Always by backslash, as BuildKit does: `# escape=` is about the Dockerfile, heredocs are the shell's.
    let mode = Mode { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Mode::default() };
    let mut at = 0;
    let mut marks = Vec::new();
    for word in raw_words(line, Escape::Backslash, mode).unwrap_or_default() {
        // In this mode words are as they are written, so each is found where the last one ended.
        let Some(start) = line.get(at..).and_then(|rest| rest.find(&word)).map(|offset| at + offset) else { continue };
        at = start + word.len();
        marks.extend(mark(&word).map(|mark| Mark { range: start..at, ..mark }));
    }
    marks
}

fn split_keyword(line: &str) -> (&str, &str) {
    line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()))
}

/// Reads a word like `<<EOF`, `<<-EOF`, `3<<"EOF"`.
pub(super) fn mark(word: &str) -> Option<Mark> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let bare = Mode { keep_unset: true, ..Mode::default() };
    let raw = Mode { keep_quotes: true, keep_escapes: true, ..bare };
    let bare = raw_words(rest, Escape::Backslash, bare).ok()?;
    let [name] = bare.as_slice() else { return None };
    // Where quotes or escapes make a difference some part is quoted, and then the body is taken literally.
    let quoted = raw_words(rest, Escape::Backslash, raw).ok()?.as_slice() != [name.clone()];
    Some(Mark { name: name.clone(), expand: !quoted, strip_tabs, range: 0..word.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_heredoc_and_what_is_not() {
        let names = |line: &str| marks(line, Escape::Backslash).into_iter().map(|mark| mark.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<EOF >/a"), ["EOF"]);
        assert_eq!(names("RUN cat 3<<A <<-B"), ["A", "B"]);
        assert_eq!(names("ONBUILD COPY <<f /f"), ["f"]);
        assert_eq!(names("RUN cat <<<word"), Vec::<String>::new());
        assert_eq!(names("RUN echo \"<<EOF\" $((1<<2)) 1 << 2"), Vec::<String>::new());
        assert_eq!(names("CMD cat <<EOF"), Vec::<String>::new());
        assert_eq!(names("COPY [\"<<EOF\", \"/x\"]"), Vec::<String>::new());
        assert_eq!(names("RUN --network=none [\"echo\", \"<<EOF\"]"), Vec::<String>::new());
        let twice = marks("RUN echo \"<<A\" <<A", Escape::Backslash);
        assert_eq!(twice.iter().map(|mark| (mark.range.start, mark.range.end)).collect::<Vec<_>>(), [(15, 18)]);
    }

    #[test]
    fn quoting_any_part_makes_the_body_literal() {
        for (word, expand) in [("<<EOF", true), ("<<'EOF'", false), ("<<\"EOF\"", false), ("<<E\\OF", false)] {
            let found = mark(word).unwrap();
            assert_eq!((found.name.as_str(), found.expand, found.strip_tabs), ("EOF", expand, false), "{word}");
        }
    }
}
