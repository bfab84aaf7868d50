//! The first line: which engine, how it is, what runs, what it costs.

use super::paint::Paint;
use crate::tui::EngineKind;
use crate::tui::event::Link;
use crate::tui::text::{bytes, clean, percent, width};
use crate::tui::theme::Role;

pub(super) fn draw(paint: &mut Paint<'_>) {
    let model = paint.model;
    let area = model.layout.header;
    let (y, end) = (area.y, area.right());
    let dot = paint.glyphs().dot;
    let mut x = paint.put(area.x + 1, y, end, "boxyard", Role::Accent);
    let address = model.address.clone().unwrap_or_else(|| match &model.about {
        EngineKind::Embedded { root } => format!("embedded {dot} {root}"),
        EngineKind::Host(url) => url.clone(),
    });
    let about = match &model.facts {
        Some(facts) if !facts.is_boxyard => format!("{} {dot} {}", facts.version, clean(&address)),
        _ => clean(&address),
    };
    x = paint.put(x + 2, y, end, &about, Role::Dim);
    let warning = paint.glyphs().warning;
    let spinner = paint.spinner();
    match &model.link {
        Link::Up => {}
        Link::Connecting => {
            paint.put(x + 2, y, end, &format!("{spinner} connecting"), Role::Busy);
            return;
        }
        Link::Slow => {
            x = paint.put(x + 2, y, end, &format!("{warning} slow to answer"), Role::Warn);
        }
        Link::Down { why } => {
            paint.put(x + 2, y, end, &format!("{warning} engine gone, trying again: {}", clean(why)), Role::Bad);
            return;
        }
    }
    let (running, paused, stopped) = model.counts();
    let glyphs = paint.glyphs();
    let (cpu, memory) = model.load();
    let (cores, total) = model.facts.as_ref().map_or((1, 0), |facts| (facts.cpus.max(1), facts.memory));
    let cpu = percent(cpu / f64::from(cores));
    let used = bytes(memory);
    let of_total = if total > 0 { format!("{used}/{}", bytes(total)) } else { used.clone() };
    // Words go first where there is no room for all, then the memory's total, then the load.
    let room = usize::from(end.saturating_sub(x + 3));
    let counts = [
        (if running > 0 { Role::Ok } else { Role::Dim }, glyphs.running, running, "running"),
        (if paused > 0 { Role::Warn } else { Role::Faint }, glyphs.paused, paused, "paused"),
        (Role::Dim, glyphs.exited, stopped, "stopped"),
    ];
    let parts = |has_words: bool, memory: Option<&str>| -> Vec<(Role, String)> {
        let mut parts = Vec::new();
        for (role, glyph, count, word) in counts {
            let text = if has_words { format!("{glyph} {count} {word}  ") } else { format!("{glyph} {count}  ") };
            parts.push((role, text));
        }
        if let Some(memory) = memory {
            parts.push((Role::Dim, "  cpu ".to_owned()));
            parts.push((Role::GraphCpu, format!("{cpu:>4}  ")));
            parts.push((Role::Dim, "mem ".to_owned()));
            parts.push((Role::GraphMemory, memory.to_owned()));
        }
        parts
    };
    let choices =
        [parts(true, Some(&of_total)), parts(false, Some(&of_total)), parts(false, Some(&used)), parts(false, None)];
    let wide = |parts: &[(Role, String)]| parts.iter().map(|(_, text)| width(text)).sum::<usize>();
    let Some(fitting) = choices.iter().find(|parts| wide(parts) <= room) else { return };
    let mut at = end.saturating_sub(wide(fitting) as u16 + 1);
    for (role, text) in fitting {
        at = paint.put(at, y, end, text, *role);
    }
}
