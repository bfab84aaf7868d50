//! Which settings of `/proc/sys` are a container's own: those of a namespace that it has. All others are the host's.

/// The settings of an IPC namespace, but for `fs.mqueue`.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The namespaces that are the container's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    pub ipc: bool,
    pub net: bool,
    /// Whether the domain name may be set by its setting, as runc allows.
    pub uts: bool,
}

/// Refuses the setting `name` unless it belongs to one of the namespaces, in runc's words. Slashes are the other way to
/// write the dots.
pub(super) fn judge(name: &str, own: Own) -> Result<(), String> {
    let dotted = name.replace('/', ".");
    if dotted.split('.').any(str::is_empty) {
        return Err(format!("invalid sysctl name: \"{name}\""));
    }
    let is_ipc = OF_IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.");
    let is_net = dotted.starts_with("net.");
    if is_net && !own.net {
        return Err(format!("sysctl \"{name}\" not allowed in host network namespace"));
    }
    let is_own = is_net || (is_ipc && own.ipc) || (dotted == "kernel.domainname" && own.uts);
    if is_own { Ok(()) } else { Err(format!("sysctl \"{name}\" is not in a separate kernel namespace")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, own: Own, expected: Result<(), &str>) {
        assert_eq!(judge(name, own), expected.map_err(str::to_owned));
    }

    const ALL: Own = Own { ipc: true, net: true, uts: true };

    #[test]
    fn those_of_its_namespaces_are_its_own() {
        for name in ["kernel.sem", "kernel/shmmax", "fs.mqueue.msg_max", "net.ipv4.ip_forward", "net/core/somaxconn"] {
            check(name, ALL, Ok(()));
        }
        check("kernel.domainname", ALL, Ok(()));
    }

    #[test]
    fn those_of_the_host_are_refused() {
        let none = Own { ipc: false, net: false, uts: false };
        check("kernel.panic", ALL, Err("sysctl \"kernel.panic\" is not in a separate kernel namespace"));
        check("kernel.hostname", ALL, Err("sysctl \"kernel.hostname\" is not in a separate kernel namespace"));
        check("kernel.sem", none, Err("sysctl \"kernel.sem\" is not in a separate kernel namespace"));
        check("kernel.domainname", none, Err("sysctl \"kernel.domainname\" is not in a separate kernel namespace"));
        check("net.core.somaxconn", none, Err("sysctl \"net.core.somaxconn\" not allowed in host network namespace"));
        check("net/../kernel/panic", ALL, Err("invalid sysctl name: \"net/../kernel/panic\""));
        check(".kernel.panic", ALL, Err("invalid sysctl name: \".kernel.panic\""));
    }
}
