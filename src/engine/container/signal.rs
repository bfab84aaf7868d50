//! Signals by the names and numbers Docker takes.

use crate::engine::EngineError;

/// Signal numbers on x86-64 and ARM (signal(7)); MIPS and SPARC differ and are no targets.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// What stops and force-kills.
pub const SIGKILL: i32 = 9;
/// What asks to end, where nothing else is said.
pub const SIGTERM: i32 = 15;

/// The number of `text`: a number, or a name with or without `SIG`, in any case, `RTMIN+n` and `RTMAX-n` included.
///
/// # Errors
/// Docker's `Invalid signal: x`.
pub fn parse_signal(text: &str) -> Result<i32, EngineError> {
    let refuse = || EngineError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(refuse()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = |name: &str| SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let real_time = || {
        let number = |digits: &str| digits.parse::<i32>().ok().filter(|n| (0..=30).contains(n));
        match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(more), _) => number(more).map(|n| 34 + n),
            (_, Some(less)) => number(less).map(|n| 64 - n),
            _ => None,
        }
    };
    named(name).or_else(real_time).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals() {
        let check = |text: &str, number: i32| assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        check("9", 9);
        check("SIGTERM", 15);
        check("term", 15);
        check("Hup", 1);
        check("SIGRTMIN+3", 37);
        check("RTMAX-1", 63);
        for bad in ["", "0", "65", "SIG", "NOPE", "RTMIN+99"] {
            assert_eq!(parse_signal(bad).unwrap_err().message(), format!("invalid signal: {bad}"));
        }
    }
}
