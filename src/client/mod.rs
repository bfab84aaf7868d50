//! Docker Engine API client in bollard's shapes.
