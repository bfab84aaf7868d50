//! `--chmod`: permissions in octal, or as clauses the way chmod(1) takes them.

/// A change of permissions.
///
/// # Examples
/// ```
/// use boxyard::dockerfile::chmod::ModeChange;
///
/// assert_eq!(ModeChange::parse("u+x,go-w").unwrap().apply(0o666, false), 0o744);
/// assert_eq!(ModeChange::parse("0755").unwrap().apply(0o600, false), 0o755);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// All bits.
    Octal(u32),
    /// Clauses like `u+x`, in order.
    Symbolic(Vec<Clause>),
}

/// For whom, and what changes for them in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    who: u32,
    actions: Vec<(char, Bits)>,
}

/// The bits of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bits {
    /// Letters of `rwxXst`.
    Letters(String),
    /// What another class (`u`, `g`, `o`) has.
    Of(char),
}

/// Why a text is no `--chmod`, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
pub struct BadMode(pub String);

impl ModeChange {
    /// Reads a `--chmod`.
    ///
    /// # Errors
    /// [`BadMode`]: it is neither octal up to 07777 nor a list of clauses.
    pub fn parse(text: &str) -> Result<Self, BadMode> {
        let refusal = || BadMode(text.to_owned());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| refusal())?;
            return if mode <= 0o7777 { Ok(Self::Octal(mode)) } else { Err(refusal()) };
        }
        text.split(',').map(clause).collect::<Option<_>>().map(Self::Symbolic).ok_or_else(refusal)
    }

    /// The permissions that come of `mode`.
    pub fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        let clauses = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(clauses) => clauses,
        };
        let mut mode = mode;
        for clause in clauses {
            for (operator, bits) in &clause.actions {
                let bits = bits.of(mode, is_folder) & clause.who;
                mode = match operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !clause.who) | bits,
                };
            }
        }
        mode
    }
}

impl Bits {
    fn of(&self, mode: u32, is_folder: bool) -> u32 {
        match self {
            Self::Of(class) => {
                let shift = match class {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                ((mode >> shift) & 0o7) * 0o111
            }
            Self::Letters(letters) => letters.chars().fold(0, |bits, letter| {
                bits | match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if is_folder || mode & 0o111 != 0 => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                }
            }),
        }
    }
}

fn clause(text: &str) -> Option<Clause> {
    let (who, mut rest) = text.split_at(text.find(['+', '-', '='])?);
    let mut mask = 0;
    for class in who.chars() {
        mask |= match class {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    let mut actions = Vec::new();
    while let Some(operator) = rest.chars().next() {
        let after = rest.get(1..)?;
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let (bits, next) = after.split_at(end);
        let bits = match bits {
            "u" | "g" | "o" => Bits::Of(bits.chars().next()?),
            letters if letters.chars().all(|letter| "rwxXst".contains(letter)) => Bits::Letters(letters.to_owned()),
            _ => return None,
        };
        actions.push((operator, bits));
        rest = next;
    }
    Some(Clause { who: if mask == 0 { 0o7777 } else { mask }, actions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_octal_and_symbolic() {
        for (text, mode, folder, expected) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, true, 0o644),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("u=rw,g=r,o=", 0o777, false, 0o640),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o644, true, 0o755),
            ("u+s", 0o755, false, 0o4755),
            ("g=u", 0o740, false, 0o770),
            ("o=g,u+x-w", 0o650, false, 0o555),
            ("+t", 0o777, true, 0o1777),
        ] {
            assert_eq!(ModeChange::parse(text).unwrap().apply(mode, folder), expected, "{text}");
        }
        for bad in ["", "9", "77777", "x", "u+q", "rwx", "u+é", "u+x,", "g=uo"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
    }
}
