//! The lists: their frame, titles and rows.

use super::empty;
use super::graph::spark;
use super::paint::Paint;
use crate::tui::layout::{Mode, PaneArea, count, pane_tab};
use crate::tui::model::build::{Build, Outcome};
use crate::tui::model::container::{Container, State};
use crate::tui::model::objects::{Image, Network, Volume};
use crate::tui::model::table::{Item, Row, Table};
use crate::tui::model::{Focus, Model, Pane};
use crate::tui::text::{self, left, right, width};
use crate::tui::theme::Role;
use ratatui::layout::Rect;

pub(super) fn draw(paint: &mut Paint<'_>) {
    let model = paint.model;
    let layout = &model.layout;
    if layout.lists.is_empty() {
        return;
    }
    let has_focus = model.focus == Focus::List;
    let frame_role = if has_focus && layout.mode != Mode::Side { Role::BorderFocus } else { Role::Border };
    paint.frame(layout.lists, paint.style(frame_role));
    if layout.mode == Mode::Side {
        for (at, area) in layout.panes.iter().enumerate() {
            separator(paint, area, at);
        }
    } else {
        pane_tabs(paint);
    }
    for area in &layout.panes {
        rows(paint, area);
    }
}

fn is_focused(model: &Model, pane: Pane) -> bool {
    model.focus == Focus::List && model.pane == pane
}

/// The title of a list in the common frame; a line between lists carries the title of the lower one.
fn separator(paint: &mut Paint<'_>, area: &PaneArea, at: usize) {
    let model = paint.model;
    let title = area.title;
    let focused = is_focused(model, area.pane);
    let above = at.checked_sub(1).and_then(|at| Pane::ALL.get(at)).is_some_and(|pane| is_focused(model, *pane));
    let line = paint.style(if focused || above { Role::BorderFocus } else { Role::Border });
    let (joint_left, joint_right) = match at {
        0 => (paint.glyphs().border.top_left, paint.glyphs().border.top_right),
        _ => (paint.glyphs().joint_left, paint.glyphs().joint_right),
    };
    let last = title.right().saturating_sub(1);
    paint.rule(title.x + 1, title.y, last, line);
    paint.text(title.x, title.y, title.x + 1, joint_left, line);
    paint.text(last, title.y, last + 1, joint_right, line);
    if focused {
        let side = paint.glyphs().border.vertical_left;
        for y in area.rows.top()..area.rows.bottom() {
            paint.text(title.x, y, title.x + 1, side, line);
            paint.text(last, y, last + 1, side, line);
        }
        if at + 1 == Pane::ALL.len() {
            let bottom = Rect { y: model.layout.lists.bottom() - 1, height: 1, ..model.layout.lists };
            paint.tint(bottom, line);
        }
    }
    let role = if focused { Role::TitleFocus } else { Role::Title };
    let key = if focused { Role::TitleFocus } else { Role::Faint };
    let number = format!(" {} ", at + 1);
    let x = paint.put(title.x + 1, title.y, last, &number, key);
    let x = paint.put(x, title.y, last, &format!("{} ", area.pane.title()), role);
    let state = format!(" {} ", state(model, area.pane));
    paint.put_right(x + 1, title.y, last, &state, if focused { Role::TitleFocus } else { Role::Dim });
}

/// What a list's title says on the right: marks, filter, order, number.
fn state(model: &Model, pane: Pane) -> String {
    fn of<T: Item>(table: &Table<T>, total: usize) -> String {
        let mut parts = Vec::new();
        if !table.marks().is_empty() {
            parts.push(format!("{} marked", table.marks().len()));
        }
        let (order, is_reversed) = table.order();
        if order != 0 || is_reversed {
            let name = table.orders().get(order).copied().unwrap_or("");
            parts.push(format!("by {name}{}", if is_reversed { " reversed" } else { "" }));
        }
        if table.hides_idle() {
            parts.push("running only".to_owned());
        }
        let shown = table.rows().iter().filter(|row| matches!(row, Row::Item(_))).count();
        match table.filter() {
            "" => parts.push(total.to_string()),
            filter => parts.push(format!("/{filter} {shown} of {total}")),
        }
        parts.join("  ")
    }
    let total = count(model, pane);
    match pane {
        Pane::Containers => of(&model.containers, total),
        Pane::Images => of(&model.images, total),
        Pane::Volumes => of(&model.volumes, total),
        Pane::Networks => of(&model.networks, total),
        Pane::Builds => of(&model.builds, total),
    }
}

/// All lists' titles in one line, where only one list is shown.
fn pane_tabs(paint: &mut Paint<'_>) {
    let model = paint.model;
    let frame = model.layout.lists;
    for (pane, area) in &model.layout.pane_tabs {
        let title = pane_tab(model, *pane, frame.width);
        let is_open = *pane == model.pane;
        let role = match (is_open, model.focus) {
            (true, Focus::List) => Role::TabActive,
            (true, Focus::Detail) => Role::TitleFocus,
            (false, _) => Role::Tab,
        };
        paint.put(area.x - 1, area.y, area.right() + 1, " ", Role::Text);
        let x = paint.put(area.x, area.y, area.right(), &title, role);
        paint.put(x, area.y, x + 1, " ", Role::Text);
    }
    let used = model.layout.pane_tabs.last().map_or(frame.x, |(_, area)| area.right());
    let state = state(model, model.pane);
    if state.contains(' ') {
        paint.put_right(used + 2, frame.y, frame.right() - 1, &format!(" {state} "), Role::Dim);
    }
}

fn rows(paint: &mut Paint<'_>, area: &PaneArea) {
    let model = paint.model;
    if area.rows.height == 0 {
        return;
    }
    match area.pane {
        Pane::Containers => {
            let columns = Columns::of(model, area.rows.width);
            table(paint, area, &model.containers, |paint, rect, container| {
                container_row(paint, rect, container, &columns);
            });
        }
        Pane::Images => table(paint, area, &model.images, image_row),
        Pane::Volumes => table(paint, area, &model.volumes, volume_row),
        Pane::Networks => table(paint, area, &model.networks, network_row),
        Pane::Builds => table(paint, area, &model.builds, build_row),
    }
}

fn table<T: Item>(paint: &mut Paint<'_>, area: &PaneArea, table: &Table<T>, draw: impl Fn(&mut Paint<'_>, Rect, &T)) {
    let model = paint.model;
    if table.rows().is_empty() {
        empty::list(paint, area, table.is_loaded, table.filter());
        return;
    }
    let has_groups = matches!(table.rows().first(), Some(Row::Group { .. }));
    for (line, (at, row)) in table.in_view().take(usize::from(area.rows.height)).enumerate() {
        let y = area.rows.y + line as u16;
        let rect = Rect { y, height: 1, ..area.rows };
        match row {
            Row::Group { name, active, total, is_folded } => {
                let fold = if *is_folded { paint.glyphs().folded } else { paint.glyphs().open };
                let x = paint.put(rect.x + 1, y, rect.right(), fold, Role::Dim);
                let end = rect.right().saturating_sub(8);
                let x = paint.put(x + 1, y, end, name, Role::Project);
                let role = if active == total { Role::Dim } else { Role::Warn };
                paint.put_right(x + 1, y, rect.right() - 1, &format!("{active}/{total}"), role);
            }
            Row::Item(index) => {
                if let Some(item) = table.items().get(*index) {
                    let indent = if has_groups && item.group().is_some() { 2 } else { 0 };
                    let inner = Rect { x: rect.x + 1 + indent, width: rect.width.saturating_sub(2 + indent), ..rect };
                    draw(paint, inner, item);
                    if table.marks().contains(item.key()) {
                        paint.put(rect.x, y, rect.x + 1, paint.glyphs().mark, Role::Marked);
                    }
                }
            }
        }
        if at == table.cursor() && model.pane == area.pane {
            let role = if is_focused(model, area.pane) { Role::Selected } else { Role::SelectedDim };
            paint.tint(rect, paint.style(role));
            if let Row::Item(index) = row
                && table.items().get(*index).is_some_and(|item| table.marks().contains(item.key()))
            {
                let mark = Rect { width: 1, ..rect };
                paint.tint(mark, ratatui::style::Style { bg: None, ..paint.style(Role::Marked) });
            }
        }
    }
    let style = paint.style(if is_focused(model, area.pane) { Role::BorderFocus } else { Role::Border });
    let x = area.title.right().saturating_sub(1);
    paint.scrollbar(x, area.rows.y, area.rows.height, table.offset, table.rows().len(), style);
}

/// How a container's row is divided.
struct Columns {
    name: usize,
    image: usize,
    memory: usize,
    spark: usize,
    ports: usize,
    age: usize,
}

impl Columns {
    fn of(model: &Model, wide: u16) -> Columns {
        let wide = usize::from(wide).saturating_sub(2);
        let spark = if wide >= 36 { 8 } else { 0 };
        let memory = if wide >= 62 { 7 } else { 0 };
        let ports = if wide >= 84 { 16 } else { 0 };
        let age = if wide >= 74 { 5 } else { 0 };
        // Glyph and its space, then a space before each column.
        let fixed =
            2 + 1 + 5 + [spark, memory, ports, age].iter().map(|w| if *w > 0 { w + 1 } else { 0 }).sum::<usize>();
        let room = wide.saturating_sub(fixed + 1);
        let in_view = || model.containers.in_view().filter_map(|(_, row)| model.containers.item(row));
        let indent = if model.containers.rows().iter().any(|row| matches!(row, Row::Group { .. })) { 2 } else { 0 };
        let name = in_view().map(|c| width(&c.label) + if c.project.is_some() { indent } else { 0 }).max().unwrap_or(0);
        let image = in_view().map(|c| width(&c.image)).max().unwrap_or(0);
        let (name, image) = if name + image <= room {
            let spare = room - name - image;
            (name + spare / 2, image + spare - spare / 2)
        } else {
            let name = name.min((room * 3 / 5).max(room.saturating_sub(image)));
            (name, room - name)
        };
        Columns { name, image, memory, spark, ports, age }
    }
}

/// The glyph and role of a container's state.
pub(super) fn state_glyph(paint: &Paint<'_>, container: &Container) -> (&'static str, Role) {
    let glyphs = paint.glyphs();
    if paint.model.works.busy_word(&container.id).is_some() {
        return (paint.spinner(), Role::Busy);
    }
    match container.state {
        State::Running if container.health == Some("unhealthy") => (glyphs.warning, Role::Warn),
        State::Running => (glyphs.running, Role::Ok),
        State::Paused => (glyphs.paused, Role::Warn),
        State::Restarting => (glyphs.restarting, Role::Busy),
        State::Removing => (glyphs.removing, Role::Dim),
        State::Created => (glyphs.created, Role::Dim),
        State::Exited { code: 0, .. } => (glyphs.exited, Role::Dim),
        State::Exited { .. } | State::Dead => (glyphs.failed, Role::Bad),
    }
}

fn container_row(paint: &mut Paint<'_>, rect: Rect, container: &Container, columns: &Columns) {
    let (y, end) = (rect.y, rect.right());
    let mark = paint.glyphs().ellipsis;
    let (glyph, role) = state_glyph(paint, container);
    let indent = usize::from(rect.x - paint.model.layout.panes.first().map_or(rect.x, |area| area.rows.x + 1));
    let x = paint.put(rect.x, y, end, glyph, role);
    let is_alive = container.state.is_alive();
    let name = left(&container.label, columns.name.saturating_sub(indent), mark);
    let x = paint.put(x + 1, y, end, &name, if is_alive { Role::Text } else { Role::Dim });
    let x = paint.put(x + 1, y, end, &left(&container.image, columns.image, mark), Role::Dim);
    let busy = paint.model.works.busy_word(&container.id);
    let x = x + 1;
    if busy.is_some() || container.state != State::Running || container.health.is_some_and(|h| h != "healthy") {
        let (words, role) = match (busy, container.state) {
            (Some(word), _) => (word.to_owned(), Role::Busy),
            (None, State::Running) => (container.health.unwrap_or("").to_owned(), Role::Warn),
            (None, State::Exited { code: 0, .. } | State::Created | State::Removing) => {
                (container.state.words(), Role::Dim)
            }
            (None, State::Paused) => ("paused".to_owned(), Role::Warn),
            (None, State::Restarting) => ("restarting".to_owned(), Role::Busy),
            (None, state) => (state.words(), Role::Bad),
        };
        let block = (5 + if columns.spark > 0 { columns.spark + 1 } else { 0 }) as u16;
        paint.put(x, y, (x + block).min(end), &words, role);
        let x = x + block + 1 + if columns.memory > 0 { columns.memory as u16 + 1 } else { 0 };
        wide_columns(paint, x, y, end, container, columns);
        return;
    }
    let x = paint.put(x, y, end, &right(&text::percent(container.cpu), 5, ""), Role::Text) + 1;
    let mut x = x;
    if columns.spark > 0 {
        if let Some(series) = paint.model.stats.get(&container.id) {
            let points = series.tail(columns.spark).map(|point| point.cpu);
            let max = points.clone().fold(20.0, f64::max);
            let bars = spark(points, columns.spark, max, &paint.glyphs().heights);
            paint.put(x, y, end, &bars, Role::GraphCpu);
        }
        x += columns.spark as u16 + 1;
    }
    if columns.memory > 0 {
        paint.put(x, y, end, &right(&text::bytes(container.memory), columns.memory, ""), Role::GraphMemory);
        x += columns.memory as u16 + 1;
    }
    wide_columns(paint, x, y, end, container, columns);
}

fn wide_columns(paint: &mut Paint<'_>, x: u16, y: u16, end: u16, container: &Container, columns: &Columns) {
    let mut x = x;
    if columns.age > 0 {
        let age = text::age(paint.model.age(container.created));
        paint.put(x, y, end, &right(&age, columns.age, ""), Role::Dim);
        x += columns.age as u16 + 1;
    }
    if columns.ports > 0 {
        let ports = container.ports.join(" ").replace('→', paint.glyphs().arrow);
        paint.put(x, y, (x + columns.ports as u16).min(end), &ports, Role::Dim);
    }
}

/// A dot before what is in use.
fn use_mark(paint: &mut Paint<'_>, rect: Rect, is_used: bool) -> u16 {
    if is_used {
        paint.put(rect.x, rect.y, rect.right(), paint.glyphs().info, Role::Ok);
    }
    rect.x + 2
}

fn image_row(paint: &mut Paint<'_>, rect: Rect, image: &Image) {
    let (y, end) = (rect.y, rect.right());
    let x = use_mark(paint, rect, !image.users.is_empty());
    let age = right(&text::age(paint.model.age(image.created)), 5, "");
    let tail = format!("{age} {}", right(&text::size(image.size), 8, ""));
    let stop = paint.put_right(x, y, end, &tail, Role::Dim);
    let more = image.tags.len().saturating_sub(1);
    let role = if image.tags.is_empty() { Role::Dim } else { Role::Text };
    let x = paint.put(x, y, stop.saturating_sub(1), &image.name, role);
    if more > 0 {
        paint.put(x, y, stop.saturating_sub(1), &format!(" +{more}"), Role::Faint);
    }
}

fn volume_row(paint: &mut Paint<'_>, rect: Rect, volume: &Volume) {
    let (y, end) = (rect.y, rect.right());
    let x = use_mark(paint, rect, !volume.users.is_empty());
    let size = volume.size.map(text::size).unwrap_or_default();
    let users = match volume.users.as_slice() {
        [] => "unused".to_owned(),
        [one] => one.clone(),
        many => format!("{} containers", many.len()),
    };
    let stop = paint.put_right(x, y, end, &right(&size, 8, ""), Role::Dim);
    let users = text::cut(&users, usize::from(rect.width / 3), paint.glyphs().ellipsis);
    let stop = paint.put_right(x, y, stop.saturating_sub(1), &users, Role::Faint);
    paint.put(x, y, stop.saturating_sub(1), &volume.label, Role::Text);
}

fn network_row(paint: &mut Paint<'_>, rect: Rect, network: &Network) {
    let (y, end) = (rect.y, rect.right());
    let x = use_mark(paint, rect, !network.users.is_empty());
    let driver = if network.is_internal { "internal" } else { network.driver.as_str() };
    let tail = format!("{} {}", left(driver, 8, ""), left(&network.subnet, 16, paint.glyphs().ellipsis));
    let stop = paint.put_right(x, y, end, &tail, Role::Dim);
    paint.put(x, y, stop.saturating_sub(1), &network.name, Role::Text);
}

fn build_row(paint: &mut Paint<'_>, rect: Rect, build: &Build) {
    let (y, end) = (rect.y, rect.right());
    let glyphs = paint.glyphs();
    let (glyph, role) = match &build.outcome {
        Outcome::Running => (paint.spinner(), Role::Busy),
        Outcome::Succeeded => (glyphs.done, Role::Ok),
        Outcome::Failed(_) => (glyphs.failed, Role::Bad),
        Outcome::Cancelled => (glyphs.removing, Role::Warn),
    };
    let x = paint.put(rect.x, y, end, glyph, role) + 1;
    let (done, total) = (build.finished(), build.steps.len());
    let tail = match &build.outcome {
        Outcome::Running => format!("{done}/{total} steps"),
        Outcome::Failed(_) => "failed".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Succeeded => format!("{}% cached", (build.cached() * 100).checked_div(total).unwrap_or(0)),
    };
    let tail = format!("{} {}", right(&text::elapsed(build.millis), 7, ""), left(&tail, 11, glyphs.ellipsis));
    let stop = paint.put_right(x, y, end, &tail, Role::Dim);
    paint.put(x, y, stop.saturating_sub(1), &build.tag, Role::Text);
}
