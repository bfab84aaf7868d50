//! Word expansion, case by case: quotes, escapes, variables and their modifiers, in two scripts.

use std::collections::BTreeMap;

use super::super::expand::{Escape, expand, words};

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What each word becomes; `None` where it is refused.
const WORDS: &[(&str, Option<&str>)] = &[
    ("hello", Some("hello")),
    ("he'll'o", Some("hello")),
    ("he'llo", None),
    (r"he\'llo", Some("he'llo")),
    (r"he\\'llo", None),
    (r"abc\tdef", Some("abctdef")),
    (r#""abc\tdef""#, Some(r"abc\tdef")),
    (r#""abc\\tdef""#, Some(r"abc\tdef")),
    (r"'abc\tdef'", Some(r"abc\tdef")),
    (r"hello\", Some("hello")),
    (r"hello\\", Some(r"hello\")),
    (r#""hello"#, None),
    (r#""hello\""#, None),
    (r#""hel'lo""#, Some("hel'lo")),
    ("'hello", None),
    (r"'hello\'", Some(r"hello\")),
    (r"'hello\there'", Some(r"hello\there")),
    (r"'hello\\there'", Some(r"hello\\there")),
    (r#""''""#, Some("''")),
    ("$.", Some("$.")),
    ("he$1x", Some("hex")),
    ("he$.x", Some("he$.x")),
    ("he$pwd.", Some("he.")),
    ("he$PWD", Some("he/home")),
    (r"he\$PWD", Some("he$PWD")),
    (r"he\\$PWD", Some(r"he\/home")),
    (r#""he\$PWD""#, Some("he$PWD")),
    (r#""he\\$PWD""#, Some(r"he\/home")),
    (r"\${}", Some("${}")),
    (r"\${}aaa", Some("${}aaa")),
    (r"he\${}", Some("he${}")),
    (r"he\${}xx", Some("he${}xx")),
    ("${}", None),
    ("${}aaa", None),
    ("he${}", None),
    ("he${}xx", None),
    ("he${hi}", Some("he")),
    ("he${hi}xx", Some("hexx")),
    ("he${PWD}", Some("he/home")),
    ("he${.}", None),
    ("he${XXX:-000}xx", Some("he000xx")),
    ("he${PWD:-000}xx", Some("he/homexx")),
    ("he${XXX:-$PWD}xx", Some("he/homexx")),
    ("he${XXX:-${PWD:-yyy}}xx", Some("he/homexx")),
    ("he${XXX:-${YYY:-yyy}}xx", Some("heyyyxx")),
    ("he${XXX:YYY}", None),
    ("he${XXX?}", None),
    ("he${XXX:?}", None),
    ("he${PWD?}", Some("he/home")),
    ("he${PWD:?}", Some("he/home")),
    ("he${NULL?}", Some("he")),
    ("he${NULL:?}", None),
    ("he${XXX:+${PWD}}xx", Some("hexx")),
    ("he${PWD:+${XXX}}xx", Some("hexx")),
    ("he${PWD:+${SHELL}}xx", Some("hebashxx")),
    ("he${XXX:+000}xx", Some("hexx")),
    ("he${PWD:+000}xx", Some("he000xx")),
    ("'he${XX}'", Some("he${XX}")),
    (r#""he${PWD}""#, Some("he/home")),
    (r#""he'$PWD'""#, Some("he'/home'")),
    (r#""$PWD""#, Some("/home")),
    ("'$PWD'", Some("$PWD")),
    (r"'\$PWD'", Some(r"\$PWD")),
    (r#"'"hello"'"#, Some(r#""hello""#)),
    (r"'he\$PWD'", Some(r"he\$PWD")),
    ("he${PWD", None),
    ("he${PWD:=000}xx", None),
    ("he${PWD:+${PWD}:}xx", Some("he/home:xx")),
    (r"he${XXX:-\$PWD:}xx", Some("he$PWD:xx")),
    (r"he${XXX:-\${PWD}z}xx", Some("he${PWDz}xx")),
    ("안녕하세요", Some("안녕하세요")),
    ("안'녕'하세요", Some("안녕하세요")),
    ("안'녕하세요", None),
    (r"안녕\'하세요", Some("안녕'하세요")),
    (r"안\\'녕하세요", None),
    (r"안녕\t하세요", Some("안녕t하세요")),
    (r#""안녕\t하세요""#, Some(r"안녕\t하세요")),
    (r"'안녕\t하세요", None),
    (r"안녕하세요\", Some("안녕하세요")),
    (r"안녕하세요\\", Some(r"안녕하세요\")),
    (r#""안녕하세요"#, None),
    (r#""안녕하세요\""#, None),
    (r#""안녕'하세요""#, Some("안녕'하세요")),
    ("'안녕하세요", None),
    (r"'안녕하세요\'", Some(r"안녕하세요\")),
    ("안녕$1x", Some("안녕x")),
    ("안녕$.x", Some("안녕$.x")),
    ("안녕$pwd.", Some("안녕.")),
    ("안녕$PWD", Some("안녕/home")),
    (r"안녕\$PWD", Some("안녕$PWD")),
    (r"안녕\\$PWD", Some(r"안녕\/home")),
    (r"안녕\${}", Some("안녕${}")),
    (r"안녕\${}xx", Some("안녕${}xx")),
    ("안녕${}", None),
    ("안녕${}xx", None),
    ("안녕${hi}", Some("안녕")),
    ("안녕${hi}xx", Some("안녕xx")),
    ("안녕${PWD}", Some("안녕/home")),
    ("안녕${.}", None),
    ("안녕${XXX:-000}xx", Some("안녕000xx")),
    ("안녕${PWD:-000}xx", Some("안녕/homexx")),
    ("안녕${XXX:-$PWD}xx", Some("안녕/homexx")),
    ("안녕${XXX:-${PWD:-yyy}}xx", Some("안녕/homexx")),
    ("안녕${XXX:-${YYY:-yyy}}xx", Some("안녕yyyxx")),
    ("안녕${XXX:YYY}", None),
    ("안녕${XXX:+${PWD}}xx", Some("안녕xx")),
    ("안녕${PWD:+${XXX}}xx", Some("안녕xx")),
    ("안녕${PWD:+${SHELL}}xx", Some("안녕bashxx")),
    ("안녕${XXX:+000}xx", Some("안녕xx")),
    ("안녕${PWD:+000}xx", Some("안녕000xx")),
    ("'안녕${XX}'", Some("안녕${XX}")),
    (r#""안녕${PWD}""#, Some("안녕/home")),
    (r#""안녕'$PWD'""#, Some("안녕'/home'")),
    (r#"'"안녕"'"#, Some(r#""안녕""#)),
    (r#""안녕\$PWD""#, Some("안녕$PWD")),
    (r"'안녕\$PWD'", Some(r"안녕\$PWD")),
    ("안녕${PWD", None),
    ("안녕${PWD:=000}xx", None),
    ("안녕${PWD:+${PWD}:}xx", Some("안녕/home:xx")),
    (r"안녕${XXX:-\$PWD:}xx", Some("안녕$PWD:xx")),
    (r"안녕${XXX:-\${PWD}z}xx", Some("안녕${PWDz}xx")),
    ("$KOREAN", Some("한국어")),
    ("안녕$KOREAN", Some("안녕한국어")),
    ("${{aaa}", None),
    ("${aaa}}", Some("}")),
    ("${aaa", None),
    ("${{aaa:-bbb}", None),
    ("${aaa:-bbb}}", Some("bbb}")),
    ("${aaa:-bbb", None),
    ("${aaa:-bbb}", Some("bbb")),
    ("${aaa:-${bbb:-ccc}}", Some("ccc")),
    ("${aaa:-bbb ${foo}", None),
    ("${aaa:-bbb {foo}", Some("bbb {foo")),
    ("${:}", None),
    ("${:-bbb}", None),
    ("${:+bbb}", None),
    ("$$", Some("")),
    ("${$}", Some("")),
    ("${$:+bbb}", Some("")),
    ("${$:-bbb}", Some("bbb")),
];

#[test]
fn words_become_what_docker_makes_of_them() {
    let variables = variables(&[("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")]);
    for (word, expected) in WORDS {
        let got = expand(word, &variables, Escape::Backslash).map(|expanded| expanded.text);
        assert_eq!(got.as_deref().ok(), *expected, "{word} gave {got:?}");
    }
}

#[test]
fn the_shells_own_parameters_are_never_set() {
    let variables = variables(&[]);
    for parameter in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "999", "001", "@", "*", "#", "?", "-", "$", "!"]
    {
        for (word, expected) in [
            (format!("${parameter}"), ""),
            (format!("${{{parameter}}}"), ""),
            (format!("${{{parameter}:+bbb}}"), ""),
            (format!("${{{parameter}:-bbb}}"), "bbb"),
            (format!("${parameter}aaa"), "aaa"),
            (format!("${{{parameter}}}aaa"), "aaa"),
            (format!("${{{parameter}:+bbb}}aaa"), "aaa"),
            (format!("${{{parameter}:-bbb}}aaa"), "bbbaaa"),
        ] {
            assert_eq!(expand(&word, &variables, Escape::Backslash).unwrap().text, expected, "{word}");
        }
    }
    assert_eq!(expand("$@@@", &variables, Escape::Backslash).unwrap().text, "@@");
}

#[test]
fn words_are_split_at_blanks_that_no_quote_holds() {
    let variables = variables(&[("hi", "hi"), ("space", "abc  def"), ("leading", "  ab c"), ("trailing", "ab c   ")]);
    let cases: &[(&str, &[&str])] = &[
        ("hello", &["hello"]),
        ("hello${ho}bye", &["hellobye"]),
        ("hello${hi}bye", &["hellohibye"]),
        ("hello${space}bye", &["helloabc", "defbye"]),
        (r#"hello"${space}"bye"#, &["helloabc  defbye"]),
        (r#"hello "${space}"bye"#, &["hello", "abc  defbye"]),
        ("hello${leading}def", &["hello", "ab", "cdef"]),
        (r#"hello"${leading}" def"#, &["hello  ab c", "def"]),
        (r#"hello"${leading}""#, &["hello  ab c"]),
        ("hello${leading}", &["hello", "ab", "c"]),
        ("hello${trailing}", &["helloab", "c"]),
        ("hello${trailing}d", &["helloab", "c", "d"]),
        (r#"hello"${trailing}"d"#, &["helloab c   d"]),
        (r#"hel"lo${trailing}""#, &["helloab c   "]),
        (r#"hello" there  ""#, &["hello there  "]),
        ("hello there", &["hello", "there"]),
        (r"hello\ there", &["hello there"]),
        (r#"hello\" there"#, &[r#"hello""#, "there"]),
        (r#"hello"\\there""#, &[r"hello\there"]),
        (r#"hello"\there""#, &[r"hello\there"]),
        (r"hello'\\there'", &[r"hello\\there"]),
        (r"hello'\there'", &[r"hello\there"]),
        ("hello'$there'", &["hello$there"]),
    ];
    for (word, expected) in cases {
        assert_eq!(words(word, &variables, Escape::Backslash).unwrap(), *expected, "{word}");
    }
    assert!(words(r#"hello" there"#, &variables, Escape::Backslash).is_err());
}
