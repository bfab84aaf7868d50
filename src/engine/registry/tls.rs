//! TLS towards registries: the host's certificate roots, and those an administrator put aside for one registry.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::RegistryError;
use super::endpoint::Endpoint;

/// Where Docker, too, looks for the CA of one registry: `<folder>/<host:port>/*.crt`.
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// The TLS settings for one registry. A loopback registry is asked without TLS, so nothing is read for it.
pub(super) fn config(endpoint: &Endpoint) -> Result<rustls::ClientConfig, RegistryError> {
    let mut roots = RootCertStore::empty();
    if !endpoint.is_loopback {
        let native = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(native.certs);
        for certificate in own_certificates(&endpoint.host) {
            roots.add_parsable_certificates([certificate]);
        }
        if added == 0 && roots.is_empty() {
            return Err(RegistryError::Tls {
                reason: "this host has no certificate roots; install its package ca-certificates".to_owned(),
            });
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::Tls { reason: error.to_string() })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn own_certificates(host: &str) -> Vec<CertificateDer<'static>> {
    let Ok(entries) = fs::read_dir(Path::new(CERTIFICATES).join(host)) else { return Vec::new() };
    let files = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let certificates = files.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    certificates
        .filter_map(|path| CertificateDer::pem_file_iter(path).ok())
        .flat_map(|found| found.filter_map(Result::ok))
        .collect()
}
