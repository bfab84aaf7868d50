//! Arguments that nobody has to declare.

/// The proxy settings: as `--build-arg` they need no ARG, reach every RUN, stay out of the history and never count as a
/// difference.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Whether a variable is there without a declaration.
pub(super) fn is_predefined(name: &str) -> bool {
    name == "PATH" || PROXY_ARGS.contains(&name)
}
