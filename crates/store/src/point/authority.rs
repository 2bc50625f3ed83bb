//! Points behind a URL, those whose certificate an authority of the house signed among them.

use std::time::Duration;

use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig, aws::AmazonS3Builder,
    http::HttpBuilder, path::Path as Key,
};

use super::{Point, is_folder};
use crate::OpenPointError;

/// How long a server that is busy, or not there, is asked for one thing.
const PATIENCE: Duration = Duration::from_secs(10);

impl Point {
    /// Opens a URL as [`Point::open`] does, and believes certificates these authorities signed: PEM, one or more.
    /// A folder needs none.
    pub fn open_with_authority<I>(
        location: &str,
        settings: I,
        authorities: &[u8],
    ) -> Result<Self, OpenPointError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        if is_folder(location) {
            return Self::open(location, settings);
        }
        let certificates = Certificate::from_pem_bundle(authorities)
            .map_err(|source| OpenPointError::Authority { source })?;
        if certificates.is_empty() {
            return Err(OpenPointError::NoAuthority);
        }
        Self::remote(location, settings, certificates)
    }

    pub(super) fn remote<I>(
        location: &str,
        settings: I,
        authorities: Vec<Certificate>,
    ) -> Result<Self, OpenPointError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let refuse = |source| OpenPointError::Location { location: location.to_owned(), source };
        let url: url::Url = location.parse().map_err(|_| refuse(None))?;
        let (scheme, root) =
            ObjectStoreScheme::parse(&url).map_err(|error| refuse(Some(error.into())))?;
        let root = Key::parse(root).map_err(|error| refuse(Some(error.into())))?;
        // Integrity comes from the hashes; a share in the house network has no certificate.
        let client = authorities
            .into_iter()
            .fold(ClientOptions::new().with_allow_http(true), ClientOptions::with_root_certificate);
        // A busy server is asked again for a while; how often does not matter.
        let retry = RetryConfig {
            max_retries: usize::MAX,
            retry_timeout: PATIENCE,
            ..RetryConfig::default()
        };
        let store: Box<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Http => {
                let base = &url[..url::Position::BeforePath];
                let builder =
                    HttpBuilder::new().with_url(base).with_client_options(client).with_retry(retry);
                Box::new(builder.build().map_err(|source| refuse(Some(source)))?)
            }
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::new()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_url(location);
                let builder =
                    settings.into_iter().fold(builder, |builder, (name, value)| {
                        match name.to_ascii_lowercase().parse() {
                            Ok(key) if name.to_ascii_lowercase().starts_with("aws_") => {
                                builder.with_config(key, value)
                            }
                            _ => builder,
                        }
                    });
                Box::new(builder.build().map_err(|source| refuse(Some(source)))?)
            }
            _ => return Err(refuse(None)),
        };
        Self::new(store.into(), root, None)
    }
}
