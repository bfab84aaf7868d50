//! Where everything stands on the screen. Pure: model in, rectangles out; drawing and mouse read the same answer.
//!
//! From 100 columns lists and details stand side by side; below they stack; below 60x16 one of them fills the screen.

use super::model::detail::Tab;
use super::model::{Focus, Model, Pane, Zoom};
use super::text::width;
use ratatui::layout::{Position, Rect};

/// The arrangement in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Side,
    Stack,
    Single,
}

/// A list's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaneArea {
    pub pane: Pane,
    /// The line with its title.
    pub title: Rect,
    /// Its rows, without the frame.
    pub rows: Rect,
}

/// The rectangles of the main screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub mode: Mode,
    pub header: Rect,
    pub footer: Rect,
    /// The frame around the lists; empty: they are not shown.
    pub lists: Rect,
    pub panes: Vec<PaneArea>,
    /// Where lists are tabs: the place of each title.
    pub pane_tabs: Vec<(Pane, Rect)>,
    /// The frame around the details; empty: they are not shown.
    pub detail: Rect,
    pub tabs: Vec<(Tab, Rect)>,
}

impl Layout {
    /// The layout of a model.
    pub fn of(model: &Model) -> Layout {
        let screen = Rect::new(0, 0, model.size.width, model.size.height);
        if screen.height < 3 || screen.width < 10 {
            return Layout { header: screen, ..Layout::default() };
        }
        let header = Rect { height: 1, ..screen };
        let footer = Rect { y: screen.height - 1, height: 1, ..screen };
        let middle = Rect { y: 1, height: screen.height - 2, ..screen };
        let mode = match (screen.width, screen.height) {
            (w, h) if w < 60 || h < 16 => Mode::Single,
            (w, _) if w < 100 => Mode::Stack,
            _ => Mode::Side,
        };
        let mut layout = Layout { mode, header, footer, ..Layout::default() };
        (layout.lists, layout.detail) = split(model, mode, middle);
        if !layout.lists.is_empty() {
            match mode {
                Mode::Side => layout.panes = stacked(model, layout.lists),
                _ => layout.tabbed(model),
            }
        }
        if !layout.detail.is_empty() {
            layout.tabs = tabs(model, layout.detail);
        }
        layout
    }

    fn tabbed(&mut self, model: &Model) {
        let title = Rect { height: 1, ..self.lists };
        let mut x = title.x + 2;
        for pane in Pane::ALL {
            let wide = pane_tab(model, pane, title.width).len() as u16;
            if x + wide + 1 < title.right() {
                self.pane_tabs.push((pane, Rect { x, width: wide, ..title }));
                x += wide + 2;
            }
        }
        self.panes.push(PaneArea { pane: model.pane, title, rows: inner(self.lists) });
    }

    /// Rows of each list, in the order of [`Pane::ALL`].
    pub fn heights(&self) -> [usize; 5] {
        let mut heights = [0; 5];
        for area in &self.panes {
            heights[area.pane.index()] = usize::from(area.rows.height);
        }
        heights
    }

    /// Whether a list has rows on the screen.
    pub fn shows(&self, pane: Pane) -> bool {
        self.panes.iter().any(|area| area.pane == pane && area.rows.height > 0)
    }

    /// The inside of the details.
    pub fn body(&self) -> Rect {
        inner(self.detail)
    }

    /// What is under a point.
    pub fn at(&self, x: u16, y: u16) -> Spot {
        let point = Position { x, y };
        if let Some((tab, _)) = self.tabs.iter().find(|(_, area)| area.contains(point)) {
            return Spot::Tab(*tab);
        }
        if let Some((pane, _)) = self.pane_tabs.iter().find(|(_, area)| area.contains(point)) {
            return Spot::PaneTitle(*pane);
        }
        for area in &self.panes {
            if area.title.contains(point) {
                return Spot::PaneTitle(area.pane);
            }
            if area.rows.contains(point) {
                return Spot::Row(area.pane, usize::from(y - area.rows.y));
            }
        }
        if self.detail.contains(point) { Spot::Detail } else { Spot::Elsewhere }
    }
}

/// What the mouse is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    PaneTitle(Pane),
    /// A row in view, counted from the first shown.
    Row(Pane, usize),
    Tab(Tab),
    Detail,
    Elsewhere,
}

/// The title of a list where lists are tabs.
pub fn pane_tab(model: &Model, pane: Pane, room: u16) -> String {
    let number = pane.index() + 1;
    if room >= 74 {
        format!("{number} {} {}", pane.title(), count(model, pane))
    } else if pane == model.pane {
        format!("{number} {}", pane.title())
    } else {
        format!("{number}")
    }
}

/// Objects in a list.
pub fn count(model: &Model, pane: Pane) -> usize {
    match pane {
        Pane::Containers => model.containers.items().len(),
        Pane::Images => model.images.items().len(),
        Pane::Volumes => model.volumes.items().len(),
        Pane::Networks => model.networks.items().len(),
        Pane::Builds => model.builds.items().len(),
    }
}

fn rows(model: &Model, pane: Pane) -> usize {
    match pane {
        Pane::Containers => model.containers.rows().len(),
        Pane::Images => model.images.rows().len(),
        Pane::Volumes => model.volumes.rows().len(),
        Pane::Networks => model.networks.rows().len(),
        Pane::Builds => model.builds.rows().len(),
    }
}

/// A frame's inside.
pub fn inner(frame: Rect) -> Rect {
    Rect {
        x: frame.x.saturating_add(1),
        y: frame.y.saturating_add(1),
        width: frame.width.saturating_sub(2),
        height: frame.height.saturating_sub(2),
    }
}

fn split(model: &Model, mode: Mode, middle: Rect) -> (Rect, Rect) {
    let is_list = model.focus == Focus::List;
    if mode == Mode::Single || model.zoom == Zoom::Full {
        return if is_list { (middle, Rect::default()) } else { (Rect::default(), middle) };
    }
    let is_large = model.zoom == Zoom::Large;
    if mode == Mode::Side {
        let left = match (is_large, is_list) {
            (true, true) => middle.width * 3 / 5,
            (true, false) => 34,
            (false, _) => (middle.width * 36 / 100).clamp(42, 64),
        };
        let lists = Rect { width: left, ..middle };
        let detail = Rect { x: left, width: middle.width - left, ..middle };
        return (lists, detail);
    }
    let top = match (is_large, is_list) {
        (true, true) => middle.height * 2 / 3,
        (true, false) => (middle.height / 4).max(4),
        (false, _) => (middle.height * 2 / 5).max(5),
    };
    let lists = Rect { height: top, ..middle };
    let detail = Rect { y: middle.y + top, height: middle.height - top, ..middle };
    (lists, detail)
}

/// Five lists in one frame, separated by their titles. Each gets what it needs while there is room; the one in use
/// and the containers come first.
fn stacked(model: &Model, frame: Rect) -> Vec<PaneArea> {
    let room = usize::from(frame.height.saturating_sub(6));
    let want: [usize; 5] = Pane::ALL.map(|pane| rows(model, pane).max(if pane == Pane::Builds { 1 } else { 2 }));
    let mut height = [0usize; 5];
    let mut left = room;
    let least = usize::from(room >= 5);
    for h in &mut height {
        *h = least;
        left = left.saturating_sub(least);
    }
    let order = [model.pane.index(), 0, 1, 2, 3, 4];
    // First a fair share for everyone, then what is still wanted, in order of importance.
    for share in [3.min(room / 5), room * 3 / 5, room] {
        for at in order {
            let more = want[at].min(share).saturating_sub(height[at]).min(left);
            height[at] += more;
            left -= more;
        }
    }
    height[0] += left;
    let mut areas = Vec::with_capacity(5);
    let mut y = frame.y;
    for (pane, height) in Pane::ALL.into_iter().zip(height) {
        let title = Rect { y, height: 1, ..frame };
        let rows = Rect { x: frame.x + 1, y: y + 1, width: frame.width.saturating_sub(2), height: height as u16 };
        areas.push(PaneArea { pane, title, rows });
        y = rows.bottom();
    }
    areas
}

/// Titles of the tabs, from the left of the detail's upper border.
fn tabs(model: &Model, frame: Rect) -> Vec<(Tab, Rect)> {
    let subject = model.subject();
    let room = usize::from(frame.width);
    let mut x = frame.x + 3 + name_width(model, room) as u16 + 4;
    let mut places = Vec::new();
    for tab in subject.tabs() {
        let wide = width(tab.title()) as u16;
        if x + wide + 2 > frame.right() {
            break;
        }
        places.push((*tab, Rect { x, y: frame.y, width: wide, height: 1 }));
        x += wide + 2;
    }
    places
}

/// Columns for the subject's name before the tabs.
pub fn name_width(model: &Model, room: usize) -> usize {
    let tabs: usize = model.subject().tabs().iter().map(|tab| width(tab.title()) + 2).sum();
    width(&model.subject_name()).min(room.saturating_sub(tabs + 10).clamp(6, 40))
}
