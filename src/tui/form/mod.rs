//! Forms: fields with a cursor, and the errors that stand at them.
//!
//! A form knows nothing of the engine. What was typed becomes what it means in [`spec`]; an error names its field.

pub mod input;
pub mod spec;

use super::job::{Job, Target};
use super::keys::Key;
use crossterm::event::{KeyCode, KeyModifiers};
use input::Input;

/// What a form is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    Run,
    Pull,
    Rename(Target),
    Tag(Target),
    CreateVolume,
    CreateNetwork,
    Connect(Target),
    SaveLog,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text { input: Input, suggestions: Vec<String> },
    Choice { options: Vec<String>, at: usize },
    Toggle(bool),
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: &'static str,
    pub label: &'static str,
    pub value: Value,
    /// Shown beside an empty field.
    pub example: &'static str,
    pub error: Option<String>,
}

/// A dialog of fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    pub purpose: Purpose,
    pub title: String,
    pub submit: &'static str,
    pub fields: Vec<Field>,
    pub focus: usize,
}

/// What a key did to a form.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Stay,
    Close,
    Submit(Job),
}

/// A wrong field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub field: &'static str,
    pub message: String,
}

impl Field {
    fn text(name: &'static str, label: &'static str, example: &'static str) -> Field {
        let value = Value::Text { input: Input::default(), suggestions: Vec::new() };
        Field { name, label, value, example, error: None }
    }

    fn toggle(name: &'static str, label: &'static str, on: bool, example: &'static str) -> Field {
        Field { name, label, value: Value::Toggle(on), example, error: None }
    }

    fn choice(name: &'static str, label: &'static str, options: Vec<String>) -> Field {
        Field { name, label, value: Value::Choice { options, at: 0 }, example: "", error: None }
    }

    fn with(mut self, text: &str) -> Field {
        if let Value::Text { input, .. } = &mut self.value {
            *input = Input::from(text);
        }
        self
    }

    fn suggesting(mut self, all: Vec<String>) -> Field {
        if let Value::Text { suggestions, .. } = &mut self.value {
            *suggestions = all;
        }
        self
    }

    /// The suggestions that begin with or contain what is typed, best first.
    pub fn matches(&self) -> Vec<&str> {
        match &self.value {
            Value::Text { input, suggestions } if !suggestions.is_empty() => {
                let typed = input.text();
                let mut hits: Vec<&str> =
                    suggestions.iter().map(String::as_str).filter(|s| s.contains(typed) && *s != typed).collect();
                hits.sort_by_key(|s| !s.starts_with(typed));
                hits
            }
            _ => Vec::new(),
        }
    }
}

impl Form {
    fn new(purpose: Purpose, title: impl Into<String>, submit: &'static str, fields: Vec<Field>) -> Form {
        Form { purpose, title: title.into(), submit, fields, focus: 0 }
    }

    /// The form that creates and starts a container.
    pub fn run(image: &str, images: Vec<String>, networks: Vec<String>) -> Form {
        let mut form = Form::new(
            Purpose::Run,
            "Run a container",
            "run",
            vec![
                Field::text("image", "Image", "nginx:1.27 (pulled if it is not here)").with(image).suggesting(images),
                Field::text("name", "Name", "made up if empty"),
                Field::text("command", "Command", "the image's own; e.g. sh -c 'echo hi'"),
                Field::text("ports", "Ports", "8080:80, 127.0.0.1:5353:53/udp"),
                Field::text("volumes", "Volumes", "data:/var/lib/data, ./src:/src:ro"),
                Field::text("env", "Environment", "KEY=value, OTHER=\"a b\""),
                Field::choice("network", "Network", networks),
                Field::text("memory", "Memory", "512m; no limit if empty"),
                Field::choice(
                    "restart",
                    "Restart",
                    ["no", "on-failure", "always", "unless-stopped"].map(str::to_owned).into(),
                ),
                Field::toggle("tty", "Terminal", false, "a tty with open stdin, for shells"),
                Field::toggle("rm", "Remove", false, "when it ends"),
            ],
        );
        if !image.is_empty() {
            form.focus = 1;
        }
        form
    }

    /// The form that asks what to pull.
    pub fn pull(reference: &str) -> Form {
        let field = Field::text("reference", "Image", "nginx:1.27, ghcr.io/owner/name:tag").with(reference);
        Form::new(Purpose::Pull, "Pull an image", "pull", vec![field])
    }

    pub fn rename(target: Target) -> Form {
        let field = Field::text("name", "Name", "").with(&target.name);
        Form::new(Purpose::Rename(target.clone()), format!("Rename {}", target.name), "rename", vec![field])
    }

    pub fn tag(image: Target) -> Form {
        let field = Field::text("reference", "New name", "registry/name:tag");
        Form::new(Purpose::Tag(image.clone()), format!("Tag {}", image.name), "tag", vec![field])
    }

    pub fn volume() -> Form {
        let fields = vec![Field::text("name", "Name", "data"), Field::text("labels", "Labels", "team=shop, keep=yes")];
        Form::new(Purpose::CreateVolume, "Create a volume", "create", fields)
    }

    pub fn network() -> Form {
        let fields = vec![
            Field::text("name", "Name", "shop"),
            Field::choice("driver", "Driver", ["bridge", "macvlan", "ipvlan"].map(str::to_owned).into()),
            Field::text("subnet", "Subnet", "chosen if empty; e.g. 172.30.0.0/16"),
            Field::toggle("internal", "Internal", false, "no way out of it"),
        ];
        Form::new(Purpose::CreateNetwork, "Create a network", "create", fields)
    }

    pub fn connect(network: Target, containers: Vec<String>) -> Form {
        let field = Field::text("container", "Container", "its name").suggesting(containers);
        Form::new(Purpose::Connect(network.clone()), format!("Connect to {}", network.name), "connect", vec![field])
    }

    pub fn save_log(path: &str) -> Form {
        Form::new(Purpose::SaveLog, "Save the log", "save", vec![Field::text("path", "File", "").with(path)])
    }

    /// What is typed in a field.
    pub fn text(&self, name: &str) -> &str {
        match self.fields.iter().find(|field| field.name == name).map(|field| &field.value) {
            Some(Value::Text { input, .. }) => input.text().trim(),
            Some(Value::Choice { options, at }) => options.get(*at).map_or("", String::as_str),
            _ => "",
        }
    }

    /// Whether a toggle is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name && field.value == Value::Toggle(true))
    }

    /// Text pasted into the focused field.
    pub fn paste(&mut self, text: &str) {
        if let Some(Field { value: Value::Text { input, .. }, error, .. }) = self.fields.get_mut(self.focus) {
            *error = None;
            input.insert(&super::text::clean(text));
        }
    }

    fn step(&mut self, by: isize) {
        let count = self.fields.len() as isize;
        self.focus = ((self.focus as isize + by).rem_euclid(count.max(1))) as usize;
    }

    /// One key.
    pub fn key(&mut self, key: Key) -> Answer {
        match (key.code, key.mods) {
            (KeyCode::Esc, _) => return Answer::Close,
            (KeyCode::Enter, _) => {
                return match spec::job(self) {
                    Ok(job) => Answer::Submit(job),
                    Err(wrong) => {
                        for field in &mut self.fields {
                            field.error = (field.name == wrong.field).then(|| wrong.message.clone());
                        }
                        self.focus = self.fields.iter().position(|f| f.error.is_some()).unwrap_or(self.focus);
                        Answer::Stay
                    }
                };
            }
            (KeyCode::Down, _) => self.step(1),
            (KeyCode::Up, _) | (KeyCode::BackTab, _) => self.step(-1),
            (KeyCode::Tab, _) => self.complete_or_step(),
            _ => {
                if let Some(field) = self.fields.get_mut(self.focus) {
                    match &mut field.value {
                        Value::Text { input, .. } => {
                            if input.key(key) {
                                field.error = None;
                            }
                        }
                        Value::Toggle(on) => match key.code {
                            KeyCode::Char(' ') | KeyCode::Left | KeyCode::Right => *on = !*on,
                            KeyCode::Char('y') => *on = true,
                            KeyCode::Char('n') if key.mods == KeyModifiers::NONE => *on = false,
                            _ => {}
                        },
                        Value::Choice { options, at } => {
                            let count = options.len().max(1);
                            match key.code {
                                KeyCode::Right | KeyCode::Char(' ') => *at = (*at + 1) % count,
                                KeyCode::Left => *at = (*at + count - 1) % count,
                                _ => {}
                            }
                        }
                    }
                }
            }
        }
        Answer::Stay
    }

    /// Tab takes the best suggestion where one is shown; else it goes to the next field.
    fn complete_or_step(&mut self) {
        let best = self.fields.get(self.focus).and_then(|field| match &field.value {
            Value::Text { input, .. } if !input.text().is_empty() => {
                field.matches().first().filter(|hit| hit.starts_with(input.text())).map(|hit| (*hit).to_owned())
            }
            _ => None,
        });
        match (best, self.fields.get_mut(self.focus)) {
            (Some(best), Some(Field { value: Value::Text { input, .. }, .. })) => *input = Input::from(best.as_str()),
            _ => self.step(1),
        }
    }
}
