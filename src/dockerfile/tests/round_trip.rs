//! Printing what was read gives the text again, and every part stands where it says.

use proptest::prelude::*;

use super::super::*;
use super::nearly_dockerfiles;

/// The pieces tile the text, and so printing gives it again.
fn check_print(text: &str) {
    let file = parse(text).file;
    let mut end = 0;
    for piece in file.pieces() {
        assert_eq!(piece.span.start, end, "{text:?}");
        assert!(piece.span.end > end && text.is_char_boundary(piece.span.end), "{text:?}: {piece:?}");
        end = piece.span.end;
    }
    assert_eq!(end, text.len(), "{text:?}");
    assert_eq!(file.to_string(), text);
}

/// The parts of the instructions as `Role:text`.
fn parts(text: &str) -> Vec<String> {
    let file = parse(text).file;
    let all = file.instructions.iter().flat_map(|it| &it.parts);
    all.map(|part| format!("{:?}:{}", part.role, part.span.of(text))).collect()
}

#[test]
fn line_ends_marks_and_blanks_are_kept() {
    for text in [
        "",
        "\n",
        "FROM a",
        "FROM a\r\nRUN b \\\r\n  c\r\n",
        "\u{feff}# escape=`\nFROM a\nRUN b ` \n# c\n\n  d",
        "  FROM a  \n\t# c\t\nRUN <<E\n\tx\r\nE\nCMD []",
        "FROM a\nRUN x \\",
        "FROM a\nRUN x \\\n",
        "FROM a\nCOPY -- a b\nENV a=b \\\n\n  # c\n c=\"d \\\n e\" \n\n\n",
        "RUN <<A <<B\nA\nopen",
        "FROM a\nX y \\\n z",
    ] {
        check_print(text);
    }
}

#[test]
fn every_piece_of_an_instruction_has_its_place() {
    let cases: &[(&str, &[&str])] = &[
        (
            "FROM --platform=$P a:1 AS b",
            &[
                "Keyword:FROM",
                "FlagName:--platform",
                "Punctuation:=",
                "FlagValue:$P",
                "Image:a:1",
                "Subkeyword:AS",
                "StageName:b",
            ],
        ),
        ("RUN a && \\\n  # c\n  b", &["Keyword:RUN", "Shell:a &&", "Shell:b"]),
        (
            "RUN cat <<E 3<<'F' >x\na\nE\nF",
            &[
                "Keyword:RUN",
                "Shell:cat",
                "HeredocMark:<<E",
                "HeredocMark:3<<'F'",
                "Shell:>x",
                "HeredocBody:a\n",
                "HeredocEnd:E",
                "HeredocEnd:F",
            ],
        ),
        (
            "CMD [\"a\", \"b,\\\"\"]",
            &["Keyword:CMD", "Punctuation:[", "Text:\"a\"", "Punctuation:,", "Text:\"b,\\\"\"", "Punctuation:]"],
        ),
        ("COPY <<x a/ \\\n b/\nx", &["Keyword:COPY", "HeredocMark:<<x", "Source:a/", "Destination:b/", "HeredocEnd:x"]),
        (
            "ENV a=b \\\n  c='d e'",
            &["Keyword:ENV", "Key:a", "Punctuation:=", "Value:b", "Key:c", "Punctuation:=", "Value:'d e'"],
        ),
        ("LABEL a  b c", &["Keyword:LABEL", "Key:a", "Value:b c"]),
        ("ARG x y=1", &["Keyword:ARG", "Key:x", "Key:y", "Punctuation:=", "Value:1"]),
        ("EXPOSE 80 53/udp", &["Keyword:EXPOSE", "Argument:80", "Argument:53/udp"]),
        ("VOLUME [\"/a\"]", &["Keyword:VOLUME", "Punctuation:[", "Text:\"/a\"", "Punctuation:]"]),
        (
            "HEALTHCHECK --retries=2 cmd x",
            &["Keyword:HEALTHCHECK", "FlagName:--retries", "Punctuation:=", "FlagValue:2", "Subkeyword:cmd", "Shell:x"],
        ),
        ("ONBUILD COPY a b", &["Keyword:ONBUILD", "Keyword:COPY", "Source:a", "Destination:b"]),
        ("COPY --link a", &["Keyword:COPY", "FlagName:--link", "Unread:a"]),
        ("NOPE a b", &["Keyword:NOPE", "Unread:a b"]),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text), *expected, "{text}");
        check_print(text);
    }
}

#[test]
fn flags_heredocs_and_directives_tell_their_places() {
    let text = "#  Syntax = x\nFROM a\nRUN --mount=type=cache,target=/a cat <<-E\n\tb\n\tE\n";
    let file = parse(text).file;
    let directive = &file.directives[0];
    assert_eq!((directive.name_span.of(text), directive.value_span.of(text)), ("Syntax", "x"));
    let run = &file.instructions[1];
    let flag = &run.flags[0];
    assert_eq!((flag.name_span.of(text), flag.value_span.unwrap().of(text)), ("--mount", "type=cache,target=/a"));
    let heredoc = &run.heredocs[0];
    assert_eq!((heredoc.mark_span.of(text), heredoc.end_span.unwrap().of(text)), ("<<-E", "\tE"));
    assert_eq!(run.mounts().unwrap()[0].target.as_deref(), Some("/a"));
    let kinds: Vec<PieceKind> = file.pieces().iter().map(|piece| piece.kind).collect();
    assert_eq!(kinds[..3], [PieceKind::Directive, PieceKind::LineEnd, PieceKind::Part(Role::Keyword)]);
}

#[test]
fn errors_say_where_what_was_expected_and_what_was_meant() {
    let cases = [
        ("FROM a\nRUN --mount=type=cach,target=/x y", "cach", "one of bind, cache, tmpfs, secret, ssh", Some("cache")),
        ("FROM a\nRUN --mount=type=cache,taget=/x y", "taget", "one of type, from, source", Some("target")),
        ("FROM a\nRUN --network=hots y", "hots", "one of default, none, host", Some("host")),
        ("FROM a\nCOPY --chmod=rwx a b", "rwx", "a mode like 0755", None),
        ("FROM a\nCOPY --form=b a b", "--form=b", "one of --from", Some("--from=b")),
        ("FROM a\nCOPY a", "a", "COPY [flags] source... destination", None),
        ("FROM a\nENV a=1 b c=2", "b", "ENV name=value", None),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", "5", "a time like 30s", Some("5s")),
        ("FROM a\nHEALTHCHECK NOME", "NOME", "CMD command, or NONE", Some("NONE")),
        ("FROM a AS b/c", "b/c", "a letter, then", None),
        ("FORM a", "FORM", "one of ADD, ARG", Some("FROM")),
        ("FROM a\nRUN <<EOF\nx\n  EOF\nCMD y", "  EOF", "a line with nothing but EOF", Some("EOF")),
        ("# escape=x\nFROM a", "x", "` or \\", None),
    ];
    for (text, place, expected, meant) in cases {
        let parsed = parse(text);
        let error = parsed.first_error().unwrap();
        assert_eq!(error.span.of(text), place, "{text}: {}", error.message);
        assert!(error.expected.as_deref().unwrap().starts_with(expected), "{text}: {:?}", error.expected);
        assert_eq!(error.suggestion.as_ref().map(|it| it.replacement.as_str()), meant, "{text}");
    }
}

#[test]
fn one_error_hides_no_other() {
    let text =
        "FROM a AS 1\nRUN --mount=type=cach --network=x --foo y\nENV =1 b c=\nRUNN z\nRUN <<E\nq\n\nCOPY a\nCMD [1]\n";
    let parsed = parse(text);
    let codes: Vec<_> =
        parsed.diagnostics.iter().filter(|it| it.severity == Severity::Error).map(|it| it.lines.first).collect();
    assert_eq!(codes, [1, 2, 2, 2, 3, 3, 4, 5, 8, 9]);
}

#[test]
fn windows_line_ends_stay_in_heredocs() {
    let parsed = parse("FROM a\r\nRUN <<E\r\nb\r\nE\r\n");
    assert_eq!(parsed.first_error(), None);
    assert_eq!(parsed.file.instructions[1].heredocs[0].content, "b\r\n");
}

#[test]
fn a_no_break_space_belongs_to_its_word() {
    let file = parse("FROM a\u{a0}b\n").file;
    let Body::From(base) = &file.instructions[0].body else { panic!("a FROM") };
    assert_eq!(base.image, "a\u{a0}b");
}

proptest! {
    #[test]
    fn any_text_prints_as_it_was(text in any::<String>()) {
        check_print(&text);
    }

    #[test]
    fn nearly_dockerfiles_print_as_they_were(text in nearly_dockerfiles()) {
        check_print(&text);
    }
}
