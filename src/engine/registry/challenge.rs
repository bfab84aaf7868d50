//! `WWW-Authenticate`: how a registry says who to ask for leave (RFC 9110 section 11, distribution's token spec).

/// One way in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from the service at `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// User name and password.
    Basic,
}

/// Reads the challenges of one header; unknown schemes are passed over.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|letter: char| letter.is_whitespace() || letter == ',').unwrap_or(rest.len());
        let (scheme, after) = rest.split_at(end);
        let (parameters, after) = parameters(after);
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = value("realm") {
                found.push(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        }
        rest = after.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
    }
    found
}

/// `key=value` or `key="value"` pairs; stops before the next scheme.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    loop {
        let trimmed = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
        let end = trimmed.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter)));
        let Some((key, after)) = end.map(|end| trimmed.split_at(end)) else { return (pairs, rest) };
        let Some(after) = after.trim_start().strip_prefix('=').filter(|_| !key.is_empty()) else {
            return (pairs, rest);
        };
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted),
            None => {
                let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.to_owned(), after)
            }
        };
        pairs.push((key.to_ascii_lowercase(), value));
        rest = after;
    }
}

fn quoted_text(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        let table = [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull""#,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/x:pull"),
                )],
            ),
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            (r#"bearer realm=https://x/t , service="a,b""#, vec![bearer("https://x/t", Some("a,b"), None)]),
            (r#"Negotiate, Basic realm="x", Bearer realm="y""#, vec![Challenge::Basic, bearer("y", None, None)]),
            ("", vec![]),
            ("Bearer", vec![]),
            (r#"Bearer realm="unended"#, vec![bearer("unended", None, None)]),
            ("=,=,\"", vec![]),
        ];
        for (header, challenges) in table {
            assert_eq!(parse(header), challenges, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read(header in "\\PC{0,60}") {
            let _ = parse(&header);
        }
    }
}
