//! From Docker's options to a launch plan; pure.
