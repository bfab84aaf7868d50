//! Measurements as curves: processor, memory, network, disks.

use super::graph::{Grows, area, ceiling};
use super::paint::Paint;
use crate::tui::model::stats::{Point, Sample};
use crate::tui::text::{bytes, percent};
use crate::tui::theme::Role;
use ratatui::layout::Rect;

pub(super) fn draw(paint: &mut Paint<'_>, body: Rect) {
    let model = paint.model;
    let Some(container) = model.container() else { return };
    let series = model.stats.get(&container.id);
    let latest = series.and_then(|series| series.latest().copied());
    let (Some(series), Some(latest)) = (series, latest) else {
        let words = match container.state.is_alive() {
            true => "measuring".to_owned(),
            false => format!("{} does not run: there is nothing to measure", container.label),
        };
        paint.put(body.x + 1, body.y, body.right(), &words, Role::Faint);
        return;
    };
    let sample = series.sample().cloned().unwrap_or_default();
    let inner = Rect { x: body.x + 1, width: body.width.saturating_sub(2), ..body };
    let is_wide = inner.width >= 64;
    let (columns, rows) = if is_wide { (2, 2) } else { (1, 4) };
    let footer = 1;
    let height = inner.height.saturating_sub(footer) / rows;
    if height < 3 {
        numbers(paint, inner, &latest, &sample);
        return;
    }
    let gap = if is_wide { 3 } else { 0 };
    let width = (inner.width.saturating_sub(gap * (columns - 1))) / columns;
    let card = |n: u16| Rect {
        x: inner.x + (n % columns) * (width + gap),
        y: inner.y + (n / columns) * height,
        width,
        height,
    };
    let points: Vec<Point> = series.tail(usize::from(width) * 2).copied().collect();
    let of = |value: fn(&Point) -> f64| points.iter().map(value).collect::<Vec<f64>>();

    let cpu = of(|p| p.cpu);
    let max = ceiling(top(&cpu), 10.0);
    let label = format!("{} of {}", percent(latest.cpu), percent(f64::from(sample.cpus) * 100.0));
    single(paint, card(0), "CPU", &label, &percent(max), &cpu, max, Role::GraphCpu);

    let memory = of(|p| p.memory as f64);
    let limit = match sample.limit {
        0 => String::new(),
        limit => format!(" of {}", bytes(limit)),
    };
    let max = ceiling(top(&memory), 1024.0 * 1024.0);
    let label = format!("{}{limit}", bytes(latest.memory));
    single(paint, card(1), "Memory", &label, &bytes(max as u64), &memory, max, Role::GraphMemory);

    let net = Pair {
        title: "Network",
        up: ("in", of(|p| p.received), latest.received, sample.received),
        down: ("out", of(|p| p.sent), latest.sent, sample.sent),
    };
    mirrored(paint, card(2), &net);
    let disk = Pair {
        title: "Disk",
        up: ("read", of(|p| p.read), latest.read, sample.read),
        down: ("written", of(|p| p.written), latest.written, sample.written),
    };
    mirrored(paint, card(3), &disk);
    let y = inner.bottom() - 1;
    let text = format!("{} processes", latest.pids);
    paint.put(inner.x, y, inner.right(), &text, Role::Dim);
}

fn top(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// A card's title line; returns the room below it.
fn heading(paint: &mut Paint<'_>, card: Rect, title: &str, value: &str, scale: &str, role: Role) -> Rect {
    let x = paint.put(card.x, card.y, card.right(), title, Role::Text);
    let x = paint.put(x + 2, card.y, card.right(), value, role);
    paint.put_right(x + 2, card.y, card.right(), scale, Role::Faint);
    Rect { y: card.y + 1, height: card.height.saturating_sub(2), ..card }
}

#[allow(clippy::too_many_arguments, reason = "a card is its title, three texts and a curve")]
fn single(
    paint: &mut Paint<'_>,
    card: Rect,
    title: &str,
    value: &str,
    scale: &str,
    values: &[f64],
    max: f64,
    role: Role,
) {
    let room = heading(paint, card, title, value, scale, role);
    area(paint, room, values, max, Grows::Up, role);
}

struct Pair {
    title: &'static str,
    up: (&'static str, Vec<f64>, f64, u64),
    down: (&'static str, Vec<f64>, f64, u64),
}

/// Two rates around one line: in above, out below.
fn mirrored(paint: &mut Paint<'_>, card: Rect, pair: &Pair) {
    let rate = |value: f64| format!("{}/s", bytes(value as u64));
    let max = ceiling(top(&pair.up.1).max(top(&pair.down.1)), 1024.0);
    let (y, end) = (card.y, card.right());
    let x = paint.put(card.x, y, end, pair.title, Role::Text);
    let x = paint.put(x + 2, y, end, &format!("{} {}", pair.up.0, rate(pair.up.2)), Role::GraphIn);
    let x = paint.put(x + 2, y, end, &format!("{} {}", pair.down.0, rate(pair.down.2)), Role::GraphOut);
    let total = format!("{} / {}", bytes(pair.up.3), bytes(pair.down.3));
    if usize::from(end.saturating_sub(x)) > total.len() + 2 {
        paint.put_right(x + 2, y, end, &total, Role::Faint);
    }
    let room = Rect { y: y + 1, height: card.height.saturating_sub(2), ..card };
    let half = room.height.div_ceil(2);
    let upper = Rect { height: half, ..room };
    let lower = Rect { y: room.y + half, height: room.height - half, ..room };
    area(paint, upper, &pair.up.1, max, Grows::Up, Role::GraphIn);
    area(paint, lower, &pair.down.1, max, Grows::Down, Role::GraphOut);
}

/// Where there is no room for curves.
fn numbers(paint: &mut Paint<'_>, inner: Rect, point: &Point, sample: &Sample) {
    let rate = |value: f64| format!("{}/s", bytes(value as u64));
    let lines = [
        ("CPU", percent(point.cpu)),
        ("Memory", format!("{} of {}", bytes(point.memory), bytes(sample.limit))),
        ("Network", format!("in {}  out {}", rate(point.received), rate(point.sent))),
        ("Disk", format!("read {}  written {}", rate(point.read), rate(point.written))),
        ("Processes", point.pids.to_string()),
    ];
    for (row, (name, value)) in lines.iter().enumerate().take(usize::from(inner.height)) {
        let y = inner.y + row as u16;
        paint.put(inner.x, y, inner.right(), name, Role::Dim);
        paint.put(inner.x + 11, y, inner.right(), value, Role::Text);
    }
}
