//! Encrypted connections, asked for as libpq has it (PostgreSQL manual, 34.1.2 and 34.19).

use std::{path::Path, sync::Arc};

use percent_encoding::percent_decode_str;
use postgres::{Config, config::SslMode};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{StorageError, storage::failed};

const DOING: &str = "reading its address";

/// What a URL says: where the database is, and whom to believe, if somebody has to be.
pub(super) fn read(url: &str) -> Result<(Config, Option<MakeRustlsConnect>), StorageError> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let mut authority = None;
    let mut mode = None;
    let mut rest = Vec::new();
    for word in query.split('&').filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "sslrootcert" => authority = Some(value),
            "sslmode" => mode = Some(value),
            _ => rest.push(word),
        }
    }
    let plain =
        if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    let mut config: Config = plain.parse().map_err(failed(DOING))?;
    let refuse = |why: String| failed(DOING)(why);
    match (mode.as_deref(), &authority) {
        (None | Some("verify-full"), Some(_)) => config.ssl_mode(SslMode::Require),
        (None | Some("disable"), None) => config.ssl_mode(SslMode::Disable),
        (Some("require" | "verify-ca" | "verify-full"), None) => {
            return Err(refuse("say whose signature counts: `sslrootcert=FILE`".to_owned()));
        }
        (Some(mode), _) => {
            let why = format!(
                "`sslmode={mode}` would believe servers nobody vouches for: `sslmode=verify-full&sslrootcert=FILE`"
            );
            return Err(refuse(why));
        }
    };
    let tls = authority.map(|file| connector(Path::new(&file))).transpose()?;
    Ok((config, tls))
}

fn connector(file: &Path) -> Result<MakeRustlsConnect, StorageError> {
    let mut roots = RootCertStore::empty();
    let cannot = |error| {
        let why =
            format!("`{}`, whose signatures are to count, cannot be read: {error}", file.display());
        failed(DOING)(why)
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(cannot)?;
    for certificate in certificates {
        roots.add(certificate.map_err(cannot)?).map_err(failed(DOING))?;
    }
    if roots.is_empty() {
        return Err(failed(DOING)(format!("there is no certificate in `{}`", file.display())));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed(DOING))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::read;

    fn refused(url: &str) -> String {
        match read(url) {
            Ok(_) => String::new(),
            Err(error) => model::with_causes(&error),
        }
    }

    #[test]
    fn who_wants_to_be_sure_says_of_whom() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let why = refused(&format!("postgres://site@db/top?sslmode={mode}"));
            assert!(why.contains("sslrootcert=FILE"), "{why}");
        }
        let why = refused("postgres://site@db/top?sslmode=prefer");
        assert!(why.contains("nobody vouches"), "{why}");
        let why = refused("postgres://site@db/top?sslrootcert=%2Fno%2Fsuch");
        assert!(why.contains("`/no/such`"), "{why}");
        assert_eq!(refused("postgres://site@/top?host=/run/postgresql"), "");
        assert_eq!(refused("postgres://site@db/top?sslmode=disable&connect_timeout=3"), "");
    }
}
