//! Finds the heredocs (`<<EOF`) of an instruction's line.

use super::expand::{Escape, Mode, raw_words};
use super::keyword;

/// A heredoc's mark on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub name: String,
    pub expand: bool,
    pub strip_tabs: bool,
}

/// The instructions that may have heredocs.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// The heredocs of a logical line, in order; none where the instruction has no heredocs (ONBUILD has its trigger's).
pub(super) fn marks(line: &str) -> Vec<Mark> {
    let mut words = line.split_whitespace().map(str::to_ascii_uppercase);
    let keyword = words.next().map(|first| if first == "ONBUILD" { words.next().unwrap_or_default() } else { first });
    if !line.contains("<<") || !keyword.is_some_and(|keyword| WITH_HEREDOCS.contains(&keyword.as_str())) {
        return Vec::new();
    }
    debug_assert!(WITH_HEREDOCS.iter().all(|name| keyword::find(name).is_some()));
    // Always by backslash, as BuildKit does: `# escape=` is about the Dockerfile, heredocs are the shell's.
    let mode = Mode { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Mode::default() };
    let words = raw_words(line, Escape::Backslash, mode).unwrap_or_default();
    words.iter().filter_map(|word| mark(word)).collect()
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
    Some(Mark { name: name.clone(), expand: !quoted, strip_tabs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_heredoc_and_what_is_not() {
        let names = |line: &str| marks(line).into_iter().map(|mark| mark.name).collect::<Vec<_>>();
        assert_eq!(names("RUN cat <<EOF >/a"), ["EOF"]);
        assert_eq!(names("RUN cat 3<<A <<-B"), ["A", "B"]);
        assert_eq!(names("ONBUILD COPY <<f /f"), ["f"]);
        assert_eq!(names("RUN cat <<<word"), Vec::<String>::new());
        assert_eq!(names("RUN echo \"<<EOF\" $((1<<2)) 1 << 2"), Vec::<String>::new());
        assert_eq!(names("CMD cat <<EOF"), Vec::<String>::new());
    }

    #[test]
    fn quoting_any_part_makes_the_body_literal() {
        for (word, expand) in [("<<EOF", true), ("<<'EOF'", false), ("<<\"EOF\"", false), ("<<E\\OF", false)] {
            assert_eq!(mark(word), Some(Mark { name: "EOF".to_owned(), expand, strip_tabs: false }), "{word}");
        }
    }
}
