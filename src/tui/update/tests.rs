//! The reducer, told as stories: events in, model and effects out.

use super::*;
use crate::client::models as docker;
use crate::tui::effect::{Effect, Refresh};
use crate::tui::event::{Event, Listing, Part, Progress};
use crate::tui::fixture::{containers, empty, feed, noon, press, shop};
use crate::tui::glyphs::UNICODE;
use crate::tui::job::{Failure, Job, PruneKind, Report, Target};
use crate::tui::model::detail::DetailData;
use crate::tui::model::log::{LogBatch, LogEnd, LogLine};
use crate::tui::model::overlay::Overlay;
use crate::tui::model::{Focus, Pane, Redraw, Zoom};
use crossterm::event::{Event as Input, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

fn jobs(effects: &[Effect]) -> Vec<&Job> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Start(_, job) => Some(job),
            _ => None,
        })
        .collect()
}

fn said(model: &Model) -> String {
    model.works.messages.back().map(|message| message.text.clone()).unwrap_or_default()
}

fn web() -> Target {
    Target::new("c-web", "shop-web-1")
}

fn happens(kind: docker::EventMessageTypeEnum, action: &str, id: &str) -> Event {
    let actor = docker::EventActor { id: Some(id.into()), attributes: None };
    Event::Engine(vec![docker::EventMessage {
        typ: Some(kind),
        action: Some(action.into()),
        actor: Some(actor),
        ..Default::default()
    }])
}

fn mouse(kind: MouseEventKind, column: u16, row: u16) -> Event {
    Event::Input(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
}

#[test]
fn stopping_marks_the_row_busy_until_the_answer() {
    let mut model = shop(120, 40);
    let effects = press(&mut model, "s");
    assert_eq!(jobs(&effects), [&Job::Stop(web())]);
    assert_eq!(model.works.busy_word("c-web"), Some("stopping"));
    assert!(jobs(&press(&mut model, "s")).is_empty(), "it is being stopped already");
    let Effect::Start(id, job) = effects[0].clone() else { panic!("a start") };
    let effects = feed(&mut model, Event::Finished(id, job, Ok(Report::default())));
    assert_eq!(effects, [Effect::Refresh(Refresh::SomeContainers(vec!["c-web".into()]))]);
    assert_eq!((said(&model).as_str(), model.works.busy_word("c-web")), ("shop-web-1 stopped", None));
}

#[test]
fn a_key_that_cannot_act_says_why() {
    let mut model = shop(120, 40);
    assert!(press(&mut model, "S").is_empty());
    assert_eq!(said(&model), "web is already running");
}

#[test]
fn a_failure_says_what_why_and_what_next() {
    let mut model = shop(120, 40);
    let job = Job::RemoveImage { target: Target::new("i", "nginx:1.27"), force: false };
    let failure = Failure { why: "conflict: image is in use".into(), status: 409, is_cancelled: false };
    feed(&mut model, Event::Finished(WorkId(9), job, Err(failure)));
    let message = model.works.messages.back().unwrap();
    assert_eq!(message.text, "could not remove image nginx:1.27");
    assert_eq!(message.why, "conflict: image is in use");
    assert_eq!(message.advice, "remove the containers that use it, or choose force");
}

#[test]
fn removal_asks_names_and_takes_its_options() {
    let mut model = shop(120, 40);
    let effects = press(&mut model, "d");
    assert_eq!(effects, [Effect::Refresh(Refresh::Usage)]);
    let Some(Overlay::Confirm(confirm)) = model.overlays.last() else { panic!("a question") };
    assert_eq!(confirm.title, "Remove shop-web-1?");
    assert!(confirm.note.starts_with("It is running and will be killed."));
    assert!(press(&mut model, "esc").is_empty() && model.overlays.is_empty(), "keeping is one key");
    let effects = press(&mut model, "d v y");
    assert_eq!(jobs(&effects), [&Job::RemoveContainer { target: web(), force: true, volumes: true }]);
}

#[test]
fn marks_send_one_action_to_many() {
    let mut model = shop(120, 40);
    model.containers.jump(1);
    let effects = press(&mut model, "space space s");
    assert_eq!(jobs(&effects).len(), 2);
    press(&mut model, "esc");
    assert!(model.containers.marks().is_empty());
    model.containers.jump(0);
    assert_eq!(jobs(&press(&mut model, "r")).len(), 2, "a project's row stands for all of it, but for what is busy");
}

#[test]
fn a_filter_narrows_while_typing_and_escape_brings_the_old_one_back() {
    let mut model = shop(120, 40);
    press(&mut model, "/ a p i");
    assert_eq!(model.containers.rows().len(), 4, "project, api, and two by their image");
    press(&mut model, "esc");
    assert_eq!(model.containers.filter(), "");
    press(&mut model, "/ b e n c h enter");
    assert_eq!((model.containers.filter(), model.typing.is_none()), ("bench", true));
}

#[test]
fn scrolling_a_log_pauses_it_and_the_end_follows_again() {
    let mut model = shop(120, 40);
    press(&mut model, "enter k k");
    assert!(!model.logs.is_following);
    let top = model.logs.top;
    let line = LogLine { at: None, is_stderr: false, text: "new".into() };
    let batch = LogBatch { container: "c-web".into(), epoch: model.logs.epoch, lines: vec![line] };
    feed(&mut model, Event::Logs(batch));
    assert_eq!(model.logs.top, top);
    press(&mut model, "G");
    assert!(model.logs.is_following);
}

#[test]
fn a_search_jumps_and_steps() {
    let mut model = shop(120, 40);
    press(&mut model, "enter / r e f u s e d enter");
    let first = model.logs.search.as_ref().unwrap().at.unwrap();
    press(&mut model, "N");
    assert!(model.logs.search.as_ref().unwrap().at.unwrap() < first);
    press(&mut model, "esc");
    assert!(model.logs.search.is_none() && model.focus == Focus::Detail, "escape drops the search first");
    press(&mut model, "esc");
    assert_eq!(model.focus, Focus::List);
}

#[test]
fn streams_follow_the_selection() {
    let mut model = shop(120, 40);
    let wants = wants(&model);
    assert_eq!(wants.logs.as_ref().unwrap().container, "c-web");
    assert_eq!(wants.stats.iter().map(String::as_str).collect::<Vec<_>>(), ["c-api", "c-db", "c-registry", "c-web"]);
    assert_eq!(wants.detail, None, "a log is no document");
    press(&mut model, "] ]");
    assert_eq!(super::wants(&model).detail.unwrap().tab, Tab::Inspect);
    press(&mut model, "2");
    assert_eq!(super::wants(&model).logs, None);
    assert_eq!(super::wants(&model).detail.unwrap().tab, Tab::Layers);
}

#[test]
fn only_what_changed_is_read_again() {
    let mut model = shop(120, 40);
    let effects = feed(&mut model, happens(docker::EventMessageTypeEnum::CONTAINER, "die", "c-db"));
    assert_eq!(effects, [Effect::Refresh(Refresh::SomeContainers(vec!["c-db".into()]))]);
    let effects = feed(&mut model, happens(docker::EventMessageTypeEnum::CONTAINER, "exec_start: sh", "c-db"));
    assert!(effects.is_empty());
    let effects = feed(&mut model, happens(docker::EventMessageTypeEnum::VOLUME, "create", "data"));
    assert_eq!(effects, [Effect::Refresh(Refresh::Volumes)]);
}

#[test]
fn a_removed_container_leaves_and_the_cursor_stays_in_place() {
    let mut model = shop(120, 40);
    let part = Listing::ContainersPart { asked: vec!["c-web".into()], found: Vec::new() };
    feed(&mut model, Event::Listed(part));
    assert!(model.containers.get("c-web").is_none());
    assert_eq!(model.containers.selected().unwrap().id, "c-worker");
}

#[test]
fn out_of_memory_is_told_from_a_kill() {
    let mut model = shop(120, 40);
    feed(&mut model, happens(docker::EventMessageTypeEnum::CONTAINER, "oom", "c-worker"));
    feed(&mut model, Event::Listed(Listing::Containers(containers())));
    assert_eq!(model.containers.get("c-worker").unwrap().state.words(), "137 out of mem");
}

#[test]
fn a_lost_engine_shows_and_the_log_goes_on_where_it_was() {
    let mut model = shop(120, 40);
    let mark = model.logs.buffer.mark();
    feed(&mut model, Event::Link(Link::Down { why: "connection refused".into() }));
    assert!(wants(&model).logs.is_none() && wants(&model).stats.is_empty());
    assert_eq!(model.containers.items().len(), 7, "what was known stays on the screen");
    feed(&mut model, Event::Link(Link::Up));
    let want = wants(&model).logs.unwrap();
    assert_eq!((want.after, said(&model).as_str()), (mark, "the engine is back"));
}

#[test]
fn a_restart_does_not_end_the_log() {
    let mut model = shop(120, 40);
    let epoch = model.logs.epoch;
    feed(&mut model, happens(docker::EventMessageTypeEnum::CONTAINER, "start", "c-web"));
    feed(&mut model, Event::LogsEnded(LogEnd { container: "c-web".into(), epoch, error: None }));
    let want = wants(&model).logs.expect("the log is read on");
    assert!(want.epoch > epoch && want.after.is_some());
}

#[test]
fn measurements_and_silent_ticks_cost_no_drawing_at_once() {
    let mut model = shop(120, 40);
    model.redraw = Redraw::No;
    feed(&mut model, Event::Tick(noon()));
    assert_eq!(model.redraw, Redraw::No);
    feed(&mut model, Event::Stats("c-web".into(), Box::default()));
    assert_eq!(model.redraw, Redraw::Soon);
}

#[test]
fn an_empty_machine_is_one_key_from_something_that_runs() {
    let mut model = empty(120, 40, "dark", &UNICODE);
    assert_eq!(jobs(&press(&mut model, "n")), [&Job::FirstContainer]);
}

#[test]
fn a_new_container_gets_the_cursor_when_it_is_listed() {
    let mut model = empty(120, 40, "dark", &UNICODE);
    let report = Report { made: Some(Target::new("c-bench", "bench")), ..Report::default() };
    feed(&mut model, Event::Finished(WorkId(1), Job::FirstContainer, Ok(report)));
    feed(&mut model, Event::Listed(Listing::Containers(containers())));
    assert_eq!(model.containers.selected().unwrap().name, "bench");
}

#[test]
fn a_wrong_field_keeps_the_form_open_with_the_reason_at_it() {
    let mut model = shop(120, 40);
    press(&mut model, "n N g enter");
    let Some(Overlay::Form(form)) = model.overlays.last() else { panic!("the form") };
    assert_eq!(form.fields[0].error.as_deref(), Some("the repository must be lower case"));
    let effects = press(&mut model, "ctrl-u n g i n x enter");
    assert!(matches!(jobs(&effects)[..], [Job::Run(spec)] if spec.image == "nginx"));
}

#[test]
fn a_pull_shows_its_layers_and_can_be_cancelled() {
    let mut model = shop(120, 40);
    let effects = press(&mut model, "U a l p i n e enter");
    let Effect::Start(id, job) = effects[0].clone() else { panic!("a start") };
    assert_eq!(model.overlays, [Overlay::Work(id)]);
    let part = Part { name: "a1".into(), state: "Downloading".into(), done: 1, total: 4 };
    feed(&mut model, Event::Progress(id, Progress { done: 1, total: 4, parts: vec![part], ..Progress::default() }));
    press(&mut model, "esc");
    assert!(model.overlays.is_empty() && model.works.shown().is_some(), "it goes on in the footer");
    assert_eq!(press(&mut model, "ctrl-x"), [Effect::Cancel(id)]);
    feed(&mut model, Event::Finished(id, job, Err(Failure::cancelled())));
    assert_eq!(said(&model), "pull alpine: cancelled");
}

#[test]
fn pruning_names_what_goes_and_what_it_frees() {
    let mut model = shop(120, 40);
    press(&mut model, "3 D enter");
    let Some(Overlay::Confirm(confirm)) = model.overlays.last() else { panic!("a question") };
    assert_eq!(confirm.title, "Prune 2 unused volumes?");
    assert_eq!(confirm.note, "Their data is lost for good. Frees 310 MB.");
    assert_eq!(jobs(&press(&mut model, "y")), [&Job::Prune(PruneKind::Volumes)]);
    press(&mut model, "4 D enter");
    assert_eq!((model.overlays.len(), said(&model).as_str()), (0, "no unused networks to prune"));
}

#[test]
fn predefined_networks_stay() {
    let mut model = shop(120, 40);
    press(&mut model, "4 d");
    assert_eq!(said(&model), "bridge is always there and cannot be removed");
}

#[test]
fn the_palette_runs_actions_by_name() {
    let mut model = shop(120, 40);
    press(&mut model, ": p a n e . i m a g e s enter");
    assert_eq!((model.pane, model.overlays.is_empty()), (Pane::Images, true));
}

#[test]
fn the_mouse_selects_scrolls_and_opens_tabs() {
    let mut model = shop(120, 40);
    let images = model.layout.panes[1];
    feed(&mut model, mouse(MouseEventKind::Down(MouseButton::Left), images.rows.x + 3, images.rows.y + 1));
    assert_eq!((model.pane, model.images.cursor()), (Pane::Images, 1));
    let containers = model.layout.panes[0];
    feed(&mut model, mouse(MouseEventKind::Down(MouseButton::Left), containers.rows.x + 3, containers.rows.y + 3));
    assert_eq!(model.containers.selected().unwrap().label, "web");
    let (tab, place) = model.layout.tabs[1];
    feed(&mut model, mouse(MouseEventKind::Down(MouseButton::Left), place.x, place.y));
    assert_eq!((model.tab(), tab), (Some(Tab::Stats), Tab::Stats));
    let body = model.layout.body();
    press(&mut model, "[");
    feed(&mut model, mouse(MouseEventKind::ScrollUp, body.x + 2, body.y + 2));
    assert!(!model.logs.is_following, "the wheel scrolls what is under it");
}

#[test]
fn back_goes_step_by_step_then_out() {
    let mut model = shop(120, 40);
    press(&mut model, "enter +");
    assert_eq!((model.focus, model.zoom), (Focus::Detail, Zoom::Large));
    press(&mut model, "q q");
    assert_eq!((model.focus, model.zoom, model.is_quitting), (Focus::List, Zoom::Normal, false));
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
}

#[test]
fn leaving_asks_while_something_is_under_way() {
    let mut model = shop(120, 40);
    press(&mut model, "U a l p i n e enter esc");
    assert!(!press(&mut model, "q").contains(&Effect::Quit));
    assert!(press(&mut model, "y").contains(&Effect::Quit));
}

#[test]
fn a_past_build_tells_why_it_failed_and_what_it_said() {
    let entry = |state: &str| {
        serde_json::from_value(serde_json::json!({
            "Id": "4bfc839adaac", "Tags": ["api:dev"], "Dockerfile": "docker/Dockerfile", "State": state,
            "Started": noon(), "Ended": noon(), "Error": "exit code: 2",
            "Steps": [{"Name": "[1/2] FROM base", "State": "done"}, {"Name": "[2/2] RUN make", "State": "failed"}],
        }))
        .unwrap()
    };
    let mut model = shop(120, 36);
    feed(&mut model, Event::Listed(Listing::Builds(vec![entry("running")])));
    press(&mut model, "5");
    let running = wants(&model);
    assert_eq!(running.detail, None, "the steps are known");
    feed(&mut model, Event::Listed(Listing::Builds(vec![entry("failed")])));
    settle(&mut model);
    let told = model.doc.doc.as_ref().unwrap().as_ref().unwrap().plain();
    for line in
        ["Name        api:dev\n", "Dockerfile  docker/Dockerfile\n", "State       failed\n", "Error\nexit code: 2\n"]
    {
        assert!(told.contains(line), "{told}");
    }

    press(&mut model, "]");
    let key = wants(&model).detail.expect("the log is asked for");
    assert_eq!(key.subject, Subject::Build("4bfc839adaac".into()));
    let said = DetailData::BuildLog(b"Step 1/2\n\x1b[91mmake: *** failed\x1b[0m\n".to_vec());
    feed(&mut model, Event::Detail(key, Ok(Box::new(said))));
    settle(&mut model);
    let told = model.doc.doc.as_ref().unwrap().as_ref().unwrap().plain();
    assert_eq!(told, "Step 1/2\nmake: *** failed\n");
}
