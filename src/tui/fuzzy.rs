//! Filters as typed: fuzzy words, `!word` for "without", `re:pattern` for a regular expression.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// A compiled filter. An empty one lets everything through.
pub struct Filter {
    kind: Kind,
    matcher: Matcher,
}

enum Kind {
    All,
    Fuzzy(Pattern),
    Without(String),
    Regex(regex::Regex),
    /// A pattern that does not compile (yet): nothing matches, so that the user sees it.
    Broken,
}

impl Filter {
    /// Compiles what the user typed.
    pub fn new(text: &str) -> Filter {
        let text = text.trim();
        let kind = match text {
            "" | "!" | "re:" => Kind::All,
            _ if text.starts_with('!') => Kind::Without(text[1..].to_lowercase()),
            _ if text.starts_with("re:") => match regex::Regex::new(&text[3..]) {
                Ok(regex) => Kind::Regex(regex),
                Err(_) => Kind::Broken,
            },
            _ => Kind::Fuzzy(Pattern::parse(text, CaseMatching::Smart, Normalization::Smart)),
        };
        Filter { kind, matcher: Matcher::new(Config::DEFAULT) }
    }

    /// How well `text` matches; `None`: not at all.
    pub fn score(&mut self, text: &str) -> Option<u32> {
        match &self.kind {
            Kind::All => Some(0),
            Kind::Fuzzy(pattern) => {
                let mut buffer = Vec::new();
                pattern.score(Utf32Str::new(text, &mut buffer), &mut self.matcher)
            }
            Kind::Without(word) => (!text.to_lowercase().contains(word.as_str())).then_some(0),
            Kind::Regex(regex) => regex.is_match(text).then_some(0),
            Kind::Broken => None,
        }
    }
}

/// Ranks `items` by how well `text` of each matches `query`, best first; ties keep their order.
pub fn rank<T>(query: &str, items: impl IntoIterator<Item = T>, text: impl Fn(&T) -> String) -> Vec<T> {
    let mut filter = Filter::new(query);
    let mut scored: Vec<(u32, T)> =
        items.into_iter().filter_map(|item| filter.score(&text(&item)).map(|score| (score, item))).collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_exclusions_and_patterns() {
        let hits = |query: &str| rank(query, ["shop-web", "shop-api", "db"], |s| (*s).to_owned());
        assert_eq!(hits(""), ["shop-web", "shop-api", "db"]);
        assert_eq!(hits("spi"), ["shop-api"]);
        assert_eq!(hits("!shop"), ["db"]);
        assert_eq!(hits("re:^shop-(web|x)$"), ["shop-web"]);
        assert!(hits("re:(").is_empty());
    }
}
