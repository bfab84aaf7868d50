//! The right side: what it is about, which tab is open, and the text of tabs that are documents.

use crate::client::models as docker;
use crate::tui::model::log::Search;
use crate::tui::theme::Role;

/// What the detail view is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subject {
    #[default]
    Nothing,
    Project(String),
    Container(String),
    Image(String),
    Volume(String),
    Network(String),
    Build(String),
}

/// A tab of the detail view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Logs,
    Stats,
    Inspect,
    Env,
    Top,
    Shell,
    Overview,
    Layers,
    Steps,
    Log,
}

impl Tab {
    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Tab::Logs => "Logs",
            Tab::Stats => "Stats",
            Tab::Inspect => "Inspect",
            Tab::Env => "Env",
            Tab::Top => "Top",
            Tab::Shell => "Shell",
            Tab::Overview => "Overview",
            Tab::Layers => "Layers",
            Tab::Steps => "Steps",
            Tab::Log => "Log",
        }
    }
}

impl Subject {
    /// The tabs it has, the default first.
    pub fn tabs(&self) -> &'static [Tab] {
        match self {
            Subject::Nothing => &[],
            Subject::Project(_) => &[Tab::Overview],
            Subject::Container(_) => &[Tab::Logs, Tab::Stats, Tab::Inspect, Tab::Env, Tab::Top, Tab::Shell],
            Subject::Image(_) => &[Tab::Layers, Tab::Inspect],
            Subject::Volume(_) | Subject::Network(_) => &[Tab::Overview, Tab::Inspect],
            Subject::Build(_) => &[Tab::Steps, Tab::Log],
        }
    }

    /// Which of the per-kind tab memories it uses.
    pub fn slot(&self) -> usize {
        match self {
            Subject::Nothing | Subject::Project(_) => 0,
            Subject::Container(_) => 1,
            Subject::Image(_) => 2,
            Subject::Volume(_) => 3,
            Subject::Network(_) => 4,
            Subject::Build(_) => 5,
        }
    }
}

/// A document that is asked for. A new version asks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetailKey {
    pub subject: Subject,
    pub tab: Tab,
    pub version: u64,
}

/// The engine's answer.
#[derive(Debug)]
pub enum DetailData {
    Container(Box<docker::ContainerInspectResponse>),
    Top(docker::ContainerTopResponse),
    Image {
        inspect: Box<docker::ImageInspect>,
        history: Vec<docker::ImageHistoryResponseItem>,
    },
    Volume(docker::Volume),
    Network(docker::NetworkInspect),
    /// What a build said.
    BuildLog(Vec<u8>),
}

/// A piece of a document's line.
pub type Piece = (Role, String);

/// A text with meaning, line by line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Doc {
    pub lines: Vec<Vec<Piece>>,
}

impl Doc {
    /// Adds a line.
    pub fn line(&mut self, pieces: Vec<Piece>) {
        self.lines.push(pieces);
    }

    /// A line's text.
    pub fn text(&self, line: usize) -> String {
        self.lines.get(line).map(|pieces| pieces.iter().map(|(_, text)| text.as_str()).collect()).unwrap_or_default()
    }

    /// Everything as text.
    pub fn plain(&self) -> String {
        (0..self.lines.len()).map(|line| self.text(line) + "\n").collect()
    }
}

/// A document on the screen.
#[derive(Default)]
pub struct DocView {
    /// What it answers, and the answer.
    pub key: Option<DetailKey>,
    pub doc: Option<Result<Doc, String>>,
    pub top: usize,
    pub left: usize,
    pub search: Option<Search>,
    pub height: usize,
    pub width: usize,
}

impl DocView {
    /// Takes a document; the place in it is kept while it is about the same thing.
    pub fn show(&mut self, key: DetailKey, doc: Result<Doc, String>) {
        let is_same = self.key.as_ref().is_some_and(|old| old.subject == key.subject && old.tab == key.tab);
        if !is_same {
            (self.top, self.left) = (0, 0);
        }
        // Processes of a container that ended are gone; anything else that was read stays while the engine is away.
        let outlives = key.tab != Tab::Top;
        if let (true, true, Some(Ok(_)), Err(_)) = (outlives, is_same, &self.doc, &doc) {
            return;
        }
        self.key = Some(key);
        self.doc = Some(doc);
        self.settle();
    }

    /// The document, if it is the one for `subject` and `tab`.
    pub fn of(&self, subject: &Subject, tab: Tab) -> Option<&Result<Doc, String>> {
        let key = self.key.as_ref()?;
        (key.subject == *subject && key.tab == tab).then_some(self.doc.as_ref()).flatten()
    }

    fn lines(&self) -> usize {
        match &self.doc {
            Some(Ok(doc)) => doc.lines.len(),
            _ => 0,
        }
    }

    /// Keeps the view inside the document.
    pub fn settle(&mut self) {
        self.top = self.top.min(self.lines().saturating_sub(self.height.max(1)));
    }

    pub fn scroll(&mut self, by: isize) {
        self.top = self.top.saturating_add_signed(by);
        self.settle();
    }

    pub fn to_bottom(&mut self) {
        self.top = self.lines();
        self.settle();
    }

    /// Begins a search at the top of the view.
    pub fn search(&mut self, typed: &str) -> bool {
        if typed.is_empty() {
            self.search = None;
            return true;
        }
        self.search = Some(Search::new(typed));
        self.next_hit(true)
    }

    /// The next hit downwards or upwards, around the ends.
    pub fn next_hit(&mut self, is_down: bool) -> bool {
        let (Some(search), Some(Ok(doc))) = (&self.search, &self.doc) else { return false };
        let mut all = Vec::new();
        for line in 0..doc.lines.len() {
            all.extend((0..search.hits(&doc.text(line)).len()).map(|index| (line as u64, index)));
        }
        let next = match (search.at, is_down) {
            (Some(at), true) => all.iter().find(|hit| **hit > at).or(all.first()),
            (Some(at), false) => all.iter().rev().find(|hit| **hit < at).or(all.last()),
            (None, _) => all.iter().find(|hit| hit.0 as usize >= self.top).or(all.first()),
        };
        let Some(next) = next.copied() else { return false };
        if let Some(search) = &mut self.search {
            search.at = Some(next);
        }
        let line = next.0 as usize;
        if line < self.top || line >= self.top + self.height.max(1) {
            self.top = line.saturating_sub(self.height / 2);
        }
        self.settle();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_place_when_it_is_read_again() {
        let mut view = DocView { height: 2, ..DocView::default() };
        let key = |version| DetailKey { subject: Subject::Image("a".into()), tab: Tab::Inspect, version };
        let doc = || Doc { lines: (0..9).map(|i| vec![(Role::Text, format!("line {i}"))]).collect() };
        view.show(key(1), Ok(doc()));
        view.scroll(4);
        view.show(key(2), Ok(doc()));
        assert_eq!(view.top, 4);
        view.show(key(3), Err("gone".into()));
        assert!(
            view.of(&Subject::Image("a".into()), Tab::Inspect).unwrap().is_ok(),
            "a good answer outlives a failed refresh"
        );
        view.show(DetailKey { subject: Subject::Image("b".into()), tab: Tab::Inspect, version: 1 }, Ok(doc()));
        assert_eq!(view.top, 0);
        assert!(view.search("line 7") && view.top == 6);
    }
}
