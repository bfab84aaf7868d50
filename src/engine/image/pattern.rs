//! Go's shell patterns, as Docker's `reference` filter takes them.

/// Go's `path.Match`: `*` and `?` do not cross `/`, `[a-z]` and `[^a-z]` are sets.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len())
                .take_while(|at| !text.get(..*at).unwrap_or_default().contains(&'/'))
                .any(|at| matches(rest, text.get(at..).unwrap_or_default())),
            (Some(('?', rest)), Some((letter, others))) => *letter != '/' && matches(rest, others),
            (Some(('[', rest)), Some((letter, others))) => {
                let Some(end) = rest.iter().position(|letter| *letter == ']') else { return false };
                let (set, rest) = (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default());
                let (negated, set) = match set.split_first() {
                    Some(('^', set)) => (true, set),
                    _ => (false, set),
                };
                (contains(set, *letter) != negated) && matches(rest, others)
            }
            (Some(('\\', rest)), Some((letter, others))) => {
                rest.split_first().is_some_and(|(wanted, rest)| wanted == letter && matches(rest, others))
            }
            (Some((wanted, rest)), Some((letter, others))) => wanted == letter && matches(rest, others),
            _ => false,
        }
    }
    fn contains(set: &[char], letter: char) -> bool {
        match set {
            [from, '-', to, rest @ ..] => (*from..=*to).contains(&letter) || contains(rest, letter),
            [only, rest @ ..] => *only == letter || contains(rest, letter),
            [] => false,
        }
    }
    matches(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, fits) in [
            ("busy*", "busybox", true),
            ("busy*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?sy[a-c]ox", "busybox", true),
            ("[^b]*", "busybox", false),
            ("busybox", "busybo", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
