use std::io::{self, Read};

use crate::Deb;

/// No control file or list of its archive is longer, in bytes.
const MOST: u64 = 64 << 20;

/// A file that is no .deb, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// It is something else, or does not hold together.
    #[error("it is no whole .deb: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// It cannot be read.
    #[error("the .deb cannot be read")]
    Io(#[from] io::Error),
}

/// Reads what a .deb says of itself.
///
/// # Errors
/// A file that is none, or cannot be read.
pub fn read_deb(file: impl Read) -> Result<Deb, DebError> {
    let malformed = |reason| DebError::Malformed { reason };
    let mut archive = ar::Archive::new(file);
    while let Some(member) = archive.next_entry() {
        let member = member?;
        let name = member.header().identifier().to_vec();
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        let unpacked: Box<dyn Read> = match &*name {
            b"control.tar" => Box::new(member),
            b"control.tar.xz" => Box::new(liblzma::read::XzDecoder::new(member)),
            b"control.tar.gz" => Box::new(flate2::read::GzDecoder::new(member)),
            b"control.tar.zst" => Box::new(zstd::Decoder::new(member)?),
            b"debian-binary" => continue,
            _ => return Err(malformed("its second member is no control.tar")),
        };
        let mut tar = tar::Archive::new(unpacked.take(MOST));
        for entry in tar.entries()? {
            let entry = entry?;
            if matches!(&*entry.path_bytes(), b"./control" | b"control") {
                let mut control = String::new();
                entry.take(MOST).read_to_string(&mut control)?;
                return parse(control);
            }
        }
        return Err(malformed("it has no control file"));
    }
    Err(malformed("it has no control.tar"))
}

fn parse(control: String) -> Result<Deb, DebError> {
    let field = |name: &str| {
        let line = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let (Some(name), Some(version), Some(architecture)) =
        (field("Package"), field("Version"), field("Architecture"))
    else {
        return Err(DebError::Malformed {
            reason: "it does not say package, version, architecture",
        });
    };
    let is_odd = |text: &String| text.contains(['/', '\0']) || text.starts_with('.');
    // An empty line would end its paragraph in an index.
    if [&name, &version, &architecture].into_iter().any(is_odd)
        || control.trim_end().contains("\n\n")
    {
        return Err(DebError::Malformed { reason: "its control file says what none can" });
    }
    Ok(Deb { control, name, version, architecture })
}
