//! A profile as `linux.seccomp` of a bundle: what other runtimes compile themselves. Conditions are settled by then,
//! since the specification has none.

use serde_json::{Value, json};

use super::docker::{COMPAT, NATIVE};
use super::profile::{Action, Circumstances, Comparison, Profile, Rule, Test};

/// The lower half of an argument, for comparisons that look at no more of it.
const LOWER_HALF: u64 = 0xffff_ffff;

/// The rules that hold under `circumstances`.
pub(super) fn resolved(profile: &Profile, circumstances: &Circumstances) -> Value {
    let architectures: &[&str] = if profile.covers_compat { &[NATIVE, COMPAT] } else { &[NATIVE] };
    let mut written = json!({
        "defaultAction": name(profile.otherwise),
        "architectures": architectures,
        "syscalls": profile.rules.iter().filter(|rule| rule.holds(circumstances)).map(rule).collect::<Vec<_>>(),
    });
    if let Some(number) = number(profile.otherwise) {
        written["defaultErrnoRet"] = number.into();
    }
    written
}

fn rule(rule: &Rule) -> Value {
    let mut written = json!({"names": rule.names, "action": name(rule.action)});
    if let Some(number) = number(rule.action) {
        written["errnoRet"] = number.into();
    }
    if !rule.tests.is_empty() {
        written["args"] = rule.tests.iter().map(test).collect();
    }
    written
}

fn test(test: &Test) -> Value {
    let (op, value, value_two) = match (test.comparison, test.is_wide) {
        (Comparison::Equal(value), false) => ("SCMP_CMP_MASKED_EQ", LOWER_HALF, value),
        (Comparison::Masked(mask, value), false) => ("SCMP_CMP_MASKED_EQ", mask & LOWER_HALF, value),
        (Comparison::Equal(value), true) => ("SCMP_CMP_EQ", value, 0),
        (Comparison::Masked(mask, value), true) => ("SCMP_CMP_MASKED_EQ", mask, value),
        (Comparison::NotEqual(value), _) => ("SCMP_CMP_NE", value, 0),
        (Comparison::Less(value), _) => ("SCMP_CMP_LT", value, 0),
        (Comparison::LessOrEqual(value), _) => ("SCMP_CMP_LE", value, 0),
        (Comparison::Greater(value), _) => ("SCMP_CMP_GT", value, 0),
        (Comparison::GreaterOrEqual(value), _) => ("SCMP_CMP_GE", value, 0),
    };
    json!({"index": test.argument, "op": op, "value": value, "valueTwo": value_two})
}

const fn name(action: Action) -> &'static str {
    match action {
        Action::Allow => "SCMP_ACT_ALLOW",
        Action::Log => "SCMP_ACT_LOG",
        Action::Errno(_) => "SCMP_ACT_ERRNO",
        Action::Trace(_) => "SCMP_ACT_TRACE",
        Action::Trap => "SCMP_ACT_TRAP",
        Action::KillThread => "SCMP_ACT_KILL_THREAD",
        Action::KillProcess => "SCMP_ACT_KILL_PROCESS",
    }
}

const fn number(action: Action) -> Option<u16> {
    match action {
        Action::Errno(number) | Action::Trace(number) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_RULES, Filter, docker, rules};
    use super::*;
    use crate::engine::oci::CapSet;

    /// What another runtime compiles decides as ours does: back through the parser it is the same filter.
    #[track_caller]
    fn check(profile: &Profile, capabilities: CapSet) {
        let kernel = (6, 1);
        let written = resolved(profile, &Circumstances { capabilities, kernel }).to_string();
        let again = docker::parse(&written).unwrap();
        assert_eq!(again.covers_compat, profile.covers_compat);
        assert!(again.rules.iter().all(|rule| rule.conditions.is_empty()));
        let holding = profile.rules.iter().filter(|rule| rule.holds(&Circumstances { capabilities, kernel }));
        assert_eq!(holding.count(), again.rules.len());
        assert!(!Filter::compile(&again, capabilities, kernel).instructions().is_empty());
    }

    #[test]
    fn the_default_profile_survives() {
        let profile = rules::parse(DEFAULT_RULES).unwrap();
        check(&profile, CapSet::docker_default());
        check(&profile, CapSet::EMPTY);
        let written = resolved(&profile, &Circumstances { capabilities: CapSet::EMPTY, kernel: (6, 1) });
        assert_eq!((&written["defaultAction"], &written["defaultErrnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(1)));
    }

    #[test]
    fn a_persons_profile_survives() {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [NATIVE], "syscalls": [
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
             "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["bpf"], "action": "SCMP_ACT_KILL_PROCESS", "includes": {"caps": ["CAP_BPF"]}},
        ]});
        let profile = docker::parse(&profile.to_string()).unwrap();
        let again = resolved(&profile, &Circumstances { capabilities: CapSet::EMPTY, kernel: (6, 1) });
        assert_eq!(
            again["syscalls"],
            json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
                "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}])
        );
    }
}
