//! Who is whom on the wire: a site is its children's authority, and knows its parent by that one's.
//!
//! Certificates do not expire, because clocks lie: whose key counts is said by the parent's tables.

use std::{sync::Arc, time::Duration};

use deployment::{ClientId, client_host_name};
use policy::SiteCode;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
    SigningKey as _,
};
use rustls::{
    DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::{Folder, SiteError, chance, folder::write_durably};

/// The name a site has in certificates.
pub(crate) fn host_name(code: &SiteCode) -> String {
    deployment::site_host_name(code)
}

/// The site a name in a certificate stands for.
fn code_of(name: &str) -> Option<SiteCode> {
    let code = name.strip_prefix("site-")?.strip_suffix("-0.packhorse")?;
    SiteCode::new(&code.to_ascii_uppercase()).ok()
}

/// A public key on the curve P-256, as bytes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads 130 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 130 || !text.starts_with("04") {
            return None;
        }
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.chunks(2).map(byte).collect::<Option<_>>().map(Self)
    }

    /// A key's public half, as text.
    pub(crate) fn text_of(key: &KeyPair) -> String {
        chance::hex(key.public_key_raw())
    }

    /// Its fingerprint: what the parent's tables know a child by.
    pub(crate) fn fingerprint(&self) -> String {
        model::Hash::of(&self.subject_public_key_info()).to_string()
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A site's own authority.
pub(crate) struct Authority {
    code: SiteCode,
    key: KeyPair,
    certificate: String,
}

/// Who speaks at the other end of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The code in its certificate.
    pub(crate) code: SiteCode,
    /// The fingerprint of its key.
    pub(crate) key: String,
}

/// Reads a key of a folder, made if it is not there.
pub(crate) fn key(path: &std::path::Path) -> Result<KeyPair, SiteError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(KeyPair::from_pem(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(SiteError::file("making", folder))?;
            }
            write_durably(path, key.serialize_pem().as_bytes(), 0o600)?;
            Ok(key)
        }
        Err(error) => Err(SiteError::file("reading", path)(error)),
    }
}

impl Authority {
    /// The authority in a site's folder, made at its first use.
    pub(crate) fn of(folder: &Folder, code: &SiteCode) -> Result<Self, SiteError> {
        let own = folder.path().join("authority");
        let key = key(&own.join("key.pem"))?;
        let path = own.join("certificate.pem");
        let certificate = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = authority_params(code)?.self_signed(&key)?.pem();
                write_durably(&path, text.as_bytes(), 0o644)?;
                text
            }
            Err(error) => return Err(SiteError::file("reading", path)(error)),
        };
        Ok(Self { code: code.clone(), key, certificate })
    }

    /// What children pin.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a word a courier carries.
    pub(crate) fn sign(&self, word: &[u8]) -> Result<String, SiteError> {
        sign(&self.key, word)
    }

    /// Signs the policy document of a client.
    pub(crate) fn sign_policy(&self, document: &[u8]) -> Result<String, SiteError> {
        sign_for(&self.key, deployment::POLICY_PURPOSE, document)
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, SiteError> {
        Ok(Issuer::new(authority_params(&self.code)?, &self.key))
    }

    /// A certificate for a child's key.
    pub(crate) fn certify(&self, child: &SiteCode, key: &PublicKey) -> Result<String, SiteError> {
        let params = member_params(child, ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(params.signed_by(key, &self.issuer()?)?.pem())
    }

    /// A certificate for a client's key, until then: seconds since 1970.
    pub(crate) fn certify_client(
        &self,
        client: ClientId,
        key: &PublicKey,
        until: i64,
    ) -> Result<String, SiteError> {
        let mut params = CertificateParams::new(vec![client_host_name(client)])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, client.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after =
            time::OffsetDateTime::from_unix_timestamp(until).unwrap_or(params.not_after);
        Ok(params.signed_by(key, &self.issuer()?)?.pem())
    }

    /// How this site answers children and clients: with a certificate of its own authority, asking for one of the same.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, SiteError> {
        let key = KeyPair::generate()?;
        let params = member_params(&self.code, ExtendedKeyUsagePurpose::ServerAuth)?;
        let own = params.signed_by(&key, &self.issuer()?)?;
        let root = CertificateDer::from_pem_slice(self.certificate.as_bytes())
            .map_err(|error| SiteError::Tls(rustls::Error::General(error.to_string())))?;
        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // Who is not enrolled yet has no certificate: only enrolment answers without one.
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| SiteError::Tls(rustls::Error::General(error.to_string())))?;
        let verifier = Arc::new(OutOfTimeToo(verifier));
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der().clone()], private)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Takes certificates that ran out as well: whose counts is said by the tables, and who is refused hears why.
#[derive(Debug)]
struct OutOfTimeToo(Arc<dyn ClientCertVerifier>);

/// A time at which every certificate of ours counts, since 1970: 2000-01-01.
const EARLY: Duration = Duration::from_hours(262_968);

impl ClientCertVerifier for OutOfTimeToo {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let early = UnixTime::since_unix_epoch(EARLY);
        self.0.verify_client_cert(end_entity, intermediates, early)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// What couriers carry is signed for.
const COURIER: &str = "packhorse courier word";

/// Signs a word a courier carries, with any key of ours; in hexadecimal digits.
pub(crate) fn sign(key: &KeyPair, word: &[u8]) -> Result<String, SiteError> {
    sign_for(key, COURIER, word)
}

fn sign_for(key: &KeyPair, purpose: &str, word: &[u8]) -> Result<String, SiteError> {
    let signature = key.sign(&trust::for_purpose(purpose, word))?;
    Ok(chance::hex(&signature))
}

/// A certificate a key signs for itself: it says whose it claims to be, and nothing more.
pub(crate) fn own_certificate(code: &SiteCode, key: &KeyPair) -> Result<String, SiteError> {
    Ok(member_params(code, ExtendedKeyUsagePurpose::ClientAuth)?.self_signed(key)?.pem())
}

/// Whether a certificate is this site's, for this key.
pub(crate) fn is_of(certificate: &str, code: &SiteCode, key: &KeyPair) -> bool {
    let own = PublicKey::parse(&PublicKey::text_of(key)).map(|key| key.fingerprint());
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok();
    let peer = der.and_then(|der| peer(&der));
    peer.is_some_and(|peer| peer.code == *code && Some(peer.key) == own)
}

/// Who signed a word, if the key in the certificate did.
pub(crate) fn verify(certificate: &str, word: &[u8], signature: &str) -> Option<Peer> {
    verify_authority(certificate, word, signature)?;
    peer(&CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?)
}

/// Whether an authority signed a word.
pub(crate) fn verify_authority(certificate: &str, word: &[u8], signature: &str) -> Option<()> {
    trust::has_signed(certificate, COURIER, word, signature).then_some(())
}

/// Who a verified certificate is of.
pub(crate) fn peer(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let code = parsed.valid_dns_names().find_map(code_of)?;
    let key = model::Hash::of(parsed.subject_public_key_info().as_ref()).to_string();
    Some(Peer { code, key })
}

fn authority_params(code: &SiteCode) -> Result<CertificateParams, SiteError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Packhorse site {code}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn member_params(
    code: &SiteCode,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, SiteError> {
    let mut params = CertificateParams::new(vec![host_name(code)])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, code.to_string());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use policy::SiteCode;
    use rcgen::KeyPair;
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::{Authority, PublicKey, code_of, host_name, peer};
    use crate::Folder;

    #[test]
    fn a_certificate_says_whose_it_is() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path());
        let top = SiteCode::new("TOP").unwrap();
        let authority = Authority::of(&folder, &top).unwrap();
        let child = SiteCode::new("B-").unwrap();
        let key = PublicKey::parse(&PublicKey::text_of(&KeyPair::generate().unwrap())).unwrap();
        let pem = authority.certify(&child, &key).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let peer = peer(&der).unwrap();
        assert_eq!((peer.code, peer.key), (child, key.fingerprint()));
        let again = Authority::of(&folder, &top).unwrap();
        assert_eq!(again.certificate(), authority.certificate(), "it is made once");
    }

    #[test]
    fn names_and_codes_stand_for_each_other() {
        for code in ["TOP", "B-", "A1-B2"] {
            let code = SiteCode::new(code).unwrap();
            assert_eq!(code_of(&host_name(&code)), Some(code));
        }
        for wrong in ["top", "site--0.packhorse", "site-con-0.packhorse"] {
            assert_eq!(code_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for wrong in ["", "04", &"04".repeat(65).replace("04", "0x"), &"é4".repeat(44)] {
            assert_eq!(PublicKey::parse(wrong), None, "{wrong}");
        }
    }
}
