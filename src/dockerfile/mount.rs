//! `RUN --mount=…`: what is mounted for the time of one command.
//!
//! A value is a line of CSV whose fields are `key=value` or a lone key. Its variables are replaced at build time, so the
//! parser only checks what it can know ([`check`]), and the planner reads the mount with the variables at hand
//! ([`Mount::read`]).

use std::ops::Range;

use super::size::bytes;
use super::suggest::nearest;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A folder that stays from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file the client holds.
    Secret,
    /// The socket of an ssh agent of the client.
    Ssh,
}

impl MountKind {
    const ALL: [(&'static str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    /// The names of all types.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// Its name, as `type=` takes it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("bind", |(name, _)| name)
    }
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Any number of commands.
    #[default]
    Shared,
    /// One; another gets a cache of its own.
    Private,
    /// One; another waits.
    Locked,
}

impl Sharing {
    const ALL: [(&'static str, Self); 3] =
        [("shared", Self::Shared), ("private", Self::Private), ("locked", Self::Locked)];

    /// The names of all sharings.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// Its name, as `sharing=` takes it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, sharing)| *sharing == self).map_or("shared", |(name, _)| name)
    }
}

/// A mount of a RUN, with its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where, as written: relative to the working directory.
    pub target: Option<String>,
    /// Which path of `from`; for a secret another way to write its id.
    pub source: Option<String>,
    /// The stage, image or named context it comes from.
    pub from: Option<String>,
    /// The id of a cache, secret or agent.
    pub id: Option<String>,
    /// Whether the command may not write to it.
    pub read_only: bool,
    /// Who may use a cache at the same time.
    pub sharing: Sharing,
    /// Whether a missing secret or agent is an error.
    pub required: bool,
    /// The most a tmpfs may hold, in bytes.
    pub size: Option<u64>,
    /// Permissions of a new cache folder, of a secret's file, of an agent's socket.
    pub mode: Option<u32>,
    /// Owner of the same.
    pub uid: Option<u32>,
    /// Group of the same.
    pub gid: Option<u32>,
    /// The environment variable that holds a secret, instead of or beside a file.
    pub env: Option<String>,
}

/// What is wrong with a `--mount`, in Docker's words, and where in its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MountFault {
    /// Which bytes of the value.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What may stand there.
    pub expected: Option<String>,
    /// What was probably meant, for the bytes of `range`.
    pub replacement: Option<String>,
}

/// The keys of a `--mount`, as they are completed and suggested.
pub const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
];

impl Mount {
    /// Reads the value of a `--mount`; `expand` replaces the variables of one field's value.
    ///
    /// # Errors
    /// [`MountFault`]: an unknown key or type, a key that the type does not have, a value that is no number, a secret
    /// without a name.
    ///
    /// # Examples
    /// ```
    /// use boxyard::dockerfile::mount::{Mount, MountKind};
    ///
    /// let plain = |text: &str| Ok(text.to_owned());
    /// let mount = Mount::read("type=cache,target=/root/.cache,sharing=locked", &plain).unwrap();
    /// assert_eq!((mount.kind, mount.target.as_deref()), (MountKind::Cache, Some("/root/.cache")));
    /// assert!(Mount::read("type=tmpfs,target=/t,mode=0755", &plain).is_err());
    /// ```
    pub fn read(value: &str, expand: &dyn Fn(&str) -> Result<String, String>) -> Result<Self, MountFault> {
        let known = |text: &str| expand(text).map(Some);
        let mut reading = Reading::of(value, &known)?;
        match reading.faults.is_empty() {
            true => Ok(reading.mount),
            false => Err(reading.faults.swap_remove(0)),
        }
    }

    /// The name a secret or agent is asked for by: `id`, `source`, or the last part of the target.
    pub fn client_id(&self) -> Option<&str> {
        let named = self.id.as_deref().or(self.source.as_deref()).filter(|id| !id.is_empty());
        match self.kind {
            MountKind::Secret => named.or_else(|| self.target.as_deref()?.trim_end_matches('/').rsplit('/').next()),
            MountKind::Ssh => Some(named.unwrap_or("default")),
            _ => None,
        }
    }

    /// Where the file of a secret stands; `None` where it is only a variable.
    pub fn secret_target(&self) -> Option<String> {
        match (&self.target, &self.env) {
            (Some(target), _) => Some(target.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(format!("/run/secrets/{}", self.client_id()?.rsplit('/').next().unwrap_or_default())),
        }
    }
}

/// All that can be said about the value of a `--mount` before its variables are known.
pub(super) fn check(value: &str) -> Vec<MountFault> {
    let later = |text: &str| Ok((!text.contains('$')).then(|| text.to_owned()));
    Reading::of(value, &later).map_or_else(|fault| vec![fault], |reading| reading.faults)
}

/// A field of the value.
struct Field {
    range: Range<usize>,
    text: String,
    /// Whether the field is quoted, so that places inside of it are not those of its text.
    is_quoted: bool,
}

impl Field {
    /// The bytes of the field's key or, from byte `from` of its text on, of its value.
    fn part(&self, from: usize, to: usize) -> Range<usize> {
        if self.is_quoted { self.range.clone() } else { self.range.start + from..self.range.start + to }
    }
}

struct Reading<'a> {
    mount: Mount,
    faults: Vec<MountFault>,
    /// Turns a value into its final form; `None` where that has to wait.
    resolve: &'a dyn Fn(&str) -> Result<Option<String>, String>,
    /// Whether the type is known; without it nothing can be said about which keys it has.
    knows_kind: bool,
    has_access: bool,
    has_sharing: bool,
}

type Resolve<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

impl<'a> Reading<'a> {
    fn of(value: &str, resolve: Resolve<'a>) -> Result<Self, MountFault> {
        let fields = fields(value)?;
        let mut reading = Self {
            mount: Mount::default(),
            faults: Vec::new(),
            resolve,
            knows_kind: true,
            has_access: false,
            has_sharing: false,
        };
        // The type decides what the other keys mean, wherever it stands.
        for pass in [true, false] {
            for field in &fields {
                let key = field.text.split('=').next().unwrap_or_default().to_ascii_lowercase();
                if (key == "type") == pass {
                    reading.field(&key, field);
                }
            }
        }
        reading.whole(value);
        Ok(reading)
    }

    fn fault(&mut self, range: Range<usize>, message: String) {
        self.faults.push(MountFault { range, message, expected: None, replacement: None });
    }

    fn one_of(&mut self, range: Range<usize>, message: String, word: &str, known: &[&str]) {
        self.faults.push(MountFault {
            range,
            message,
            expected: Some(format!("one of {}", known.join(", "))),
            replacement: nearest(word, known.iter().copied()).map(str::to_owned),
        });
    }

    fn field(&mut self, key: &str, field: &Field) {
        let Some((written, value)) = field.text.split_once('=') else { return self.lone(key, field) };
        let key_range = field.part(0, written.len());
        let value_range = field.part(written.len() + 1, field.text.len());
        if !KEYS.contains(&key) {
            let message = format!("unexpected key '{key}' in '{}'", field.text);
            return self.one_of(key_range, message, key, &KEYS);
        }
        let value = match (self.resolve)(value) {
            Ok(value) => value,
            Err(message) => return self.fault(value_range, message),
        };
        let (kind, knows_kind) = (self.mount.kind, self.knows_kind);
        let has_key = |kinds: &[MountKind]| !knows_kind || kinds.contains(&kind);
        let belongs = match key {
            "required" => has_key(&[MountKind::Secret, MountKind::Ssh]),
            "size" => has_key(&[MountKind::Tmpfs]),
            "env" => has_key(&[MountKind::Secret]),
            _ => true,
        };
        if !belongs {
            return self.fault(key_range, format!("unexpected key '{key}' for mount type '{}'", kind.name()));
        }
        if matches!(key, "mode" | "uid" | "gid") && knows_kind && matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            return self.fault(key_range, format!("{key} not allowed for {:?} type mounts", kind.name()));
        }
        if key == "sharing" && knows_kind && kind != MountKind::Cache {
            return self.fault(key_range, format!("invalid cache sharing set for {} mount", kind.name()));
        }
        if kind == MountKind::Secret && key == "from" {
            return self.fault(key_range, "secret mount should not have a from".to_owned());
        }
        self.has_access |= matches!(key, "readonly" | "ro" | "readwrite" | "rw");
        self.has_sharing |= key == "sharing";
        match value {
            Some(value) => self.set(key, value, value_range),
            None if key == "type" => self.knows_kind = false,
            // Enough to know that it is there.
            None => self.place(key, "$".to_owned()),
        }
    }

    /// A field without `=`.
    fn lone(&mut self, key: &str, field: &Field) {
        match key {
            "readonly" | "ro" | "readwrite" | "rw" => {
                self.has_access = true;
                self.mount.read_only = matches!(key, "readonly" | "ro");
            }
            "required" if !self.knows_kind || matches!(self.mount.kind, MountKind::Secret | MountKind::Ssh) => {
                self.mount.required = true;
            }
            "required" => {
                let message = format!("unexpected key '{key}' for mount type '{}'", self.mount.kind.name());
                self.fault(field.range.clone(), message);
            }
            _ => {
                let message = format!("invalid field '{}' must be a key=value pair", field.text);
                let range = field.range.clone();
                match KEYS.contains(&key) {
                    true => self.fault(range, message),
                    false => self.one_of(range, message, key, &KEYS),
                }
            }
        }
    }

    fn place(&mut self, key: &str, value: String) {
        match key {
            "from" => self.mount.from = Some(value),
            "source" | "src" => self.mount.source = Some(value),
            "target" | "dst" | "destination" => self.mount.target = Some(value),
            "id" => self.mount.id = Some(value),
            "env" => self.mount.env = Some(value),
            _ => {}
        }
    }

    fn set(&mut self, key: &str, value: String, range: Range<usize>) {
        let lower = value.to_ascii_lowercase();
        match key {
            "type" => match MountKind::ALL.iter().find(|(name, _)| *name == lower) {
                Some((_, kind)) => self.mount.kind = *kind,
                None => {
                    self.knows_kind = false;
                    let message = format!("unsupported mount type {value:?}");
                    self.one_of(range, message, &value, &MountKind::ALL.map(|(name, _)| name));
                }
            },
            "sharing" => match Sharing::ALL.iter().find(|(name, _)| *name == lower) {
                Some((_, sharing)) => self.mount.sharing = *sharing,
                None => {
                    let message = format!("unsupported sharing value {value:?}");
                    self.one_of(range, message, &value, &Sharing::ALL.map(|(name, _)| name));
                }
            },
            "readonly" | "ro" | "readwrite" | "rw" | "required" => match boolean(&value) {
                None => self.fault(range, format!("invalid value for {key}: {value}")),
                Some(is_set) if key == "required" => self.mount.required = is_set,
                Some(is_set) => self.mount.read_only = is_set == matches!(key, "readonly" | "ro"),
            },
            "size" => match bytes(&value) {
                Some(size) => self.mount.size = Some(size),
                None => self.fault(range, format!("invalid value for {key}: {value}")),
            },
            "mode" => match u32::from_str_radix(&value, 8) {
                Ok(mode) => self.mount.mode = Some(mode),
                Err(_) => self.fault(range, format!("invalid value {value} for mode")),
            },
            "uid" | "gid" => match value.parse::<u32>() {
                Ok(number) if key == "uid" => self.mount.uid = Some(number),
                Ok(number) => self.mount.gid = Some(number),
                Err(_) => self.fault(range, format!("invalid value {value} for {key}")),
            },
            _ => self.place(key, value),
        }
    }

    /// What only the mount as a whole shows.
    fn whole(&mut self, value: &str) {
        if !self.has_access {
            self.mount.read_only = !matches!(self.mount.kind, MountKind::Cache | MountKind::Tmpfs);
        }
        if !self.knows_kind || self.mount.kind != MountKind::Secret {
            return;
        }
        let is_given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let (source, id) = (is_given(&self.mount.source), is_given(&self.mount.id));
        if !source && !id && !is_given(&self.mount.target) {
            self.fault(0..value.len(), "invalid secret mount. one of source, target required".to_owned());
        } else if source && id {
            self.fault(0..value.len(), "both source and id can't be set".to_owned());
        }
    }
}

/// The fields of a line of CSV.
fn fields(value: &str) -> Result<Vec<Field>, MountFault> {
    let refuse = |range: Range<usize>, why: &str| MountFault {
        range,
        message: format!("failed to parse csv mounts: {why}"),
        expected: Some("key=value pairs with commas between them".to_owned()),
        replacement: None,
    };
    if value.is_empty() {
        return Err(refuse(0..0, "EOF"));
    }
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let rest = value.get(start..).unwrap_or_default();
        let end = if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices().peekable();
            let closed = loop {
                match chars.next() {
                    None => return Err(refuse(start..value.len(), "extraneous or missing \" in quoted-field")),
                    Some((_, '"')) if chars.next_if(|(_, next)| *next == '"').is_some() => text.push('"'),
                    Some((at, '"')) => break start + 1 + at + 1,
                    Some((_, other)) => text.push(other),
                }
            };
            fields.push(Field { range: start..closed, text, is_quoted: true });
            closed
        } else {
            let end = start + rest.find(',').unwrap_or(rest.len());
            let text = value.get(start..end).unwrap_or_default();
            if text.contains('"') {
                return Err(refuse(start..end, "bare \" in non-quoted-field"));
            }
            fields.push(Field { range: start..end, text: text.to_owned(), is_quoted: false });
            end
        };
        match value.as_bytes().get(end) {
            None => return Ok(fields),
            Some(b',') => start = end + 1,
            Some(_) => return Err(refuse(start..value.len(), "extraneous or missing \" in quoted-field")),
        }
    }
}

/// A truth as Go's `strconv.ParseBool` takes it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(value: &str) -> Result<Mount, String> {
        Mount::read(value, &|text| Ok(text.to_owned())).map_err(|fault| fault.message)
    }

    #[test]
    fn every_key_of_every_type_is_read() {
        let bind = plain("target=/b,source=s,from=stage,rw").unwrap();
        assert_eq!((bind.kind, bind.read_only, bind.from.as_deref()), (MountKind::Bind, false, Some("stage")));
        assert!(plain("dst=/b,src=s").unwrap().read_only);
        assert!(plain("type=bind,destination=/b,readwrite=false").unwrap().read_only);
        assert!(!plain("type=bind,destination=/b,ro=false").unwrap().read_only);
        let cache =
            plain("id=pip,Type=Cache,target=/c,sharing=Locked,mode=0750,uid=1,gid=2,from=a,source=/x,ro").unwrap();
        assert_eq!((cache.kind, cache.sharing, cache.read_only), (MountKind::Cache, Sharing::Locked, true));
        assert_eq!(
            (cache.mode, cache.uid, cache.gid, cache.id.as_deref()),
            (Some(0o750), Some(1), Some(2), Some("pip"))
        );
        let tmpfs = plain("type=tmpfs,target=/t,size=64m").unwrap();
        assert_eq!((tmpfs.size, tmpfs.read_only), (Some(64 << 20), false));
        let secret = plain("type=secret,id=token,env=TOKEN,required=true,mode=0440,uid=3,gid=4").unwrap();
        assert_eq!((secret.client_id(), secret.secret_target(), secret.required), (Some("token"), None, true));
        assert_eq!(plain("type=secret,id=a/b").unwrap().secret_target().as_deref(), Some("/run/secrets/b"));
        assert_eq!(plain("type=secret,target=/etc/key").unwrap().client_id(), Some("key"));
        let ssh = plain("type=ssh,required,mode=0600,target=/s,uid=1,gid=1").unwrap();
        assert_eq!((ssh.kind, ssh.client_id(), ssh.required), (MountKind::Ssh, Some("default"), true));
        assert_eq!(plain("type=cache,\"target=/a,b\"").unwrap().target.as_deref(), Some("/a,b"));
    }

    #[test]
    fn faults_are_in_dockers_words() {
        for (value, message) in [
            ("type=cach,target=/a", "unsupported mount type \"cach\""),
            ("type=cache,target=/a,sharing=mine", "unsupported sharing value \"mine\""),
            ("type=cache,tagret=/a", "unexpected key 'tagret' in 'tagret=/a'"),
            ("type=tmpfs,target=/a,mode=0755", "mode not allowed for \"tmpfs\" type mounts"),
            ("target=/a,uid=1", "uid not allowed for \"bind\" type mounts"),
            ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
            ("type=cache,target=/a,uid=x", "invalid value x for uid"),
            ("type=cache,target=/a,required", "unexpected key 'required' for mount type 'cache'"),
            ("type=cache,size=1", "unexpected key 'size' for mount type 'cache'"),
            ("type=tmpfs,size=lots", "invalid value for size: lots"),
            ("type=bind,target=/a,ro=maybe", "invalid value for ro: maybe"),
            ("type=bind,target", "invalid field 'target' must be a key=value pair"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,src=b", "both source and id can't be set"),
            ("type=secret,id=a,from=b", "secret mount should not have a from"),
            ("type=bind,sharing=shared", "invalid cache sharing set for bind mount"),
            ("", "failed to parse csv mounts: EOF"),
            ("type=\"bind\"", "failed to parse csv mounts: bare \" in non-quoted-field"),
        ] {
            assert_eq!(plain(value).unwrap_err(), message, "{value}");
        }
    }

    #[test]
    fn variables_are_left_for_later() {
        for value in ["type=$t,mode=0755", "type=cache,target=$x,uid=$y,sharing=${s}", "type=secret,id=$id"] {
            assert_eq!(check(value), [], "{value}");
        }
        let wrong = &check("type=cache,tarket=$x")[0];
        assert_eq!((wrong.range.clone(), wrong.replacement.as_deref()), (11..17, Some("target")));
        assert_eq!(check("type=cache,mode=9,uid=x").len(), 2);
        let mount = Mount::read("type=cache,target=$HOME", &|text| Ok(text.replace("$HOME", "/root"))).unwrap();
        assert_eq!(mount.target.as_deref(), Some("/root"));
    }
}
