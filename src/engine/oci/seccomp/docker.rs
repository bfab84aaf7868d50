//! Profiles in Docker's JSON form, as `--security-opt seccomp=FILE` sends them.

use serde::Deserialize;

use super::profile::{Action, Comparison, Condition, Profile, Rule, Test};
use crate::engine::oci::CapSet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Option<Vec<WrittenRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<WrittenTest>>,
    #[serde(default)]
    includes: Filters,
    #[serde(default)]
    excludes: Filters,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Filters {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenTest {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Parses a profile; what it says of architectures is left aside, since a filter here always covers this machine's.
pub(super) fn parse(json: &str) -> Result<Profile, String> {
    let written: Written = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let otherwise = action(&written.default_action, written.default_errno_ret)?;
    let rules = written.syscalls.unwrap_or_default().into_iter().map(rule).collect::<Result<_, _>>()?;
    Ok(Profile { otherwise, rules })
}

fn rule(written: WrittenRule) -> Result<Rule, String> {
    let mut conditions = Vec::new();
    for name in &written.includes.caps {
        conditions.push(Condition::Has(capability(name)?));
    }
    for name in &written.excludes.caps {
        conditions.push(Condition::HasNot(capability(name)?));
    }
    if !written.includes.arches.is_empty() {
        conditions.push(Condition::Machine(written.includes.arches));
    }
    if !written.excludes.arches.is_empty() {
        conditions.push(Condition::NotMachine(written.excludes.arches));
    }
    if let Some(version) = &written.includes.min_kernel {
        let numbers = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (major, minor) = numbers.ok_or_else(|| format!("invalid kernel version: {version}"))?;
        conditions.push(Condition::Kernel(major, minor));
    }
    let mut names = written.names;
    names.extend(written.name.filter(|name| !name.is_empty()));
    let tests = written.args.unwrap_or_default().iter().map(test).collect::<Result<_, _>>()?;
    Ok(Rule { conditions, action: action(&written.action, written.errno_ret)?, tests, names })
}

fn capability(name: &str) -> Result<CapSet, String> {
    CapSet::parse(name).ok_or_else(|| format!("unknown capability: {name}"))
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(1)),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRACE" => Action::Trace(errno.unwrap_or(1)),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        other => return Err(format!("unsupported action: {other}")),
    })
}

fn test(written: &WrittenTest) -> Result<Test, String> {
    if written.index > 5 {
        return Err(format!("invalid argument index: {}", written.index));
    }
    let comparison = match written.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal(written.value),
        "SCMP_CMP_NE" => Comparison::NotEqual(written.value),
        "SCMP_CMP_LT" => Comparison::Less(written.value),
        "SCMP_CMP_LE" => Comparison::LessOrEqual(written.value),
        "SCMP_CMP_GT" => Comparison::Greater(written.value),
        "SCMP_CMP_GE" => Comparison::GreaterOrEqual(written.value),
        "SCMP_CMP_MASKED_EQ" => Comparison::Masked(written.value, written.value_two),
        other => return Err(format!("unsupported comparison: {other}")),
    };
    Ok(Test { argument: written.index, is_wide: true, comparison })
}
