//! Carries out a launch plan: namespaces, mounts, cgroups, seccomp, capabilities, tty.
