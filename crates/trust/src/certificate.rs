//! Words signed by somebody whose certificate is known, beside the roles of a repository: what a site says to its clients and children.

use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, aws_lc_rs::ECDSA_P256_SHA256};

/// What is signed for a purpose: it is never taken for what was signed for another.
pub fn for_purpose(purpose: &str, word: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), b"\n", word].concat()
}

/// Whether the key in a certificate (PEM) signed a word for a purpose: ECDSA on P-256 with SHA-256 (RFC 5480, FIPS 186-5), the
/// signature as ASN.1 in hexadecimal digits.
pub fn has_signed(certificate: &str, purpose: &str, word: &[u8], signature: &str) -> bool {
    let signed = || {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let signature = from_hex(signature)?;
        let word = for_purpose(purpose, word);
        certificate.verify_signature(ECDSA_P256_SHA256, &word, &signature).ok()
    };
    signed().is_some()
}

/// Whether an authority (PEM) signed a certificate (PEM) of a client, for the key with these public bytes. `at` is any time at which it
/// is to count, in seconds since 1970.
pub fn has_certified(authority: &str, certificate: &str, public_key: &[u8], at: u64) -> bool {
    let certified = || {
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).ok()?;
        let anchor = anchor_from_trusted_cert(&authority).ok()?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
        let usage = KeyUsage::client_auth();
        certificate
            .verify_for_usage(&[ECDSA_P256_SHA256], &[anchor], &[], at, usage, None, None)
            .ok()?;
        certificate.subject_public_key_info().as_ref().ends_with(public_key).then_some(())
    };
    !public_key.is_empty() && certified().is_some()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(byte).collect()
}
