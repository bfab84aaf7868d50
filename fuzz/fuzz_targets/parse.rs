//! Any text is read without a panic, and printing what was read gives it again.
//!
//! `cargo +nightly fuzz run parse` in the project's folder.

#![no_main]

use boxyard::dockerfile::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let parsed = parse(text);
    assert_eq!(parsed.file.to_string(), text);
    for diagnostic in &parsed.diagnostics {
        assert!(text.get(diagnostic.span.start..diagnostic.span.end).is_some(), "{diagnostic:?}");
    }
});
