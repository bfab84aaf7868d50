//! The Dockerfile as it was read, to show the place where a build went wrong: the client may not have it.

use serde_json::{Value, json};

use crate::dockerfile::LineRange;

/// So many lines before and behind a place are shown with it.
const AROUND: usize = 2;

/// The `id` of the record that carries an excerpt.
pub(super) const SOURCE_ID: &str = "boxyard.build.source";

/// A Dockerfile's text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What its caller calls it.
    pub file: String,
    /// All of it.
    pub text: String,
}

impl Source {
    /// The lines of a place with those around them, as the client's `BuildSource` reads it.
    pub(super) fn excerpt(&self, lines: LineRange) -> Value {
        let begins = lines.first.saturating_sub(AROUND).max(1);
        let shown = self.text.lines().skip(begins - 1).take(lines.last + AROUND + 1 - begins);
        json!({
            "file": self.file,
            "first": lines.first,
            "last": lines.last,
            "begins": begins,
            "lines": shown.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_among_its_neighbours() {
        let source = Source { file: "Dockerfile".into(), text: "a\nb\nc\nd\ne\nf\n".into() };
        let excerpt = source.excerpt(LineRange { first: 4, last: 5 });
        assert_eq!((&excerpt["begins"], &excerpt["lines"]), (&json!(2), &json!(["b", "c", "d", "e", "f"])));
        let excerpt = source.excerpt(LineRange { first: 1, last: 1 });
        assert_eq!((&excerpt["begins"], &excerpt["lines"]), (&json!(1), &json!(["a", "b", "c"])));
    }
}
