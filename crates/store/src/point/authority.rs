//! Servers whose certificate an authority of the house signed.

use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreScheme, aws::AmazonS3Builder,
    http::HttpBuilder, path::Path as Key,
};

use super::Point;
use crate::OpenPointError;

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
        if !location.contains("://") || location.starts_with("file://") {
            return Self::open(location, settings);
        }
        let refuse = |source| OpenPointError::Location { location: location.to_owned(), source };
        let url: url::Url = location.parse().map_err(|_| refuse(None))?;
        let (scheme, root) =
            ObjectStoreScheme::parse(&url).map_err(|error| refuse(Some(error.into())))?;
        let root = Key::parse(root).map_err(|error| refuse(Some(error.into())))?;
        let certificates = Certificate::from_pem_bundle(authorities)
            .map_err(|source| OpenPointError::Authority { source })?;
        if certificates.is_empty() {
            return Err(OpenPointError::NoAuthority);
        }
        let client = certificates
            .into_iter()
            .fold(ClientOptions::new().with_allow_http(true), ClientOptions::with_root_certificate);
        let store: Box<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::Http => {
                let base = &url[..url::Position::BeforePath];
                let builder = HttpBuilder::new().with_url(base).with_client_options(client);
                Box::new(builder.build().map_err(|source| refuse(Some(source)))?)
            }
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::new().with_client_options(client).with_url(location);
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
