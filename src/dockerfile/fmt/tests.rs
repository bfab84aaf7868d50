//! The layout by example, and its promises: the same meaning, and nothing left to do a second time.

use std::process::Command as Process;

use proptest::prelude::*;

use super::*;
use crate::dockerfile::fmt::layout::lay_out;

/// Lays out `before`, on a base where it names none.
fn check(before: &str, after: &str) {
    let has_base = before.to_ascii_lowercase().contains("from ");
    let base = |text: &str| {
        if has_base { text.to_owned() } else { format!("FROM x\n{text}") }
    };
    let (before, after) = (&*base(before), &*base(after));
    let laid_out = lay_out(&parse_without_lint(before).file, Style::default());
    assert_eq!(laid_out, after, "of {before:?}");
    assert_eq!(format(before, Style::default()).unwrap(), after);
    assert_eq!(format(after, Style::default()).unwrap(), after, "a second time");
}

#[test]
fn keywords_and_words() {
    check("from  a  as b\n", "FROM a AS b\n");
    check("  copy   --from=x\t--link  a  b  c/", "COPY --from=x --link a b c/\n");
    check("env  a=b   c='d  e'\nlabel a   b  c\n", "ENV a=b c='d  e'\nLABEL a b  c\n");
    check("onbuild  run  x  y\n", "ONBUILD RUN x  y\n");
    check(
        "healthcheck   --retries=3 cmd  curl  x\nhealthcheck none",
        "HEALTHCHECK --retries=3 CMD curl  x\nHEALTHCHECK NONE\n",
    );
    check("workdir  /a  b \nexpose 80   53/udp", "WORKDIR /a  b\nEXPOSE 80 53/udp\n");
    check("FROM a\ncmd [ \"a\" ,\"b c\"  ]", "FROM a\nCMD [\"a\", \"b c\"]\n");
    check("FROM a\nVOLUME [\"/x\",\"/y\"]\n", "FROM a\nVOLUME [\"/x\", \"/y\"]\n");
}

#[test]
fn continued_lines_keep_their_shape() {
    check("FROM a\nRUN x &&\\\n y \\\n   && z\n", "FROM a\nRUN x && \\\n    y \\\n      && z\n");
    check(
        "RUN set -eux; \\\n\tif a; then \\\n\t\tb; \\\n# why\n\tfi  \n",
        "RUN set -eux; \\\n    if a; then \\\n        b; \\\n    # why\n    fi\n",
    );
    check("ENV a=1 \\\n\n  b=2\\\n  c=3\n", "ENV a=1 \\\n    b=2 \\\n    c=3\n");
    check("CMD [ \\\n  \"a\",\\\n  \"b\" \\\n]\n", "CMD [ \\\n    \"a\", \\\n    \"b\" \\\n]\n");
    check("RUN a \\  \n b\nRUN c \\", "RUN a \\\n    b\nRUN c\n");
    check("COPY a \\\n      b \\\n      /c/\n", "COPY a \\\n    b \\\n    /c/\n");
}

#[test]
fn blanks_that_mean_something_stay() {
    for text in [
        "FROM a\nRUN echo \"a \\\n  b\" c\n",
        "FROM a\nRUN echo a\\\nb\n",
        "FROM a\nENV a=\"b \\\n  c\" d=e\n",
        "FROM a\nENV a=b\\\nc\n",
        "FROM a\nENV a b \\\n   c\n",
        "FROM a\nRUN it\\'s  'x  y' \"z  z\"\n",
        "FROM a\nSHELL [\"powershell\", \"-command\"]\nRUN a \\\n  b\n",
        "# escape=`\nFROM a\nRUN a `\n  b\n",
        "FROM a\nRUN <<E\n  x  \n\n\n\ty \nE\n",
        "FROM a\nCOPY <<a <<-b /c/\n x\na\n\ty\n\tb\n",
        "FROM a\nCOPY -- a   b\n",
    ] {
        check(text, text);
    }
}

#[test]
fn comments_and_blank_lines() {
    check("\n\n# a \n\n\n\n  #b\nFROM a\n\n\n\nRUN b\n\n\n", "# a\n\n#b\nFROM a\n\nRUN b\n");
    check(
        "#Syntax = docker/dockerfile:1\n#ESCAPE=\\\n\nFROM a",
        "# syntax=docker/dockerfile:1\n# escape=\\\n\nFROM a\n",
    );
    check("\n#escape=`\nFROM a\n", "\n#escape=`\nFROM a\n");
    check("# x\n  # escape=`\nFROM a\n", "# x\n  # escape=`\nFROM a\n");
    check("\u{feff}from a\r\nrun b \\\r\n c\r\n", "\u{feff}FROM a\r\nRUN b \\\r\n    c\r\n");
    check("FROM a\nRUN b \\\n# c\n", "FROM a\nRUN b\n# c\n");
    assert_eq!(format("", Style::default()).unwrap_err().message, "file with no instructions");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let error = format("FROM a\nRUNN b\n", Style::default()).unwrap_err();
    assert_eq!(error.parse_error(), "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)");
    // Lint is not grammar, also where it counts as an error.
    assert!(format("# check=error=true\nFROM a AS B\nMAINTAINER x\n", Style::default()).is_ok());
}

#[test]
fn the_depth_can_be_chosen() {
    assert_eq!(
        format("RUN a \\\n    b\nFROM c", Style { indent: 2 }).map_err(|it| it.message),
        Err("no build stage in current context: only ARG may stand above the first FROM".into())
    );
    assert_eq!(format("FROM c\nRUN a \\\n    b", Style { indent: 2 }).unwrap(), "FROM c\nRUN a \\\n  b\n");
}

/// Dockerfiles that can be read, in many layouts.
fn dockerfiles() -> impl Strategy<Value = String> {
    let blanks = || {
        prop_oneof![
            Just(" "),
            Just("  "),
            Just("\t"),
            Just(" \\\n"),
            Just(" \\\n    "),
            Just(" \\ \n# c\n\t"),
            Just("\\\n"),
            Just(" \\\n\n  ")
        ]
    };
    let word = || {
        prop_oneof![
            Just("a"),
            Just("b=c"),
            Just("'d  e'"),
            Just("\"f  g\""),
            Just("\"$h\""),
            Just("x\\ y"),
            Just("&&"),
            Just("é"),
            Just("\"i \\\n  j\""),
            Just("$(k  \"l  m\")"),
            Just("`n o`"),
            Just("${p:-q  r}"),
            Just("s;"),
            Just("|"),
            Just("\\\\"),
            Just("it\\'s"),
            Just("{"),
            Just("}"),
        ]
    };
    let words = move || {
        proptest::collection::vec((blanks(), word()), 1..6)
            .prop_map(|words| words.into_iter().map(|(blanks, word)| format!("{blanks}{word}")).collect::<String>())
    };
    let line = prop_oneof![
        words().prop_map(|words| format!("RUN x{words}")),
        words().prop_map(|words| format!("run  --network=none --mount=type=tmpfs,target=/t x{words}")),
        words().prop_map(|words| format!("cmd{words}")),
        words().prop_map(|words| format!("ENV a=b{}", words.replace("&&", "c=d"))),
        words().prop_map(|words| format!("ENV a x{words}")),
        words().prop_map(|words| format!(
            "LABEL a=b c=d{}",
            words.split_whitespace().map(|word| format!(" k={word}")).collect::<String>()
        )),
        words().prop_map(|words| format!("copy --link a{words} z/")),
        words().prop_map(|words| format!("HEALTHCHECK --interval=1s  cmd x{words}")),
        words().prop_map(|words| format!("onbuild  run x{words}")),
        words().prop_map(|words| format!("RUN cat <<E{words}\n  body \\\n\n# x\nE")),
        Just("CMD [ \"a\",\\\n\"b  c\" , \\\n # d\n \"e\"\n]".to_owned()),
        Just("entrypoint [\"a\",   \"b\"]".to_owned()),
        Just("  # a comment  ".to_owned()),
        Just("#escape=`".to_owned()),
        Just("".to_owned()),
        Just("".to_owned()),
        Just("from b  as c".to_owned()),
        Just("COPY <<x  <<-y /d/\n\ta \nx\n\tb\n\ty".to_owned()),
        Just("expose 80   443 \\\n 53/udp".to_owned()),
        Just("ARG a  b=c".to_owned()),
        Just("SHELL [\"bash\",  \"-c\"]".to_owned()),
        Just("WORKDIR /a \\\n b".to_owned()),
    ];
    (
        prop_oneof![Just("FROM a\n"), Just("\n#escape=`\nfrom a as b\n"), Just("# syntax = x\n\n\nFROM a\n")],
        proptest::collection::vec(line, 0..8),
        any::<bool>(),
    )
        .prop_map(|(head, lines, windows)| {
            let text = format!("{head}{}", lines.join("\n"));
            if windows { text.replace('\n', "\r\n") } else { text }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_meaning_stays_and_a_second_time_changes_nothing(text in dockerfiles()) {
        let parsed = parse_without_lint(&text);
        if parsed.diagnostics.is_empty() {
            // Not by falling back to the text as it was.
            let laid_out = lay_out(&parsed.file, Style::default());
            let again = parse_without_lint(&laid_out);
            prop_assert!(same_meaning(&parsed.file, &again.file), "{:?}\nbecame\n{:?}", text, laid_out);
            prop_assert_eq!(&lay_out(&again.file, Style::default()), &laid_out, "of {:?}", text);
            prop_assert_eq!(format(&text, Style::default()).unwrap(), laid_out);
        }
    }

    #[test]
    fn nearly_dockerfiles_keep_their_meaning_too(text in crate::dockerfile::tests::nearly_dockerfiles()) {
        if let Ok(laid_out) = format(&text, Style::default()) {
            prop_assert!(same_meaning(&parse_without_lint(&text).file, &parse_without_lint(&laid_out).file), "{:?}", text);
            prop_assert_eq!(&format(&laid_out, Style::default()).unwrap(), &laid_out, "of {:?}", text);
        }
    }

    #[test]
    fn any_text_can_be_handed_in(text in any::<String>()) {
        let _ = format(&text, Style::default());
    }
}

/// What a shell makes of the words of the only RUN.
fn said(text: &str) -> Vec<u8> {
    let file = parse_without_lint(text).file;
    let crate::dockerfile::Body::Run(crate::dockerfile::Command::Shell(script)) = &file.instructions[1].body else {
        panic!("a RUN in {text:?}")
    };
    Process::new("/bin/sh").args(["-c", script]).output().unwrap().stdout
}

#[test]
fn a_real_shell_reads_the_same_words() {
    for words in [
        "a  b\\\n   c \\\n\td",
        "'a  b' \\\n \"c \\\n   d\" \\\n e",
        "x\\ \\\n y",
        "a\\\n  b c\\\nd",
        "\"$(printf '%s|' a  \"b  c\" \\\n   d)\" \\\n  e",
        "${x:-a  b \\\n   c} \\\n  d",
        "a # b \\\n    c",
        "$(echo a \\\n   b) `echo c \\\n  d` \\\n e",
        "it\\'s \\\n  \"it's \\\n  so\"",
    ] {
        let text = format!("from x\nrun printf '%s|' {words}\n");
        let laid_out = lay_out(&parse_without_lint(&text).file, Style::default());
        assert_ne!(laid_out, text);
        assert_eq!(said(&laid_out), said(&text), "{text:?} became {laid_out:?}");
    }
}
