//! What the shell's reader makes of scripts, and that every place lies where it should.

use proptest::prelude::*;

use super::*;

fn script(text: &str) -> Script {
    read(&Placed::joined(text, Span::new(0, text.len()), '\\'))
}

/// The commands, words joined by `|`.
fn commands(text: &str) -> Vec<String> {
    let words = |command: &Simple| command.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>().join("|");
    script(text).commands.iter().map(words).collect()
}

#[test]
fn lists_are_cut_into_commands() {
    use Joint::{And, First, Or, Pipe, Then};
    let cases: [(&str, &[&str], &[Joint]); 7] = [
        ("a b && c", &["a|b", "c"], &[First, And]),
        ("a||b;c&d", &["a", "b", "c", "d"], &[First, Or, Then, Then]),
        ("a | b |& c", &["a", "b", "c"], &[First, Pipe, Pipe]),
        ("(cd x; a) && b", &["cd|x", "a", "b"], &[First, Then, And]),
        ("{ a; b; } || c", &["a", "b", "c"], &[First, Then, Or]),
        ("if a; then b; else c; fi; d", &["a", "b", "c", "d"], &[First, First, First, Then]),
        ("for x in 1 2; do a $x; done", &["a|$x"], &[First]),
    ];
    for (text, expected, joints) in cases {
        assert_eq!(commands(text), expected, "{text}");
        assert_eq!(script(text).commands.iter().map(|it| it.joint).collect::<Vec<_>>(), joints, "{text}");
    }
}

#[test]
fn words_lose_their_quotes_and_keep_their_places() {
    let text = r#"echo 'a b' "c $d" e\ f "\"" g"h"'i' # not this"#;
    let echo = &script(text).commands[0];
    let words: Vec<(&str, &str, bool)> =
        echo.words.iter().map(|word| (word.text.as_str(), word.span.of(text), word.is_plain)).collect();
    let expected = [
        ("echo", "echo", true),
        ("a b", "'a b'", true),
        ("c $d", "\"c $d\"", false),
        ("e f", "e\\ f", true),
        ("\"", "\"\\\"\"", true),
        ("ghi", "g\"h\"'i'", true),
    ];
    assert_eq!(words, expected);
    assert_eq!(echo.span.of(text), text.split(" #").next().unwrap());
}

#[test]
fn substitutions_are_scripts_of_their_own() {
    let text = "a $(b | c \"$(d)\") `e f` $((1+(2))) ${x:-$(y)} <(g)";
    let found = script(text);
    assert_eq!(found.commands.len(), 1);
    let all: Vec<&str> = found.all().iter().map(|command| command.program()).collect();
    assert_eq!(all, ["a", "b", "c", "d", "e", "g"]);
    let b = &found.inner[0].commands[0];
    assert_eq!(b.words[0].span.of(text), "b");
}

#[test]
fn redirections_and_assignments_are_no_arguments() {
    let text = "A=1 B='2 3' cmd x >out 2>&1 <in y &>log >>z 3<w";
    let command = &script(text).commands[0];
    assert_eq!(commands(text), ["cmd|x|y"]);
    assert_eq!(command.assignments.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["A=1", "B=2 3"]);
    assert_eq!(command.span.of(text), text);
    assert_eq!(commands("echo 12 >x"), ["echo|12"]);
    assert_eq!(commands("cat <<EOF"), ["cat"]);
}

#[test]
fn wrappers_are_seen_through() {
    let call = |text: &str| script(text).commands[0].program().to_owned();
    assert_eq!(call("sudo -E -u app apt-get install x"), "apt-get");
    assert_eq!(call("env A=b /usr/bin/pip install x"), "pip");
    assert_eq!(call("exec nohup ./run"), "run");
    let command = &script("apt-get -qq install -yq --no-install-recommends -t sid a -- -b").commands[0];
    assert!(command.has_flag(Some('y'), "yes") && command.has_flag(None, "no-install-recommends"));
    assert!(!command.has_flag(Some('z'), "none"));
    let operands: Vec<&str> = command.operands(&["-t"]).iter().map(|word| word.text.as_str()).collect();
    assert_eq!(operands, ["install", "a", "-b"]);
}

#[test]
fn compound_commands_and_depths() {
    let text = "case $x in a|b) one ;; *) two;; esac; f() { three; }; (four; (five))";
    assert_eq!(commands(text), ["one", "two", "three", "four", "five"]);
    let found = script(text).commands;
    let depths: Vec<_> = found.iter().map(|it| (it.subshells, it.conditions)).collect();
    assert_eq!(depths, [(0, 1), (0, 1), (0, 0), (1, 0), (2, 0)]);
}

#[test]
fn continued_lines_comments_and_bodies() {
    let text = "a \\\n  # no\n\n  && b \\\n  c\nCMD d";
    assert_eq!(commands(text), ["a", "b|c"]);
    let body = "set -e\nmake \\\n  all\n";
    let found = read(&Placed::verbatim(body, Span::new(0, body.len())));
    assert_eq!(found.commands.iter().map(|it| it.words.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(found.commands[1].joint, Joint::Then);
}

#[test]
fn the_json_form() {
    let text = r#"["sh", "-c", "a \"b c\""]"#;
    let strings = json_strings(&Placed::joined(text, Span::new(0, text.len()), '\\'));
    let words = read_words(&strings).commands.remove(0).words;
    assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["sh", "-c", "a \"b c\""]);
    assert_eq!(words[0].span.of(text), "sh");
    assert_eq!(read(&strings[2]).commands[0].words[1].text, "b c");
}

fn check_places(text: &str, script: &Script) {
    for command in script.all() {
        for span in command.words.iter().map(|word| word.span).chain([command.span]) {
            assert!(text.get(span.start..span.end).is_some(), "{text:?}: {span:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_script_is_read(text in any::<String>()) {
        check_places(&text, &script(&text));
    }

    #[test]
    fn nearly_scripts_are_read_too(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("a"), Just(" "), Just("$("), Just(")"), Just("("), Just("`"), Just("'"), Just("\""), Just("\\"), Just("${"), Just("}"),
                Just("&&"), Just("|"), Just(";"), Just("&"), Just(">"), Just("<<"), Just("\n"), Just(" \\\n"), Just("case x in "), Just("esac"),
                Just("for "), Just("if "), Just(" fi"), Just("é"), Just("#"), Just("A=b "), Just("2>&1"), Just("<("), Just("$(("),
            ],
            0..40,
        )
    ) {
        let text = parts.concat();
        check_places(&text, &script(&text));
        check_places(&text, &read(&Placed::verbatim(&text, Span::new(0, text.len()))));
    }
}
