//! Everything the screen knows. Changed only by [`super::update::update`], drawn only by [`super::view::draw`].

pub mod build;
pub mod container;
pub mod detail;
pub mod log;
pub mod objects;
pub mod overlay;
pub mod stats;
pub mod table;
pub mod work;

use super::actions::keymap::Keymap;
use super::event::{EngineFacts, Link};
use super::form::input::Input;
use super::glyphs::Glyphs;
use super::layout::Layout;
use super::theme::Theme;
use super::{EngineKind, shell, workbench};
use build::{BUILD_ORDERS, Build};
use container::Container;
use detail::{DocView, Subject, Tab};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::LogView;
use objects::{IMAGE_ORDERS, Image, NETWORK_ORDERS, Network, VOLUME_ORDERS, Volume};
use overlay::Overlay;
use ratatui::layout::Size;
use stats::Series;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use table::Table;
use work::{Weight, Works};

/// What fills the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Lists and details.
    Main,
    /// The Dockerfile editor and its build.
    Workbench,
}

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pane {
    Containers,
    Images,
    Volumes,
    Networks,
    Builds,
}

impl Pane {
    /// All lists, in the order of their numbers.
    pub const ALL: [Pane; 5] = [Pane::Containers, Pane::Images, Pane::Volumes, Pane::Networks, Pane::Builds];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Pane::Containers => "Containers",
            Pane::Images => "Images",
            Pane::Volumes => "Volumes",
            Pane::Networks => "Networks",
            Pane::Builds => "Builds",
        }
    }

    /// Its place, from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which half has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    List,
    Detail,
}

/// How much room the half with the keys takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zoom {
    Normal,
    Large,
    Full,
}

/// Whether the screen must be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Redraw {
    No,
    /// Within half a second: measurements, which come for many containers at slightly different times.
    Soon,
    Now,
}

/// What is being typed in the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typing {
    /// Narrows the list of the pane; `before` comes back on escape.
    Filter { input: Input, before: String },
    /// Searches log or document.
    Search { input: Input },
}

/// See the module's description.
pub struct Model {
    pub size: Size,
    pub layout: Layout,
    pub now: Timestamp,
    pub zone: TimeZone,
    pub about: EngineKind,
    pub link: Link,
    pub facts: Option<EngineFacts>,
    /// Where the engine is, as the client says; `about` until it says so.
    pub address: Option<String>,

    pub screen: Screen,
    pub pane: Pane,
    pub focus: Focus,
    pub zoom: Zoom,

    pub containers: Table<Container>,
    pub images: Table<Image>,
    pub volumes: Table<Volume>,
    pub networks: Table<Network>,
    pub builds: Table<Build>,
    /// Whether the engine tells of builds, so that the screen's own need not be added.
    pub knows_builds: bool,
    pub build_cache: Option<u64>,
    /// A container that was just made: the cursor goes to it when it is listed.
    pub expected: Option<String>,
    /// When containers were last put in order by their load.
    pub arranged: Timestamp,
    /// Containers that were killed for lack of memory, until they start again.
    pub out_of_memory: BTreeSet<String>,
    pub stats: BTreeMap<String, Series>,

    /// The tab chosen for each kind of subject.
    pub tabs: [usize; 6],
    pub logs: LogView,
    pub doc: DocView,
    /// Grows when the subject may have changed, so that its document is read again.
    pub version: u64,

    pub overlays: Vec<Overlay>,
    pub typing: Option<Typing>,
    pub works: Works,
    pub spin: usize,

    pub theme: Theme,
    /// Turns true-colour themes into what this terminal has.
    pub depth: super::theme::Depth,
    pub glyphs: &'static Glyphs,
    pub keymap: Arc<Keymap>,
    pub asks_before_removal: bool,

    pub shell: shell::ShellPane,
    pub workbench: workbench::Workbench,

    pub redraw: Redraw,
    pub is_quitting: bool,
}

impl Model {
    /// An empty screen of a size.
    pub fn new(size: Size, about: EngineKind, theme: Theme, glyphs: &'static Glyphs, keymap: Arc<Keymap>) -> Model {
        let mut model = Model {
            size,
            layout: Layout::default(),
            now: Timestamp::UNIX_EPOCH,
            zone: TimeZone::UTC,
            about,
            link: Link::Connecting,
            facts: None,
            address: None,
            screen: Screen::Main,
            pane: Pane::Containers,
            focus: Focus::List,
            zoom: Zoom::Normal,
            containers: Table::new(container::ORDERS),
            images: Table::new(IMAGE_ORDERS),
            volumes: Table::new(VOLUME_ORDERS),
            networks: Table::new(NETWORK_ORDERS),
            builds: Table::new(BUILD_ORDERS),
            knows_builds: false,
            build_cache: None,
            expected: None,
            arranged: Timestamp::UNIX_EPOCH,
            out_of_memory: BTreeSet::new(),
            stats: BTreeMap::new(),
            tabs: [0; 6],
            logs: LogView::default(),
            doc: DocView::default(),
            version: 0,
            overlays: Vec::new(),
            typing: None,
            works: Works::default(),
            spin: 0,
            theme,
            depth: super::theme::Depth::True,
            glyphs,
            keymap,
            asks_before_removal: true,
            shell: shell::ShellPane::default(),
            workbench: workbench::Workbench::default(),
            redraw: Redraw::Now,
            is_quitting: false,
        };
        model.builds.is_loaded = true;
        model.settle();
        model
    }

    /// What the detail view is about: the selection of the list that was used last.
    pub fn subject(&self) -> Subject {
        match self.pane {
            Pane::Containers => match (self.containers.selected_group(), self.containers.selected()) {
                (Some(project), _) => Subject::Project(project.to_owned()),
                (None, Some(container)) => Subject::Container(container.id.clone()),
                (None, None) => Subject::Nothing,
            },
            Pane::Images => self.images.selected().map_or(Subject::Nothing, |i| Subject::Image(i.id.clone())),
            Pane::Volumes => self.volumes.selected().map_or(Subject::Nothing, |v| Subject::Volume(v.name.clone())),
            Pane::Networks => self.networks.selected().map_or(Subject::Nothing, |n| Subject::Network(n.id.clone())),
            Pane::Builds => self.builds.selected().map_or(Subject::Nothing, |b| Subject::Build(b.id.clone())),
        }
    }

    /// The subject's name.
    pub fn subject_name(&self) -> String {
        match self.subject() {
            Subject::Nothing => String::new(),
            Subject::Project(name) => name,
            Subject::Container(_) => self.containers.selected().map(|c| c.label.clone()).unwrap_or_default(),
            Subject::Image(_) => self.images.selected().map(|i| i.name.clone()).unwrap_or_default(),
            Subject::Volume(_) => self.volumes.selected().map(|v| v.label.clone()).unwrap_or_default(),
            Subject::Network(_) => self.networks.selected().map(|n| n.name.clone()).unwrap_or_default(),
            Subject::Build(_) => self.builds.selected().map(|b| b.tag.clone()).unwrap_or_default(),
        }
    }

    /// The open tab.
    pub fn tab(&self) -> Option<Tab> {
        let subject = self.subject();
        let tabs = subject.tabs();
        tabs.get(self.tabs[subject.slot()]).or_else(|| tabs.first()).copied()
    }

    /// Opens a tab, if the subject has it.
    pub fn open_tab(&mut self, tab: Tab) -> bool {
        let subject = self.subject();
        match subject.tabs().iter().position(|t| *t == tab) {
            Some(at) => {
                self.tabs[subject.slot()] = at;
                true
            }
            None => false,
        }
    }

    /// Goes to a list.
    pub fn open_pane(&mut self, pane: Pane) {
        self.pane = pane;
        self.focus = Focus::List;
    }

    /// The selected container's row.
    pub fn container(&self) -> Option<&Container> {
        if self.pane == Pane::Containers { self.containers.selected() } else { None }
    }

    /// Says something for a few seconds.
    pub fn say(&mut self, weight: Weight, text: impl Into<String>) {
        self.works.say(weight, text.into(), String::new(), String::new(), self.now);
        self.touch();
    }

    /// The screen must be drawn at once.
    pub fn touch(&mut self) {
        self.redraw = Redraw::Now;
    }

    /// The screen should be drawn within half a second.
    pub fn touch_soon(&mut self) {
        self.redraw = self.redraw.max(Redraw::Soon);
    }

    /// Works the layout out and keeps every view inside what it shows. After each batch of events.
    pub fn settle(&mut self) {
        self.layout = Layout::of(self);
        let heights = self.layout.heights();
        self.containers.height = heights[0];
        self.images.height = heights[1];
        self.volumes.height = heights[2];
        self.networks.height = heights[3];
        self.builds.height = heights[4];
        self.containers.settle();
        self.images.settle();
        self.volumes.settle();
        self.networks.settle();
        self.builds.settle();
        let body = self.layout.body();
        (self.logs.width, self.logs.height) = (usize::from(body.width), usize::from(body.height));
        (self.doc.width, self.doc.height) = (usize::from(body.width), usize::from(body.height));
        match (self.subject(), self.tab()) {
            (Subject::Container(id), Some(Tab::Logs)) => self.logs.open(&id),
            (Subject::Container(id), _) if self.logs.container.as_ref() == Some(&id) => {}
            _ => self.logs.is_away = true,
        }
        self.logs.settle();
        self.doc.settle();
    }

    /// Containers that are running and whose row is in view, or whose numbers the detail shows.
    pub fn measured(&self) -> BTreeSet<String> {
        let rows = self.containers.in_view().filter_map(|(_, row)| self.containers.item(row));
        let rows = rows.filter(|_| self.layout.shows(Pane::Containers)).chain(self.container());
        let project = self.containers.selected_group().map(|group| self.containers.members(group)).unwrap_or_default();
        rows.chain(project).filter(|c| matches!(c.state, container::State::Running)).map(|c| c.id.clone()).collect()
    }

    /// Counts of running, paused and other containers.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for container in self.containers.items() {
            match container.state {
                container::State::Running | container::State::Restarting => counts.0 += 1,
                container::State::Paused => counts.1 += 1,
                _ => counts.2 += 1,
            }
        }
        counts
    }

    /// CPU (share of one core in percent) and memory of all measured containers.
    pub fn load(&self) -> (f64, u64) {
        let alive = self.containers.items().iter().filter(|c| c.state.is_alive());
        alive.fold((0.0, 0), |(cpu, memory), c| (cpu + c.cpu, memory + c.memory))
    }

    /// Seconds since a Unix time.
    pub fn age(&self, unix_seconds: i64) -> i64 {
        self.now.as_second() - unix_seconds
    }
}
