//! Secrets and names nobody guesses, as text of hexadecimal digits.

use crate::SiteError;

/// Bytes of the kernel's generator, once it has enough to begin with.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SiteError> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| SiteError::file("asking", "the kernel for randomness")(error.into()))?;
    Ok(bytes)
}

/// A secret of 256 bits.
pub(crate) fn secret() -> Result<String, SiteError> {
    Ok(hex(&random::<32>()?))
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
