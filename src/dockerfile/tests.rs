//! The parser as a whole: what is read, what is refused and in which words, and where it stands.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

mod expansion;
mod no_panic;
mod round_trip;

/// The body of the only instruction after `FROM x`.
fn body(text: &str) -> Body {
    let parsed = parse(&format!("FROM x\n{text}"));
    assert_eq!(parsed.first_error(), None, "{text}");
    parsed.file.instructions.last().unwrap().body.clone()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn every_instruction_is_read() {
    let exec = |words: &[&str]| Command::Exec(strings(words));
    let shell = |text: &str| Command::Shell(text.to_owned());
    let pair = |key: &str, value: &str| Pair { key: key.into(), value: value.into(), legacy: false };
    let cases = [
        ("RUN echo  a && \\\n  b", Body::Run(shell("echo  a &&   b"))),
        ("RUN --network=none [\"a\", \"b c\"]", Body::Run(exec(&["a", "b c"]))),
        ("RUN [ -f x ] || y", Body::Run(shell("[ -f x ] || y"))),
        ("cmd [\"a\"]", Body::Cmd(exec(&["a"]))),
        ("CMD", Body::Cmd(shell(""))),
        ("ENTRYPOINT a b", Body::Entrypoint(shell("a b"))),
        ("ENTRYPOINT []", Body::Entrypoint(exec(&[]))),
        ("SHELL [\"bash\", \"-c\"]", Body::Shell(strings(&["bash", "-c"]))),
        ("ENV a=b c=\"d e\"", Body::Env(vec![pair("a", "b"), pair("c", "\"d e\"")])),
        ("ENV a b  \"c\"", Body::Env(vec![Pair { key: "a".into(), value: "b  \"c\"".into(), legacy: true }])),
        ("LABEL a.b=c \"d e\"=f", Body::Label(vec![pair("a.b", "c"), pair("\"d e\"", "f")])),
        (
            "ARG a b=c",
            Body::Arg(vec![
                ArgDeclaration { name: "a".into(), default: None },
                ArgDeclaration { name: "b".into(), default: Some("c".into()) },
            ]),
        ),
        ("WORKDIR /a b", Body::Workdir("/a b".into())),
        ("USER 1:2", Body::User("1:2".into())),
        ("EXPOSE 80 53/udp", Body::Expose(strings(&["80", "53/udp"]))),
        ("VOLUME [\"/a\"]", Body::Volume(strings(&["/a"]))),
        ("VOLUME /a /b", Body::Volume(strings(&["/a", "/b"]))),
        ("STOPSIGNAL SIGINT", Body::StopSignal("SIGINT".into())),
        ("MAINTAINER a <b>", Body::Maintainer("a <b>".into())),
        ("HEALTHCHECK NONE", Body::Healthcheck(Healthcheck::None)),
    ];
    for (text, expected) in cases {
        assert_eq!(body(text), expected, "{text}");
    }
}

#[test]
fn a_healthcheck_with_its_times() {
    let Body::Healthcheck(Healthcheck::Check { command, interval, timeout, retries, .. }) =
        body("HEALTHCHECK --interval=1m30s --retries=5 CMD curl -f x")
    else {
        panic!("a check");
    };
    assert_eq!(command, Command::Shell("curl -f x".into()));
    assert_eq!((interval, timeout, retries), (Some(Duration::from_secs(90)), None, Some(5)));
}

#[test]
fn copies_have_flags_sources_and_heredocs() {
    let text = "FROM x\nCOPY --from=build --chown=a:b --link a \"b\" c/\nCOPY <<a.txt <<-'b.sh' c /d/\nhello $x\na.txt\n\t#!x\n\tb.sh\n";
    let parsed = parse(text);
    assert_eq!(parsed.first_error(), None);
    let [_, copy, heredoc] = parsed.file.instructions.as_slice() else { panic!("three") };
    assert_eq!((copy.flag("from"), copy.flag("chown"), copy.has_flag("link")), (Some("build"), Some("a:b"), true));
    let Body::Copy(transfer) = &copy.body else { panic!("a copy") };
    assert_eq!(
        (transfer.sources.as_slice(), transfer.destination.as_str()),
        (strings(&["a", "\"b\""]).as_slice(), "c/")
    );
    let Body::Copy(transfer) = &heredoc.body else { panic!("a copy") };
    assert_eq!((transfer.sources.as_slice(), transfer.heredocs.as_slice()), (strings(&["c"]).as_slice(), &[0, 1][..]));
    assert_eq!(heredoc.heredocs[1].data(), "#!x\n");
    assert_eq!(heredoc.lines, LineRange { first: 3, last: 7 });
}

#[test]
fn stages_hold_their_instructions() {
    let text = "ARG v=1\nFROM --platform=$BUILDPLATFORM a:$v AS Build\nRUN x\n\nFROM build\nCMD [\"y\"]\n";
    let file = parse(text).file;
    assert_eq!(file.preamble().len(), 1);
    let [first, second] = file.stages.as_slice() else { panic!("two stages") };
    assert_eq!((first.name.as_deref(), first.lines), (Some("build"), LineRange { first: 2, last: 3 }));
    assert_eq!((second.name.as_deref(), file.stage_instructions(second).len()), (None, 2));
    let Body::From(base) = &file.stage_instructions(first)[0].body else { panic!("a FROM") };
    assert_eq!((base.image.as_str(), base.platform.as_deref()), ("a:$v", Some("$BUILDPLATFORM")));
    assert_eq!(base.image_span.of(text), "a:$v");
    assert_eq!(file.at_line(6).map(|instruction| instruction.keyword.as_str()), Some("CMD"));
    assert_eq!(file.at_line(4), None);
}

#[test]
fn errors_are_in_dockers_words() {
    let cases = [
        ("FROM a\n\nRUNN b", "dockerfile parse error on line 3: unknown instruction: RUNN (did you mean RUN?)"),
        ("FORM a", "dockerfile parse error on line 1: unknown instruction: FORM (did you mean FROM?)"),
        ("form a", "dockerfile parse error on line 1: unknown instruction: form (did you mean from?)"),
        (
            "FROM a b",
            "dockerfile parse error on line 1: FROM requires either one or three arguments (did you mean a AS b?)",
        ),
        ("FROM", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        ("RUN x\nCOPY", "dockerfile parse error on line 1: no build stage in current context: the file has no FROM"),
        ("ARG x", "dockerfile parse error on line 1: no build stage in current context: the file has no FROM"),
        (
            "ENV a=b\nFROM a",
            "dockerfile parse error on line 1: no build stage in current context: only ARG may stand above the first FROM",
        ),
        ("", "dockerfile parse error on line 1: file with no instructions"),
        (
            "FROM a AS 1b",
            "dockerfile parse error on line 1: invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        ),
        (
            "FROM a\nCOPY --form=x a b",
            "dockerfile parse error on line 2: unknown flag: --form (did you mean --from=x?)",
        ),
        (
            "FROM a\nCOPY --from a b",
            "dockerfile parse error on line 2: Missing a value on flag: from (did you mean --from=a?)",
        ),
        (
            "FROM a\nCOPY x",
            "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        (
            "FROM a\nENV a=b c",
            "dockerfile parse error on line 2: Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("FROM a\nENV a", "dockerfile parse error on line 2: ENV must have two arguments"),
        ("FROM a\nLABEL =b", "dockerfile parse error on line 2: LABEL names can not be blank"),
        (
            "FROM a\nSHELL bash -c",
            "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form (did you mean [\"bash\", \"-c\"]?)",
        ),
        ("FROM a\nWORKDIR", "dockerfile parse error on line 2: WORKDIR requires exactly one argument"),
        ("FROM a\nRUN", "dockerfile parse error on line 2: RUN requires at least one argument"),
        (
            "FROM a\nHEALTHCHECK curl -f x",
            "dockerfile parse error on line 2: Unknown type \"CURL\" in HEALTHCHECK (try CMD)",
        ),
        (
            "FROM a\nONBUILD ONBUILD RUN x",
            "dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        ("FROM a\nONBUILD FROM x", "dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger"),
        (
            "FROM a\nCMD [1]",
            "dockerfile parse error on line 2: when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "FROM a\nRUN <<E\nx",
            "dockerfile parse error on line 2: unterminated heredoc: the line E that ends it is missing",
        ),
    ];
    for (text, expected) in cases {
        let parsed = parse(text);
        assert_eq!(parsed.first_error().map(Diagnostic::parse_error).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn errors_say_what_was_probably_meant() {
    let cases = [
        ("FROM a # base", "FROM requires either one or three arguments; a comment needs a line of its own"),
        ("FROM a AS", "FROM requires either one or three arguments; the stage's name is missing behind AS"),
        (
            "FROM a --platform=linux/arm64",
            "FROM requires either one or three arguments; flags stand in front of the image",
        ),
        ("FROM a AS b c", "FROM requires either one or three arguments"),
        (
            "FROM a\nRUN x &&\n  echo b",
            "unknown instruction: echo; if it belongs to the line above, line 2 has to end in \\",
        ),
        (
            "FROM a\nRUN x \\\n  b\n  git\n",
            "unknown instruction: git; if it belongs to the line above, line 3 has to end in \\",
        ),
        (
            "# escape=`\nFROM a\nRUN x\n&& y",
            "unknown instruction: &&; if it belongs to the line above, line 3 has to end in `",
        ),
        ("FROM a\nRUN x\n\n  echo b", "unknown instruction: echo"),
        ("FROM a\necho b", "unknown instruction: echo"),
        ("FROM a\n// note", "unknown instruction: //; comments begin with #"),
        (
            "FROM a\nENV A=“b c”",
            "Syntax error - can't find = in \"c”\". Must be of the form: name=value; typographic quotes quote nothing: write \" or '",
        ),
        (
            "FROM a\nENV A=b # c",
            "Syntax error - can't find = in \"#\". Must be of the form: name=value; a comment needs a line of its own",
        ),
        (
            "FROM a\nENV A= b",
            "Syntax error - can't find = in \"b\". Must be of the form: name=value; no blank may stand behind =",
        ),
        ("FROM a\nHEALTHCHECK --interval=30 CMD x", "time: invalid duration \"30\" (did you mean 30s?)"),
        ("FROM a\nHEALTHCHECK NOEN", "Unknown type \"NOEN\" in HEALTHCHECK (try CMD) (did you mean NONE?)"),
        (
            "FROM a\nRUN <<EOF\nx\n  EOF\nCMD y",
            "unterminated heredoc: the line EOF that ends it is missing; line 4 should be EOF and nothing else",
        ),
        ("FROM a\nCOPY --chown \\\n  1:1 a b", "Missing a value on flag: chown (did you mean --chown=1:1?)"),
        ("FROM a\nCOPY --chown", "Missing a value on flag: chown"),
    ];
    for (text, expected) in cases {
        let parsed = parse(text);
        assert_eq!(parsed.first_error().map(Diagnostic::sentence).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn a_missing_from_is_told_once() {
    for text in
        ["RUN a\nRUN b\nCMD c", "ARG a\nARG b", "RUN a\nFROM b", "RUN a\nCOPY b c\nFROM d", "FORM a\nRUN b\nRUN c"]
    {
        assert_eq!(parse_without_lint(text).diagnostics.len(), 1, "{text}");
    }
}

#[test]
fn after_an_error_the_rest_is_still_read() {
    let text = "FROM a\nRUNN b\nCOPY\nCMD [\"c\"]\n";
    let parsed = parse(text);
    let bodies: Vec<bool> = parsed.file.instructions.iter().map(|it| it.body == Body::Invalid).collect();
    assert_eq!(bodies, [false, true, true, false]);
    assert_eq!(parsed.diagnostics.len(), 2);
    let typo = &parsed.diagnostics[0];
    assert_eq!((typo.span.of(text), typo.code), ("RUNN", "UnknownInstruction"));
    assert_eq!(typo.suggestion.as_ref().map(|it| it.replacement.as_str()), Some("RUN"));
}

#[test]
fn warnings_have_buildkits_names_and_words() {
    let cases = [
        (
            "FROM a\nCMD x",
            "JSONArgsRecommended",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ),
        ("FROM a AS Base", "StageNameCasing", "Stage name 'Base' should be lowercase"),
        ("FROM a as b", "FromAsCasing", "'as' and 'FROM' keywords' casing do not match"),
        (
            "FROM a\nMAINTAINER x",
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label",
        ),
        (
            "FROM a\nENV a b",
            "LegacyKeyValueFormat",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        ("FROM a AS x\nFROM b AS x", "DuplicateStageName", "Duplicate stage name \"x\", stage names should be unique"),
        (
            "FROM a\nWORKDIR b",
            "WorkdirRelativePath",
            "Relative workdir \"b\" can have unexpected results if the base image changes",
        ),
        ("FROM scratch\nENV a=$b", "UndefinedVar", "Usage of undefined variable '$b'"),
        ("FROM a$v", "UndefinedArgInFrom", "FROM argument 'v' is not declared"),
        ("FROM a\nRUN x \\\n\n y", "NoEmptyContinuation", "Empty continuation line"),
        (
            "FROM a\nrun x\nUSER b",
            "ConsistentInstructionCasing",
            "Command 'run' should match the case of the command majority (uppercase)",
        ),
        (
            "FROM a\nCMD [\"x\"]\nCMD [\"y\"]",
            "MultipleInstructionsDisallowed",
            "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ),
        (
            "FROM a AS scratch",
            "ReservedStageName",
            "Stage name should not use the same name as reserved stage \"scratch\"",
        ),
        (
            "FROM a\nEXPOSE 80/TCP",
            "ExposeProtoCasing",
            "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
        ),
        (
            "FROM a\nARG DB_PASSWORD",
            "SecretsUsedInArgOrEnv",
            "Do not use ARG or ENV instructions for sensitive data (ARG \"DB_PASSWORD\")",
        ),
    ];
    for (text, code, message) in cases {
        let parsed = parse(text);
        let found: Vec<_> = parsed.warnings().map(|it| (it.code, it.message.as_str())).collect();
        assert_eq!(found, [(code, message)], "{text}");
        let skipped = parse(&format!("# check=skip={code}\n{text}"));
        assert_eq!(skipped.diagnostics, [], "{text}");
        assert!(rule(code).is_some_and(|rule| rule.url.is_some()));
    }
}

#[test]
fn good_style_has_no_warnings() {
    let text = "# syntax=docker/dockerfile:1\nARG v=1\nFROM a:$v AS build\nARG v\nENV PATH=/x:$PATH w=$v\nWORKDIR /src\n\
                WORKDIR sub\nRUN make \\\n  # why\n  all\nFROM scratch\nCOPY --from=build /x /\nCMD [\"/x\"]\n";
    assert_eq!(parse(text).diagnostics, []);
}

#[test]
fn a_misspelt_variable_is_understood() {
    let text = "FROM a\nARG VERSION=1\nENV URL=http://x/$VERSON.tar\n";
    let parsed = parse(text);
    let warning = parsed.warnings().next().unwrap();
    assert_eq!(warning.sentence(), "Usage of undefined variable '$VERSON' (did you mean $VERSION?)");
    assert_eq!(warning.span.of(text), "$VERSON");
    // What a base image may have set is nobody's mistake.
    assert_eq!(parse("FROM golang\nWORKDIR $GOPATH/src\n").diagnostics, []);
}

fn check_places(text: &str) {
    let parsed = parse(text);
    let lines = text.split_inclusive('\n').count().max(1);
    let mut end = 0;
    for instruction in &parsed.file.instructions {
        let Span { start, end: stop } = instruction.span;
        assert!(end <= start && start <= stop && stop <= text.len(), "{text:?}: {:?}", instruction.span);
        assert!(text.is_char_boundary(start) && text.is_char_boundary(stop), "{text:?}");
        assert!((1..=lines).contains(&instruction.lines.first), "{text:?}");
        assert!((instruction.lines.first..=lines).contains(&instruction.lines.last), "{text:?}");
        assert_eq!(instruction.keyword_span.start, start, "{text:?}");
        end = stop;
    }
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.span.start <= diagnostic.span.end && diagnostic.span.end <= text.len(), "{text:?}");
    }
}

/// Texts put together of what Dockerfiles are made of, whole and broken.
pub(in crate::dockerfile) fn nearly_dockerfiles() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("FROM "),
        Just("RUN "),
        Just("COPY "),
        Just("ENV "),
        Just("ARG "),
        Just("ONBUILD "),
        Just("HEALTHCHECK CMD "),
        Just("from a as b\n"),
        Just("LABEL "),
        Just("EXPOSE "),
        Just("VOLUME "),
        Just("RUN --mount=type=cache,target=/a "),
        Just("--from=x "),
        Just("--"),
        Just("<<EOF"),
        Just("<<-'E'"),
        Just("\nEOF\n"),
        Just("\\"),
        Just(" \\ \n"),
        Just("\n"),
        Just("# c\n"),
        Just("\r\n"),
        Just("[\"a\", \"b\"]"),
        Just("["),
        Just("a=b "),
        Just("\""),
        Just("'"),
        Just("$"),
        Just("${x:-"),
        Just("}"),
        Just("é"),
        Just(" "),
        Just("\t"),
        Just(" AS b"),
        Just("\u{feff}"),
        Just("`"),
        Just("#escape=`\n"),
        Just("\u{a0}"),
        Just("\\\n"),
        Just("    "),
        Just("&& "),
        Just("#"),
        Just("\n\n"),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_is_read_and_every_place_lies_in_it(text in any::<String>()) {
        check_places(&text);
    }

    #[test]
    fn nearly_dockerfiles_are_read_too(text in nearly_dockerfiles()) {
        check_places(&text);
    }
}
