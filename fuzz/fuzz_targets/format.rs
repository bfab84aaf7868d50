//! Formatting keeps the meaning and has nothing left to do a second time.

#![no_main]

use boxyard::dockerfile::fmt::{Style, format, same_meaning};
use boxyard::dockerfile::parse_without_lint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(laid_out) = format(text, Style::default()) {
        assert!(same_meaning(&parse_without_lint(text).file, &parse_without_lint(&laid_out).file), "{laid_out:?}");
        assert_eq!(format(&laid_out, Style::default()).as_deref().ok(), Some(laid_out.as_str()));
    }
});
