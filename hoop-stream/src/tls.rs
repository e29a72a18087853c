//! TLS as sinks speak it and as the gRPC server does: rustls with ring, 1.3 and 1.2, nothing older.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::TlsConfig;

/// Why TLS cannot be set up. Begins with the field that is to blame.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("{field}: {path}: {source}", path = path.display())]
    File {
        /// The field that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `tls.cert` without `tls.key`, or the other way round.
    #[error("tls: cert and key belong together")]
    Half,
    /// No authority is configured and the system has none.
    #[error("tls.ca: is absent, and the system has no authorities")]
    NoAuthorities,
    /// Certificate and key do not fit, or an authority is none.
    #[error("tls: {0}")]
    Rustls(#[from] rustls::Error),
    /// The authorities for clients cannot be used.
    #[error("tls.client_ca: {0}")]
    ClientAuthorities(#[from] VerifierBuilderError),
}

/// A client's TLS.
///
/// # Errors
///
/// A file cannot be read, or certificate and key do not fit.
pub(crate) fn client(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let roots = match &config.ca {
        Some(path) => authorities("tls.ca", path)?,
        None => system_authorities()?,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = verifier
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier);
    Ok(match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates("tls.cert", cert)?, key_of("tls.key", key)?)?,
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(TlsError::Half),
    })
}

/// TLS that trusts nobody, for a client that speaks none.
pub(crate) fn none() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|error| unreachable!("ring has the default versions: {error}"))
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// A server's TLS that demands a certificate of every client.
///
/// # Errors
///
/// A file cannot be read, or certificate and key do not fit.
pub(crate) fn server(cert: &Path, key: &Path, client_ca: &Path) -> Result<ServerConfig, TlsError> {
    let roots = Arc::new(authorities("tls.client_ca", client_ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("tls.cert", cert)?, key_of("tls.key", key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A ticket would let a client in whose certificate has expired since.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authorities(field: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(field, path)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // What cannot be read of them is as if it were not there: nothing more is trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(roots)
}

fn certificates(
    field: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(field, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(bad_file(
            field,
            path,
            io::Error::other("has no certificate"),
        )),
        Err(error) => Err(bad_file(field, path, io::Error::other(error))),
    }
}

fn key_of(field: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(&read(field, path)?);
    key.map_err(|error| {
        let error = match error {
            pem::Error::NoItemsFound => io::Error::other("has no private key"),
            other => io::Error::other(other),
        };
        bad_file(field, path, error)
    })
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| bad_file(field, path, error))
}

fn bad_file(field: &'static str, path: &Path, source: io::Error) -> TlsError {
    TlsError::File {
        field,
        path: path.to_owned(),
        source,
    }
}
