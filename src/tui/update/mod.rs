//! The one place where the model changes: an event in, effects out. No clock, no I/O, no waiting.

pub mod docs;
mod engine;
mod input;
mod overlays;

pub use overlays::listed;

use super::actions::containers_begin as begin;
use super::effect::{Effect, Refresh, Wants};
use super::event::{Event, Link};
use super::job::{Failure, Job, Report, WorkId};
use super::model::build::{Build, Outcome};
use super::model::detail::{DetailKey, Subject, Tab};
use super::model::log::LogWant;
use super::model::overlay::Overlay;
use super::model::work::Weight;
use super::model::{Model, Screen};
use super::{shell, workbench};
use jiff::Timestamp;
use std::time::Duration;

/// Changes the model, and says what is to be done.
pub fn update(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Tick(now) => {
            tick(model, now);
            Vec::new()
        }
        Event::Input(input) => input::input(model, input),
        Event::Link(link) => linked(model, link),
        Event::Engine(messages) => engine::happened(model, messages),
        Event::Listed(listing) => {
            engine::listed(model, listing);
            Vec::new()
        }
        Event::Logs(batch) => {
            if model.logs.take(batch) && model.tab() == Some(Tab::Logs) {
                model.touch();
            }
            Vec::new()
        }
        Event::LogsEnded(end) => {
            if model.logs.container.as_deref() == Some(end.container.as_str()) && model.logs.epoch == end.epoch {
                model.logs.has_answer = true;
                model.logs.ended = Some(end.error);
                if model.logs.has_restarted {
                    model.logs.resume();
                }
                model.touch();
            }
            Vec::new()
        }
        Event::Stats(id, sample) => {
            engine::measured(model, id, *sample);
            Vec::new()
        }
        Event::Detail(key, answer) => {
            if Some(&key.subject) == Some(&model.subject()) {
                let doc = answer.map(|data| docs::document(model, &key, &data));
                model.doc.show(key, doc);
                model.touch();
            }
            Vec::new()
        }
        Event::Progress(id, progress) => {
            if let Some(work) = model.works.running.get_mut(&id) {
                work.progress = progress;
                model.touch_soon();
                if matches!(model.overlays.last(), Some(Overlay::Work(shown)) if *shown == id) {
                    model.touch();
                }
            }
            Vec::new()
        }
        Event::Finished(id, job, result) => finished(model, id, &job, result),
        Event::Shell(event) => shell::update(model, event),
        Event::Workbench(event) => workbench::update(model, event),
        Event::Terminate => {
            model.is_quitting = true;
            vec![Effect::Quit]
        }
    }
}

/// After a batch: layout, views, and the parts with screens of their own.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    let before = model.subject();
    model.settle();
    if model.doc.key.as_ref().is_some_and(|key| key.subject != before) {
        model.doc.search = None;
    }
    if let Some(tab) = model.tab()
        && let Some(doc) = docs::local(model, &before, tab)
    {
        model.doc.show(DetailKey { subject: before, tab, version: 0 }, Ok(doc));
    }
    let mut effects = shell::settle(model);
    effects.extend(workbench::settle(model));
    effects
}

/// Which streams should be open for this model.
pub fn wants(model: &Model) -> Wants {
    if model.link == Link::Connecting || matches!(model.link, Link::Down { .. }) || model.screen != Screen::Main {
        return Wants { stats: Default::default(), logs: log_want(model), detail: None, builds: false };
    }
    let subject = model.subject();
    let detail = model.tab().and_then(|tab| {
        let is_document = matches!(tab, Tab::Inspect | Tab::Env | Tab::Top | Tab::Layers | Tab::Overview | Tab::Log);
        let version = match &subject {
            Subject::Nothing | Subject::Project(_) => None,
            // Builds that our engine does not tell of have their logs in the workbench.
            Subject::Build(id) => model.builds.get(id).filter(|_| model.knows_builds).map(Build::version),
            _ => Some(model.version),
        };
        let is_shown = !model.layout.detail.is_empty();
        version.filter(|_| is_document && is_shown).map(|version| DetailKey { subject: subject.clone(), tab, version })
    });
    let builds = model.knows_builds && model.builds.items().iter().any(|build| build.outcome == Outcome::Running);
    Wants { stats: model.measured(), logs: log_want(model), detail, builds }
}

fn log_want(model: &Model) -> Option<LogWant> {
    let is_up = matches!(model.link, Link::Up | Link::Slow);
    let container =
        model.logs.container.clone().filter(|_| is_up && !model.logs.is_away && model.logs.ended.is_none())?;
    let logs = &model.logs;
    Some(LogWant { container, epoch: logs.epoch, window: logs.window, after: logs.after, follow: true })
}

/// When the model wants to hear the time again, if nothing else happens.
pub fn next_tick(model: &Model) -> Option<Duration> {
    let is_busy = !model.works.running.is_empty() || model.link == Link::Connecting;
    let spin = (is_busy || workbench::is_busy(model)).then_some(Duration::from_millis(100));
    let toast = model.works.toasts(model.now).map(|message| message.until.duration_since(model.now)).min();
    let toast = toast.and_then(|left| Duration::try_from(left).ok()).map(|left| left.max(Duration::from_millis(20)));
    [spin, toast, Some(Duration::from_secs(15))].into_iter().flatten().min()
}

fn tick(model: &mut Model, now: Timestamp) {
    let before = model.now;
    model.now = now;
    let had_toasts = model.works.toasts(before).count();
    if had_toasts != model.works.toasts(now).count() {
        model.touch();
    }
    let beat = |at: Timestamp| at.as_millisecond() / 100;
    let is_busy = !model.works.running.is_empty() || model.link == Link::Connecting || workbench::is_busy(model);
    if beat(before) != beat(now) && is_busy {
        model.spin = model.spin.wrapping_add(1);
        model.touch();
    }
    // Ages are told in seconds for a minute only; every quarter of a minute is often enough for all others.
    if before.as_second() / 15 != now.as_second() / 15 {
        model.touch_soon();
    }
}

fn linked(model: &mut Model, link: Link) -> Vec<Effect> {
    if model.link == link {
        return Vec::new();
    }
    let was_down = matches!(model.link, Link::Down { .. });
    let was_slow = model.link == Link::Slow;
    model.link = link;
    model.touch();
    if model.link != Link::Up || was_slow {
        return Vec::new();
    }
    if was_down {
        model.say(Weight::Good, "the engine is back");
        model.version += 1;
        if model.logs.container.is_some() {
            model.logs.resume();
        }
    }
    // Sizes stand in the lists; the engine must walk for them, so once per connection and then when something asks.
    vec![Effect::Refresh(Refresh::Usage)]
}

fn finished(model: &mut Model, id: WorkId, job: &Job, result: Result<Report, Failure>) -> Vec<Effect> {
    model.works.running.remove(&id);
    model.overlays.retain(|overlay| *overlay != Overlay::Work(id));
    model.touch();
    let mut effects = Vec::new();
    let now = model.now;
    match result {
        Ok(report) => {
            model.works.say(Weight::Good, job.done(&report), String::new(), String::new(), now);
            if let Some(made) = &report.made {
                engine::expect(model, made.clone());
            }
        }
        Err(failure) if failure.is_cancelled => {
            model.works.say(Weight::Info, format!("{}: cancelled", job.title()), String::new(), String::new(), now);
        }
        Err(failure) => {
            let advice = job.advice(&failure).unwrap_or_default();
            let text = format!("could not {}", job.title());
            model.works.say(Weight::Bad, text, super::text::clean(&failure.why), advice, now);
        }
    }
    // Events tell of all this too; asking again costs little and covers engines whose events lag.
    match job {
        Job::Pull { .. } | Job::Tag { .. } | Job::RemoveImage { .. } => effects.push(Effect::Refresh(Refresh::Images)),
        Job::CreateVolume(_) | Job::RemoveVolume { .. } => effects.push(Effect::Refresh(Refresh::Volumes)),
        Job::CreateNetwork(_) | Job::RemoveNetwork(_) | Job::Connect { .. } | Job::Disconnect { .. } => {
            effects.push(Effect::Refresh(Refresh::Networks));
            model.version += 1;
        }
        Job::Run(_) | Job::FirstContainer => {
            effects.extend([Effect::Refresh(Refresh::Containers), Effect::Refresh(Refresh::Images)]);
        }
        Job::Prune(_) => effects.extend([
            Effect::Refresh(Refresh::Containers),
            Effect::Refresh(Refresh::Images),
            Effect::Refresh(Refresh::Volumes),
            Effect::Refresh(Refresh::Networks),
            Effect::Refresh(Refresh::Usage),
        ]),
        Job::SaveLog { .. } => {}
        _ => {
            let id = job.container().map(|target| target.id.clone());
            effects.extend(id.map(|id| Effect::Refresh(Refresh::SomeContainers(vec![id]))));
        }
    }
    effects
}

/// Books a job and asks for it.
fn start(model: &mut Model, job: Job) -> Effect {
    begin(model, job)
}

#[cfg(test)]
mod tests;
