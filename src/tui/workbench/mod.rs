//! The build workbench: the Dockerfile editor and the layers it makes, on a screen of their own.
//!
//! The rest of the program knows only what stands here; how to plug in is told at the top of [`super`].

use super::effect::Effect;
use super::event::Event;
use super::model::Model;
use crate::client::Docker;
use ratatui::Frame;
use ratatui::layout::Rect;
use tokio::sync::mpsc::UnboundedSender;

/// What the workbench is told.
#[derive(Debug)]
pub enum WorkbenchEvent {}

/// What the workbench wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkbenchEffect {}

/// The editor and its build.
#[derive(Default)]
pub struct Workbench {}

/// Raw input while its screen is open, before the actions table. `None`: not for us.
pub fn input(_model: &mut Model, _input: &crossterm::event::Event) -> Option<Vec<Effect>> {
    None
}

/// One of its own events.
pub fn update(_model: &mut Model, event: WorkbenchEvent) -> Vec<Effect> {
    match event {}
}

/// After each batch: the screen may have changed size.
pub fn settle(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}

/// Draws the whole screen but the footer.
pub fn draw(_frame: &mut Frame<'_>, _area: Rect, _model: &Model) {}

/// Carries out an effect.
pub async fn run(effect: WorkbenchEffect, _client: Docker, _events: UnboundedSender<Event>) {
    match effect {}
}

/// Whether something on its screen moves by itself.
pub fn is_busy(_model: &Model) -> bool {
    false
}
