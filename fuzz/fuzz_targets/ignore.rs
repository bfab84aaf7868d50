//! Any ignore file is read or refused, and whatever it says can be asked about any path.

#![no_main]

use boxyard::dockerfile::ignore::IgnoreRules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (rules, path) = input;
    if let Ok(rules) = IgnoreRules::parse(rules) {
        let _ = rules.ignores(path);
    }
});
