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
    let memory = if total > 0 { format!("{}/{}", bytes(memory), bytes(total)) } else { bytes(memory) };
    let is_roomy = area.width >= 90;
    let word = |text: &'static str| if is_roomy { text } else { "" };
    let parts: [(Role, String); 7] = [
        (if running > 0 { Role::Ok } else { Role::Dim }, format!("{} {running} {}", glyphs.running, word("running"))),
        (if paused > 0 { Role::Warn } else { Role::Faint }, format!("{} {paused} {}", glyphs.paused, word("paused"))),
        (Role::Dim, format!("{} {stopped} {}", glyphs.exited, word("stopped"))),
        (Role::Dim, "  cpu".to_owned()),
        (Role::GraphCpu, format!("{cpu:>4}")),
        (Role::Dim, " mem".to_owned()),
        (Role::GraphMemory, memory),
    ];
    let gaps = [2, 2, 2, 1, 1, 1, 0];
    let wide: usize = parts.iter().zip(gaps).map(|((_, text), gap)| width(text.trim_end()) + gap).sum();
    let mut at = end.saturating_sub(wide as u16 + 1);
    if at < x + 2 {
        // Not all fits: the counts matter most.
        at = x + 2;
    }
    for ((role, text), gap) in parts.iter().zip(gaps) {
        at = paint.put(at, y, end, text.trim_end(), *role) + gap as u16;
    }
}
