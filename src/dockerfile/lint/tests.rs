//! Every rule, shown by its own examples; fixes; what switches rules off.

use std::collections::BTreeSet;

use super::*;

/// The findings of a rule's example: what FROM pulls is for another platform where it says so.
fn linted(text: &str, rule: &Rule) -> Parsed {
    let ignore = rule.ignore_file.map(|text| IgnoreRules::parse(text).unwrap());
    let platform_of =
        |image: &str| Some(if image.ends_with(":arm") { "linux/arm64" } else { "linux/amd64" }.to_owned());
    lint(
        text,
        &Surroundings {
            ignore: ignore.as_ref(),
            platforms: Some(("linux/amd64", &platform_of)),
            ..Surroundings::default()
        },
    )
}

fn told(parsed: &Parsed) -> Vec<(&str, &str)> {
    parsed.diagnostics.iter().map(|found| (found.code, found.message.as_str())).collect()
}

#[test]
fn every_rule_finds_its_bad_example_and_nothing_else_does() {
    for rule in rules() {
        let (bad, span) = unmarked(rule.bad);
        let found = linted(&bad, rule);
        let places: Vec<_> = found.diagnostics.iter().map(|it| (it.code, it.span.of(&bad), it.span)).collect();
        assert_eq!(places, [(rule.name, span.of(&bad), span)], "{}\n{bad}\n{:?}", rule.name, told(&found));
        assert_eq!(found.first_error(), None, "{}", rule.name);
        let message = &found.diagnostics[0].message;
        assert!(!message.contains('\n') && !message.ends_with('.'), "{}: {message}", rule.name);
        let warned = found.warnings().count();
        assert_eq!(warned, usize::from(rule.tier != Tier::Advice), "{}: builds tell BuildKit's alone", rule.name);
    }
}

#[test]
fn no_rule_finds_anything_in_its_good_example() {
    for rule in rules() {
        let found = linted(rule.good, rule);
        assert_eq!(told(&found), [], "{}\n{}", rule.name, rule.good);
    }
}

#[test]
fn a_fix_makes_the_good_example_of_the_bad_one() {
    for rule in rules() {
        let (bad, _) = unmarked(rule.bad);
        let found = linted(&bad, rule);
        let suggestion = found.diagnostics[0].suggestion.as_ref();
        assert_eq!(suggestion.is_some(), rule.fix != Fix::None, "{}", rule.name);
        let fixed = fix(&bad, &Surroundings::default(), |_| true);
        match rule.fix {
            Fix::Sure => assert_eq!((fixed.text.as_str(), fixed.count), (rule.good, 1), "{}", rule.name),
            Fix::None | Fix::Guess => assert_eq!(fixed, Fixed { text: bad, count: 0 }, "{}", rule.name),
        }
        if let (Fix::Guess, Some(suggestion)) = (rule.fix, suggestion) {
            let (mut text, _) = unmarked(rule.bad);
            text.replace_range(suggestion.span.start..suggestion.span.end, &suggestion.replacement);
            assert_eq!(text, rule.good, "{}", rule.name);
        }
    }
}

#[test]
fn every_rule_can_be_skipped() {
    for rule in rules() {
        let (bad, _) = unmarked(rule.bad);
        for skip in [rule.name, "all"] {
            let directive = match bad.strip_prefix("# check=") {
                Some(rest) => format!("# check=skip={skip};{rest}"),
                None => format!("# check=skip={skip}\n{bad}"),
            };
            assert_eq!(told(&linted(&directive, rule)), [], "{}", rule.name);
        }
    }
}

#[test]
fn the_rows_are_whole() {
    let names: BTreeSet<&str> = rules().map(|rule| rule.name).collect();
    assert_eq!(names.len(), rules().count(), "a name stands twice");
    let of_buildkit = rules().filter(|rule| rule.tier != Tier::Advice);
    assert_eq!(of_buildkit.clone().count(), 22);
    assert_eq!(
        of_buildkit.filter(|rule| rule.url.is_none()).map(|rule| rule.name).collect::<Vec<_>>(),
        ["InvalidBaseImagePlatform"]
    );
    for rule in rules() {
        let name = rule.name;
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && name.starts_with(|c: char| c.is_ascii_uppercase()));
        assert!(!rule.description.ends_with('.') && rule.description.len() <= 90, "{name}: {}", rule.description);
        assert!(rule.explanation.ends_with('.') && rule.explanation.len() > 40, "{name}");
        assert!(rule.tier != Tier::Advice || rule.url.is_none(), "{name}: a page of BuildKit's for advice");
        assert!(rule.bad.contains('«') && rule.bad.ends_with('\n') && rule.good.ends_with('\n'), "{name}");
    }
}

/// After a change of a row: `BOXYARD_WRITE_DOCS=1 cargo test --lib dockerfile::lint` writes the page anew.
#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lint.md");
    if std::env::var_os("BOXYARD_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/lint.md is not what the rows say; BOXYARD_WRITE_DOCS=1 writes it");
}

#[test]
fn conditions_are_buildkits() {
    let cases: [(&str, &[&str]); 12] = [
        // A SHELL says that a shell is meant, also for the stages built on this one.
        ("FROM a:1 AS x\nUSER u\nSHELL [\"bash\", \"-c\"]\nCMD x\nFROM x\nENTRYPOINT y", &[]),
        // A platform in the stage's name is told, so it may be fixed.
        ("FROM --platform=linux/arm64 a:1 AS build-arm64", &[]),
        // Names that hold no secret.
        ("FROM a:1\nENV PUBLIC_KEY=a TOKEN_FILE=b KEY_VERSION=1", &[]),
        ("FROM a:1\nENV password=a git_token=b", &["SecretsUsedInArgOrEnv", "SecretsUsedInArgOrEnv"]),
        // An argument before the first FROM is in no image.
        ("ARG TOKEN\nFROM a:1", &[]),
        // Only the first WORKDIR counts, and a parent's.
        ("FROM a:1 AS x\nWORKDIR /a\nFROM x\nWORKDIR b", &[]),
        ("FROM a:1\nWORKDIR a\nWORKDIR b", &["WorkdirRelativePath"]),
        ("FROM a:1\nWORKDIR c:\\\\x", &[]),
        // Neither lower nor upper: one word about it is enough.
        ("From a:1 as b\nRUN x", &["ConsistentInstructionCasing"]),
        ("from a:1 AS b", &["FromAsCasing"]),
        ("FROM a:1\nEXPOSE $PORT/TCP [::1]:80:80/udp", &["ExposeInvalidFormat"]),
        ("FROM scratch\nENV a=$b c=${b} d=${e:-x}", &["UndefinedVar"]),
    ];
    for (text, expected) in cases {
        let parsed = super::super::parse(text);
        assert_eq!(parsed.first_error(), None, "{text}");
        assert_eq!(parsed.warnings().map(|it| it.code).collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn warnings_can_fail_a_build() {
    let parsed = lint("# check=error=true\nFROM a:1 AS B\nRUN cd x", &Surroundings::default());
    assert_eq!(parsed.first_error(), None, "it can be read");
    let expected = "lint violation found for rules: StageNameCasing\n  line 2: StageNameCasing: Stage name 'B' should be lowercase";
    assert_eq!(parsed.lint_violation().as_deref(), Some(expected));
    assert_eq!(lint("FROM a:1 AS B", &Surroundings::default()).lint_violation(), None);
    let refused = super::super::parse("# check=hop=x\nFROM a:1");
    assert_eq!(refused.first_error().map(|error| error.message.as_str()), Some("invalid check option \"hop\""));
}

#[test]
fn fixes_are_applied_until_nothing_is_left_to_fix() {
    let text = "from alpine:3.20 AS Build\nMAINTAINER jo\nENV A b\nEXPOSE 1/TCP 2/UDP\nRUN a \\\n\n\n  b\n";
    let fixed = fix(text, &Surroundings::default(), |found| found.severity != Severity::Advice);
    let expected = "FROM alpine:3.20 AS build\nLABEL org.opencontainers.image.authors=\"jo\"\nENV A=b\nEXPOSE 1/tcp 2/udp\n\
                    RUN a \\\n  b\n";
    assert_eq!(fixed.text, expected);
    let again = fix(&fixed.text, &Surroundings::default(), |found| found.severity != Severity::Advice);
    assert_eq!(again.count, 0);
}

#[test]
fn advice_knows_when_to_be_silent() {
    let silent = [
        // Stages that are left behind may leave what they like.
        "FROM a:1 AS build\nRUN apt-get update && apt-get install -y --no-install-recommends x=1\nFROM b:1\nCOPY --from=build /x /x\n",
        "FROM a:1 AS build\nRUN pip install x==1 && apk add y=1\nFROM scratch\nCOPY --from=build /x /x\n",
        // Cache mounts keep it out of the layer.
        "FROM a:1\nRUN --mount=type=cache,target=/var/lib/apt,sharing=locked --mount=type=cache,dst=/root/.cache/pip \\\n  apt-get update && apt-get install -qq --no-install-recommends x=1 && pip install y==1\n",
        "FROM a:1\nENV PIP_NO_CACHE_DIR=1\nRUN python3 -m pip install -r requirements.txt\n",
        // What is installed is not known here, or has its version elsewhere.
        "FROM a:1\nRUN apk add --no-cache $PACKAGES && npm ci && npm install && pip install --no-cache-dir . -c versions.txt x\n",
        "FROM a:1\nRUN npm i -g @scope/x@1.2 ./y && gem install rake -v 13 && go install ./cmd/x && cargo install --path .\n",
        "FROM a:1\nRUN apt-get update && ./install.sh\n",
        // A subshell ends with its directory; a string is no command.
        "FROM a:1\nRUN (cd /x && make) && echo 'cd /x; sudo y'\n",
        "FROM a:1\nRUN set -o pipefail && curl -f x | sh\n",
        "FROM a:1\nRUN [\"bash\", \"-eo\", \"pipefail\", \"-c\", \"curl -f x > y\"]\n",
        // Heredocs: another language, one command, a list, a shell that stops.
        "FROM a:1\nRUN python3 <<EOF\ncd = 1\nsudo = 2\nEOF\nRUN <<EOF\nmake\nEOF\nRUN <<EOF\na &&\nb\nEOF\nRUN sh -e <<EOF\na\nb\nEOF\n",
        "FROM a:1\nRUN <<EOF\n#!/usr/bin/env python3\nimport os\ntop\nEOF\n",
        // Another shell's language.
        "# escape=`\nFROM a:1\nRUN cd C:\\x\n",
        "FROM a:1\nSHELL [\"powershell\", \"-Command\"]\nRUN cd x; sudo y\n",
        // Names of stages, digests and variables are no tags.
        "ARG T=1\nFROM a:$T AS x\nFROM x AS y\nFROM b@sha256:0000000000000000000000000000000000000000000000000000000000000000\nCOPY --from=y / /\nCOPY --from=0 / /\n",
        "FROM host:5000/a/b:1\nCOPY --from=nginx /x /x\n",
        // ADD for what only ADD does.
        "FROM a:1\nADD x.tar.gz /y\nADD https://x/y /z\nADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://x/y /z\nADD $X /y\n",
        // The user is set, below or by the base image.
        "FROM a:1 AS x\nUSER app\nFROM x\nCMD [\"y\"]\n",
        "FROM gcr.io/distroless/static:nonroot\nCMD [\"y\"]\n",
        // Lists first; what an install copies for itself.
        "FROM a:1\nWORKDIR /a\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n",
        "FROM a:1\nWORKDIR /a\nCOPY . .\nRUN pip install --no-cache-dir .\n",
        // What was not copied, or is known only when it runs.
        "FROM a:1\nCOPY x /srv/\nRUN chmod +x /usr/bin/y && chown -R app $HOME && chmod 755 /srv\n",
        "FROM a:1\nENV PATH=/x:$PATH A=$B\n",
        "FROM a:1\nRUN --mount=type=ssh git clone git@host:x https://user@host/y https://$U:$P@host/z\n",
    ];
    for text in silent {
        let found = lint(text, &Surroundings::default());
        assert_eq!(told(&found), [], "{text}");
    }
}

#[test]
fn advice_looks_into_every_form_of_run() {
    let cases: [(&str, &[&str]); 9] = [
        ("FROM a:1\nRUN [\"sh\", \"-c\", \"cd /x && make\"]\n", &["CdInRun"]),
        ("FROM a:1\nRUN [\"apt-get\", \"install\", \"-y\", \"x=1\"]\n", &["AptNoInstallRecommends"]),
        ("FROM a:1\nRUN <<EOF\nset -e\napk add x=1\nEOF\n", &["ApkNoCache"]),
        ("FROM a:1\nRUN bash <<'EOF'\nset -eu\nsudo x\nEOF\n", &["SudoInRun"]),
        ("FROM a:1\nONBUILD RUN cd /x\n", &["CdInRun"]),
        ("FROM a:1\nRUN x=$(sudo y) && if z; then cd w; fi\n", &["CdInRun", "SudoInRun"]),
        ("FROM a:1\nRUN --network=none \\\n  # why\n  a \\\n  && vim\n", &["SenselessCommand"]),
        (
            "FROM a:1\nRUN env A=b DEBIAN_FRONTEND=x apt install -y --no-install-recommends x=1 && rm -rf /var/lib/apt\n",
            &["AptInsteadOfAptGet"],
        ),
        (
            "FROM a:1\nWORKDIR /app\nCOPY . .\nRUN chown -R app:app /app && chown -R app .\n",
            &["ChangeAfterCopy", "ChangeAfterCopy"],
        ),
    ];
    for (text, expected) in cases {
        let found = lint(text, &Surroundings::default());
        let mut codes: Vec<&str> = found.diagnostics.iter().map(|found| found.code).collect();
        codes.sort_unstable();
        assert_eq!(codes, expected, "{text}");
    }
}

#[test]
fn comments_hush_advice_as_hadolint_has_it() {
    let codes = |text: &str| {
        let found = lint(text, &Surroundings::default()).diagnostics;
        found.iter().map(|found| found.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("# hadolint ignore=DL3006\nFROM a\nRUN cd x\n"), ["CdInRun"]);
    assert_eq!(codes("FROM a:1\n# hadolint ignore=DL3004,cdinrun # why\n\nRUN cd x\nRUN cd x\n"), ["CdInRun"]);
    assert_eq!(codes("# hadolint global ignore=DL3003\nFROM a:1\nRUN cd x\nRUN cd x\n"), [""; 0]);
    assert_eq!(codes("FROM a:1\n# hadolint ignore=JSONArgsRecommended\nUSER a\nCMD x\n"), ["JSONArgsRecommended"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_is_linted_and_fixes_bring_no_errors(text in proptest::arbitrary::any::<String>()) {
        check_fixes(&text);
    }

    #[test]
    fn nearly_dockerfiles_are_linted_too(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "FROM a", " AS b\n", "\nRUN ", "apt-get install ", "apt install x", " && ", " \\\n", "\n", "pip install y", "cd /x", " | sh",
                "curl z", "\nCMD x y", "\nADD a b", "\nEXPOSE 1/TCP", "\nENV a b", "\nrun x", "<<EOF", "\nEOF\n", "$(", ")", "\"", "'", "é",
                "\nCOPY . .", "\nUSER root", "\nMAINTAINER m", "# c\n", "\n\n", "sudo ", "[\"apk\", \"add\", \"q\"]", "\r\n", "\t", "; ",
            ]),
            0..40,
        )
    ) {
        check_fixes(&parts.concat());
    }
}

fn check_fixes(text: &str) {
    for finding in lint(text, &Surroundings::default()).diagnostics {
        let suggested = finding.suggestion.map(|suggestion| suggestion.span);
        for span in std::iter::once(finding.span).chain(suggested) {
            assert!(text.get(span.start..span.end).is_some(), "{text:?}: {} {span:?}", finding.code);
        }
    }
    let errors = |text: &str| {
        lint(text, &Surroundings::default()).diagnostics.iter().filter(|it| rule(it.code).is_none()).count()
    };
    let fixed = fix(text, &Surroundings::default(), |_| true);
    assert!(errors(&fixed.text) <= errors(text), "{text:?} became {:?}", fixed.text);
}

#[test]
fn variables_of_base_images_are_known_or_not() {
    let around = |image: &str| match image {
        "app" => Some(vec!["PATH".to_owned(), "APP_HOME".to_owned()]),
        _ => None,
    };
    let count = |text: &str, surroundings: &Surroundings<'_>| {
        let parsed = lint(text, surroundings);
        parsed.diagnostics.iter().filter(|it| it.code == "UndefinedVar").count()
    };
    let cases = [
        // What is written alone, and with the base image known.
        ("FROM alpine:3.20\nCOPY $foo .", 1, 1),
        ("FROM docker.io/library/debian@sha256:a\nENV a=$PATH b=$foo", 1, 1),
        ("FROM my/alpine\nCOPY $foo .", 0, 0),
        ("FROM my/alpine\nENV PATH=$PAHT:/app", 1, 1),
        ("FROM scratch\nENV PATH=$PATH:/app", 0, 0),
        ("FROM app\nCOPY $APP_HOME $foo .", 0, 1),
        ("FROM app AS x\nARG APP_HOM\nFROM x\nENV a=$APP_HOME b=$c", 1, 1),
        ("FROM fedora\nENV a=$FGC b=${c:-d}", 0, 0),
    ];
    for (text, alone, known) in cases {
        assert_eq!(count(text, &Surroundings::default()), alone, "{text}");
        assert_eq!(count(text, &Surroundings { variables: Some(&around), ..Surroundings::default() }), known, "{text}");
    }
}

#[test]
fn apt_lists_that_are_still_needed_stay() {
    let fixed = |text: &str| fix(text, &Surroundings::default(), |_| true).text;
    let clean =
        |text: &str| lint(text, &Surroundings::default()).diagnostics.iter().any(|it| it.code == "AptCleanLists");
    // A later RUN installs by these lists: told, but not put right.
    let needed = "FROM a:1\nRUN apt-get update && apt-get install -y b=1\nRUN apt-get install -y c=1\n";
    assert!(clean(needed) && fixed(needed) == needed);
    // What only installs brings no lists along.
    assert!(!clean("FROM a:1\nRUN apt-get install -y b=1\n"));
    // Not root's.
    let sudo = "FROM a:1\nUSER u\nRUN sudo apt-get update && sudo apt-get install -y b=1\n";
    assert!(clean(sudo) && fixed(sudo) == sudo);
    let last = "FROM a:1\nRUN apt-get update && apt-get install -y b=1\nRUN apt-get update && apt-get install -y c=1\n";
    assert_eq!(fixed(last).matches("rm -rf").count(), 2);
}

#[test]
fn advice_has_no_false_alarms_here() {
    for text in [
        "FROM ruby:3.3\nRUN gem install --file Gemfile",
        "FROM scratch\nCOPY a .",
        "FROM a:1\nRUN <<EOF bash -euo pipefail\ncurl x | sh\nmake\nEOF",
        "FROM a:1\nRUN [ \"$A\" = \"b,c\" ]",
        "FROM a:1\nRUN [ -f /a ] && [ -f /b ]",
        "FROM a:1\nRUN [[ \"$A\" == \"b\" ]]",
        "FROM a:1\nRUN docker run --mount=type=bind,source=/a,target=/b c:1",
        "FROM a:1\nRUN make --network=x",
        "FROM a:1\nHEALTHCHECK CMD wget --timeout=3 http://localhost",
    ] {
        assert_eq!(told(&lint(text, &Surroundings::default())), [], "{text}");
    }
    // A builtin has no program that could be run without a shell.
    let found = lint("FROM a:1\nUSER u\nCMD exit 1", &Surroundings::default());
    assert_eq!((found.diagnostics.len(), &found.diagnostics[0].suggestion), (1, &None));
}
