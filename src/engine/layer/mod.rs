//! Layers: tar apply and diff, whiteouts, overlay stacks, chain IDs, safe paths.
