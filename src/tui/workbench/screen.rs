//! Where the workbench meets the rest of the screen: input and events in, effects out, and its row in the list of builds.

use std::collections::HashMap;

use crossterm::event::{Event as Input, MouseButton, MouseEvent, MouseEventKind};
use ratatui::Frame;
use ratatui::layout::Rect;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::build::{Build, Outcome};
use super::steps::StepState;
use super::update::{BuildFailure, Command, Request, WorkbenchEffect, WorkbenchEvent};
use super::view::{self, Look, Places};
use crate::client::Docker;
use crate::tui::actions;
use crate::tui::effect::{Effect, Refresh};
use crate::tui::event::Event;
use crate::tui::keys::Key;
use crate::tui::model::build as row;
use crate::tui::model::detail::Tab;
use crate::tui::model::work::Weight;
use crate::tui::model::{Model, Pane, Screen};

/// Opens the screen.
pub fn enter(model: &mut Model) -> Vec<Effect> {
    model.screen = Screen::Workbench;
    let requests = model.workbench.enter();
    perform(model, requests)
}

/// Whether something on it changes with time.
pub fn is_busy(model: &Model) -> bool {
    model.workbench.is_animated()
}

/// Carries a command out.
pub fn command(model: &mut Model, command: Command) -> Vec<Effect> {
    model.workbench.tick(model.now);
    let requests = model.workbench.command(command);
    perform(model, requests)
}

/// Raw input while its screen is open, before the actions table. `None`: not for us.
pub fn input(model: &mut Model, input: &Input) -> Option<Vec<Effect>> {
    model.workbench.tick(model.now);
    let requests = match input {
        Input::Key(event) => {
            let key = Key::of(event)?;
            let is_typing = model.workbench.prompt().is_some() || model.workbench.chooser().is_some();
            let is_action = model.keymap.action(&[actions::Scope::Workbench], key).is_some();
            if !is_typing && (is_action || !model.workbench.wants(event)) {
                return None;
            }
            model.workbench.key(event)
        }
        Input::Paste(text) => {
            model.workbench.paste(text);
            Vec::new()
        }
        Input::Mouse(mouse) => {
            click(model, mouse);
            Vec::new()
        }
        _ => return None,
    };
    model.touch();
    Some(perform(model, requests))
}

fn area(model: &Model) -> Rect {
    Rect::new(0, 0, model.size.width, model.size.height.saturating_sub(1))
}

fn click(model: &mut Model, mouse: &MouseEvent) {
    let places = Places::of(&model.workbench, area(model));
    let point = (mouse.column, mouse.row).into();
    let rows = |from: Rect| usize::from(mouse.row.saturating_sub(from.y));
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            let text = places.text();
            if places.editor.contains(point) {
                let column = usize::from(mouse.column.saturating_sub(text.x));
                model.workbench.click_text(rows(places.editor), column);
            } else if places.steps.contains(point) {
                model.workbench.click_step(rows(places.steps), usize::from(places.steps.height));
            } else if places.problems.contains(point) {
                model.workbench.click_problem(rows(places.problems), usize::from(places.problems.height));
            } else if places.log.contains(point) {
                let _ = model.workbench.command(Command::Pane(super::model::Focus::Log));
            }
        }
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let by = if mouse.kind == MouseEventKind::ScrollUp { -3 } else { 3 };
            if places.log.contains(point) {
                model.workbench.scroll_log(by);
            } else if places.editor.contains(point) {
                model.workbench.scroll_text(by);
            }
        }
        _ => {}
    }
}

/// One of its own events.
pub fn update(model: &mut Model, event: WorkbenchEvent) -> Vec<Effect> {
    model.workbench.tick(model.now);
    model.touch();
    let requests = model.workbench.event(event);
    perform(model, requests)
}

/// After each batch: the screen may have changed size, and the row in the list of builds is brought up to date.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    model.workbench.tick(model.now);
    // Our own engine tells of all builds, this one too.
    if let Some(build) = model.workbench.build().filter(|_| !model.knows_builds) {
        let folder = model.workbench.document().map(|document| document.folder().display().to_string());
        let row = build_row(build, folder.unwrap_or_default(), model.now);
        if model.builds.get(&row.id) != Some(&row) {
            model.builds.put(row);
        }
    }
    if model.workbench.started.take_if(|id| model.containers.select(id)).is_some() {
        model.open_tab(Tab::Logs);
        model.settle();
        model.touch();
    }
    if model.screen == Screen::Workbench {
        let places = Places::of(&model.workbench, area(model));
        let text = places.text();
        model.workbench.fit((usize::from(text.height), usize::from(text.width)), usize::from(places.log.height));
    }
    Vec::new()
}

fn build_row(build: &Build, context: String, now: jiff::Timestamp) -> row::Build {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let steps = build.steps.all().iter().map(|step| row::Step {
        name: step.title.clone(),
        state: match &step.state {
            StepState::Waiting => row::StepState::Waiting,
            StepState::Running { .. } => row::StepState::Running,
            StepState::Cached => row::StepState::Cached,
            StepState::Done { .. } => row::StepState::Done,
            StepState::Failed { .. } => row::StepState::Failed,
            StepState::Cancelled => row::StepState::Cancelled,
        },
        millis: millis(step.took(now).unwrap_or_default()),
        why: step.why.clone(),
    });
    row::Build {
        id: format!("build-{}", build.number),
        tag: build.tag.clone(),
        dockerfile: String::new(),
        context,
        image: String::new(),
        started: build.started,
        millis: millis(build.took(now)),
        steps: steps.collect(),
        outcome: match &build.outcome {
            Outcome::Running => row::Outcome::Running,
            Outcome::Succeeded { .. } => row::Outcome::Succeeded,
            Outcome::Failed { why, .. } => row::Outcome::Failed(why.clone()),
            Outcome::Cancelled { .. } => row::Outcome::Cancelled,
        },
    }
}

/// Turns the workbench's requests into what the screen does.
fn perform(model: &mut Model, requests: Vec<Request>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for request in requests {
        match request {
            Request::Do(effect) => effects.push(Effect::Workbench(effect)),
            Request::Say(text) => model.say(Weight::Good, text),
            Request::Complain { what, why } => {
                model.works.say(Weight::Bad, what, why, String::new(), model.now);
            }
            Request::Copy(text) => effects.push(Effect::Copy(text)),
            Request::ShowContainer(id) => {
                model.screen = Screen::Main;
                model.open_pane(Pane::Containers);
                // The list does not know it yet; it is selected as soon as it does.
                model.workbench.started = Some(id);
                effects.push(Effect::Refresh(Refresh::Containers));
            }
            Request::Leave => model.screen = Screen::Main,
        }
    }
    model.touch();
    effects
}

/// Draws the whole screen but the footer.
pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let look = Look { theme: &model.theme, glyphs: model.glyphs, spin: model.spin };
    view::draw(frame, area, &model.workbench, look);
}

/// The builds that run, by number; kept where effects are carried out.
#[derive(Debug, Default)]
pub struct Builders {
    running: HashMap<u64, AbortHandle>,
}

impl Builders {
    /// Carries an effect out; news come as events.
    pub fn carry_out(&mut self, effect: WorkbenchEffect, client: &Docker, events: &UnboundedSender<Event>) {
        let sender = events.clone();
        // The screen may be gone when news come; then nobody needs them.
        let tell = move |event| drop(sender.send(Event::Workbench(event)));
        match effect {
            WorkbenchEffect::Cancel { build } => {
                if let Some(task) = self.running.remove(&build) {
                    task.abort();
                    let result = Err(BuildFailure::Cancelled);
                    tell(WorkbenchEvent::Ended { build, result, took: None });
                }
            }
            effect => {
                let build = match &effect {
                    WorkbenchEffect::Build { build, .. } => Some(*build),
                    _ => None,
                };
                let task = tokio::spawn(super::io::carry_out(client.clone(), effect, tell));
                self.running.retain(|_, task| !task.is_finished());
                self.running.extend(build.map(|build| (build, task.abort_handle())));
            }
        }
    }
}
