use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use aho_corasick::AhoCorasick;
use model::{Architecture, ExitMeaning, Template};

use super::{Listing, after, any, template};

/// What made an installer, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Windows Installer's own format.
    Msi(Msi),
    /// Nullsoft Scriptable Install System.
    Nsis,
    /// Inno Setup.
    Inno,
    /// `InstallShield`, around an MSI.
    InstallShield,
    /// A bundle of the `WiX` toolset, with the identifier it is registered by.
    Burn(String),
}

/// What an MSI says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Msi {
    /// `{GUID}`, another one for each release.
    pub product_code: String,
    /// The product's name.
    pub name: String,
    /// The product's version.
    pub version: String,
    /// Who made it.
    pub manufacturer: String,
    /// Whether it is for 64-bit machines alone.
    pub is_64: bool,
}

/// How compound files begin, of which an MSI is one.
const COMPOUND: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
/// What only one maker writes, in the order they count.
const SIGNS: [(&[u8], Sign); 6] = [
    (b".wixburn", Sign::Burn),
    (b"\xef\xbe\xad\xdeNullsoftInst", Sign::Nsis),
    (b"Inno Setup Setup Data (", Sign::Inno),
    (b"JR.Inno.Setup", Sign::Inno),
    (b"ISSetupStream", Sign::InstallShield),
    (b"I\0n\0s\0t\0a\0l\0l\0S\0h\0i\0e\0l\0d\0", Sign::InstallShield),
];
/// A bundle's section begins with this number.
const BUNDLE: [u8; 4] = [0x00, 0x43, 0xf1, 0x00];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Burn,
    Nsis,
    Inno,
    InstallShield,
}

impl Maker {
    /// What made the installer in `file`, by its bytes and never by its name; `None` where nobody known did.
    ///
    /// # Errors
    /// What cannot be read, or an MSI that is damaged.
    pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let mut start = [0; 8];
        file.seek(SeekFrom::Start(0))?;
        let length = file.read(&mut start)?;
        if start == COMPOUND {
            file.seek(SeekFrom::Start(0))?;
            return Msi::read(file).map(|msi| msi.map(Self::Msi));
        }
        if length < 2 || &start[..2] != b"MZ" {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0))?;
        let signs = AhoCorasick::new(SIGNS.map(|(bytes, _)| bytes)).map_err(io::Error::other)?;
        let mut found: Option<(Sign, u64)> = None;
        for sign in signs.stream_find_iter(&mut *file) {
            let sign = sign?;
            let (kind, at) = (SIGNS[sign.pattern().as_usize()].1, sign.start() as u64);
            // The installer's data begin at a whole block; else it is the word in somebody's text.
            if kind == Sign::Nsis && at.checked_sub(4).is_none_or(|begin| begin % 512 != 0) {
                continue;
            }
            if found.is_none_or(|(known, _)| kind < known) {
                found = Some((kind, at));
            }
        }
        Ok(match found {
            Some((Sign::Burn, at)) => bundle(file, at)?.map(Self::Burn),
            Some((Sign::Nsis, _)) => Some(Self::Nsis),
            Some((Sign::Inno, _)) => Some(Self::Inno),
            Some((Sign::InstallShield, _)) => Some(Self::InstallShield),
            None => None,
        })
    }

    /// What it is, for people.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Msi(_) => "a package of Windows Installer",
            Self::Nsis => "an installer made with NSIS",
            Self::Inno => "an installer made with Inno Setup",
            Self::InstallShield => "an installer made with InstallShield around an MSI",
            Self::Burn(_) => "a bundle made with the WiX toolset",
        }
    }

    /// Which machines it is for.
    pub(super) fn architecture(&self) -> Architecture {
        match self {
            Self::Msi(msi) if msi.is_64 => Architecture::Only("x86_64".into()),
            _ => any(),
        }
    }

    /// The switches that make it ask nothing and restart nothing.
    pub fn switches(&self) -> &'static [&'static str] {
        match self {
            Self::Msi(_) => &["/qn", "/norestart"],
            Self::Nsis => &["/S"],
            Self::Inno => {
                &["/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART", "/SP-", "/RESTARTEXITCODE=3010"]
            }
            Self::InstallShield => &["/s", "/v/qn"],
            Self::Burn(_) => &["/quiet", "/norestart"],
        }
    }

    /// The command that installs it from `place`.
    pub(super) fn install(&self, place: &Template) -> Vec<Template> {
        let start = match self {
            Self::Msi(_) => vec![msiexec(), Template::literal("/i"), place.clone()],
            _ => vec![place.clone()],
        };
        start
            .into_iter()
            .chain(self.switches().iter().map(|word| Template::literal(*word)))
            .collect()
    }

    /// The command that takes the software off; `None` where nothing says how.
    pub(super) fn uninstall(&self, place: &Template, listing: &Listing) -> Option<Vec<Template>> {
        let literal = |words: &[&str]| words.iter().map(|word| Template::literal(*word)).collect();
        let with = |start: Vec<Template>, words: &[&str]| {
            let more: Vec<Template> = literal(words);
            start.into_iter().chain(more).collect::<Vec<_>>()
        };
        match self {
            Self::Msi(msi) => {
                let start =
                    vec![msiexec(), Template::literal("/x"), Template::literal(&*msi.product_code)];
                Some(with(start, self.switches()))
            }
            Self::Burn(_) => {
                Some(with(vec![place.clone()], &["/uninstall", "/quiet", "/norestart"]))
            }
            // It would go on as a copy of itself and end at once; told where it is, it stays till all is done.
            Self::Nsis => {
                let program = listing.uninstaller()?;
                let (folder, _) = program.rsplit_once('\\')?;
                let folder = after("_?=", &template_of(folder));
                Some(vec![template_of(program), Template::literal("/S"), folder])
            }
            Self::Inno => {
                let program = template_of(listing.uninstaller()?);
                Some(with(vec![program], &["/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART"]))
            }
            // Its entry is that of the MSI inside.
            Self::InstallShield => {
                let code = listing.key.name().to_owned();
                if !code.starts_with('{') {
                    return listing.quiet_words();
                }
                let start = vec![msiexec(), Template::literal("/x"), Template::literal(code)];
                Some(with(start, &["/qn", "/norestart"]))
            }
        }
    }

    /// What its exit codes mean.
    pub(super) fn exit_codes(&self) -> BTreeMap<i32, ExitMeaning> {
        let codes: &[(i32, ExitMeaning)] = match self {
            Self::Nsis => &[(0, ExitMeaning::Done)],
            Self::Inno => &[(0, ExitMeaning::Done), (3010, ExitMeaning::Restart)],
            Self::Msi(_) | Self::InstallShield | Self::Burn(_) => &[
                (0, ExitMeaning::Done),
                (1618, ExitMeaning::Retry),
                (1641, ExitMeaning::Restart),
                (1707, ExitMeaning::Done),
                (3010, ExitMeaning::Restart),
            ],
        };
        codes.iter().copied().collect()
    }
}

fn msiexec() -> Template {
    template(r"${system}\msiexec.exe")
}

/// A path of the machine it was found on, its folders made variables.
fn template_of(path: &str) -> Template {
    Listing::generalised(path)
}

/// The identifier of a bundle, of the section whose name stands at `at`.
fn bundle(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<String>> {
    let mut header = [0; 24];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut header)?;
    let from = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
    let mut section = [0; 24];
    file.seek(SeekFrom::Start(u64::from(from)))?;
    if file.read_exact(&mut section).is_err() || section[..4] != BUNDLE {
        return Ok(None);
    }
    let id = &section[8..];
    let first = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
    let (second, third) = (u16::from_le_bytes([id[4], id[5]]), u16::from_le_bytes([id[6], id[7]]));
    let rest: String = id[10..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(format!("{{{first:08x}-{second:04x}-{third:04x}-{:02x}{:02x}-{rest}}}", id[8], id[9])))
}

impl Msi {
    /// Reads what an MSI says of itself; `None` for another compound file.
    fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let Ok(mut package) = msi::Package::open(file) else { return Ok(None) };
        let is_64 = package.summary_info().arch().is_some_and(|arch| arch.contains("64"));
        let mut found = Self { is_64, ..Self::default() };
        if !package.has_table("Property") {
            return Ok(None);
        }
        for row in package.select_rows(msi::Select::table("Property"))? {
            let text = |index: usize| row[index].as_str().unwrap_or_default().to_owned();
            let field = match text(0).as_str() {
                "ProductCode" => &mut found.product_code,
                "ProductName" => &mut found.name,
                "ProductVersion" => &mut found.version,
                "Manufacturer" => &mut found.manufacturer,
                _ => continue,
            };
            *field = text(1);
        }
        Ok((!found.product_code.is_empty()).then_some(found))
    }
}
