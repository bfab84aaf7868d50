//! Where a build's result goes: `--output`, `--push` and `--load` as buildx reads them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use super::sink::Sink;

/// All outputs of a build.
#[derive(Default)]
pub struct Outputs {
    /// What the engine is asked for.
    pub asked: Vec<Asked>,
    /// Where what it sends goes, by the name it is asked by.
    pub sinks: HashMap<String, Sink>,
}

/// One output as the engine reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Asked {
    /// `image`, `docker`, `oci`, `local`, `tar` or `cacheonly`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its settings.
    pub attrs: BTreeMap<String, String>,
}

impl Outputs {
    /// Reads `--output`, `--push` and `--load`. `is_terminal` says whether standard output is one.
    ///
    /// # Errors
    /// What can't be read, or has no place to go.
    pub fn parse(texts: &[String], push: bool, load: bool, is_terminal: bool) -> anyhow::Result<Self> {
        let mut outputs = Outputs::default();
        for text in texts {
            outputs.add(text, is_terminal)?;
        }
        let is_image = |asked: &&mut Asked| asked.kind == "image";
        if push {
            match outputs.asked.iter_mut().find(is_image) {
                Some(image) => drop(image.attrs.insert("push".to_owned(), "true".to_owned())),
                None => outputs.asked.push(Asked::new("image", [("push", "true")])),
            }
        }
        if load && !outputs.asked.is_empty() && !outputs.has_image() {
            outputs.asked.push(Asked::new("docker", []));
        }
        if outputs.sinks.values().filter(|sink| **sink == Sink::Standard).count() > 1 {
            bail!("only one output can go to standard output");
        }
        Ok(outputs)
    }

    /// Whether the engine keeps an image of it.
    pub fn has_image(&self) -> bool {
        let is_kept =
            |asked: &Asked| matches!(asked.kind.as_str(), "image" | "docker") && !asked.attrs.contains_key("stream");
        self.asked.is_empty() || self.asked.iter().any(is_kept)
    }

    /// Whether an image comes of it, here or in an archive.
    pub fn has_image_id(&self) -> bool {
        self.has_image() || self.asked.iter().any(|asked| matches!(asked.kind.as_str(), "docker" | "oci"))
    }

    /// Whether a manifest comes of it, in an archive or a registry.
    pub fn has_manifest(&self) -> bool {
        let is_archive = |asked: &Asked| matches!(asked.kind.as_str(), "oci" | "docker");
        self.asked.iter().any(|it| it.is_pushed() || (is_archive(it) && it.attrs.contains_key("stream")))
    }

    /// Whether something goes to a registry, and no output says under which name.
    pub fn pushes_without_name(&self) -> bool {
        self.asked.iter().any(|asked| asked.is_pushed() && !asked.attrs.contains_key("name"))
    }

    fn add(&mut self, text: &str, is_terminal: bool) -> anyhow::Result<()> {
        let mut asked = Asked::read(text)?;
        let dest = asked.attrs.remove("dest");
        let is_folder = asked.kind == "local" || asked.attrs.get("tar").is_some_and(|value| value == "false");
        asked.attrs.remove("tar");
        let sink = match (asked.kind.as_str(), dest.as_deref()) {
            ("registry", None) => {
                asked.kind = "image".to_owned();
                asked.attrs.insert("push".to_owned(), "true".to_owned());
                None
            }
            ("image" | "docker" | "cacheonly", None) => None,
            ("image" | "cacheonly" | "registry", Some(_)) => bail!("--output {text}: type={} has no dest", asked.kind),
            (kind, None) if is_folder => bail!("--output {text}: dest is missing: type={kind},dest=DIR"),
            (_, Some("-")) if is_folder => bail!("--output {text}: a folder can't go to standard output"),
            (kind, None | Some("-")) if is_terminal => {
                bail!("--output {text}: a tar is no text for a terminal; type={kind},dest=FILE, or a pipe")
            }
            (_, None | Some("-")) => Some(Sink::Standard),
            (_, Some(dest)) if is_folder => Some(Sink::Folder(absolute(dest)?)),
            (_, Some(dest)) => Some(Sink::File(absolute(dest)?)),
        };
        if let Some(sink) = sink {
            sink.refuse_early()?;
            let name = self.sinks.len().to_string();
            asked.attrs.insert("stream".to_owned(), name.clone());
            self.sinks.insert(name, sink);
        }
        self.asked.push(asked);
        Ok(())
    }
}

impl Asked {
    fn is_pushed(&self) -> bool {
        let is_on = |value: &String| matches!(value.as_str(), "true" | "1");
        self.kind == "image" && self.attrs.get("push").is_some_and(is_on)
    }

    fn new<const N: usize>(kind: &str, attrs: [(&str, &str); N]) -> Self {
        let attrs = attrs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { kind: kind.to_owned(), attrs: attrs.into() }
    }

    fn read(text: &str) -> anyhow::Result<Self> {
        let fields = fields(text);
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            return Ok(match path.as_str() {
                "-" => Self::new("tar", [("dest", "-")]),
                path => Self::new("local", [("dest", path)]),
            });
        }
        let mut asked = Self { kind: String::new(), attrs: BTreeMap::new() };
        for field in &fields {
            match field.split_once('=') {
                Some(("type", kind)) => kind.clone_into(&mut asked.kind),
                Some((name, value)) => drop(asked.attrs.insert(name.to_owned(), value.to_owned())),
                None => bail!("--output {text}: {field} is no NAME=VALUE"),
            }
        }
        if asked.kind.is_empty() {
            bail!("--output {text}: its type is missing: type=image, local, tar, oci, docker or cacheonly");
        }
        Ok(asked)
    }
}

/// The fields of a CSV line; quotes keep a comma, as in `type=image,"name=a,b"`.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, fields.last_mut()) {
            ('"', Some(field)) if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            ('"', _) => is_quoted = !is_quoted,
            (',', _) if !is_quoted => fields.push(String::new()),
            (character, Some(field)) => field.push(character),
            (_, None) => {}
        }
    }
    fields
}

fn absolute(path: &str) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// Whether standard output is a terminal.
pub fn prints_to_terminal() -> bool {
    io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Outputs, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Outputs::parse(&texts, false, false, false).map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let outputs = parse(&["/tmp/none/out", "-", "type=image,\"name=a,b\",push=true", "type=registry"]).unwrap();
        assert_eq!(outputs.asked[0], Asked::new("local", [("stream", "0")]));
        assert_eq!(outputs.asked[1], Asked::new("tar", [("stream", "1")]));
        assert_eq!(outputs.asked[2], Asked::new("image", [("name", "a,b"), ("push", "true")]));
        assert_eq!(outputs.asked[3], Asked::new("image", [("push", "true")]));
        assert_eq!(outputs.sinks["0"], Sink::Folder("/tmp/none/out".into()));
        assert_eq!(outputs.sinks["1"], Sink::Standard);
        let outputs = parse(&["type=oci,dest=/tmp/x.tar", "type=oci,tar=false,dest=/tmp/none/layout"]).unwrap();
        assert_eq!(outputs.sinks["0"], Sink::File("/tmp/x.tar".into()));
        assert_eq!(outputs.sinks["1"], Sink::Folder("/tmp/none/layout".into()));
        assert!(!outputs.has_image() && outputs.has_image_id() && parse(&[]).unwrap().has_image());
    }

    #[test]
    fn what_has_no_place_to_go_is_refused() {
        let refused = |texts: &[&str]| parse(texts).err().unwrap();
        assert_eq!(refused(&["type=local"]), "--output type=local: dest is missing: type=local,dest=DIR");
        assert!(refused(&["dest=x,push=1"]).contains("its type is missing"));
        assert!(refused(&["type=image,dest=x"]).contains("has no dest"));
        assert!(refused(&["type=local,dest=-"]).contains("a folder can't go to standard output"));
        assert!(refused(&["-", "type=oci"]).contains("only one output"));
        assert!(refused(&["type=oci,dest=/"]).contains("a folder, and a file is to be written"));
        assert!(refused(&["/etc/passwd"]).contains("no folder, and files"));
        let to_terminal = Outputs::parse(&["-".to_owned()], false, false, true);
        assert!(to_terminal.err().unwrap().to_string().contains("no text for a terminal"));
    }

    #[test]
    fn push_and_load_join_what_is_asked() {
        let both = Outputs::parse(&["type=image,name=a".to_owned()], true, true, false).unwrap();
        assert_eq!(both.asked, [Asked::new("image", [("name", "a"), ("push", "true")])]);
        let loaded = Outputs::parse(&["type=oci,dest=/tmp/x".to_owned()], false, true, false).unwrap();
        assert_eq!(loaded.asked[1], Asked::new("docker", []));
        assert_eq!(Outputs::parse(&[], false, true, false).unwrap().asked, []);
    }
}
