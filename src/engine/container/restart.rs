//! Restart policies as the API names them, and what the engine has to do with them itself.

use bollard_stubs::models as docker;
use docker::RestartPolicyNameEnum as Name;

use crate::engine::shim::RestartPolicy;

/// The policy that `asked` stands for.
pub fn policy_of(asked: Option<&docker::RestartPolicy>) -> RestartPolicy {
    let Some(asked) = asked else { return RestartPolicy::No };
    let limit = asked.maximum_retry_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    match asked.name {
        Some(Name::ALWAYS) => RestartPolicy::Always,
        Some(Name::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
        Some(Name::ON_FAILURE) => RestartPolicy::OnFailure { limit },
        Some(Name::EMPTY | Name::NO) | None => RestartPolicy::No,
    }
}

/// Whether a stopped container is to be started when its engine opens. Unlike dockerd, which opens once a boot, an
/// engine of ours opens with every screen: so what a person stopped stays stopped under every policy.
pub fn starts_with_engine(policy: RestartPolicy, exit_code: i64, restarts: u32, is_stopped_by_person: bool) -> bool {
    !is_stopped_by_person && policy.wants_again(exit_code, restarts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_stopped_stays_stopped() {
        assert!(!starts_with_engine(RestartPolicy::Always, 137, 0, true));
        assert!(starts_with_engine(RestartPolicy::Always, 0, 7, false));
        assert!(!starts_with_engine(RestartPolicy::No, 1, 0, false));
        assert!(!starts_with_engine(RestartPolicy::OnFailure { limit: 2 }, 1, 2, false), "it had its chances");
    }

    #[test]
    fn the_apis_names_are_understood() {
        let policy = |name, count| policy_of(Some(&docker::RestartPolicy { name, maximum_retry_count: count }));
        assert_eq!(policy(Some(Name::ON_FAILURE), Some(3)), RestartPolicy::OnFailure { limit: 3 });
        assert_eq!(policy(Some(Name::ON_FAILURE), None), RestartPolicy::OnFailure { limit: 0 });
        assert_eq!(policy(Some(Name::EMPTY), Some(0)), RestartPolicy::No);
        assert_eq!(policy_of(None), RestartPolicy::No);
    }
}
