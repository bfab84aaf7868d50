//! `# check=skip=A,B;error=true;experimental=C`: what a Dockerfile says about its own checks.

use super::rule::{Rule, Tier};

/// What the directive asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Check {
    skip: Vec<String>,
    experimental: Vec<String>,
    /// Whether warnings fail the build.
    pub is_error: bool,
}

impl Check {
    /// Reads the directive's value; what is wrong with it comes in BuildKit's words.
    pub fn read(value: &str) -> (Self, Option<String>) {
        let mut check = Self::default();
        let mut refused = None;
        let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        for option in value.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key.trim(), value.trim()),
                None => (option, ""),
            };
            match (key, value) {
                (key, "") if !option.contains('=') => {
                    refused.get_or_insert(format!("invalid check option {key:?}"));
                }
                ("skip", list) => check.skip = names(list),
                ("experimental", list) => check.experimental = names(list),
                ("error", "1" | "t" | "T" | "true" | "TRUE" | "True") => check.is_error = true,
                ("error", "0" | "f" | "F" | "false" | "FALSE" | "False") => check.is_error = false,
                ("error", other) => {
                    let why = format!("strconv.ParseBool: parsing {other:?}: invalid syntax");
                    refused.get_or_insert(format!("failed to parse check option {option:?}: {why}"));
                }
                (key, _) => {
                    refused.get_or_insert(format!("invalid check option {key:?}"));
                }
            }
        }
        (check, refused)
    }

    /// Whether findings of `rule` are told.
    pub fn allows(&self, rule: &Rule) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == "all" || name.eq_ignore_ascii_case(rule.name));
        !names(&self.skip) && (rule.tier != Tier::Experimental || names(&self.experimental))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_refused_as_buildkit_does() {
        let cases = [
            ("", Check::default(), None),
            (
                "skip=A, b;error=true;experimental=all",
                Check { skip: vec!["A".into(), "b".into()], experimental: vec!["all".into()], is_error: true },
                None,
            ),
            ("error=0", Check::default(), None),
            ("skip", Check::default(), Some("invalid check option \"skip\"")),
            ("hop=x", Check::default(), Some("invalid check option \"hop\"")),
            (
                "error=maybe",
                Check::default(),
                Some(
                    "failed to parse check option \"error=maybe\": strconv.ParseBool: parsing \"maybe\": invalid syntax",
                ),
            ),
        ];
        for (text, expected, refused) in cases {
            let (check, why) = Check::read(text);
            assert_eq!((check, why.as_deref()), (expected, refused), "{text}");
        }
    }
}
