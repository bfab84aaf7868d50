//! The loop: wait for events, drain them all, update, draw once.
//!
//! Nothing here waits for the engine. A drawing that is due is put off until a sixtieth of a second after the last one;
//! measurements, which come for many containers, share a drawing every half second.

use super::effect::Effect;
use super::event::Event;
use super::io::Runner;
use super::model::{Model, Redraw};
use super::terminal::Screen;
use super::update::{next_tick, settle, update, wants};
use super::view;
use crate::client::Docker;
use crossterm::event::EventStream;
use futures_util::StreamExt;
use jiff::Timestamp;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// At most sixty drawings a second.
const FRAME: Duration = Duration::from_millis(16);
/// How long a drawing that is not urgent may wait for company.
const SOON: Duration = Duration::from_millis(500);
/// Events taken in before a drawing at the latest, so that a flood cannot hide the screen.
const BATCH: usize = 512;

/// Runs until the user leaves.
///
/// # Errors
/// The terminal is gone.
pub async fn run(client: Docker, mut model: Model, mut screen: Screen) -> anyhow::Result<()> {
    let (sender, mut receiver) = unbounded_channel();
    let mut runner = Runner::new(client, sender);
    let mut input = EventStream::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut last_draw = Instant::now() - FRAME;
    update(&mut model, Event::Tick(Timestamp::now()));
    while !model.is_quitting {
        let now = Instant::now();
        let due = match model.redraw {
            Redraw::Now => Some(last_draw + FRAME),
            Redraw::Soon => Some(last_draw + SOON),
            Redraw::No => None,
        };
        if due.is_some_and(|due| due <= now) {
            screen.terminal.draw(|frame| view::draw(frame, &model))?;
            model.redraw = Redraw::No;
            last_draw = Instant::now();
            continue;
        }
        let tick = next_tick(&model).map(|tick| now + tick);
        let wake = [due, tick].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(60));
        let first = tokio::select! {
            biased;
            event = input.next() => match event {
                Some(Ok(event)) => Some(Event::Input(event)),
                Some(Err(error)) => return Err(error.into()),
                None => Some(Event::Terminate),
            },
            _ = terminate.recv() => Some(Event::Terminate),
            _ = hangup.recv() => Some(Event::Terminate),
            event = receiver.recv() => event,
            () = sleep_until(wake) => None,
        };
        let mut effects = update(&mut model, Event::Tick(Timestamp::now()));
        for event in first.into_iter().chain(drain(&mut receiver)) {
            effects.extend(update(&mut model, event));
        }
        effects.extend(settle(&mut model));
        for effect in effects {
            match effect {
                Effect::Copy(text) => screen.copy(&text)?,
                Effect::Repaint => {
                    screen.terminal.clear()?;
                    model.touch();
                }
                Effect::Quit => model.is_quitting = true,
                effect => runner.run(effect),
            }
        }
        runner.want(wants(&model));
    }
    Ok(())
}

fn drain(receiver: &mut UnboundedReceiver<Event>) -> impl Iterator<Item = Event> {
    std::iter::from_fn(|| receiver.try_recv().ok()).take(BATCH)
}
