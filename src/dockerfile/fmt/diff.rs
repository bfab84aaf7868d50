//! Two texts as a unified diff, as `diff -u` and `git diff` print it.

/// How many equal lines are shown around a change.
const CONTEXT: usize = 3;

/// Above this many pairs of lines the middle is shown as replaced whole, rather than searched for the shortest change.
const MOST_PAIRS: usize = 16_000_000;

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Keep,
    Remove,
    Insert,
}

/// The changes that lead from `before` to `after`; empty where both are the same. `name` stands in the two head lines.
///
/// # Examples
/// ```
/// let diff = boxyard::dockerfile::fmt::unified_diff("Dockerfile", "from a\nRUN b\n", "FROM a\nRUN b\n");
/// assert_eq!(diff, "--- Dockerfile\n+++ Dockerfile (formatted)\n@@ -1,2 +1,2 @@\n-from a\n+FROM a\n RUN b\n");
/// ```
pub fn unified_diff(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let changes = changes(&old, &new);
    let mut out = format!("--- {name}\n+++ {name} (formatted)\n");
    for (first, last) in hunks(&changes) {
        hunk(&mut out, &changes, first, last, &old, &new);
    }
    out
}

fn changes(old: &[&str], new: &[&str]) -> Vec<Change> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut changes = vec![Change::Keep; head];
    if old.len().saturating_mul(new.len()) > MOST_PAIRS {
        changes.extend(old.iter().map(|_| Change::Remove).chain(new.iter().map(|_| Change::Insert)));
    } else {
        changes.extend(shortest(old, new));
    }
    changes.extend(std::iter::repeat_n(Change::Keep, tail));
    changes
}

/// The changes with the most lines kept.
fn shortest(old: &[&str], new: &[&str]) -> Vec<Change> {
    let width = new.len() + 1;
    // How many lines can be kept of old[i..] and new[j..].
    let mut kept = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            kept[i * width + j] = if old[i] == new[j] {
                kept[(i + 1) * width + j + 1] + 1
            } else {
                kept[(i + 1) * width + j].max(kept[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut changes = Vec::with_capacity(old.len() + new.len());
    while i < old.len() || j < new.len() {
        let change = if i < old.len() && j < new.len() && old[i] == new[j] {
            Change::Keep
        } else if j == new.len() || i < old.len() && kept[(i + 1) * width + j] >= kept[i * width + j + 1] {
            Change::Remove
        } else {
            Change::Insert
        };
        i += usize::from(change != Change::Insert);
        j += usize::from(change != Change::Remove);
        changes.push(change);
    }
    changes
}

/// The stretches of `changes` to show: changed lines and what stands around them.
fn hunks(changes: &[Change]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (at, _) in changes.iter().enumerate().filter(|(_, change)| **change != Change::Keep) {
        let (first, last) = (at.saturating_sub(CONTEXT), (at + CONTEXT + 1).min(changes.len()));
        match hunks.last_mut() {
            Some((_, end)) if *end >= first => *end = last,
            _ => hunks.push((first, last)),
        }
    }
    hunks
}

fn hunk(out: &mut String, changes: &[Change], first: usize, last: usize, old: &[&str], new: &[&str]) {
    let count = |changes: &[Change], without: Change| changes.iter().filter(|change| **change != without).count();
    let (before, shown) = (&changes[..first], &changes[first..last]);
    let (mut i, mut j) = (count(before, Change::Insert), count(before, Change::Remove));
    let (removed, inserted) = (count(shown, Change::Insert), count(shown, Change::Remove));
    let start = |at: usize, length: usize| if length == 0 { at } else { at + 1 };
    let line = format!("@@ -{},{removed} +{},{inserted} @@\n", start(i, removed), start(j, inserted));
    out.push_str(&line);
    for change in shown {
        let (sign, line) = match change {
            Change::Keep => (' ', old[i]),
            Change::Remove => ('-', old[i]),
            Change::Insert => ('+', new[j]),
        };
        i += usize::from(*change != Change::Insert);
        j += usize::from(*change != Change::Remove);
        out.push(sign);
        out.push_str(line);
        if !line.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_what_stands_around_them() {
        assert_eq!(unified_diff("f", "a\n", "a\n"), "");
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\nx";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\nx\n";
        assert_eq!(
            unified_diff("f", before, after),
            "--- f\n+++ f (formatted)\n@@ -2,9 +2,9 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n-x\n\\ No newline at end of file\n+x\n"
        );
        assert_eq!(unified_diff("f", "", "a\n"), "--- f\n+++ f (formatted)\n@@ -0,0 +1,1 @@\n+a\n");
    }

    #[test]
    fn far_changes_are_hunks_of_their_own() {
        let before: String = (0..40).map(|line| format!("{line}\n")).collect();
        let after = before.replace("5\n", "five\n");
        let diff = unified_diff("f", &before, &after);
        assert_eq!(diff.matches("@@ -").count(), 4, "{diff}");
    }
}
