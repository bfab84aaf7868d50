//! Which blanks of a shell command only separate words, so that their number means nothing.
//!
//! It knows quotes, escapes, substitutions and comments of POSIX shells. Where it can't be sure it says that no blank is
//! free: then the command is left as it is written.

/// For every byte of `text` whether it is a blank that only separates words.
pub(super) fn free_blanks(text: &str) -> Vec<bool> {
    let nothing = || vec![false; text.len()];
    // `$'…'` is quoted in bash and not in dash.
    if text.contains("$'") {
        return nothing();
    }
    let mut free = nothing();
    let mut stack: Vec<Inside> = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut is_word_start = true;
    while let Some((at, c)) = chars.next() {
        let was_word_start = std::mem::take(&mut is_word_start);
        match stack.last() {
            Some(Inside::SingleQuotes) => {
                if c == '\'' {
                    stack.pop();
                }
                continue;
            }
            Some(Inside::DoubleQuotes | Inside::Braces) => {
                match c {
                    '\\' => drop(chars.next()),
                    '"' if stack.last() == Some(&Inside::DoubleQuotes) => drop(stack.pop()),
                    '"' => stack.push(Inside::DoubleQuotes),
                    '}' if stack.last() == Some(&Inside::Braces) => drop(stack.pop()),
                    // In braces within double quotes an apostrophe is a letter or a quote, as the shell likes.
                    '\'' if stack.last() == Some(&Inside::Braces) => return nothing(),
                    '$' => is_word_start = dollar(&mut chars, &mut stack),
                    '`' => return nothing(),
                    _ => {}
                }
                continue;
            }
            _ => {}
        }
        match c {
            // A pattern of `case` closes a parenthesis that nobody opened: fine, unless an opened one waits.
            'c' if was_word_start && !stack.is_empty() && text.get(at..).is_some_and(|it| it.starts_with("case")) => {
                return nothing();
            }
            '\\' => drop(chars.next()),
            '\'' => stack.push(Inside::SingleQuotes),
            '"' => stack.push(Inside::DoubleQuotes),
            '`' if stack.last() == Some(&Inside::Backticks) => drop(stack.pop()),
            '`' if stack.contains(&Inside::Backticks) => return nothing(),
            '`' => {
                stack.push(Inside::Backticks);
                is_word_start = true;
            }
            '$' => is_word_start = dollar(&mut chars, &mut stack),
            '(' => stack.push(Inside::Parentheses),
            ')' if stack.last() == Some(&Inside::Parentheses) => drop(stack.pop()),
            // The rest is a comment.
            '#' if was_word_start => break,
            ' ' | '\t' => {
                if let Some(here) = free.get_mut(at) {
                    *here = true;
                }
                is_word_start = true;
            }
            ';' | '&' | '|' => is_word_start = true,
            _ => {}
        }
        if c == '(' {
            is_word_start = true;
        }
    }
    if stack.is_empty() { free } else { nothing() }
}

/// `text` with one blank for each run of blanks that only separate words.
pub(super) fn collapsed(text: &str) -> String {
    let free = free_blanks(text);
    let is_free = |at: usize| free.get(at).copied().unwrap_or(false);
    let kept = text.char_indices().filter(|(at, _)| !(is_free(*at) && *at > 0 && is_free(at - 1)));
    kept.map(|(at, c)| if is_free(at) { ' ' } else { c }).collect()
}

/// What the scanner stands inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    SingleQuotes,
    DoubleQuotes,
    Backticks,
    Parentheses,
    Braces,
}

/// Reads on after a `$`, and tells whether a command begins.
fn dollar(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, stack: &mut Vec<Inside>) -> bool {
    if chars.next_if(|(_, next)| *next == '(').is_some() {
        stack.push(Inside::Parentheses);
        return true;
    }
    if chars.next_if(|(_, next)| *next == '{').is_some() {
        stack.push(Inside::Braces);
    } else {
        // `$#` begins no comment.
        chars.next_if(|(_, next)| *next == '#');
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with a `·` for each free blank.
    fn check(text: &str, expected: &str) {
        let free = free_blanks(text);
        let shown: String = text.char_indices().map(|(at, c)| if free[at] { '·' } else { c }).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn blanks_between_words_are_free_and_others_are_not() {
        check("a  b", "a··b");
        check("a 'b  c' \"d e\" f\\ g", "a·'b  c'·\"d e\"·f\\ g");
        check("a \"$(b c \"d e\" f)\" g", "a·\"$(b·c·\"d e\"·f)\"·g");
        check("a ${b:-c d} e", "a·${b:-c d}·e");
        check("a `b c` d", "a·`b·c`·d");
        check("(a b) $((1 + 2)) # c d", "(a·b)·$((1·+·2))·# c d");
        check("a $# b#c d", "a·$#·b#c·d");
        check("case x in a) b ;; esac", "case·x·in·a)·b·;;·esac");
        check("case \"$(b c)\" in a) d ;; esac", "case·\"$(b·c)\"·in·a)·d·;;·esac");
    }

    #[test]
    fn in_doubt_no_blank_is_free() {
        for text in [
            "it's a",
            "a \"b c",
            "a $'b\\'  c' d",
            "x=$(case a in a) echo \"b  c\";; esac) d",
            "a (b; case x in y) z;; esac)",
            "a `b \"`\" c",
            "a (b c",
        ] {
            assert!(!free_blanks(text).contains(&true), "{text}");
        }
    }

    #[test]
    fn runs_become_one_blank() {
        assert_eq!(collapsed("a  \t b 'c  d'  "), "a b 'c  d' ");
        assert_eq!(collapsed("é  ü"), "é ü");
    }
}
