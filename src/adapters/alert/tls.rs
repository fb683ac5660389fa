//! Whom to believe over TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::Failed;

/// Believes the certificates of this file (PEM), or the system's. Reads files: not for the thread
/// that waits for answers.
pub fn client(ca: Option<&Path>) -> Result<ClientConfig, Failed> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let failed = |why: &dyn std::fmt::Display| {
                Failed::now(format!("{} holds no certificates: {why}", path.display()))
            };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|why| failed(&why))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|why| failed(&why))?;
                roots.add(certificate).map_err(|why| failed(&why))?;
            }
            if roots.is_empty() {
                return Err(failed(&"none was found"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = "the system has no certificates to believe; install ca-certificates, \
                           or write ca = \"…\"";
                return Err(Failed::now(why));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failed::now)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
