//! The arguments of ps, as far as `docker top` passes them on: which columns, whether threads, which processes.
//!
//! ps reads three dialects: `-ef` (System V), `aux` (BSD), `--sort` (GNU). What is no System V option is tried as BSD's
//! with the dash left out, which is why `ps -aux` works. Which processes there are to choose from is the container's to
//! say.

use super::ps_columns::{Column, find};
use super::ps_order::{Forest, Order};
use crate::engine::EngineError;

/// What is to be shown.
#[derive(Default)]
pub(super) struct Wish {
    pub columns: Vec<Shown>,
    /// A row for each thread.
    pub threads: bool,
    pub only: Only,
    /// What the rows are sorted by, the first the most important; by ID where that leaves them alike.
    pub order: Vec<Order>,
    pub forest: Option<Forest>,
}

/// A column that was chosen.
pub(super) struct Shown {
    pub column: &'static Column,
    pub title: String,
    /// `:20` after its name.
    pub width: Option<usize>,
}

/// Which processes; an empty list is no choice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Only {
    pub pids: Vec<u32>,
    pub names: Vec<String>,
    pub users: Vec<String>,
}

/// What the words have said so far.
#[derive(Debug, Default, Clone)]
struct Said {
    layout: Layout,
    is_full: bool,
    is_extra_full: bool,
    has_resident: bool,
    threads: Option<Threads>,
    has_label: bool,
    has_processor: bool,
    /// Items of `-o`; with their titles.
    formats: Vec<String>,
    /// Items of `-O`.
    extra: Vec<String>,
    without_titles: bool,
    pids: Vec<u32>,
    names: Vec<String>,
    users: Vec<String>,
    order: Vec<Order>,
    forest: Option<Forest>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Layout {
    #[default]
    Short,
    Long,
    Jobs,
    Bsd,
    BsdUser,
    BsdLong,
    BsdJobs,
    BsdMemory,
    BsdSignals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    Lwp,
    Spid,
}

/// Reads ps's arguments; none are `-ef`.
///
/// # Errors
/// `System` with ps's words, as dockerd passes them on.
pub(super) fn read(ps_args: &str) -> Result<Wish, EngineError> {
    let words: Vec<&str> = ps_args.split_whitespace().collect();
    let words = if words.is_empty() { vec!["-ef"] } else { words };
    let said = said(&words).map_err(|error| EngineError::system(format!("ps: error: {error}")))?;
    let columns = chosen(&said)?;
    if said.without_titles || !columns.iter().any(|shown| shown.title == "PID") {
        return Err(EngineError::system("Couldn't find PID field in ps output"));
    }
    let only = Only { pids: said.pids, names: said.names, users: said.users };
    Ok(Wish { columns, threads: said.threads.is_some(), only, order: said.order, forest: said.forest })
}

fn said(words: &[&str]) -> Result<Said, String> {
    let mut said = Said::default();
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        if let Some(long) = word.strip_prefix("--") {
            gnu(&mut said, long, &mut rest)?;
        } else if let Some(letters) = word.strip_prefix('-') {
            let (mut tried, mut following) = (said.clone(), rest.clone());
            match system_v(&mut tried, letters, &mut following) {
                Ok(()) => (said, rest) = (tried, following),
                Err(refusal) => bsd(&mut said, letters, &mut rest).map_err(|_| refusal)?,
            }
        } else {
            bsd(&mut said, word, &mut rest)?;
        }
    }
    Ok(said)
}

fn gnu<'a>(said: &mut Said, word: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let mut value = || {
        let value = value.or_else(|| rest.next()).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| format!("{name} must be followed by something"))
    };
    match name {
        "format" => said.formats.push(value()?),
        "pid" | "quick-pid" => said.pids.extend(pids(&value()?)?),
        "user" | "User" => said.users.extend(list(&value()?)),
        "no-headers" | "no-heading" | "noheaders" | "noheader" | "no-header" => said.without_titles = true,
        "context" => said.has_label = true,
        "sort" => said.order.extend(Order::read(&value()?)?),
        "cols" | "columns" | "width" | "rows" | "lines" => drop(value()?),
        "forest" => said.forest = Some(Forest::Drawn),
        "headers" | "heading" | "cumulative" => {}
        "info" | "version" | "help" => said.without_titles = true,
        _ => return Err("unknown gnu long option".to_owned()),
    }
    Ok(())
}

fn system_v<'a>(said: &mut Said, letters: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
        match letter {
            'A' | 'e' | 'a' | 'd' | 'c' | 'w' | 'm' => {}
            'H' => said.forest = Some(Forest::Indented),
            'f' => said.is_full = true,
            'F' => (said.is_full, said.is_extra_full) = (true, true),
            'l' => said.layout = Layout::Long,
            'j' => said.layout = Layout::Jobs,
            'y' => said.has_resident = true,
            'L' => said.threads = Some(Threads::Lwp),
            'T' => said.threads = Some(Threads::Spid),
            'M' | 'Z' => said.has_label = true,
            'P' => said.has_processor = true,
            'V' => said.without_titles = true,
            'o' | 'O' | 'p' | 'q' | 'C' | 'u' | 'U' => {
                let value = if attached.is_empty() { rest.next() } else { Some(attached) };
                return valued(said, letter, value);
            }
            _ => return Err("unsupported SysV option".to_owned()),
        }
    }
    Ok(())
}

fn bsd<'a>(said: &mut Said, letters: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    if letters.starts_with(|first: char| first.is_ascii_digit()) {
        said.pids.extend(pids(letters)?);
        return Ok(());
    }
    if said.layout == Layout::Short {
        said.layout = Layout::Bsd;
    }
    for (at, letter) in letters.char_indices() {
        let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
        match letter {
            'a' | 'x' | 'g' | 'r' | 'T' | 'c' | 'e' | 'w' | 'm' | 'n' | 'S' => {}
            'f' => said.forest = Some(Forest::Drawn),
            'u' => said.layout = Layout::BsdUser,
            'l' => said.layout = Layout::BsdLong,
            'j' => said.layout = Layout::BsdJobs,
            'v' => said.layout = Layout::BsdMemory,
            's' => said.layout = Layout::BsdSignals,
            'H' => said.threads = Some(Threads::Lwp),
            'M' | 'Z' => said.has_label = true,
            'h' | 'L' | 'V' => said.without_titles = true,
            'k' | 'O' | 'o' | 'p' | 'q' | 'U' => {
                let value = if attached.is_empty() { rest.next() } else { Some(attached) };
                // BSD's O is a format, or an order in letters
                if let ('O', Some(order)) = (letter, value.and_then(Order::in_letters)) {
                    said.order.extend(order);
                    return Ok(());
                }
                return valued(said, letter, value);
            }
            _ => return Err("unsupported option (BSD syntax)".to_owned()),
        }
    }
    Ok(())
}

/// An option that takes a value: the rest of its word, or the next one.
fn valued(said: &mut Said, letter: char, value: Option<&str>) -> Result<(), String> {
    let value = value.filter(|value| !value.is_empty());
    match (letter, value) {
        ('o', Some(value)) => said.formats.push(value.to_owned()),
        ('O', Some(value)) => said.extra.push(value.to_owned()),
        ('o' | 'O', None) => return Err(format!("format specification must follow -{letter}")),
        ('p' | 'q', Some(value)) => said.pids.extend(pids(value)?),
        ('p' | 'q', None) => return Err("list of process IDs must follow -p".to_owned()),
        ('k', Some(value)) => said.order.extend(Order::read(value)?),
        ('k', None) => return Err("long sort specification must follow 'k'".to_owned()),
        ('C', Some(value)) => said.names.extend(list(value)),
        ('C', None) => return Err("list of command names must follow -C".to_owned()),
        // `-aux` is three options of BSD's, unless there is a user called x
        ('u', Some("x" | "xw" | "xww" | "xf")) | ('u' | 'U', None) => return Err("user name does not exist".to_owned()),
        ('u' | 'U', Some(value)) => said.users.extend(list(value)),
        _ => {}
    }
    Ok(())
}

fn list(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

fn pids(text: &str) -> Result<Vec<u32>, String> {
    let number = |one: String| one.parse().map_err(|_| "process ID list syntax error".to_owned());
    list(text).into_iter().map(number).collect()
}

/// The columns, each as `name`, or `name=TITLE` where its title is another than its own.
fn chosen(said: &Said) -> Result<Vec<Shown>, EngineError> {
    let items: Vec<String> = if !said.formats.is_empty() {
        said.formats.iter().flat_map(|format| items(format)).collect()
    } else if !said.extra.is_empty() {
        let more = said.extra.iter().flat_map(|format| items(format));
        let end = ["s", "tty=TTY", "time", "args"].map(str::to_owned);
        std::iter::once("pid".to_owned()).chain(more).chain(end).collect()
    } else {
        layout(said).split(' ').map(str::to_owned).collect()
    };
    items.iter().map(|item| shown(item)).collect()
}

/// The items of a format; the title after `=` goes on to the end.
fn items(format: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = format;
    while !rest.is_empty() {
        let end = rest.find([',', ' ', '=']).unwrap_or(rest.len());
        if rest.get(end..).is_some_and(|tail| tail.starts_with('=')) {
            found.push(rest.to_owned());
            break;
        }
        found.push(rest.get(..end).unwrap_or_default().to_owned());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    found.retain(|item| !item.is_empty());
    found
}

fn shown(item: &str) -> Result<Shown, EngineError> {
    let (name, title) = item.split_once('=').map_or((item, None), |(name, title)| (name, Some(title)));
    let (name, width) = name.split_once(':').map_or((name, None), |(name, width)| (name, Some(width)));
    let unknown = || EngineError::system(format!("ps: error: unknown user-defined format specifier \"{name}\""));
    let column = find(&name.to_ascii_lowercase()).ok_or_else(unknown)?;
    let width = width.map(|width| width.parse().map_err(|_| unknown())).transpose()?;
    Ok(Shown { column, title: title.unwrap_or(column.title).to_owned(), width })
}

fn layout(said: &Said) -> String {
    let text = match (said.layout, said.is_full, said.threads) {
        (Layout::Short, true, _) if said.is_extra_full => {
            "user=UID pid ppid c sz rss psr stime tty=TTY time cmd".to_owned()
        }
        (Layout::Short, true, None) => "user=UID pid ppid c stime tty=TTY time cmd".to_owned(),
        (Layout::Short, true, Some(Threads::Lwp)) => "user=UID pid ppid lwp c nlwp stime tty=TTY time cmd".to_owned(),
        (Layout::Short, true, Some(Threads::Spid)) => "user=UID pid lwp=SPID ppid c stime tty=TTY time cmd".to_owned(),
        (Layout::Short, false, None) => "pid tty=TTY time ucmd".to_owned(),
        (Layout::Short, false, Some(Threads::Lwp)) => "pid lwp tty=TTY time ucmd".to_owned(),
        (Layout::Short, false, Some(Threads::Spid)) => "pid lwp=SPID tty=TTY time ucmd".to_owned(),
        (Layout::Long, is_full, threads) => long(said.has_resident, is_full, threads),
        (Layout::Jobs, false, _) => "pid pgid sid tty=TTY time ucmd".to_owned(),
        (Layout::Jobs, true, _) => "user=UID pid ppid pgid sid c stime tty=TTY time cmd".to_owned(),
        (Layout::Bsd, ..) => "pid tty=TTY stat bsdtime args".to_owned(),
        (Layout::BsdUser, ..) => "user pid %cpu %mem vsz rss tty=TTY stat bsdstart bsdtime args".to_owned(),
        (Layout::BsdLong, ..) => "f uid pid ppid priority ni vsz rss wchan stat tty=TTY bsdtime args".to_owned(),
        (Layout::BsdJobs, ..) => "ppid pid pgid sid tty=TTY tpgid stat uid bsdtime args".to_owned(),
        (Layout::BsdMemory, ..) => "pid tty=TTY stat bsdtime maj_flt trs drs rss %mem args".to_owned(),
        (Layout::BsdSignals, ..) => "uid pid pending blocked ignored caught stat tty=TTY bsdtime args".to_owned(),
    };
    let text = if said.has_processor { text.replacen("pid", "pid psr", 1) } else { text };
    if said.has_label { format!("label {text}") } else { text }
}

fn long(has_resident: bool, is_full: bool, threads: Option<Threads>) -> String {
    let (flags, size) = if has_resident { ("", "rss sz") } else { ("f ", "addr sz") };
    let (user, command) = if is_full { ("user=UID", "stime tty=TTY time cmd") } else { ("uid", "tty=TTY time ucmd") };
    let (lwp, nlwp) = if threads == Some(Threads::Lwp) { (" lwp", " nlwp") } else { ("", "") };
    format!("{flags}s {user} pid ppid{lwp} c{nlwp} opri ni {size} wchan {command}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(ps_args: &str) -> String {
        match read(ps_args) {
            Ok(wish) => wish.columns.iter().map(|shown| shown.title.clone()).collect::<Vec<_>>().join(" "),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn titles_are_those_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (ps_args, expected) in [
            ("", full),
            ("-ef", full),
            ("-efww --forest --sort=-pid", full),
            ("aux", user),
            ("-aux", user),
            ("u", user),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-x", "PID TTY STAT TIME COMMAND"),
            ("-A", "PID TTY TIME CMD"),
            ("-eLf", "UID PID PPID LWP C NLWP STIME TTY TIME CMD"),
            ("-T", "PID SPID TTY TIME CMD"),
            ("-F", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
            ("-l", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
            ("-elf", "F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD"),
            ("-ej", "PID PGID SID TTY TIME CMD"),
            ("-Z", "LABEL PID TTY TIME CMD"),
            ("l", "F UID PID PPID PRI NI VSZ RSS WCHAN STAT TTY TIME COMMAND"),
            ("j", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
            ("v", "PID TTY STAT TIME MAJFL TRS DRS RSS %MEM COMMAND"),
            ("s", "UID PID PENDING BLOCKED IGNORED CAUGHT STAT TTY TIME COMMAND"),
            ("-o pid,comm=NAME,x", "PID NAME,x"),
            ("-eo pid,user:20,cmd", "PID USER CMD"),
            ("-opid -o args", "PID COMMAND"),
            ("ax --format=pid,lstart", "PID STARTED"),
            ("-O ni", "PID NI S TTY TIME COMMAND"),
            ("-o pid,euser,tid,minflt", "PID EUSER TID MINFLT"),
        ] {
            assert_eq!(titles(ps_args), expected, "{ps_args:?}");
        }
    }

    #[test]
    fn refusals_are_those_of_ps_and_of_dockerd() {
        let no_pid = "Couldn't find PID field in ps output";
        for (ps_args, expected) in [
            ("-o user", no_pid),
            ("-o pid=", no_pid),
            ("-e --no-headers", no_pid),
            ("-o pid h", no_pid),
            ("L", no_pid),
            ("-o pid,colour", "ps: error: unknown user-defined format specifier \"colour\""),
            ("-o", "ps: error: format specification must follow -o"),
            ("xyz", "ps: error: unsupported option (BSD syntax)"),
            ("-Q", "ps: error: unsupported SysV option"),
            ("--badopt", "ps: error: unknown gnu long option"),
            ("aux --sort colour", "ps: error: unknown sort specifier"),
            ("ax k", "ps: error: long sort specification must follow 'k'"),
            ("-p x", "ps: error: process ID list syntax error"),
        ] {
            assert_eq!(titles(ps_args), expected, "{ps_args:?}");
        }
    }

    #[test]
    fn processes_can_be_chosen() {
        let only = |ps_args: &str| read(ps_args).map(|wish| wish.only).unwrap_or_default();
        assert_eq!(only("-fp 1,2").pids, [1, 2]);
        assert_eq!(only("-C sh,sleep").names, ["sh", "sleep"]);
        assert_eq!(only("-u root -o pid").users, ["root"]);
        assert_eq!(only("-ef"), Only::default());
    }
}
