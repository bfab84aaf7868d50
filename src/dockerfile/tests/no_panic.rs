//! No text makes the language's smaller readers panic, and what they accept keeps its promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::chmod::ModeChange;
use super::super::expand::{Escape, expand, expand_heredoc, words};
use super::super::fmt::unified_diff;
use super::super::glob::Pattern;
use super::super::ignore::IgnoreRules;
use super::super::mount::Mount;
use super::super::{complete::complete, detect_syntax, parse_without_lint};
use super::nearly_dockerfiles;

/// Words put together of what expansion and patterns are made of.
fn nearly_words() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("$"),
        Just("{"),
        Just("}"),
        Just("a"),
        Just("b"),
        Just(":-"),
        Just(":+"),
        Just(":?"),
        Just("#"),
        Just("##"),
        Just("%"),
        Just("/"),
        Just("//"),
        Just("*"),
        Just("**"),
        Just("?"),
        Just("["),
        Just("^"),
        Just("-"),
        Just("]"),
        Just("\\"),
        Just("'"),
        Just("\""),
        Just("`"),
        Just(" "),
        Just("\n"),
        Just("é"),
        Just("!"),
        Just("."),
        Just(","),
        Just("="),
        Just("type=cache"),
        Just("mode=0"),
        Just("u+x"),
    ];
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_word_is_expanded_or_refused(word in prop_oneof![nearly_words(), any::<String>()], value in nearly_words()) {
        let variables = BTreeMap::from([("a".to_owned(), value), ("b".to_owned(), String::new())]);
        for escape in [Escape::Backslash, Escape::Backtick] {
            let whole = expand(&word, &variables, escape);
            prop_assert_eq!(whole.is_ok(), words(&word, &variables, escape).is_ok(), "{:?}", word);
        }
        let _ = expand_heredoc(&word, &variables);
    }

    #[test]
    fn any_pattern_is_one_or_refused(pattern in prop_oneof![nearly_words(), any::<String>()], path in nearly_words()) {
        for compiled in [Pattern::file(&pattern), Pattern::ignore(&pattern)].into_iter().flatten() {
            let _ = compiled.matches(&path);
        }
        if let Ok(rules) = IgnoreRules::parse(&pattern) {
            prop_assert!(!rules.ignores(&path) || !rules.is_empty());
        }
    }

    #[test]
    fn any_flag_value_is_read_or_refused(value in prop_oneof![nearly_words(), any::<String>()]) {
        if let Err(fault) = Mount::read(&value, &|text| Ok(text.to_owned())) {
            prop_assert!(value.get(fault.range.clone()).is_some(), "{:?} {:?}", value, fault);
        }
        let _ = ModeChange::parse(&value).map(|change| change.apply(0o644, false));
        let _ = detect_syntax(&value);
    }

    #[test]
    fn anything_can_be_completed(text in nearly_dockerfiles()) {
        let file = parse_without_lint(&text).file;
        for (index, line) in text.lines().enumerate() {
            let (typed, _) = complete(&file, index + 1, line, line.len());
            prop_assert!(typed <= line.len());
        }
    }

    #[test]
    fn a_diff_tells_both_texts(before in "[ab\n]{0,20}", after in "[ab\n]{0,20}") {
        let diff = unified_diff("f", &before, &after);
        let side = |sign: char| -> usize { diff.lines().skip(2).filter(|line| line.starts_with(sign)).count() };
        let (old, new) = (before.split_inclusive('\n').count(), after.split_inclusive('\n').count());
        prop_assert_eq!(diff.is_empty(), before == after);
        prop_assert_eq!(old + side('+'), new + side('-'));
    }
}
