//! What a person probably meant who wrote an instruction that can't be read: the words that follow Docker's own.

use super::ast::{Instruction, LineRange};
use super::diagnostic::Diagnostic;
use super::expand::Escape;
use super::keyword;
use super::words::Word;

/// Why FROM has neither one nor three words; empty where there is nothing to say.
pub(super) fn of_from(words: &[Word]) -> &'static str {
    let begins = |mark: &str| words.iter().any(|word| word.text.starts_with(mark));
    match words {
        [] => "",
        _ if begins("#") => "; a comment needs a line of its own",
        _ if begins("--") => "; flags stand in front of the image",
        [_, as_word] if as_word.text.eq_ignore_ascii_case("as") => "; the stage's name is missing behind AS",
        _ => "",
    }
}

/// Why a word of ENV or LABEL has no `=`; empty where there is nothing to say.
pub(super) fn of_pair(words: &[Word], at: usize) -> &'static str {
    let word = words.get(at).map_or("", |word| word.text.as_str());
    let before = at.checked_sub(1).and_then(|before| words.get(before)).map_or("", |word| word.text.as_str());
    if word.starts_with('#') {
        "; a comment needs a line of its own"
    } else if words.iter().any(|word| word.text.contains(['“', '”', '„', '‘', '’'])) {
        "; typographic quotes quote nothing: write \" or '"
    } else if before.ends_with('=') {
        "; no blank may stand behind ="
    } else {
        ""
    }
}

/// Adds to each unknown instruction which nothing known comes near what else it may be: a line that the one above was to
/// be continued by, or a comment of another language.
pub(super) fn explain_unknown(
    text: &str,
    instructions: &[Instruction],
    escape: Escape,
    diagnostics: &mut [Diagnostic],
) {
    for found in diagnostics.iter_mut().filter(|it| it.code == "UnknownInstruction" && it.suggestion.is_none()) {
        // They stand in the order of the text.
        let at = instructions.partition_point(|it| it.lines.first < found.lines.first);
        let above = at.checked_sub(1).and_then(|above| instructions.get(above));
        let Some(this) = instructions.get(at) else { continue };
        if this.text.starts_with("//") || this.text.starts_with("/*") {
            found.message.push_str("; comments begin with #");
        } else if let Some(line) = above.and_then(|above| goes_on(text, above, this)) {
            let escape = escape.char();
            found.message.push_str(&format!("; if it belongs to the line above, line {line} has to end in {escape}"));
        }
    }
}

/// The line that `this` looks like it continues: it is indented or begins as only a continuation does, or `above` ends as
/// nothing ends.
fn goes_on(text: &str, above: &Instruction, this: &Instruction) -> Option<usize> {
    const JOINTS: [&str; 6] = ["&&", "||", "|", ";", ",", "("];
    let LineRange { last, .. } = above.lines;
    let is_known = keyword::find(&above.keyword).is_some();
    if !is_known || last + 1 != this.lines.first || !above.heredocs.is_empty() {
        return None;
    }
    let is_indented = text.get(..this.span.start).is_some_and(|before| before.ends_with([' ', '\t']));
    let begins = JOINTS.iter().any(|joint| this.text.starts_with(joint)) || this.text.starts_with('-');
    let is_open = JOINTS.iter().any(|joint| above.span.of(text).trim_end().ends_with(joint));
    (is_indented || begins || is_open).then_some(last)
}
