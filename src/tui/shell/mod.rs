//! The embedded terminal: a shell inside a container, in the detail view's Shell tab.
//!
//! The rest of the program knows only what stands here; how to plug in is told at the top of [`super`].

use super::effect::Effect;
use super::event::Event;
use super::model::Model;
use crate::client::Docker;
use ratatui::Frame;
use ratatui::layout::Rect;
use tokio::sync::mpsc::UnboundedSender;

/// What the terminal is told.
#[derive(Debug)]
pub enum ShellEvent {}

/// What the terminal wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum ShellEffect {}

/// The terminals that are open.
#[derive(Default)]
pub struct ShellPane {}

/// True while it has the keyboard: every key but the prefix goes to [`input`].
pub fn has_keys(_model: &Model) -> bool {
    false
}

/// Raw input while it has the keyboard. `None`: not for us, go on with the actions table.
pub fn input(_model: &mut Model, _input: &crossterm::event::Event) -> Option<Vec<Effect>> {
    None
}

/// Opens a shell in a container (the action `container.shell`).
pub fn open(model: &mut Model, _container: &str) -> Vec<Effect> {
    model.say(super::model::work::Weight::Info, "the embedded terminal is not there yet");
    Vec::new()
}

/// One of its own events.
pub fn update(_model: &mut Model, event: ShellEvent) -> Vec<Effect> {
    match event {}
}

/// After each batch: the area may have changed size.
pub fn settle(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}

/// Draws into the Shell tab's body.
pub fn draw(_frame: &mut Frame<'_>, _area: Rect, _model: &Model) {}

/// Carries out an effect.
pub async fn run(effect: ShellEffect, _client: Docker, _events: UnboundedSender<Event>) {
    match effect {}
}
