use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{
    RpmError,
    header::{Header, Value},
    read::headers,
    tags,
};

/// The `OpenPGP` signature of bytes, and whether it is of the kind RSA.
pub type Sign<'s> = &'s mut dyn FnMut(&[u8]) -> io::Result<(Vec<u8>, bool)>;

/// Copies an .rpm with a signature in it; one it has already gives way. `sign` gives the `OpenPGP` signature of the bytes
/// it is shown, and whether that is RSA's.
///
/// # Errors
/// A file that is no .rpm; a reader, writer or signer that fails.
pub fn sign_rpm(
    file: &mut (impl Read + Seek),
    out: &mut impl Write,
    sign: Sign<'_>,
) -> Result<(), RpmError> {
    let (signature, header) = headers(file)?;
    let mut lead = vec![0; 96];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut lead)?;
    let mut bytes = vec![0; usize::try_from(header.end - header.start).unwrap_or(0)];
    file.seek(SeekFrom::Start(header.start))?;
    file.read_exact(&mut bytes)?;
    let mut signed = Header::new(tags::HEADER_SIGNATURES);
    // Signatures of header and payload together are of an older kind, and so is MD5.
    let gone = [
        tags::HEADER_SIGNATURES,
        tags::RSA_HEADER,
        tags::DSA_HEADER,
        tags::SIGNATURE_MD5,
        1002,
        1005,
        1008,
    ];
    for (tag, value) in signature.values {
        if !gone.contains(&tag) {
            signed.set(tag, value);
        }
    }
    let (of_header, is_rsa) = sign(&bytes)?;
    let tag = if is_rsa { tags::RSA_HEADER } else { tags::DSA_HEADER };
    signed.set(tag, Value::Bytes(of_header));
    lead.extend(signed.bytes());
    lead.resize(lead.len().next_multiple_of(8), 0);
    out.write_all(&lead)?;
    out.write_all(&bytes)?;
    // The reader stands behind the header.
    io::copy(file, out)?;
    Ok(())
}
