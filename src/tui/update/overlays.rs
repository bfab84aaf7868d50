//! Keys while something lies over the screen.

use super::super::actions::{self, Action};
use super::super::form::Answer;
use super::super::job::{Job, WorkId};
use super::super::keys::Key;
use super::super::model::Model;
use super::super::model::overlay::{Choice, Doom, Overlay, Picker};
use super::super::theme::{Depth, Theme};
use super::{Effect, Weight, start};
use crossterm::event::{KeyCode, KeyModifiers, MouseEvent};

pub(super) fn key(model: &mut Model, key: Key) -> Vec<Effect> {
    if key == (Key { code: KeyCode::Char('c'), mods: KeyModifiers::CONTROL }) {
        model.overlays.pop();
        return Vec::new();
    }
    let Some(overlay) = model.overlays.pop() else { return Vec::new() };
    match overlay {
        Overlay::Help(picker) => pick(model, key, picker, true),
        Overlay::Palette(picker) => pick(model, key, picker, false),
        Overlay::Confirm(mut confirm) => {
            let option = key.typed().and_then(|c| confirm.options.iter_mut().find(|(k, _, _)| *k == c));
            if let Some((_, _, on)) = option {
                *on = !*on;
                model.overlays.push(Overlay::Confirm(confirm));
                return Vec::new();
            }
            match key.code {
                KeyCode::Char('y') | KeyCode::Enter if confirm.doom == Doom::Quit => {
                    model.is_quitting = true;
                    vec![Effect::Quit]
                }
                KeyCode::Char('y') | KeyCode::Enter => {
                    clear_marks(model);
                    actions::containers_begin_all(model, confirm.jobs())
                }
                KeyCode::Char('n' | 'q') | KeyCode::Esc => Vec::new(),
                _ => {
                    model.overlays.push(Overlay::Confirm(confirm));
                    Vec::new()
                }
            }
        }
        Overlay::Menu(mut menu) => {
            let last = menu.entries.len().saturating_sub(1);
            match key.code {
                KeyCode::Esc | KeyCode::Char('q') => return Vec::new(),
                KeyCode::Enter => {
                    let choice = menu.entries.get(menu.cursor).map(|entry| entry.choice.clone());
                    return choice.map(|choice| chosen(model, choice)).unwrap_or_default();
                }
                KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => {
                    menu.cursor = if menu.cursor == last { 0 } else { menu.cursor + 1 };
                }
                KeyCode::Up | KeyCode::Char('k') | KeyCode::BackTab => {
                    menu.cursor = if menu.cursor == 0 { last } else { menu.cursor - 1 };
                }
                KeyCode::Char(digit @ '1'..='9') => {
                    let at = digit as usize - '1' as usize;
                    if let Some(entry) = menu.entries.get(at) {
                        let choice = entry.choice.clone();
                        return chosen(model, choice);
                    }
                }
                _ => {}
            }
            model.overlays.push(Overlay::Menu(menu));
            Vec::new()
        }
        Overlay::Form(mut form) => match form.key(key) {
            Answer::Stay => {
                model.overlays.push(Overlay::Form(form));
                Vec::new()
            }
            Answer::Close => Vec::new(),
            Answer::Submit(job) => submitted(model, job),
        },
        Overlay::Work(id) => work(model, key, id),
        Overlay::Activity { top } => {
            let top = match key.code {
                KeyCode::Esc | KeyCode::Char('q' | '@') | KeyCode::Enter => return Vec::new(),
                KeyCode::Down | KeyCode::Char('j') => top + 1,
                KeyCode::Up | KeyCode::Char('k') => top.saturating_sub(1),
                _ => top,
            };
            model.overlays.push(Overlay::Activity { top: top.min(model.works.messages.len().saturating_sub(1)) });
            Vec::new()
        }
    }
}

pub(super) fn mouse(model: &mut Model, _event: MouseEvent, wheel: isize) -> Vec<Effect> {
    let code = match wheel {
        0 => return Vec::new(),
        by if by > 0 => KeyCode::Down,
        _ => KeyCode::Up,
    };
    if matches!(model.overlays.last(), Some(Overlay::Form(_))) { Vec::new() } else { key(model, Key::plain(code)) }
}

/// The actions a picker lists for what was typed.
pub fn listed(model: &Model, query: &str, is_help: bool) -> Vec<&'static Action> {
    let scopes = actions::scopes(model);
    let mut all: Vec<&'static Action> =
        actions::all().filter(|action| is_help || scopes.contains(&action.scope)).collect();
    // What counts here comes first; the rest follows in the table's order.
    all.sort_by_key(|action| scopes.iter().position(|scope| *scope == action.scope).unwrap_or(scopes.len()));
    let keymap = model.keymap.clone();
    super::super::fuzzy::rank(query, all, |action| {
        let keys: Vec<String> = keymap.keys(action.name).iter().map(Key::to_string).collect();
        format!("{} {} {}", action.name, action.help, keys.join(" "))
    })
}

fn pick(model: &mut Model, key: Key, mut picker: Picker, is_help: bool) -> Vec<Effect> {
    let entries = listed(model, picker.query.text(), is_help);
    let last = entries.len().saturating_sub(1);
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Enter => {
            return match entries.get(picker.cursor) {
                Some(action) => actions::run(model, action),
                None => Vec::new(),
            };
        }
        KeyCode::Down | KeyCode::Tab => picker.cursor = if picker.cursor >= last { 0 } else { picker.cursor + 1 },
        KeyCode::Up | KeyCode::BackTab => picker.cursor = if picker.cursor == 0 { last } else { picker.cursor - 1 },
        KeyCode::PageDown => picker.cursor = (picker.cursor + 10).min(last),
        KeyCode::PageUp => picker.cursor = picker.cursor.saturating_sub(10),
        _ => {
            if picker.query.key(key) {
                picker.cursor = 0;
            }
        }
    }
    model.overlays.push(if is_help { Overlay::Help(picker) } else { Overlay::Palette(picker) });
    Vec::new()
}

fn work(model: &mut Model, key: Key, id: WorkId) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'h') => Vec::new(),
        KeyCode::Char('x' | 'c') => {
            if let Some(work) = model.works.running.get_mut(&id) {
                work.is_cancelling = true;
            }
            vec![Effect::Cancel(id)]
        }
        _ => {
            model.overlays.push(Overlay::Work(id));
            Vec::new()
        }
    }
}

fn submitted(model: &mut Model, job: Job) -> Vec<Effect> {
    let job = match job {
        Job::SaveLog { path, .. } => Job::SaveLog { path, text: model.logs.buffer.text() },
        Job::Connect { network, container } => {
            let known = model.containers.items().iter().find(|c| c.name == container.name);
            let id = known.map_or(container.id, |c| c.id.clone());
            Job::Connect { network, container: super::super::job::Target::new(id, container.name) }
        }
        job => job,
    };
    let shows_progress = matches!(job, Job::Pull { .. });
    let effect = start(model, job);
    if let (true, Effect::Start(id, _)) = (shows_progress, &effect) {
        model.overlays.push(Overlay::Work(*id));
    }
    vec![effect]
}

fn chosen(model: &mut Model, choice: Choice) -> Vec<Effect> {
    use super::super::actions::lists_on_table as on_table;
    use super::super::model::Pane;
    match choice {
        Choice::Order(at) => {
            on_table!(model, table => table.order_by(at));
            Vec::new()
        }
        Choice::Jobs(jobs) => actions::containers_begin_all(model, jobs),
        Choice::Copy(text) => {
            model.say(Weight::Good, format!("copied {}", super::super::text::cut(&text, 40, model.glyphs.ellipsis)));
            vec![Effect::Copy(text)]
        }
        Choice::Prune(kind) => actions::ask_prune(model, kind),
        Choice::Theme(name) => {
            match Theme::built_in(&name) {
                Ok(theme) => model.theme = if model.depth == Depth::Indexed { theme.indexed() } else { theme },
                Err(why) => model.say(Weight::Bad, why.to_string()),
            }
            vec![Effect::Repaint]
        }
        Choice::LogWindow(window) => {
            model.logs.window = window;
            model.logs.restart();
            Vec::new()
        }
    }
}

fn clear_marks(model: &mut Model) {
    model.containers.clear_marks();
    model.images.clear_marks();
    model.volumes.clear_marks();
    model.networks.clear_marks();
}
