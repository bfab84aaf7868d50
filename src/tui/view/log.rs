//! The log: the rows in view, parsed and cut just now; nothing else is looked at.

use super::paint::Paint;
use crate::tui::ansi::{self, Span};
use crate::tui::model::Model;
use crate::tui::model::log::{LogLine, Stamps};
use crate::tui::text;
use crate::tui::theme::Role;
use jiff::Timestamp;
use ratatui::layout::Rect;

pub(super) fn draw(paint: &mut Paint<'_>, body: Rect) {
    let model = paint.model;
    let logs = &model.logs;
    if logs.buffer.is_empty() {
        let words = match (&logs.ended, logs.has_answer) {
            (Some(Some(why)), _) => format!("the log cannot be read: {}", text::clean(why)),
            (_, true) => "nothing was logged".to_owned(),
            (_, false) => String::new(),
        };
        paint.put(body.x + 1, body.y, body.right(), &words, Role::Faint);
        return;
    }
    let stamp_width = logs.stamps.width() as u16;
    let bottom = body.bottom();
    let mut y = body.y;
    let mut number = logs.top;
    let mut skip = logs.skip;
    while y < bottom {
        let Some(line) = logs.buffer.get(number) else { break };
        for (at, row) in rows(paint, number, line).into_iter().enumerate().skip(skip) {
            if y >= bottom {
                break;
            }
            if line.is_stderr {
                paint.put(body.x, y, body.x + 1, paint.glyphs().caret, Role::Stderr);
            }
            if at == 0 && stamp_width > 0 {
                let stamp = stamp(model, line.at);
                paint.put(body.x + 1, y, body.x + 1 + stamp_width, &stamp, Role::Timestamp);
            }
            let area = Rect { x: body.x + 1 + stamp_width, width: body.width.saturating_sub(1 + stamp_width), ..body };
            spans(paint, area, y, row);
            y += 1;
        }
        skip = 0;
        number += 1;
    }
}

/// A line's rows, with search hits marked.
fn rows(paint: &Paint<'_>, number: u64, line: &LogLine) -> Vec<Vec<Span>> {
    let logs = &paint.model.logs;
    let mut spans = ansi::parse(&line.text);
    if let Some(search) = &logs.search {
        let plain: String = spans.iter().map(|span| span.text.as_str()).collect();
        let hits = search.hits(&plain).into_iter().enumerate().map(|(at, hit)| {
            let is_now = search.at == Some((number, at));
            (hit, paint.style(if is_now { Role::MatchNow } else { Role::Match }))
        });
        spans = ansi::highlight(spans, &hits.collect::<Vec<_>>());
    }
    if logs.wraps { ansi::fold(spans, logs.text_width()) } else { vec![ansi::shift(spans, logs.left)] }
}

/// Writes spans over the theme's text style; a cut line ends in a mark.
pub(super) fn spans(paint: &mut Paint<'_>, area: Rect, y: u16, spans: Vec<Span>) {
    let base = paint.style(Role::Text);
    let mut x = area.x;
    for span in spans {
        let room = usize::from(area.right().saturating_sub(x));
        let wide = text::width(&span.text);
        x = paint.buffer.set_stringn(x, y, &span.text, room, base.patch(span.style)).0;
        if wide > room {
            if area.width > 0 {
                let last = area.right() - 1;
                paint.put(last, y, area.right(), paint.glyphs().ellipsis, Role::Faint);
            }
            break;
        }
    }
}

fn stamp(model: &Model, at: Option<i64>) -> String {
    let Some(time) = at.and_then(|at| Timestamp::from_nanosecond(i128::from(at)).ok()) else { return String::new() };
    match model.logs.stamps {
        Stamps::Off => String::new(),
        Stamps::Clock => time.to_zoned(model.zone.clone()).strftime("%H:%M:%S%.3f").to_string(),
        Stamps::Full => time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Stamps::Age => format!("{:>4} ago", text::age(model.now.as_second() - time.as_second())),
    }
}

/// What the log's title says: where we stand.
pub(super) fn status(model: &Model) -> (Role, String) {
    let logs = &model.logs;
    let mut parts = Vec::new();
    if let Some(search) = &logs.search {
        parts.push(format!("/{}", search.typed));
    }
    if logs.wraps {
        parts.push("wrapped".to_owned());
    } else if logs.left > 0 {
        parts.push(format!("column {}", logs.left + 1));
    }
    let role = match (&logs.ended, logs.is_following) {
        (_, false) => {
            let below = logs.buffer.end().saturating_sub(logs.top + logs.height as u64);
            parts.push(if below > 0 { format!("paused, {below} below") } else { "paused".to_owned() });
            Role::Warn
        }
        (Some(_), true) => {
            parts.push("ended".to_owned());
            Role::Dim
        }
        (None, true) => {
            parts.push("following".to_owned());
            Role::Ok
        }
    };
    (role, parts.join("  "))
}
