//! TLS as a client: whom to trust, and in words what is wrong with a certificate.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::config::Tls;

/// Why there is nobody to trust.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or holds no certificate.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no certificates.
    #[error("this system trusts no certificate (package ca-certificates); write ca = \"/…\"")]
    NoSystem,
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(String),
}

/// What a client needs to connect; reads files, so it blocks.
///
/// # Errors
/// Whose certificates were to be trusted cannot be read.
pub fn client_config(tls: &Tls) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Library(error.to_string()))?;
    if !tls.verify {
        let any = Arc::new(Any(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth());
    }
    Ok(builder.with_root_certificates(roots(tls)?).with_no_client_auth())
}

fn roots(tls: &Tls) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            let wrong = |why: String| TrustError::File { path: path.clone(), why };
            let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(words(&error)))?;
            }
            if roots.is_empty() {
                return Err(wrong("it holds no certificate (PEM)".into()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TrustError::NoSystem);
            }
        }
    }
    Ok(roots)
}

/// What went wrong between client and server, for people.
#[must_use]
pub fn words(error: &Error) -> String {
    use CertificateError as C;
    let Error::InvalidCertificate(wrong) = error else { return error.to_string() };
    match wrong {
        C::Expired | C::ExpiredContext { .. } => "the certificate has expired".into(),
        C::NotValidYet | C::NotValidYetContext { .. } => "the certificate is not valid yet".into(),
        C::NotValidForName => "the certificate is for another name".into(),
        C::NotValidForNameContext { expected, presented } => format!(
            "the certificate is not for {} but for {}",
            expected.to_str(),
            if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") }
        ),
        C::UnknownIssuer => "the certificate is signed by nobody who is trusted".into(),
        C::Revoked => "the certificate was revoked".into(),
        C::BadEncoding => "the certificate is damaged".into(),
        C::BadSignature => "the certificate's signature is wrong".into(),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the certificate is that of a certificate authority: make one for the server \
             (openssl req -x509 … -addext basicConstraints=critical,CA:FALSE)"
                .into()
        }
        other => format!("the certificate is not accepted: {other}"),
    }
}

/// Trusts whoever is there: only that the server has the key of its certificate is proved.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
