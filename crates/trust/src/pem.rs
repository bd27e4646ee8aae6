//! PEM files: what is in them.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a text, in its order. What is damaged counts as not there.
pub(crate) fn certificates(text: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).map_while(Result::ok).collect()
}

/// The private keys of a text, in its order. What is damaged counts as not there.
pub(crate) fn private_keys(text: &[u8]) -> Vec<PrivateKeyDer<'static>> {
    PrivateKeyDer::pem_slice_iter(text).map_while(Result::ok).collect()
}

/// The first certificate of a PEM text: the one that a server shows for itself.
#[must_use]
pub fn server_certificate(text: &[u8]) -> Option<CertificateDer<'static>> {
    certificates(text).into_iter().next()
}
