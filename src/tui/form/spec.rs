//! From what was typed to what it means: ports, volumes, environment, commands, sizes. Pure.

use super::{FieldError, Form, Purpose};
use crate::tui::job::{Job, Target};

/// A port to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    pub address: Option<String>,
    /// `None`: the engine chooses.
    pub host: Option<u16>,
    /// `80/tcp`
    pub container: String,
}

/// A container to create and start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSpec {
    pub image: String,
    pub name: Option<String>,
    pub command: Vec<String>,
    pub ports: Vec<PortSpec>,
    /// As in `-v`.
    pub binds: Vec<String>,
    pub env: Vec<String>,
    pub network: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    pub restart: Option<String>,
    pub has_tty: bool,
    pub removes_itself: bool,
}

/// A volume to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    pub name: String,
    pub labels: Vec<(String, String)>,
}

/// A network to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    pub name: String,
    pub driver: String,
    pub subnet: Option<String>,
    pub is_internal: bool,
}

/// The job a filled form asks for.
///
/// # Errors
/// The first field that cannot be meant.
pub fn job(form: &Form) -> Result<Job, FieldError> {
    let at = |field: &'static str| move |message: String| FieldError { field, message };
    match &form.purpose {
        Purpose::Run => Ok(Job::Run(Box::new(run(form)?))),
        Purpose::Pull => Ok(Job::Pull { reference: reference(form.text("reference")).map_err(at("reference"))? }),
        Purpose::Rename(target) => {
            let name = name(form.text("name")).map_err(at("name"))?;
            Ok(Job::Rename { target: target.clone(), name })
        }
        Purpose::Tag(image) => {
            let reference = reference(form.text("reference")).map_err(at("reference"))?;
            Ok(Job::Tag { image: image.clone(), reference })
        }
        Purpose::CreateVolume => Ok(Job::CreateVolume(VolumeSpec {
            name: name(form.text("name")).map_err(at("name"))?,
            labels: labels(form.text("labels")).map_err(at("labels"))?,
        })),
        Purpose::CreateNetwork => Ok(Job::CreateNetwork(NetworkSpec {
            name: name(form.text("name")).map_err(at("name"))?,
            driver: form.text("driver").to_owned(),
            subnet: subnet(form.text("subnet")).map_err(at("subnet"))?,
            is_internal: form.is_on("internal"),
        })),
        Purpose::Connect(network) => {
            let container = name(form.text("container")).map_err(at("container"))?;
            Ok(Job::Connect { network: network.clone(), container: Target::new(container.clone(), container) })
        }
        Purpose::SaveLog => match form.text("path") {
            "" => Err(FieldError { field: "path", message: "a file is needed".to_owned() }),
            path => Ok(Job::SaveLog { path: path.to_owned(), text: String::new() }),
        },
    }
}

fn run(form: &Form) -> Result<RunSpec, FieldError> {
    let at = |field: &'static str| move |message: String| FieldError { field, message };
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(RunSpec {
        image: reference(form.text("image")).map_err(at("image"))?,
        name: match form.text("name") {
            "" => None,
            text => Some(name(text).map_err(at("name"))?),
        },
        command: words(form.text("command")).map_err(at("command"))?,
        ports: list(form.text("ports"))
            .map_err(at("ports"))?
            .iter()
            .map(|p| port(p))
            .collect::<Result<_, _>>()
            .map_err(at("ports"))?,
        binds: list(form.text("volumes"))
            .map_err(at("volumes"))?
            .iter()
            .map(|v| bind(v))
            .collect::<Result<_, _>>()
            .map_err(at("volumes"))?,
        env: list(form.text("env"))
            .map_err(at("env"))?
            .iter()
            .map(|e| env(e))
            .collect::<Result<_, _>>()
            .map_err(at("env"))?,
        network: optional(form.text("network")).filter(|network| network != "bridge"),
        memory: match form.text("memory") {
            "" => None,
            text => Some(memory(text).map_err(at("memory"))?),
        },
        restart: optional(form.text("restart")).filter(|policy| policy != "no"),
        has_tty: form.is_on("tty"),
        removes_itself: form.is_on("rm"),
    })
    .and_then(|spec| match (&spec.restart, spec.removes_itself) {
        (Some(_), true) => {
            Err(FieldError { field: "rm", message: "a container that restarts cannot also remove itself".to_owned() })
        }
        _ => Ok(spec),
    })
}

/// An image reference. Only what is certainly wrong is refused; the engine has the last word.
pub fn reference(text: &str) -> Result<String, String> {
    match text {
        "" => Err("an image is needed".to_owned()),
        _ if text.contains(char::is_whitespace) => Err("an image name has no spaces".to_owned()),
        _ if text.starts_with('-') || text.starts_with('/') || text.ends_with([':', '/', '@']) => {
            Err(format!("{text:?} is not an image name"))
        }
        _ => {
            let repository = text.split('@').next().unwrap_or(text);
            let path = repository.rsplit('/').next().unwrap_or(repository).split(':').next().unwrap_or("");
            if path.chars().any(char::is_uppercase) {
                return Err("the repository must be lower case".to_owned());
            }
            Ok(text.to_owned())
        }
    }
}

/// A name as Docker allows it.
pub fn name(text: &str) -> Result<String, String> {
    let is_first_right = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_rest_right = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match () {
        () if text.is_empty() => Err("a name is needed".to_owned()),
        () if !is_first_right => Err("a name begins with a letter or digit".to_owned()),
        () if !is_rest_right => Err("a name has only letters, digits, _ . -".to_owned()),
        () if text.len() < 2 => Err("a name has two characters at least".to_owned()),
        () => Ok(text.to_owned()),
    }
}

/// `8080:80`, `80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`.
pub fn port(text: &str) -> Result<PortSpec, String> {
    let wrong = || format!("{text:?}: write host:container, like 8080:80");
    let (rest, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(format!("{text:?}: the protocol is tcp, udp or sctp"));
    }
    let (rest, container) = rest.rsplit_once(':').map_or((None, rest), |(head, tail)| (Some(head), tail));
    let container: u16 = container.parse().map_err(|_| wrong())?;
    if container == 0 {
        return Err(wrong());
    }
    let container = format!("{container}/{protocol}");
    let Some(rest) = rest else { return Ok(PortSpec { address: None, host: None, container }) };
    let (address, host) = rest.rsplit_once(':').map_or((None, rest), |(head, tail)| (Some(head), tail));
    let address = address.map(|a| a.trim_start_matches('[').trim_end_matches(']'));
    if let Some(address) = address
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return Err(format!("{address:?} is not an address of this host"));
    }
    let host = match host {
        "" => None,
        host => Some(host.parse().map_err(|_| wrong())?),
    };
    Ok(PortSpec { address: address.map(str::to_owned), host, container })
}

fn bind(text: &str) -> Result<String, String> {
    let mut parts = text.split(':');
    let (first, second, third, more) = (parts.next().unwrap_or(""), parts.next(), parts.next(), parts.next());
    match (second, third, more) {
        (None, ..) if first.starts_with('/') => Ok(first.to_owned()),
        (None, ..) => Err(format!("{text:?}: write source:/path/in/container")),
        (_, _, Some(_)) => Err(format!("{text:?}: too many colons")),
        (Some(target), ..) if !target.starts_with('/') => {
            Err(format!("{text:?}: the path in the container begins with /"))
        }
        _ if first.is_empty() => Err(format!("{text:?}: the source is missing")),
        (Some(target), options, None) => {
            let source =
                if first.starts_with('.') || first.starts_with('~') { absolute(first)? } else { first.to_owned() };
            Ok(match options {
                Some(options) => format!("{source}:{target}:{options}"),
                None => format!("{source}:{target}"),
            })
        }
    }
}

/// Relative folders are meant from where the program was started.
fn absolute(path: &str) -> Result<String, String> {
    let path = match path.strip_prefix('~') {
        Some(rest) => format!("{}{rest}", std::env::var("HOME").unwrap_or_default()),
        None => path.to_owned(),
    };
    std::path::absolute(&path).map(|path| path.to_string_lossy().into_owned()).map_err(|e| format!("{path:?}: {e}"))
}

fn env(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() && !key.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(format!("{text:?}: write KEY=value")),
    }
}

fn labels(text: &str) -> Result<Vec<(String, String)>, String> {
    list(text)?
        .iter()
        .map(|label| match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{label:?}: write key=value")),
        })
        .collect()
}

fn subnet(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_right = text.split_once('/').is_some_and(|(address, bits)| {
        match (address.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
            (Ok(address), Ok(bits)) => bits <= if address.is_ipv4() { 32 } else { 128 },
            _ => false,
        }
    });
    if is_right { Ok(Some(text.to_owned())) } else { Err(format!("{text:?}: write it like 172.30.0.0/16")) }
}

/// Bytes: `512m`, `1.5g`, `1048576`.
pub fn memory(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?}: write it like 512m or 2g");
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches('b').trim_end_matches('i');
    let (number, unit) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 1u64 << 10),
        Some((at, 'm')) => (&lower[..at], 1 << 20),
        Some((at, 'g')) => (&lower[..at], 1 << 30),
        Some((at, 't')) => (&lower[..at], 1 << 40),
        _ => (lower, 1),
    };
    let value: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = value * unit as f64;
    match () {
        () if !bytes.is_finite() || bytes <= 0.0 => Err(wrong()),
        () if bytes < 6.0 * 1024.0 * 1024.0 => Err("Docker's least is 6m".to_owned()),
        () => Ok(bytes as i64),
    }
}

/// Entries between commas (or spaces), quotes kept together.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    split(text, |c| c == ',' || c.is_whitespace())
}

/// Words as a shell splits them: blanks, quotes, backslashes; nothing is expanded.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    split(text, char::is_whitespace)
}

fn split(text: &str, is_border: impl Fn(char) -> bool) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => {
                let next = chars.next().ok_or_else(|| "it ends with a backslash".to_owned())?;
                let word = word.get_or_insert_default();
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if is_border(c) => out.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    out.extend(word);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_every_spelling() {
        let spec = |address: Option<&str>, host, container: &str| {
            Ok(PortSpec { address: address.map(str::to_owned), host, container: container.to_owned() })
        };
        assert_eq!(port("80"), spec(None, None, "80/tcp"));
        assert_eq!(port("8080:80"), spec(None, Some(8080), "80/tcp"));
        assert_eq!(port("127.0.0.1::53/udp"), spec(Some("127.0.0.1"), None, "53/udp"));
        assert_eq!(port("[::1]:8080:80"), spec(Some("::1"), Some(8080), "80/tcp"));
        for wrong in ["x:80", "80:70000", "8080:80/http", "300.1.1.1:1:2", "0"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_keep_quotes_together() {
        assert_eq!(
            words("sh -c 'echo \"hi there\"' a\\ b \"\"").unwrap(),
            ["sh", "-c", "echo \"hi there\"", "a b", ""]
        );
        assert!(words("sh 'x").is_err());
        assert_eq!(list("A=1, B=\"x, y\" C=3").unwrap(), ["A=1", "B=x, y", "C=3"]);
    }

    #[test]
    fn sizes_volumes_and_names() {
        assert_eq!(memory("512m"), Ok(512 << 20));
        assert_eq!(memory("1.5GB"), Ok(3 << 29));
        assert!(memory("1k").unwrap_err().contains("6m"));
        assert_eq!(bind("data:/d:ro").as_deref(), Ok("data:/d:ro"));
        assert!(bind("./x:/y").unwrap().starts_with('/'));
        assert!(bind("data:relative").is_err() && bind("a:b:c:d").is_err());
        assert!(name("-x").is_err() && name("a b").is_err() && name("web-1").is_ok());
        assert!(reference("Nginx").is_err() && reference("Registry.example/nginx:1").is_ok());
    }

    #[test]
    fn an_error_stands_at_its_field() {
        let mut form = Form::run("nginx", vec![], vec!["bridge".into(), "shop".into()]);
        form.focus = 3;
        form.paste("8080:http");
        form.focus = 0;
        assert_eq!(form.key(crate::tui::keys::Key::parse("enter").unwrap()), super::super::Answer::Stay);
        assert_eq!(form.focus, 3);
        assert!(form.fields[3].error.as_ref().unwrap().contains("8080:80"));
    }
}
