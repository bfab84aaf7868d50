//! The line form of our own profile in `assets/seccomp.rules`, which explains it.

use super::profile::{Action, Comparison, Condition, Profile, Rule, Test};
use crate::engine::oci::CapSet;

/// Parses a profile.
pub(super) fn parse(text: &str) -> Result<Profile, String> {
    let mut profile = Profile { otherwise: Action::KillProcess, covers_compat: true, rules: Vec::new() };
    for line in logical_lines(text) {
        match line.strip_prefix("default ") {
            Some(action) => profile.otherwise = parse_action(action)?,
            None => profile.rules.push(parse_rule(&line)?),
        }
    }
    Ok(profile)
}

/// Lines without comments, those that begin with blanks joined to the one before.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.trim().to_owned()),
        }
    }
    lines
}

fn parse_rule(line: &str) -> Result<Rule, String> {
    let (head, names) = line.split_once(": ").ok_or_else(|| format!("no names: {line}"))?;
    let mut parts: Vec<&str> = head.split(" | ").collect();
    let action = parts.pop().unwrap_or_default();
    let (action, test) = action.split_once(" if ").map_or((action, None), |(action, test)| (action, Some(test)));
    Ok(Rule {
        conditions: parts.into_iter().map(parse_condition).collect::<Result<_, _>>()?,
        action: parse_action(action)?,
        tests: test.map(parse_test).transpose()?.into_iter().collect(),
        names: names.split_whitespace().map(str::to_owned).collect(),
    })
}

fn parse_action(text: &str) -> Result<Action, String> {
    match text.split_once(' ') {
        None if text == "allow" => Ok(Action::Allow),
        Some(("errno", number)) => number.parse().map(Action::Errno).map_err(|_| format!("no errno: {number}")),
        _ => Err(format!("unknown action: {text}")),
    }
}

fn parse_condition(text: &str) -> Result<Condition, String> {
    let capability = |name: &str| CapSet::parse(name).ok_or_else(|| format!("unknown capability: {name}"));
    match text.split_once(' ') {
        Some(("cap", name)) => capability(name).map(Condition::Has),
        Some(("no-cap", name)) => capability(name).map(Condition::HasNot),
        Some(("arch", names)) => Ok(Condition::Machine(names.split(' ').map(str::to_owned).collect())),
        Some(("kernel", version)) => {
            let numbers = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            numbers
                .map(|(major, minor)| Condition::Kernel(major, minor))
                .ok_or_else(|| format!("no version: {version}"))
        }
        _ => Err(format!("unknown condition: {text}")),
    }
}

fn parse_test(text: &str) -> Result<Test, String> {
    let wrong = || format!("unknown test: {text}");
    let words: Vec<&str> = text.split(' ').collect();
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| wrong()),
        None => text.parse().map_err(|_| wrong()),
    };
    let (argument, comparison) = match words.as_slice() {
        [argument, "==", value] => (argument, Comparison::Equal(number(value)?)),
        [argument, "<", value] => (argument, Comparison::Less(number(value)?)),
        [argument, ">", value] => (argument, Comparison::Greater(number(value)?)),
        [argument, "&", mask, "==", value] => (argument, Comparison::Masked(number(mask)?, number(value)?)),
        _ => return Err(wrong()),
    };
    let (is_wide, index) = match (argument.strip_prefix("arg"), argument.strip_prefix("int")) {
        (Some(index), _) => (true, index),
        (_, Some(index)) => (false, index),
        _ => return Err(wrong()),
    };
    let argument = index.parse().ok().filter(|index| *index < 6).ok_or_else(wrong)?;
    Ok(Test { argument, is_wide, comparison })
}
