//! What a seccomp profile says, whatever form it was written in.

use crate::engine::oci::CapSet;

/// A profile: rules, and what happens to calls that no rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub otherwise: Action,
    /// Whether programs of the 32-bit ABI are judged by the rules too; if not, they end at their first call.
    pub covers_compat: bool,
    pub rules: Vec<Rule>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Allow,
    Log,
    Errno(u16),
    Trace(u16),
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    /// The filter's return value (include/uapi/linux/seccomp.h).
    pub(super) const fn value(self) -> u32 {
        match self {
            Action::Allow => 0x7fff_0000,
            Action::Log => 0x7ffc_0000,
            Action::Trace(message) => 0x7ff0_0000 | message as u32,
            Action::Errno(errno) => 0x0005_0000 | errno as u32,
            Action::Trap => 0x0003_0000,
            Action::KillThread => 0x0000_0000,
            Action::KillProcess => 0x8000_0000,
        }
    }
}

/// One rule: under these conditions this happens to calls of these names whose arguments pass all tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub conditions: Vec<Condition>,
    pub action: Action,
    pub tests: Vec<Test>,
    pub names: Vec<String>,
}

/// When a rule holds at all; known when the filter is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The container has this capability.
    Has(CapSet),
    /// It has not.
    HasNot(CapSet),
    /// The machine is one of these, by Go's names.
    Machine(Vec<String>),
    /// It is none of these.
    NotMachine(Vec<String>),
    /// The kernel is at least this.
    Kernel(u32, u32),
    /// It is older than this.
    KernelBefore(u32, u32),
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    /// Which one, 0 to 5.
    pub argument: u8,
    /// Whether the upper 32 bits take part.
    pub is_wide: bool,
    pub comparison: Comparison,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// The bits of the first, masked out of the argument, are the second.
    Masked(u64, u64),
}

/// What conditions are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub capabilities: CapSet,
    pub kernel: (u32, u32),
}

/// This machine, by Go's name for it, as profiles use.
pub(super) const MACHINE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

impl Rule {
    pub(super) fn holds(&self, circumstances: &Circumstances) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Has(capability) => circumstances.capabilities.contains(*capability),
            Condition::HasNot(capability) => !circumstances.capabilities.contains(*capability),
            Condition::Machine(names) => names.iter().any(|name| name == MACHINE),
            Condition::NotMachine(names) => names.iter().all(|name| name != MACHINE),
            Condition::Kernel(major, minor) => circumstances.kernel >= (*major, *minor),
            Condition::KernelBefore(major, minor) => circumstances.kernel < (*major, *minor),
        })
    }
}
