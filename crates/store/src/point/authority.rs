//! Points behind a URL, those whose certificate an authority of the house signed among them.

use std::time::Duration;

#[cfg(feature = "s3")]
use object_store::aws::AmazonS3Builder;
use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig, http::HttpBuilder,
    path::Path as Key,
};
#[cfg(feature = "clouds")]
use object_store::{azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder};

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
        // What has a certificate and is no bucket this program knows is read as any other server is.
        let is_plain = url.scheme() == "https" && !knows(&scheme);
        let (scheme, root) = match Key::from_url_path(url.path()) {
            Ok(path) if is_plain => (ObjectStoreScheme::Http, path),
            _ => (scheme, root),
        };
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
            #[cfg(feature = "s3")]
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
                let builder = set(settings, "aws_", builder, AmazonS3Builder::with_config);
                let built = builder.with_url(location).build();
                Box::new(built.map_err(|source| refuse(Some(source)))?)
            }
            #[cfg(feature = "clouds")]
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::new();
                let builder = builder.with_client_options(client).with_retry(retry);
                let builder = set(settings, "azure_", builder, MicrosoftAzureBuilder::with_config);
                let built = builder.with_url(location).build();
                Box::new(built.map_err(|source| refuse(Some(source)))?)
            }
            #[cfg(feature = "clouds")]
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::new();
                let builder = builder.with_client_options(client).with_retry(retry);
                let builder =
                    set(settings, "google_", builder, GoogleCloudStorageBuilder::with_config);
                let built = builder.with_url(location).build();
                Box::new(built.map_err(|source| refuse(Some(source)))?)
            }
            #[cfg(not(feature = "s3"))]
            ObjectStoreScheme::AmazonS3 => return Err(not_built_in(location)),
            #[cfg(not(feature = "clouds"))]
            ObjectStoreScheme::MicrosoftAzure | ObjectStoreScheme::GoogleCloudStorage => {
                return Err(not_built_in(location));
            }
            _ => return Err(refuse(None)),
        };
        #[cfg(not(feature = "s3"))]
        drop(settings);
        Self::new(store.into(), root, None)
    }
}

/// Whether this program was built with what speaks to it.
fn knows(scheme: &ObjectStoreScheme) -> bool {
    let (s3, clouds) = (cfg!(feature = "s3"), cfg!(feature = "clouds"));
    matches!(scheme, ObjectStoreScheme::Http)
        || s3 && matches!(scheme, ObjectStoreScheme::AmazonS3)
        || clouds && matches!(scheme, ObjectStoreScheme::MicrosoftAzure)
        || clouds && matches!(scheme, ObjectStoreScheme::GoogleCloudStorage)
}

#[cfg(not(feature = "clouds"))]
fn not_built_in(location: &str) -> OpenPointError {
    OpenPointError::NotBuiltIn { location: location.to_owned() }
}

/// A builder with the settings of its service: those whose names begin as its own tools have them.
#[cfg(feature = "s3")]
fn set<B, K: std::str::FromStr>(
    settings: impl IntoIterator<Item = (String, String)>,
    prefix: &str,
    builder: B,
    with: impl Fn(B, K, String) -> B,
) -> B {
    settings.into_iter().fold(builder, |builder, (name, value)| {
        let name = name.to_ascii_lowercase();
        match name.parse() {
            Ok(key) if name.starts_with(prefix) => with(builder, key, value),
            _ => builder,
        }
    })
}
