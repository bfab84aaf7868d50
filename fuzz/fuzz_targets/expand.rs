//! Any word is expanded or refused, by either escape character, with variables that hold pieces of it.

#![no_main]

use std::collections::BTreeMap;

use boxyard::dockerfile::expand::{Escape, expand, expand_heredoc, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (word, value) = input;
    let variables = BTreeMap::from([("a".to_owned(), value.to_owned()), ("b".to_owned(), String::new())]);
    for escape in [Escape::Backslash, Escape::Backtick] {
        let _ = expand(word, &variables, escape);
        let _ = words(word, &variables, escape);
    }
    let _ = expand_heredoc(word, &variables);
});
