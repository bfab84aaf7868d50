//! Distribution client: resolve, authenticate, pull.
