//! Colours by meaning. A theme is a TOML file: named colours, and for each [`Role`] what it looks like.
//!
//! The program knows roles only. Selected rows set foreground and background together, so they can be read on any
//! palette; on terminals without true colour the nearest of the 256 is taken.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

macro_rules! roles {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What a piece of the screen means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Role { $($(#[$doc])* $variant,)+ }
        impl Role {
            /// Every role with its name in theme files.
            pub const ALL: &[(Role, &'static str)] = &[$((Role::$variant, $name),)+];
        }
    };
}

roles! {
    /// Ordinary text.
    Text = "text",
    /// Secondary text: images, sizes, ages.
    Dim = "dim",
    /// Barely there: rules, empty parts of bars, punctuation.
    Faint = "faint",
    Border = "border",
    BorderFocus = "border-focus",
    Title = "title",
    TitleFocus = "title-focus",
    /// The product's own colour: names that matter now.
    Accent = "accent",
    Ok = "ok",
    Warn = "warn",
    Bad = "bad",
    Info = "info",
    /// Work under way.
    Busy = "busy",
    Selected = "selected",
    /// The cursor's row in a pane without the focus.
    SelectedDim = "selected-dim",
    Marked = "marked",
    Match = "match",
    /// The search hit the cursor is on.
    MatchNow = "match-now",
    Key = "key",
    Hint = "hint",
    HintOff = "hint-off",
    Tab = "tab",
    TabActive = "tab-active",
    Project = "project",
    GraphCpu = "graph-cpu",
    GraphMemory = "graph-memory",
    GraphIn = "graph-in",
    GraphOut = "graph-out",
    JsonKey = "json-key",
    JsonString = "json-string",
    JsonNumber = "json-number",
    JsonWord = "json-word",
    Stderr = "stderr",
    Timestamp = "timestamp",
    Dialog = "dialog",
    DialogBorder = "dialog-border",
    DialogDanger = "dialog-danger",
    Input = "input",
    InputFocus = "input-focus",
}

/// The looks of every role.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    pub name: String,
    styles: Vec<Style>,
}

/// Why a theme cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    #[error("read theme {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("theme {name}: {source}")]
    Parse { name: String, source: Box<toml::de::Error> },
    #[error("theme {name}: role {role}: unknown colour {color:?}")]
    Color { name: String, role: String, color: String },
    #[error("theme {name}: unknown role {role:?}")]
    Role { name: String, role: String },
    #[error("theme {name}: role {role:?} is missing")]
    Missing { name: String, role: &'static str },
    #[error("there is no theme {name:?}; it is one of {known}, or the path of a .toml file")]
    Unknown { name: String, known: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThemeFile {
    #[serde(default)]
    colors: BTreeMap<String, String>,
    roles: BTreeMap<String, Look>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Look {
    fg: Option<String>,
    bg: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reverse: bool,
}

/// The themes that ship, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.toml")),
    ("light", include_str!("../../themes/light.toml")),
    ("contrast", include_str!("../../themes/contrast.toml")),
    ("ansi", include_str!("../../themes/ansi.toml")),
    ("mono", include_str!("../../themes/mono.toml")),
];

/// What this terminal can colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// No colour wanted (NO_COLOR) or known.
    Mono,
    /// The terminal's own 16.
    Sixteen,
    Indexed,
    True,
}

impl Depth {
    /// From the environment: NO_COLOR, COLORTERM, TERM.
    pub fn detect(no_color: bool, colorterm: &str, term: &str) -> Depth {
        match () {
            () if no_color || term == "dumb" => Depth::Mono,
            () if colorterm.contains("truecolor") || colorterm.contains("24bit") || term.ends_with("-direct") => {
                Depth::True
            }
            () if term.contains("256") || term.contains("kitty") || term.contains("alacritty") => Depth::Indexed,
            () => Depth::Sixteen,
        }
    }
}

impl Theme {
    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }

    /// A theme that ships.
    ///
    /// # Errors
    /// [`ThemeError::Unknown`].
    pub fn built_in(name: &str) -> Result<Theme, ThemeError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((name, text)) => Theme::parse(name, text),
            None => Err(ThemeError::Unknown {
                name: name.to_owned(),
                known: BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// A built-in theme by name, or the file at a path that ends in `.toml`.
    ///
    /// # Errors
    /// The file cannot be read or is not a theme; the name is unknown.
    pub fn load(name_or_path: &str) -> Result<Theme, ThemeError> {
        if !name_or_path.ends_with(".toml") {
            return Theme::built_in(name_or_path);
        }
        let text = std::fs::read_to_string(name_or_path)
            .map_err(|source| ThemeError::Read { path: name_or_path.to_owned(), source })?;
        let name = Path::new(name_or_path).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Theme::parse(&name, &text)
    }

    /// Reads a theme file.
    ///
    /// # Errors
    /// Names the role or colour at fault.
    pub fn parse(name: &str, text: &str) -> Result<Theme, ThemeError> {
        let file: ThemeFile = toml::from_str(text)
            .map_err(|source| ThemeError::Parse { name: name.to_owned(), source: Box::new(source) })?;
        if let Some(role) = file.roles.keys().find(|role| !Role::ALL.iter().any(|(_, known)| known == role)) {
            return Err(ThemeError::Role { name: name.to_owned(), role: role.clone() });
        }
        let styles = Role::ALL
            .iter()
            .map(|(_, role)| match file.roles.get(*role) {
                None => Err(ThemeError::Missing { name: name.to_owned(), role }),
                Some(look) => look.style(&file.colors).map_err(|color| ThemeError::Color {
                    name: name.to_owned(),
                    role: (*role).to_owned(),
                    color,
                }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Theme { name: name.to_owned(), styles })
    }

    /// The same theme in the nearest of the 256 indexed colours.
    pub fn indexed(mut self) -> Theme {
        for style in &mut self.styles {
            style.fg = style.fg.map(nearest);
            style.bg = style.bg.map(nearest);
        }
        self
    }
}

impl Look {
    fn style(&self, colors: &BTreeMap<String, String>) -> Result<Style, String> {
        let color = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => {
                let value = colors.get(name).unwrap_or(name);
                value.parse::<Color>().map(Some).map_err(|_| name.clone())
            }
        };
        let mut style = Style { fg: color(&self.fg)?, bg: color(&self.bg)?, ..Style::default() };
        let flags = [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.italic, Modifier::ITALIC),
            (self.underline, Modifier::UNDERLINED),
            (self.reverse, Modifier::REVERSED),
        ];
        for (on, modifier) in flags {
            if on {
                style = style.add_modifier(modifier);
            }
        }
        Ok(style)
    }
}

/// The colour cube's entry (or grey) nearest to an RGB colour.
fn nearest(color: Color) -> Color {
    let Color::Rgb(r, g, b) = color else { return color };
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let step = |v: u8| (0..6).min_by_key(|i| STEPS[*i].abs_diff(v)).unwrap_or(0);
    let distance = |x: (u8, u8, u8)| {
        let d = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        d(x.0, r) + d(x.1, g) + d(x.2, b)
    };
    let (ri, gi, bi) = (step(r), step(g), step(b));
    let cube = (STEPS[ri], STEPS[gi], STEPS[bi]);
    let level = (u32::from(r) + u32::from(g) + u32::from(b)) / 3;
    let gray = (level.saturating_sub(3) / 10).min(23) as u8;
    let value = 8 + 10 * gray;
    if distance((value, value, value)) < distance(cube) {
        Color::Indexed(232 + gray)
    } else {
        Color::Indexed((16 + 36 * ri + 6 * gi + bi) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_that_ships_is_whole() {
        for (name, text) in BUILT_IN {
            let theme = Theme::parse(name, text).unwrap_or_else(|e| panic!("{e}"));
            let selected = theme.style(Role::Selected);
            let readable =
                (selected.fg.is_some() && selected.bg.is_some()) || selected.add_modifier.contains(Modifier::REVERSED);
            assert!(readable, "{name}: a selected row sets foreground and background");
        }
    }

    #[test]
    fn mono_has_no_colour_at_all() {
        let mono = Theme::built_in("mono").unwrap();
        for (role, name) in Role::ALL {
            let style = mono.style(*role);
            assert!(style.fg.is_none() && style.bg.is_none(), "{name}");
        }
    }

    #[test]
    fn mistakes_in_a_theme_are_named() {
        let text = include_str!("../../themes/dark.toml");
        let broken = text.replacen("fg = \"fg\"", "fg = \"puce-ish\"", 1);
        assert!(Theme::parse("mine", &broken).unwrap_err().to_string().contains("unknown colour \"puce-ish\""));
        assert!(Theme::load("nope").unwrap_err().to_string().contains("dark, light, contrast"));
    }

    #[test]
    fn true_colours_fall_to_the_nearest_of_256() {
        assert_eq!(nearest(Color::Rgb(255, 0, 0)), Color::Indexed(196));
        assert_eq!(nearest(Color::Rgb(40, 42, 44)), Color::Indexed(235));
        assert_eq!(nearest(Color::Red), Color::Red);
    }

    #[test]
    fn depth_follows_the_environment() {
        assert_eq!(Depth::detect(true, "truecolor", "xterm"), Depth::Mono);
        assert_eq!(Depth::detect(false, "truecolor", "xterm-256color"), Depth::True);
        assert_eq!(Depth::detect(false, "", "xterm-256color"), Depth::Indexed);
        assert_eq!(Depth::detect(false, "", "linux"), Depth::Sixteen);
    }
}
