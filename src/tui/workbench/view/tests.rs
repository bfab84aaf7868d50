//! Pictures of the workbench: what a person sees while a build runs, after it failed, and before there was one.

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::{Look, Places, draw};
use crate::buildkit::{TraceUpdate, Vertex, VertexLog, VertexStatus};
use crate::dockerfile::LineRange;
use crate::tui::glyphs;
use crate::tui::theme::Theme;
use crate::tui::workbench::{BuildFailure, Cached, Command, Focus, Workbench, WorkbenchEvent};

const TEXT: &str = "\
FROM debian:bookworm AS build
RUN apt-get update && \\
    apt-get install -y python3
COPY . /src
CMD python3 main.py
";

fn at(second: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(second).unwrap())
}

fn bench() -> Workbench {
    let mut bench = Workbench::new("/srv/api".as_ref(), None);
    bench.tick(at(100).unwrap());
    let content = Ok(Some(TEXT.to_owned()));
    bench.event(WorkbenchEvent::Opened { path: "/srv/api/Dockerfile".into(), content });
    bench.set_tag("api:dev");
    bench
}

fn vertex(digest: &str, name: &str, (first, last): (usize, usize)) -> Vertex {
    Vertex { digest: digest.into(), name: name.into(), lines: Some(LineRange { first, last }), ..Vertex::default() }
}

fn building() -> Workbench {
    let mut bench = bench();
    bench.command(Command::Build(Cached::Yes));
    let vertexes = vec![
        Vertex {
            started: at(100),
            completed: at(100),
            cached: true,
            ..vertex("1", "[1/4] FROM debian:bookworm", (1, 1))
        },
        Vertex {
            started: at(100),
            ..vertex("2", "[2/4] RUN apt-get update &&     apt-get install -y python3", (2, 3))
        },
        vertex("3", "[3/4] COPY . /src", (4, 4)),
        vertex("4", "[4/4] CMD python3 main.py", (5, 5)),
    ];
    let log = |msg: &str| VertexLog { vertex: "2".into(), msg: msg.into(), stream: 1, timestamp: None };
    let logs =
        vec![log("Get:1 bookworm/main amd64 python3.11-minimal\n"), log("Unpacking \x1b[32mpython3.11\x1b[0m ...\n")];
    let update = Box::new(TraceUpdate { vertexes, logs, ..TraceUpdate::default() });
    bench.event(WorkbenchEvent::Progress { build: 1, update });
    bench.tick(at(103).unwrap());
    bench
}

fn failed() -> Workbench {
    let mut bench = building();
    let why = "The command '/bin/sh -c apt-get update' returned a non-zero code: 100";
    let failed = Vertex { started: at(100), completed: at(104), error: why.into(), ..vertex("2", "", (2, 3)) };
    let update = Box::new(TraceUpdate { vertexes: vec![failed], ..TraceUpdate::default() });
    bench.event(WorkbenchEvent::Progress { build: 1, update });
    let result = Err(BuildFailure::Refused(why.into()));
    bench.event(WorkbenchEvent::Ended { build: 1, result, took: None });
    bench
}

fn picture(bench: &mut Workbench, width: u16, height: u16) -> String {
    let theme = Theme::built_in("dark").unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let area = frame.area();
            let places = Places::of(bench, area);
            bench.fit(
                (usize::from(places.text().height), usize::from(places.text().width)),
                usize::from(places.log.height),
            );
            draw(frame, area, bench, Look { theme: &theme, glyphs: &glyphs::UNICODE, spin: 0 });
        })
        .unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_running_build_side_by_side() {
    insta::assert_snapshot!(picture(&mut building(), 120, 24));
}

#[test]
fn a_running_build_stacked() {
    insta::assert_snapshot!(picture(&mut building(), 80, 24));
}

#[test]
fn a_failed_build_is_told_at_its_line() {
    insta::assert_snapshot!(picture(&mut failed(), 160, 24));
}

#[test]
fn what_the_builder_does_beside_the_instructions_stands_below_them() {
    let mut bench = building();
    let pushing = Vertex {
        digest: "p".into(),
        name: "pushing registry.example/api:dev".into(),
        started: at(100),
        ..Vertex::default()
    };
    let told = |bench: &mut Workbench, vertexes| {
        bench.event(WorkbenchEvent::Progress {
            build: 1,
            update: Box::new(TraceUpdate { vertexes, ..Default::default() }),
        });
        picture(bench, 120, 24)
    };
    let shown = told(&mut bench, vec![pushing.clone()]);
    assert!(shown.contains("⠋ pushing registry.example/api:dev 3.0s") && shown.contains("1/4 steps"), "{shown}");
    let failed = Vertex { completed: at(104), error: "denied: you may not push there".into(), ..pushing };
    let shown = told(&mut bench, vec![failed]);
    assert!(
        shown.contains("✖ pushing registry.example/api:dev: denied: you may not") && shown.contains("push there"),
        "{shown}"
    );
    picture(&mut bench, 60, 15);
}

#[test]
fn nothing_built_yet() {
    insta::assert_snapshot!(picture(&mut bench(), 100, 20));
}

#[test]
fn the_offer_of_dockerfiles() {
    let mut bench = Workbench::new("/srv".as_ref(), None);
    bench.enter();
    bench.event(WorkbenchEvent::Found(vec!["/srv/Dockerfile".into(), "/srv/api/Dockerfile".into()]));
    insta::assert_snapshot!(picture(&mut bench, 80, 20));
}

#[test]
fn progress_in_words_is_told_once_and_whole() {
    let mut bench = building();
    let words = "writing image sha256:0123456789abcdef done";
    let status = VertexStatus { id: words.into(), name: words.into(), vertex: "1".into(), ..VertexStatus::default() };
    let layer = VertexStatus { id: "b8e1a1e3".into(), name: "Extracting".into(), current: 512, ..status.clone() };
    let update = Box::new(TraceUpdate { statuses: vec![status, layer], ..TraceUpdate::default() });
    bench.event(WorkbenchEvent::Progress { build: 1, update });
    bench.click_step(0, 4);
    let shown = picture(&mut bench, 120, 24);
    assert_eq!(shown.matches(words).count(), 1, "{shown}");
    assert!(shown.contains("b8e1a1e3       Extracting     512 B"), "{shown}");
}

#[test]
fn a_selected_problem_is_told_whole() {
    let mut bench = Workbench::new("/srv/api".as_ref(), None);
    let content = Ok(Some("FROM debian:12\nENV API_TOKEN=abc\nRUN cd /tmp && sudo apt-get update\n".to_owned()));
    bench.event(WorkbenchEvent::Opened { path: "/srv/api/Dockerfile".into(), content });
    bench.command(Command::Pane(Focus::Problems));
    insta::assert_snapshot!(picture(&mut bench, 100, 24));
}

#[test]
fn no_size_is_too_small_to_draw() {
    for (width, height) in [(1, 1), (10, 3), (40, 10), (59, 14), (60, 15), (99, 16)] {
        picture(&mut failed(), width, height);
    }
}
