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
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<WrittenArchitecture>>,
    #[serde(default)]
    syscalls: Option<Vec<WrittenRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenArchitecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

/// This machine and its 32-bit ABI, as profiles name them.
pub(super) const NATIVE: &str = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
pub(super) const COMPAT: &str = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86" } else { "SCMP_ARCH_ARM" };

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

/// Parses a profile. This machine's own ABI is always covered, the 32-bit one only if the profile names it; no profile
/// can open the x32 ABI.
pub(super) fn parse(json: &str) -> Result<Profile, String> {
    let written: Written = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let otherwise = action(&written.default_action, written.default_errno_ret)?;
    let covers_compat = covers_compat(&written)?;
    let rules: Vec<Vec<Rule>> =
        written.syscalls.unwrap_or_default().into_iter().map(rules_of).collect::<Result<_, _>>()?;
    Ok(Profile { otherwise, covers_compat, rules: rules.concat() })
}

fn covers_compat(written: &Written) -> Result<bool, String> {
    let listed = written.architectures.as_deref().unwrap_or_default();
    let mapped = written.arch_map.as_deref().unwrap_or_default();
    if !listed.is_empty() && !mapped.is_empty() {
        return Err("use either 'architectures' or 'archMap'".to_owned());
    }
    let own = mapped.iter().filter(|entry| entry.architecture == NATIVE);
    let mut named = listed.iter().chain(own.flat_map(|entry| entry.sub_architectures.iter().flatten()));
    Ok(named.any(|name| name == COMPAT))
}

/// One rule as it is written; several, each with one test, where an argument is tested more than once: such tests are
/// alternatives to Docker's runtimes, and profiles are written for those.
fn rules_of(written: WrittenRule) -> Result<Vec<Rule>, String> {
    let whole = rule(written)?;
    let repeats = whole
        .tests
        .iter()
        .enumerate()
        .any(|(at, test)| whole.tests.iter().take(at).any(|before| before.argument == test.argument));
    if !repeats {
        return Ok(vec![whole]);
    }
    Ok(whole.tests.iter().map(|test| Rule { tests: vec![*test], ..whole.clone() }).collect())
}

fn kernel(version: &str) -> Result<(u32, u32), String> {
    let numbers = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| format!("invalid kernel version: {version}"))
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
        let (major, minor) = kernel(version)?;
        conditions.push(Condition::Kernel(major, minor));
    }
    if let Some(version) = &written.excludes.min_kernel {
        let (major, minor) = kernel(version)?;
        conditions.push(Condition::KernelBefore(major, minor));
    }
    let name = written.name.filter(|name| !name.is_empty());
    if name.is_some() && !written.names.is_empty() {
        return Err("use either 'name' or 'names'".to_owned());
    }
    let names = name.map_or(written.names, |name| vec![name]);
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
