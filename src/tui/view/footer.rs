//! The last line: what can be done here, what is under way, or what is being typed.

use super::paint::Paint;
use crate::tui::actions::{self, Action, Scope};
use crate::tui::keys::Key;
use crate::tui::model::{Screen, Typing, work::Work};
use crate::tui::shell;
use crate::tui::text::{cut, percent, size, width};
use crate::tui::theme::Role;

pub(super) fn draw(paint: &mut Paint<'_>) {
    let model = paint.model;
    let area = model.layout.footer;
    if area.is_empty() {
        return;
    }
    let (y, end) = (area.y, area.right());
    if let Some(typing) = &model.typing {
        let (prompt, input, help) = match typing {
            Typing::Filter { input, .. } => ("filter ", input, "enter keep   esc drop   !word without   re:pattern"),
            Typing::Search { input } => ("search ", input, "enter find   esc drop   re:pattern"),
        };
        let help_at = paint.put_right(area.x + area.width / 2, y, end.saturating_sub(1), help, Role::Faint);
        let x = paint.put(area.x + 1, y, end, prompt, Role::Accent);
        let style = paint.style(Role::Text);
        paint.input(x, y, help_at.saturating_sub(2), input, style);
        return;
    }
    let mut limit = end;
    if let Some((_, work)) = model.works.shown() {
        limit = progress(paint, work, area.x, y, end);
    }
    hints(paint, area.x + 1, y, limit);
}

/// The hints of all actions that count here, most particular first; help comes last and always.
fn hints(paint: &mut Paint<'_>, x: u16, y: u16, end: u16) {
    let model = paint.model;
    let scopes = actions::scopes(model);
    let rank = |action: &Action| scopes.iter().position(|scope| *scope == action.scope);
    let mut shown: Vec<(usize, &'static Action)> = actions::all()
        .filter(|action| !action.hint.is_empty())
        .filter_map(|action| rank(action).map(|rank| (rank, action)))
        .collect();
    shown.sort_by_key(|(rank, _)| *rank);
    let last = ["palette", "help"];
    // Where keys are text, only those count that type nothing; where the shell has them, only the way out of it.
    let is_text = model.screen == Screen::Workbench && model.workbench.takes_text();
    let in_shell = shell::has_keys(model);
    let key_of = |action: &Action| {
        let mut keys = model.keymap.keys(action.name).iter();
        let counts = !in_shell || action.name == "shell.release";
        keys.find(|key| counts && !(is_text && key.typed().is_some())).map(Key::to_string)
    };
    let wide = |action: &Action| key_of(action).map_or(0, |key| width(&label(&key)) + 1 + width(action.hint) + 2);
    let reserved: usize = last.iter().filter_map(|name| actions::find(name)).map(wide).sum();
    let mut at = x;
    let mut taken: Vec<(Scope, String)> = Vec::new();
    let (tail, head): (Vec<_>, Vec<_>) =
        shown.into_iter().map(|(_, action)| action).partition(|action| last.contains(&action.name));
    let mut draw = |paint: &mut Paint<'_>, action: &Action, at: &mut u16, limit: u16| {
        let Some(key) = key_of(action) else { return };
        // A key that a more particular scope has taken means something else here.
        if taken.iter().any(|(_, known)| *known == key) || *at + wide(action) as u16 > limit + 2 {
            return;
        }
        taken.push((action.scope, key.clone()));
        let is_ready = (action.ready)(paint.model).is_ok();
        let (key_role, hint_role) = if is_ready { (Role::Key, Role::Hint) } else { (Role::HintOff, Role::HintOff) };
        let x = paint.put(*at, y, limit, &label(&key), key_role);
        *at = paint.put(x + 1, y, limit, action.hint, hint_role) + 2;
    };
    let room = end.saturating_sub(reserved as u16);
    for action in head {
        draw(paint, action, &mut at, room);
    }
    for action in tail {
        draw(paint, action, &mut at, end);
    }
}

/// A key as the footer writes it.
pub(super) fn label(key: &str) -> String {
    key.replace("ctrl-", "^")
}

/// The work under way, right-aligned. Returns where the hints must end.
fn progress(paint: &mut Paint<'_>, work: &Work, start: u16, y: u16, end: u16) -> u16 {
    let progress = &work.progress;
    let seconds = paint.model.now.duration_since(work.since).as_secs_f64();
    let spinner = paint.spinner();
    let title = cut(&work.job.title(), 36, paint.glyphs().ellipsis);
    let (share, tail) = if work.is_cancelling {
        (None, "cancelling".to_owned())
    } else if progress.total > 0 {
        let share = progress.done as f64 / progress.total as f64;
        let speed =
            if seconds > 0.5 { format!(" {}/s", size((progress.done as f64 / seconds) as u64)) } else { String::new() };
        (Some(share), format!("{:>4}{speed}", percent((share * 100.0).floor())))
    } else {
        (None, cut(&progress.note, 28, paint.glyphs().ellipsis))
    };
    let bar = if share.is_some() { 9 } else { 0 };
    let more = paint.model.works.running.values().filter(|work| work.job.is_long()).count().saturating_sub(1);
    let more = if more > 0 { format!("  +{more}") } else { String::new() };
    let wide = 2 + width(&title) + 1 + bar + width(&tail) + width(&more) + 2;
    let x = end.saturating_sub(wide as u16).max(start + 1);
    let mut at = paint.put(x, y, end, spinner, Role::Busy) + 1;
    at = paint.put(at, y, end, &title, Role::Text) + 1;
    if let Some(share) = share {
        at = paint.bar(at, y, 8, share, Role::Busy) + 1;
    }
    at = paint.put(at, y, end, &tail, Role::Dim);
    paint.put(at, y, end, &more, Role::Faint);
    x.saturating_sub(2)
}
