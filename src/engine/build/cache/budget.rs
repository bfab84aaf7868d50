//! Which entries of the cache have to go: the budget's rules, and those of `docker builder prune`. Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::shelf::Entry;
use crate::engine::filters::parse_go_duration;

/// What nobody used for so long goes, beyond the reserve (BuildKit's default policy: 60 days).
const KEEP_FOR: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the disk.
    Percent(u8),
}

impl Amount {
    fn of(self, disk: &Disk) -> u64 {
        match self {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => disk.total / 100 * u64::from(percent),
        }
    }
}

/// What the cache may keep; enforced after each build, oldest-used first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So much stays, however old and however full the disk.
    pub reserved: Amount,
    /// More than this does not stay; no limit where `None`.
    pub max_used: Option<Amount>,
    /// So much of the disk is to be free.
    pub min_free: Option<Amount>,
    /// What was of no use for so long goes, beyond the reserve; stays for ever where `None`.
    pub keep_for: Option<Duration>,
}

/// Why a text is no budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "build cache {text:?}: {reason}; written like reserve=10%,max=60%,free=20%,age=60d, each a size, a part of the disk or none"
)]
pub struct BudgetError {
    text: String,
    reason: String,
}

impl Budget {
    /// Reads `reserve=10%,max=20GB,free=none,age=30d`; what is not named stays at its default. A size alone is `max`.
    ///
    /// # Errors
    /// [`BudgetError`] names what can't be read.
    pub fn from_setting(text: &str) -> Result<Self, BudgetError> {
        let refused = |reason: String| BudgetError { text: text.to_owned(), reason };
        let mut budget = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or(("max", part));
            let amount = || match value {
                "none" => Ok(None),
                _ => amount(value).map(Some).ok_or_else(|| refused(format!("{value:?} is no size"))),
            };
            match name {
                "reserve" => budget.reserved = amount()?.unwrap_or(Amount::Bytes(0)),
                "max" => budget.max_used = amount()?,
                "free" => budget.min_free = amount()?,
                "age" if value == "none" => budget.keep_for = None,
                "age" => {
                    let age = age(value).ok_or_else(|| refused(format!("{value:?} is no time")))?;
                    budget.keep_for = Some(age);
                }
                other => return Err(refused(format!("{other:?} is not known"))),
            }
        }
        // What may be kept at most is not reserved beyond that.
        if let (Some(Amount::Bytes(max)), Amount::Percent(_)) = (budget.max_used, budget.reserved)
            && !text.contains("reserve=")
        {
            budget.reserved = Amount::Bytes(max);
        }
        Ok(budget)
    }
}

/// `10%`, `512MB`, `2.5GiB`, `1000`.
fn amount(text: &str) -> Option<Amount> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.to_ascii_lowercase();
    let (power, base) = match unit.strip_suffix("ib") {
        Some(unit) => (unit, 1024_u64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000),
    };
    let factor = base.checked_pow(match power {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    })?;
    let number: f64 = number.parse().ok()?;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // sizes of disks
    Some(Amount::Bytes((number * factor as f64) as u64))
}

/// `60d`, or a Go duration.
fn age(text: &str) -> Option<Duration> {
    match text.strip_suffix('d') {
        Some(days) => days.parse::<u32>().ok().map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
        None => parse_go_duration(text),
    }
}

impl Default for Budget {
    /// BuildKit's: a tenth of the disk is the cache's own, it never takes more than six tenths, and leaves two free.
    fn default() -> Self {
        Self {
            reserved: Amount::Percent(10),
            max_used: Some(Amount::Percent(60)),
            min_free: Some(Amount::Percent(20)),
            keep_for: Some(KEEP_FOR),
        }
    }
}

/// The disk that the cache is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::build) struct Disk {
    /// Bytes it has.
    pub total: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// One way to choose. Without a space it means everything that qualifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine::build) struct Rule {
    /// Only what was last of use before.
    pub unused_since: Option<Timestamp>,
    /// Stop at so many bytes left; with the other two, never go below.
    pub reserved: u64,
    /// Stop at so many bytes left.
    pub max_used: Option<u64>,
    /// Stop as soon as so much of the disk is free.
    pub min_free: Option<u64>,
}

impl Budget {
    /// Its rules, to be applied one after the other.
    pub(in crate::engine::build) fn rules(&self, disk: &Disk, now: Timestamp) -> Vec<Rule> {
        let reserved = self.reserved.of(disk);
        let cutoff = |age: Duration| now.checked_sub(SignedDuration::try_from(age).ok()?).ok();
        let by_age = self.keep_for.and_then(cutoff);
        let by_age = by_age.map(|cutoff| Rule { unused_since: Some(cutoff), reserved, ..Rule::default() });
        let by_size = (self.max_used.is_some() || self.min_free.is_some()).then(|| Rule {
            reserved,
            // With the reserve as the only limit everything above it would go.
            max_used: Some(self.max_used.map_or(u64::MAX, |amount| amount.of(disk))),
            min_free: self.min_free.map(|amount| amount.of(disk)),
            ..Rule::default()
        });
        by_age.into_iter().chain(by_size).collect()
    }
}

impl Rule {
    /// How many of `total` bytes may stay.
    fn keeps(&self, total: u64, disk: &Disk) -> u64 {
        let mut keeps = self.max_used.unwrap_or(if self.min_free.is_some() { u64::MAX } else { 0 });
        if let Some(wanted) = self.min_free {
            keeps = keeps.min(total.saturating_sub(wanted.saturating_sub(disk.free)));
        }
        keeps.max(self.reserved)
    }
}

/// The places in `entries` of those that `rule` lets go, in the order they are to go: the least recently used first, what
/// stands on an entry before the entry itself. `qualifies` is asked for each; what is in use never goes.
pub(in crate::engine::build) fn select(
    entries: &[Entry],
    rule: &Rule,
    disk: &Disk,
    qualifies: impl Fn(&Entry) -> bool,
) -> Vec<usize> {
    let used = last_uses(entries);
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| {
        let created = entries.get(*at).map(|entry| entry.created);
        (used.get(*at).copied(), std::cmp::Reverse(created))
    });
    let mut storages: HashMap<&str, usize> = HashMap::new();
    let mut total = 0;
    for entry in entries.iter().filter(|entry| !entry.shared) {
        let count = storages.entry(storage(entry)).or_default();
        *count += 1;
        total += if *count == 1 { entry.size } else { 0 };
    }
    let keeps = rule.keeps(total, disk);
    let mut chosen = Vec::new();
    for at in order {
        let Some(entry) = entries.get(at) else { continue };
        let is_limited = rule.reserved > 0 || rule.max_used.is_some() || rule.min_free.is_some();
        if is_limited && total <= keeps {
            break;
        }
        let is_recent = rule.unused_since.is_some_and(|cutoff| used.get(at).is_some_and(|used| *used >= cutoff));
        // Letting go what an image has too frees nothing, so no limit of size asks for it.
        let is_vain = entry.shared && is_limited;
        if entry.in_use || is_recent || is_vain || !qualifies(entry) {
            continue;
        }
        chosen.push(at);
        if !entry.shared
            && let Some(count) = storages.get_mut(storage(entry))
        {
            *count -= 1;
            total -= if *count == 0 { entry.size } else { 0 };
        }
    }
    chosen
}

fn storage(entry: &Entry) -> &str {
    if entry.storage.is_empty() { &entry.id } else { &entry.storage }
}

/// When each was last of use, what stands on it included: a layer under another one is needed whenever that is.
fn last_uses(entries: &[Entry]) -> Vec<Timestamp> {
    let places: HashMap<&str, usize> = entries.iter().enumerate().map(|(at, entry)| (entry.id.as_str(), at)).collect();
    let mut used: Vec<Timestamp> = entries.iter().map(|entry| entry.used.unwrap_or(entry.created)).collect();
    let mut open: Vec<usize> = (0..entries.len()).collect();
    while let Some(at) = open.pop() {
        let (Some(entry), Some(time)) = (entries.get(at), used.get(at).copied()) else { continue };
        for parent in entry.parents.iter().filter_map(|parent| places.get(parent.as_str())) {
            if let Some(known) = used.get_mut(*parent).filter(|known| **known < time) {
                *known = time;
                open.push(*parent);
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::build::cache::EntryKind;

    const DISK: Disk = Disk { total: 1000, free: 500 };

    fn entry(id: &str, size: u64, used: i64) -> Entry {
        Entry {
            id: id.to_owned(),
            kind: EntryKind::Regular,
            description: String::new(),
            parents: Vec::new(),
            size,
            created: Timestamp::UNIX_EPOCH,
            used: Timestamp::from_second(used).ok(),
            uses: 0,
            in_use: false,
            shared: false,
            storage: String::new(),
        }
    }

    fn chosen(entries: &[Entry], rule: Rule, disk: &Disk) -> Vec<String> {
        select(entries, &rule, disk, |_| true).into_iter().map(|at| entries[at].id.clone()).collect()
    }

    #[test]
    fn without_a_limit_all_goes_but_what_is_in_use() {
        let busy = Entry { in_use: true, ..entry("busy", 5, 1) };
        let entries = [entry("new", 10, 9), busy, entry("old", 10, 2)];
        assert_eq!(chosen(&entries, Rule::default(), &DISK), ["old", "new"]);
    }

    #[test]
    fn the_least_recently_used_goes_until_the_rest_fits() {
        let entries = [entry("c", 30, 3), entry("a", 30, 1), entry("b", 30, 2)];
        let max = |bytes| Rule { max_used: Some(bytes), ..Rule::default() };
        assert_eq!(chosen(&entries, max(60), &DISK), ["a"]);
        assert_eq!(chosen(&entries, max(59), &DISK), ["a", "b"]);
        assert_eq!(chosen(&entries, max(90), &DISK), Vec::<&str>::new());
        assert_eq!(chosen(&entries, Rule { reserved: 60, ..Rule::default() }, &DISK), ["a"]);
        assert_eq!(chosen(&entries, Rule { reserved: 60, ..max(10) }, &DISK), ["a"], "the reserve stays");
        let free = Rule { min_free: Some(520), ..Rule::default() };
        assert_eq!(chosen(&entries, free, &DISK), ["a"]);
        assert_eq!(chosen(&entries, free, &Disk { free: 520, ..DISK }), Vec::<&str>::new());
    }

    #[test]
    fn what_another_entry_stands_on_is_as_young_as_that_one() {
        let below = Entry { created: Timestamp::from_second(1).unwrap(), ..entry("below", 30, 1) };
        let above = Entry {
            parents: vec!["below".into()],
            created: Timestamp::from_second(2).unwrap(),
            ..entry("above", 30, 9)
        };
        let entries = [below, above, entry("other", 30, 5)];
        let rule = Rule { max_used: Some(70), ..Rule::default() };
        assert_eq!(chosen(&entries, rule, &DISK), ["other"]);
        assert_eq!(chosen(&entries, Rule::default(), &DISK), ["other", "above", "below"]);
    }

    #[test]
    fn bytes_that_stay_anyway_do_not_count() {
        let shared = Entry { shared: true, ..entry("shared", 900, 1) };
        let twin = |id: &str, used| Entry { storage: "layer".into(), ..entry(id, 40, used) };
        let entries = [shared, twin("a", 2), twin("b", 3)];
        let max = |bytes| Rule { max_used: Some(bytes), ..Rule::default() };
        assert_eq!(chosen(&entries, max(40), &DISK), Vec::<&str>::new());
        assert_eq!(chosen(&entries, max(39), &DISK), ["a", "b"]);
    }

    #[test]
    fn a_budget_can_be_written() {
        let read = |text: &str| Budget::from_setting(text).map_err(|error| error.to_string());
        assert_eq!(read(""), Ok(Budget::default()));
        let written = read("reserve=1GiB,max=2.5GB,free=none,age=30d").unwrap();
        assert_eq!((written.reserved, written.max_used), (Amount::Bytes(1 << 30), Some(Amount::Bytes(2_500_000_000))));
        assert_eq!((written.min_free, written.keep_for), (None, Some(Duration::from_secs(30 * 24 * 3600))));
        let alone = read("20MB").unwrap();
        assert_eq!((alone.reserved, alone.max_used), (Amount::Bytes(20_000_000), Some(Amount::Bytes(20_000_000))));
        assert_eq!(read("age=36h,max=50%").unwrap().max_used, Some(Amount::Percent(50)));
        for (text, reason) in
            [("max=many", "\"many\" is no size"), ("size=1", "\"size\" is not known"), ("age=x", "\"x\" is no time")]
        {
            assert!(read(text).unwrap_err().starts_with(&format!("build cache {text:?}: {reason}; ")));
        }
        assert!(read("101%").is_err());
    }

    #[test]
    fn the_default_budget_is_buildkits() {
        let now = Timestamp::from_second(100 * 24 * 3600).unwrap();
        let day = 24 * 3600;
        let old = entry("old", 300, 10 * day);
        let entries = [old, entry("new", 300, 99 * day)];
        let apply = |disk: &Disk| -> Vec<Vec<String>> {
            Budget::default().rules(disk, now).into_iter().map(|rule| chosen(&entries, rule, disk)).collect()
        };
        assert_eq!(apply(&DISK), [vec!["old".to_owned()], vec![]]);
        let small = Disk { total: 900, free: 500 };
        assert_eq!(apply(&small), [vec!["old".to_owned()], vec!["old".to_owned()]]);
        let roomy = Disk { total: 100_000, free: 90_000 };
        assert_eq!(apply(&roomy), [Vec::<String>::new(), vec![]], "below the reserve nothing is too old");
    }
}
